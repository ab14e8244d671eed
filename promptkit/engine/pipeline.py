"""A pipeline that was read, resolved and found right: what `run`, `render` and `files` take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptkit.project import Project
    from promptkit.prompts import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input of a pipeline. It is optional exactly when it has a default."""

    name: str
    type: str = "text"  # text, number, boolean, list, table, json
    about: str = ""
    example: Any = None
    has_example: bool = False
    default: Any = None
    has_default: bool = False
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A row pinned to a target."""

    name: str
    inputs: Mapping[str, Any]
    expect: Any = None
    has_expect: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """`step` needs `needs` (a step), because of `reason` (`for_each`, `input issues`, `after` …)."""

    step: str
    needs: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step with every setting resolved: `--set`, step, front matter, `defaults`, `promptkit.yaml`, the type's own.

    Exactly one of `prompt`, `tool` and `pipeline` is given.
    """

    name: str
    about: str = ""
    prompt: Prompt | None = None
    tool: str | None = None
    pipeline: Pipeline | None = None
    answer: Any = "text"
    technique: Any = "vanilla"
    decide: str = "constrain"
    layout: str = "xml"
    messages: str = "one"
    cue: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A target, ready to run. A prompt is a pipeline of one step named after it; `file` is then the prompt's.

    `steps` are in an order in which they can run; `edges` say which needs which and why.
    """

    name: str
    about: str
    file: Path
    project: Project
    inputs: Mapping[str, Input]
    steps: Mapping[str, Step]
    edges: tuple[Edge, ...]
    output: Any
    model: str | None = None
    cases: tuple[Case, ...] = ()
    tune: Mapping[str, Any] | None = None
