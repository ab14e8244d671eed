"""One step, from what its file says to a `Step`: its prompt found, its names known, its inputs filled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from promptkit.engine.labels import written_labels
from promptkit.engine.pipeline import Asking, Edge, Guard, Input, Loop, OnError, Pipeline, Repeat, Step
from promptkit.engine.row_answer import source_of
from promptkit.engine.scope import Inspect, Key, Value, compile_value, constant, missing_in_lists
from promptkit.engine.settings import Resolver, Source
from promptkit.engine.spec import StepSpec
from promptkit.engine.tools import Tool
from promptkit.errors import InputError, Problem, nearest
from promptkit.prompts import GLOBALS
from promptkit.storage import Problems

if TYPE_CHECKING:
    from pathlib import Path

    from promptkit.engine.spec import InputType
    from promptkit.project import Project
    from promptkit.prompts import InputSpec, Prompt

INDEX, PREVIOUS, ROUND, RESULT = "index", "previous", "round", "result"
SINGLE = ("text", "number", "boolean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What surrounds a step: the pipeline's names and tools, and where settings come from after the step itself.

    `file` is the pipeline's, or the prompt's where that is the target. `lists` are the steps with a `for_each`, `types`
    the types of the inputs.
    """

    project: Project
    file: Path
    inputs: frozenset[str]
    steps: frozenset[str]
    lists: frozenset[str] = frozenset()
    types: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, Tool]
    defaults: tuple[Source, ...]

    @property
    def technique(self) -> Any:
        """The technique of steps that name none."""
        return next((technique for each in self.defaults if (technique := each.values.get("technique"))), None)


@dataclass(frozen=True, slots=True)
class Target:
    """What a step uses: a prompt, a tool or a pipeline, and the inputs that it takes (name: is it required?).

    `takes` None means that any argument may be given.
    """

    word: str
    prompt: Prompt | None = None
    tool: Tool | None = None
    pipeline: Pipeline | None = None
    takes: Mapping[str, bool] | None = None


@dataclass(slots=True)
class StepReader:
    """Reads one step; what is wrong goes into `problems`, what it needs into `edges`."""

    name: str
    spec: StepSpec
    source: Source
    around: Around
    problems: Problems
    edges: list[Edge] = field(default_factory=list)

    def read(self, target: Target) -> Step:
        """Return the step; only right where nothing was added to `problems`."""
        spec, items = self.spec, self._item_names()
        local = frozenset(items) | ({INDEX} if items else set()) | ({PREVIOUS, ROUND} if spec.repeat else set())
        arguments = {key: self._compile(("with", key), value, local) for key, value in spec.with_.items()}
        filled = self._fill(target, items, local)
        when = None if spec.when is None else self._compile(("when",), spec.when, local, bare=True)
        resolver = self._resolver(target)
        for after in spec.after:
            self._edge(after, "after", self.source.problem(("after",), "", None))
        return Step(
            name=self.name,
            place=self.source.problem((), "", None),
            about=spec.about,
            asking=self._asking(resolver, target.prompt, local, filled) if target.prompt else None,
            tool=target.tool,
            pipeline=target.pipeline,
            arguments=arguments,
            filled=filled,
            for_each=self._loop(items),
            when=when,
            when_by_item=bool(when and when.names & {*items, INDEX}),
            repeat=self._repeat(local),
            guard=self._guard(local),
            on_error=self._on_error(),
            repairs=spec.repairs,
            uses_cache=spec.cache,
            model=resolver.model(),
        )

    def _resolver(self, target: Target) -> Resolver:
        sources = [self.source]
        if target.prompt:
            prompt = target.prompt
            folder = prompt.file.parent if prompt.file else self.source.folder
            sources.append(
                Source(
                    values=prompt_settings(prompt, self.problems), problem=prompt.problem, folder=folder, is_prompt=True
                )
            )
        return Resolver(self.around.project, (*sources, *self.around.defaults), self.problems)

    def _asking(self, resolver: Resolver, prompt: Prompt, local: frozenset[str], filled: tuple[str, ...]) -> Asking:
        def in_prompt(value: Value, place: Problem) -> None:
            for name in sorted(value.names - set(prompt.inputs)):
                self.problems.add(_unknown(name, prompt.inputs, place))

        sources: dict[str, tuple[str, ...]] = {name: (name,) for name in filled}
        sources |= {name: path for name, value in self.spec.with_.items() if (path := source_of(value))}
        inputs = {name: self._typed(spec, sources.get(name, ())) for name, spec in prompt.inputs.items()}
        home = self.around.file.parent / f"{self.around.file.stem}.{self.name}"
        return resolver.asking(
            prompt, self.around.tools, self._inspect("answer", local), in_prompt, sources, inputs=inputs, home=home
        )

    def _typed(self, spec: InputSpec, source: tuple[str, ...]) -> InputSpec:
        """Return an input of the prompt with the type of the pipeline's input that fills it, where it states none."""
        kind = self.around.types.get(source[0]) if len(source) == 1 else None
        return replace(spec, type=kind) if kind and spec.type is None else spec

    def _item_names(self) -> tuple[str, ...]:
        spec = self.spec
        if isinstance(spec.for_each, Mapping):
            return tuple(spec.for_each)
        return (spec.as_,) if spec.as_ else ()

    def _loop(self, items: tuple[str, ...]) -> Loop | None:
        spec = self.spec
        if spec.for_each is None:
            return None
        self._check_lists(spec.for_each)
        if isinstance(spec.for_each, Mapping):
            lists = {
                name: self._compile(("for_each", name), value, frozenset(), bare=True)
                for name, value in spec.for_each.items()
            }
            return Loop(lists, is_single=False)
        return Loop({items[0]: self._compile(("for_each",), spec.for_each, frozenset(), bare=True)}, is_single=True)

    def _check_lists(self, given: Any) -> None:
        """Report an input that holds one value where `for_each` needs a list."""
        for name, text in given.items() if isinstance(given, Mapping) else [("", given)]:
            bare = text.strip().removeprefix("{{").removesuffix("}}").strip() if isinstance(text, str) else ""
            if self.around.types.get(bare) in SINGLE:
                message = f"`for_each` needs a list, and the input `{bare}` is a {self.around.types[bare]}"
                hint = f"`inputs: {{{bare}: {{type: list}}}}`"
                self.problems.add(self.source.problem(("for_each", name) if name else ("for_each",), message, hint))

    def _repeat(self, local: frozenset[str]) -> Repeat | None:
        spec = self.spec.repeat
        if spec is None:
            return None
        until = None
        if spec.until is not None:
            until = self._compile(("repeat", "until"), spec.until, local | {RESULT}, bare=True)
        start = self._compile(("repeat", "start"), spec.start, local - {PREVIOUS, ROUND})
        return Repeat(until, spec.max, start)

    def _guard(self, local: frozenset[str]) -> Guard | None:
        spec = self.spec.guard
        if spec is None:
            return None
        seen = local | {RESULT}
        test = self._compile(("guard", "expr"), spec.expr, seen, bare=True)
        return Guard(test, self._compile(("guard", "say"), spec.say, seen))

    def _on_error(self) -> OnError:
        on_error = self.spec.on_error
        if isinstance(on_error, Mapping):
            return OnError(False, on_error["default"])
        return OnError(ends_run=on_error == "fail")

    def _fill(self, target: Target, items: tuple[str, ...], local: frozenset[str]) -> tuple[str, ...]:
        """Return the inputs that are filled by name; report those that nothing fills and arguments for none."""
        given, takes = self.spec.with_, target.takes
        if takes is None:
            return ()
        for key in given:
            if key not in takes:
                problem = self.source.problem(("with", key), f"{target.word} has no input `{key}`", nearest(key, takes))
                self.problems.add(problem)
        if target.tool:
            self._report_missing(target, (name for name, required in takes.items() if required and name not in given))
            return ()
        filled = [name for name in takes if name in items and name not in given]
        for name, required in takes.items():
            if not required or name in given or name in items:
                continue
            if name in self.around.inputs | self.around.steps | local:
                filled.append(name)
                if name in self.around.steps:
                    self.edges.append(Edge(self.name, name, f"input {name}"))
            else:
                self._report_missing(target, (name,))
        return tuple(filled)

    def _report_missing(self, target: Target, names: Iterable[str]) -> None:
        for name in names:
            close = nearest(name, self.around.inputs | self.around.steps)
            hint = f"give it by `with: {{{name}: …}}`"
            if close and close.startswith("did") and not target.tool:
                hint = f"{close} Else {hint}"
            message = f"nothing gives the input `{name}` of {target.word}"
            self.problems.add(self.source.problem((), message, hint))

    def _compile(self, path: tuple[Key, ...], value: Any, local: frozenset[str], *, bare: bool = False) -> Value:
        """Compile a value of the step that may see `local` besides the pipeline's names."""

        def locate(below: Any) -> Problem:
            return self.source.problem((*path, *below), "", None)

        try:
            reason = ".".join(str(key) for key in path)
            return compile_value(value, locate, bare=bare, inspect=self._inspect(reason, local))
        except InputError as error:
            self.problems.add(error.problems)
            return constant(None)

    def _inspect(self, reason: str, local: frozenset[str]) -> Inspect:
        known = self.around.inputs | self.around.steps | local

        def inspect(value: Value, place: Problem) -> None:
            for name in sorted(value.names - known):
                self.problems.add(_unknown(name, known | GLOBALS, place))
            self.problems.add(missing_in_lists(value, self.around.lists - local, place))
            for name in sorted((value.names & self.around.steps) - local):
                self.edges.append(Edge(self.name, name, reason))
            for name in sorted(value.statuses):
                self._edge(name, f"{reason} (steps.{name})", place)

        return inspect

    def _edge(self, step: str, reason: str, place: Problem) -> None:
        """Add an edge to a step that is named outright."""
        if step in self.around.steps:
            self.edges.append(Edge(self.name, step, reason))
        else:
            self.problems.add(_unknown(step, self.around.steps, place, word="step"))


def _unknown(name: str, known: Iterable[str], place: Problem, word: str = "name") -> Problem:
    # The place of a `--set` is its message.
    return Problem(
        f"{place.message}unknown {word} `{name}`", place.file, place.line, place.column, nearest(name, known)
    )


def prompt_settings(prompt: Prompt, problems: Problems) -> Mapping[str, Any]:
    """Return a prompt's front matter as settings, checked."""
    from promptkit.engine.spec import SettingsSpec, usable

    keys = {field.alias or name for name, field in SettingsSpec.model_fields.items()} - {"tools", "model"}
    values = {key: value for key, value in prompt.settings.items() if key in keys}
    if "answer" in values:
        values["answer"] = written_labels(values["answer"], lambda path: prompt.text(("answer", *path)))
    spec = usable(values, SettingsSpec, prompt.problem, problems)
    return spec.given() if spec else {}


def prompt_inputs(prompt: Prompt) -> dict[str, Input]:
    """Return a prompt's inputs as those of a pipeline."""
    return {
        name: Input(
            name=name,
            type=spec.type or _type_of(spec),
            about=spec.about,
            example=spec.example,
            has_example=spec.has_example,
            default=spec.default,
            has_default=spec.has_default,
            choices=tuple(spec.choices),
        )
        for name, spec in prompt.inputs.items()
    }


def _type_of(spec: InputSpec) -> InputType:
    """Return the type of an input that is not stated: that of its default or example."""
    value = spec.default if spec.default is not None else spec.example
    kinds: dict[type, InputType] = {bool: "boolean", int: "number", float: "number", list: "list", dict: "json"}
    return kinds.get(type(value), "text")
