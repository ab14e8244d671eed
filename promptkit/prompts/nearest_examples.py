"""The examples nearest to a row: by the words that both share, or by similarities that a caller gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from promptkit.prompts.prompt import Example
from promptkit.prompts.tfidf import LexicalIndex
from promptkit.prompts.words import nearly_repeats, words

NearestBy = Literal["embed", "words"]
DIGITS: Final = 9
"""Similarities that differ by rounding alone are ties."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NearestExamples:
    """A pool of examples, of which each row is shown the `count` nearest, the nearest last.

    After KATE (Liu et al. 2022, DeeLIO). Of equally near examples the earlier ones of the pool are taken. An example
    that nearly repeats the row is left out, as it would give the answer away. `by`: None takes embeddings where the
    model's are good. `model` is the one that embeds, None for the step's own. `vectors` holds the pool's unit vectors,
    by the digest of the model that made them.
    """

    pool: tuple[Example, ...]
    count: int
    by: NearestBy | None = None
    model: str | None = None
    vectors: dict[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The texts of the pool's inputs."""
        return tuple(map(text_of_inputs, (example.inputs for example in self.pool)))

    def text_of_row(self, values: Mapping[str, Any]) -> str:
        """Return the text of a row's inputs, of those alone that the pool's examples have."""
        return text_of_inputs({name: values[name] for name in self._names if name in values})

    def by_words(self, values: Mapping[str, Any]) -> tuple[Example, ...]:
        """Return the examples for a row by TF-IDF and cosine."""
        return self.by_similarity(values, self._index.similarities(self.text_of_row(values)))

    def by_similarity(self, values: Mapping[str, Any], similarities: Sequence[float]) -> tuple[Example, ...]:
        """Return the examples for a row, given the similarity of each example of the pool to it."""
        row_words = words(self.text_of_row(values))
        ranked = sorted(range(len(self.pool)), key=lambda place: (-round(similarities[place], DIGITS), place))
        nearest: list[Example] = []
        for place in ranked:
            if len(nearest) == self.count:
                break
            if not (is_this_row(self.pool[place], values) or nearly_repeats(self._words[place], row_words)):
                nearest.append(self.pool[place])
        return tuple(reversed(nearest))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for example in self.pool for name in example.inputs))

    @cached_property
    def _words(self) -> tuple[list[str], ...]:
        return tuple(map(words, self.texts))

    @cached_property
    def _index(self) -> LexicalIndex:
        return LexicalIndex(self.texts)


def is_this_row(example: Example, values: Mapping[str, Any]) -> bool:
    """Tell whether an example is the row itself, so that it would give the answer away."""
    return bool(values) and all(values.get(name) == value for name, value in example.inputs.items())


def text_of_inputs(values: Mapping[str, Any]) -> str:
    """Return the text by which inputs are compared."""
    return "\n".join(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        for value in values.values()
    )
