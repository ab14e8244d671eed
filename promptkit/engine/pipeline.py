"""A checked pipeline, as `run`, `render` and `files_of` take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.engine.scope import CompiledValue, RowAnswer
from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.prompts.examples import Examples
from promptkit.prompts.front_matter import PromptInput
from promptkit.prompts.messages import MessageMode
from promptkit.prompts.prompt import Prompt
from promptkit.runtimes.models import default_reference
from promptkit.runtimes.references import parse_reference
from promptkit.techniques.context import Decide, Options
from promptkit.tools.backends import Backend
from promptkit.tools.base import Tool, Toolset


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input of a pipeline. It is optional exactly when it has a default."""

    name: str
    type: str = "text"  # text, number, boolean, list, table, messages, json
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
    """A dependency: `step` needs the step `needs`. `reason` says why (`for_each`, `input issues`, `after`)."""

    step: str
    needs: str
    reason: str


@dataclass(frozen=True, slots=True)
class ForEach:
    """`for_each`: one list with the name of its item, or several lists of equal length, each with its own item."""

    lists: Mapping[str, CompiledValue]
    is_single: bool


@dataclass(frozen=True, slots=True)
class Guard:
    """A test that a result must pass, and the message to the model when it does not."""

    test: CompiledValue
    say: CompiledValue


@dataclass(frozen=True, slots=True)
class Repeat:
    """`repeat`: at most `limit` rounds, until `until` holds. `start` is the value of `previous` in the first round."""

    until: CompiledValue | None
    limit: int
    start: CompiledValue


@dataclass(frozen=True, slots=True)
class OnError:
    """`on_error`: the run ends, or the failed step's value is `default` (null for `skip`)."""

    ends_run: bool = True
    default: Any = None


@dataclass(frozen=True, slots=True)
class StepTool:
    """A tool of a step. A toolset's name is that of the step's entry: `mcp:SERVER`, or `mcp:SERVER/TOOL` for one."""

    name: str
    tool: Tool | Toolset


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCall:
    """Everything that a prompt step asks by: prompt, answer type, technique and settings.

    `answer` is a built type, or one made for each row, in the step's scope or (front matter) in the prompt's inputs.
    `data` are the files of the examples. `tools` are the step's by name, toolsets by the entry that names them. Paths
    in `technique` are relative to `technique_folder`. `inputs` are the prompt's, typed by what fills them. `strict` are
    the warnings that are errors. `artifacts` are the files of prepared techniques, by technique; their names begin with
    `home`. `models` are those of calls, by the call's name or `TECHNIQUE.CALL`; `references` are the models that the
    technique's parameters name, and the one that embeds examples. `head` is the file of the head that decides the
    answer (`decide: head`); `decide` is then the way in which the step goes on where that abstains. `adapter` is the
    file of the adapter with which the step's model answers.
    """

    prompt: Prompt
    answer: AnswerType | RowAnswer
    answer_in_prompt: bool
    answer_name: str
    technique: Any
    decide: Decide
    layout: str | Path
    messages: MessageMode
    cue: str | None
    calibrate: Mapping[str, Any] | None
    examples: Examples
    options: Options
    programs: Backend
    tools: Mapping[str, Tool | Toolset]
    technique_folder: Path
    inputs: Mapping[str, PromptInput]
    artifacts: Mapping[str, Path]
    home: str
    data: tuple[Path, ...] = ()
    strict: frozenset[str] = frozenset()
    models: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    head: Path | None = None
    adapter: Path | None = None

    @property
    def other_models(self) -> tuple[str, ...]:
        """The models that the step asks besides its own, each once."""
        return tuple(dict.fromkeys((*self.models.values(), *self.references)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step with every setting resolved: `--set`, step, front matter, `defaults`, `promptkit.yaml`, default of the
    type.

    Exactly one of `prompt_call`, `tool` and `pipeline` is given. `allow` are the tools and effects that its pipeline
    allows. `arguments` is its `with`; `filled` are the inputs taken from the scope by name. `needs` are the steps
    without whose result it is skipped, unless `with` handles that.
    """

    name: str
    place: Problem
    about: str = ""
    prompt_call: PromptCall | None = None
    tool: StepTool | None = None
    pipeline: Pipeline | None = None
    allow: frozenset[str] = frozenset()
    arguments: Mapping[str, CompiledValue] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    for_each: ForEach | None = None
    when: CompiledValue | None = None
    when_by_item: bool = False
    repeat: Repeat | None = None
    guard: Guard | None = None
    on_error: OnError = OnError()
    repairs: int | None = None
    uses_cache: bool = True
    model: str | None = None

    @property
    def prompt(self) -> Prompt | None:
        """The prompt of a step that asks a model."""
        return self.prompt_call.prompt if self.prompt_call else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A target, ready to run. A prompt becomes a pipeline of one step named after it, with the prompt's `file`.

    `steps` are in an order in which they can run; `edges` are their dependencies. `output_keys` are the keys of an
    output that is a mapping, else None. `tools` are those that it declares, `allow` the tools and effects that it
    allows.
    """

    name: str
    about: str
    file: Path
    project: Project
    inputs: Mapping[str, Input]
    steps: Mapping[str, Step]
    edges: tuple[Edge, ...]
    output: CompiledValue
    output_keys: tuple[str, ...] | None = None
    model: str | None = None
    cases: tuple[Case, ...] = ()
    tools: Mapping[str, StepTool] = field(default_factory=dict)
    allow: frozenset[str] = frozenset()
    tune: Mapping[str, Any] = field(default_factory=dict)


def execution_order(steps: Iterable[str], edges: Iterable[Edge]) -> list[str]:
    """Return the steps in an order in which they can run, keeping the written order where possible. Raises
    DependencyCycle.
    """
    names = list(steps)
    place = {name: number for number, name in enumerate(names)}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for edge in edges:
        graph[edge.step].add(edge.needs)
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        raise DependencyCycle(error.args[1][::-1]) from None
    ordered: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        ordered += ready
        sorter.done(*ready)
    return ordered


class DependencyCycle(Exception):
    """Steps that need each other. `steps` starts and ends with the same step; each needs the next."""

    def __init__(self, steps: Sequence[str]) -> None:
        super().__init__(" → ".join(f"`{step}`" for step in steps))
        self.steps = tuple(steps)


def default_model(project: Project, pipeline: Pipeline | None, option: str | None) -> tuple[str, str, Path]:
    """Return the model of steps that name none, who named it, and the folder that paths in it are relative to.

    `option` is the model of the command line, which comes before all files. Raises InputError.
    """
    reference, why = default_reference(option, pipeline.model if pipeline else None, project.settings.model)
    _check_reference(reference, why)
    if pipeline and why == "the pipeline":
        return reference, why, pipeline.file.parent
    return reference, why, project.root if why == "promptkit.yaml" else Path.cwd()


def _check_reference(reference: str, why: str) -> None:
    """Raise InputError, naming who gave the reference, for an invalid model reference."""
    try:
        parse_reference(reference)
    except InputError as error:
        raise InputError(replace(problem, message=f"{why}: {problem.message}") for problem in error.problems) from None
