"""Labels that people give to answers, kept beside a suite in `NAME.labels.jsonl`.

A label belongs to one answer to one set of inputs: another answer, of a variant or after an edit of the prompt, does
not have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from promptkit.errors import InputError, Problem, place
from promptkit.storage.files import append_line, write_atomic
from promptkit.storage.hashes import content_key
from promptkit.storage.models import schema_error_text
from promptkit.storage.rows import read_numbered
from promptkit.storage.strict_json import json_bytes, plain

SUFFIX: Final = ".labels.jsonl"
LEAST_COVERED: Final = 0.8
"""The share of the rows drawn at random whose labels a variant must have, for these to pass for a random sample."""


class AnswerLabel(BaseModel):
    """A person's label of an answer under a metric: one line of a label file.

    `key` is the answer's (`answer_key`), `answer` itself stands there for people. `level` is a level of the judge, or
    `right` or `wrong`; `value` the right answer where the person wrote it (None: not), `why` the person's reason.
    `drawn` tells whether the answer was drawn at random or chosen by its scores; `at` is the time, ISO 8601 in UTC.
    `inputs` are the target's, and `cluster` the row's value of the suite's `cluster` field (None: not known): a judge
    is shown the answer as an example where they are known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    key: str
    answer: Any
    level: str
    drawn: Literal["random", "chosen"]
    person: str = ""
    value: Any = None
    why: str = ""
    at: str = ""
    inputs: dict[str, Any] = {}
    cluster: Any = None


def answer_key(inputs: Mapping[str, Any], answer: Any) -> str:
    """Return the key of an answer: a hash, in hexadecimal, of the target's inputs and of the value that is labelled."""
    return content_key(json_bytes([inputs, plain(answer)], sort_keys=True, allow_nan=True, default=str)).hex()


def inputs_key(inputs: Mapping[str, Any]) -> str:
    """Return the key of a target's inputs, in hexadecimal."""
    return content_key(json_bytes(inputs, sort_keys=True, allow_nan=True, default=str)).hex()


def label_file(suite: Path) -> Path:
    """Return the path of a suite's label file."""
    return suite.with_name(f"{suite.stem}{SUFFIX}")


class AnswerLabels:
    """The labels of a label file, in its order; of one person's labels of an answer the last counts."""

    def __init__(self, path: Path, labels: Iterable[AnswerLabel] = ()) -> None:
        self.path = path
        self._labels: dict[tuple[str, str, str], AnswerLabel] = {}
        self._of_answers: dict[tuple[str, str], dict[str, AnswerLabel]] = {}
        for label in labels:
            self._take(label)

    @classmethod
    def read(cls, path: Path) -> AnswerLabels:
        """Read a label file; one that is not there has no labels. Raises InputError with every line that is wrong."""
        labels: list[AnswerLabel] = []
        problems: list[Problem] = []
        for line, row in read_numbered(path) if path.exists() else ():
            if isinstance(row, Problem):
                problems.append(row)
                continue
            try:
                labels.append(AnswerLabel.model_validate(row))
            except ValidationError as error:
                first = error.errors()[0]
                named = ".".join(map(str, first["loc"]))
                problems.append(Problem(f"`{named}`: {schema_error_text(first)}", str(place(path)), line))
        if problems:
            raise InputError(problems)
        return cls(path, labels)

    def __iter__(self) -> Iterator[AnswerLabel]:
        return iter(self._labels.values())

    def __len__(self) -> int:
        return len(self._labels)

    def of_answer(self, metric: str, key: str) -> tuple[AnswerLabel, ...]:
        """Return the labels of an answer under a metric, one for each person, in the order of their first labels."""
        return tuple(self._of_answers.get((metric, key), {}).values())

    def consensus(self, metric: str, key: str) -> AnswerLabel | None:
        """Return the label of an answer that most people gave; of as many, the one that was given first.

        None where nobody gave one.
        """
        labels = self.of_answer(metric, key)
        counts = Counter(label.level for label in labels)
        return max(labels, key=lambda label: counts[label.level], default=None)

    def drawn_inputs(self, metric: str) -> frozenset[str]:
        """Return the keys (`inputs_key`) of the inputs to which some answer was drawn at random and labelled.

        A variant's labels are a random sample only if its answers to nearly all of these inputs have a label: after an
        edit the answers that stayed the same do, and of another variant those that the two share.
        """
        drawn = (label for label in self if label.metric == metric and label.drawn == "random")
        return frozenset(inputs_key(label.inputs) for label in drawn if label.inputs)

    def add(self, label: AnswerLabel) -> None:
        """Append a label to the file. Raises StoreFailed."""
        append_line(self.path, label.model_dump_json(exclude_defaults=True))
        self._take(label)

    def remove(self, label: AnswerLabel) -> None:
        """Take a label out of the file again. Raises StoreFailed."""
        kept = [other for other in self if other != label]
        write_atomic(self.path, "".join(f"{other.model_dump_json(exclude_defaults=True)}\n" for other in kept))
        self._labels.clear()
        self._of_answers.clear()
        for other in kept:
            self._take(other)

    def _take(self, label: AnswerLabel) -> None:
        self._labels[label.metric, label.key, label.person] = label
        self._of_answers.setdefault((label.metric, label.key), {})[label.person] = label
