"""A prompt as loaded: what its front matter says and how its sections are rendered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.errors import Problem

FRONT_MATTER_KEYS = (
    "about",
    "inputs",
    "answer",
    "layout",
    "messages",
    "examples",
    "decide",
    "calibrate",
    "technique",
    "options",
    "cue",
    "cases",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a prompt says about one of its inputs. It is optional exactly when it has a default."""

    about: str = ""
    type: str | None = None
    choices: tuple[Any, ...] = ()
    example: Any = None
    has_example: bool = False
    default: Any = None
    has_default: bool = False


@dataclass(frozen=True, slots=True)
class Layer:
    """One call of a technique laid over a prompt: a template that begins `{% extends prompt %}`, and its `call.` values."""

    file: Path
    call: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """An example as its author gave it."""

    inputs: Mapping[str, Any]
    output: Any
    thoughts: str | None = None


@dataclass(frozen=True, slots=True)
class WrittenExample:
    """An example as a model reads it: the rendered input section and the written output."""

    input: str
    output: str
    thoughts: str | None = None


class Prompt:
    """A prompt. Immutable: an edit of its files is seen by a new `Prompts` only."""

    name: str
    file: Path | None
    about: str
    inputs: Mapping[str, InputSpec]
    settings: Mapping[str, Any]
    files: tuple[Path, ...]

    def sections(
        self,
        values: Mapping[str, Any],
        *,
        layers: Sequence[Layer] = (),
        only: Collection[str] | None = None,
    ) -> dict[str, str]:
        """Return the text of each section that is not blank, stripped, in the order of `SECTIONS`.

        `values` are the inputs (defaults are filled in). `layers` are applied in order, the last is outermost.
        `only` renders no others. Raises InputError with file and line.
        """
        raise NotImplementedError

    def names(self) -> frozenset[str]:
        """Return the free variables that the prompt and its parents use."""
        raise NotImplementedError

    def problem(
        self, path: Sequence[str | int], message: str, hint: str | None = None, *, key: bool = False
    ) -> Problem:
        """Return a Problem at a place of the front matter (`("options", "temperature")`), wherever it was inherited from."""
        raise NotImplementedError

    def written(
        self, examples: Sequence[Example], write: Callable[[Any], str], values: Mapping[str, Any] | None = None
    ) -> tuple[WrittenExample, ...]:
        """Render each example: its input by the prompt's own `input` section, its output by `write`.

        `values` fill what an example leaves out. Raises InputError when `write` refuses an output with ValueError.
        """
        raise NotImplementedError
