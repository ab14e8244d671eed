"""A loaded prompt, and the rendering of its sections and examples."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, Problem
from promptkit.prompts.front_matter import PromptInput
from promptkit.prompts.sections import BLOCKS
from promptkit.prompts.template_loader import Delimiters, TemplateLoader, call_variable, pack, render_blocks, stack
from promptkit.storage.yaml import Document


@dataclass(frozen=True, slots=True)
class Layer:
    """A technique's call over a prompt: a template that begins with `{% extends prompt %}`, and its `call.` values."""

    file: Path
    call: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """An example as its author wrote it. `number` counts in its list or file; `place` is that of its output."""

    inputs: Mapping[str, Any]
    output: Any
    thoughts: str | None = None
    number: int = field(default=1, compare=False)
    place: Problem | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WrittenExample:
    """An example as a model reads it: the rendered input section and the written output."""

    input: str
    output: str
    thoughts: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """A loaded prompt. Edits of its files are only seen by a new `Prompts`.

    `settings` are the other keys of the front matter as plain values, merged with the parents'. `document` is the
    prompt's own front matter, or the pipeline of an inline prompt. `files` are all files read for it. `inline` holds
    the sections of an inline prompt as they are written.
    """

    name: str
    file: Path | None
    about: str
    inputs: Mapping[str, PromptInput]
    settings: Mapping[str, Any]
    files: tuple[Path, ...]
    document: Document | None
    blocks: frozenset[str]
    used: frozenset[str] = field(repr=False)
    origins: Mapping[tuple[str, ...], Document] = field(repr=False)
    entry: str = field(repr=False)
    loader: TemplateLoader = field(repr=False)
    inline: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def defaults(self) -> dict[str, Any]:
        """The default values of optional inputs."""
        return {name: spec.default for name, spec in self.inputs.items() if spec.has_default}

    def sections(
        self,
        values: Mapping[str, Any],
        *,
        layers: Sequence[Layer] = (),
        only: Collection[str] | None = None,
        delimiters: Delimiters | None = None,
    ) -> dict[str, str]:
        """Return the stripped text of each section that is not blank, in the order of `BLOCKS`.

        `values` are the inputs; defaults are filled in. `layers` are applied in order, the last one outermost. `only`
        limits the sections. A layout's `delimiters` get a backslash where they come from the values. Raises InputError
        with file and line.
        """
        given = {**self.defaults, **values}
        given.update((call_variable(depth), layer.call) for depth, layer in enumerate(layers, start=1))
        template = self.loader.template(stack(self.entry, [layer.file for layer in layers]), delimiters)
        requested = BLOCKS if only is None else [name for name in BLOCKS if name in only]
        return render_blocks(template, given, requested, delimiters)

    def names(self) -> frozenset[str]:
        """Return the free variables of the prompt and its parents."""
        return self.used

    def folder_of(self, key: str) -> Path:
        """Return the folder that paths under a key of the front matter are relative to."""
        origin = self.origins.get((key,)) or self.document
        return Path(origin.file).absolute().parent if origin else (self.file or Path()).absolute().parent

    def text(self, path: Sequence[str | int]) -> str:
        """Return the scalar at a path of the front matter as it is written. Raises KeyError where there is none."""
        return self.origins[(str(path[0]),)].text(path)

    def problem(
        self, path: Sequence[str | int], message: str, hint: str | None = None, *, key: bool = False
    ) -> Problem:
        """Return a Problem at a path of the front matter (`("options", "seed")`), in the file that has it."""
        origin = self.origins.get(tuple(map(str, path[:2]))) or self.origins.get(tuple(map(str, path[:1])))
        if origin is None:
            return Problem(message, self.document.file if self.document else str(self.file), hint=hint)
        return origin.problem(path, message, hint, key=key)

    def written(
        self,
        examples: Sequence[Example],
        writes: Sequence[Callable[[Any], str]],
        values: Mapping[str, Any] | None = None,
        delimiters: Delimiters | None = None,
    ) -> tuple[WrittenExample, ...]:
        """Render each example: its input by the prompt's `input` section, its output by its own function of `writes`.

        `values` fill inputs that an example leaves out; `delimiters` are as in `sections`. Raises InputError where
        there is no such section, and where an output is refused with ValueError.
        """
        return tuple(
            self._written(example, write, values or {}, delimiters)
            for example, write in zip(examples, writes, strict=True)
        )

    def _written(
        self,
        example: Example,
        write: Callable[[Any], str],
        values: Mapping[str, Any],
        delimiters: Delimiters | None,
    ) -> WrittenExample:
        filled = {**values, **example.inputs} if self.used - example.inputs.keys() else dict(example.inputs)
        packed = pack((filled, example.output, example.thoughts, example.number))
        if packed is None:
            return self.write_example(replace(example, inputs=filled), write, delimiters)
        return _written_cached(self, packed, example.place, write, delimiters)

    def write_example(
        self, example: Example, write: Callable[[Any], str], delimiters: Delimiters | None
    ) -> WrittenExample:
        """Render one example that has all its inputs."""
        text = self.sections(example.inputs, only=("input",), delimiters=delimiters).get("input")
        if text is None:
            raise InputError(
                self.problem(
                    ("examples",),
                    f"the prompt `{self.name}` has examples, but no section `input` to show their input",
                    "put the input into a section of its own: `{% block input %}{{ … }}{% endblock %}`",
                )
            )
        try:
            output, thoughts = write(example.output), example.thoughts
        except ValueError as error:
            message = f"the output of example {example.number} is not an answer: {error}"
            raise InputError(replace(example.place or Problem(""), message=message)) from error
        if delimiters:
            output, thoughts = delimiters.escaped(output), thoughts and delimiters.escaped(thoughts)
        return WrittenExample(text, output, thoughts)


@lru_cache(maxsize=1_000)
def _written_cached(
    prompt: Prompt, packed: bytes, place: Problem | None, write: Callable[[Any], str], delimiters: Delimiters | None
) -> WrittenExample:
    """Render an example, once for all rows that it is shown with."""
    inputs, output, thoughts, number = marshal.loads(packed)
    return prompt.write_example(Example(inputs, output, thoughts, number, place), write, delimiters)
