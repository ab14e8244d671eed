"""One step, from its YAML to a `Step`: names checked, inputs filled, expressions compiled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptkit.engine.pipeline import Edge, ForEach, Guard, Input, OnError, Pipeline, PromptCall, Repeat, Step, StepTool
from promptkit.engine.scope import (
    INDEX,
    PREVIOUS,
    RESULT,
    ROUND,
    CompiledText,
    CompiledValue,
    Key,
    Location,
    compile_value,
    missing_in_lists,
    path_of_argument,
)
from promptkit.engine.spec import InputType, SettingsSpec, StepSpec, labels_as_written, validate_usable
from promptkit.engine.step_settings import SettingsResolver, SettingsSource
from promptkit.engine.tool_settings import PipelineTools
from promptkit.errors import InputError, Problem, nearest
from promptkit.project import Project
from promptkit.prompts.front_matter import PromptInput
from promptkit.prompts.prompt import Prompt
from promptkit.prompts.sandbox import GLOBALS
from promptkit.storage.models import Problems
from promptkit.techniques.roles import SECTION
from promptkit.techniques.spec import configure, with_nested

SINGLE_VALUE_TYPES = ("text", "number", "boolean")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineContext:
    """The surroundings of a step: the pipeline's names and tools, and the settings that come after the step's own.

    `file` is the pipeline's, or the prompt's where that is the target. `lists` are the steps with a `for_each`, `types`
    the types of the inputs.
    """

    project: Project
    file: Path
    inputs: frozenset[str]
    steps: frozenset[str]
    lists: frozenset[str] = frozenset()
    types: Mapping[str, str] = field(default_factory=dict)
    tools: PipelineTools
    defaults: tuple[SettingsSource, ...]

    @property
    def technique(self) -> Any:
        """The technique of steps that name none."""
        return next((found for source in self.defaults if (found := source.values.get("technique"))), None)


@dataclass(frozen=True, slots=True)
class StepTarget:
    """The prompt, tool or pipeline that a step uses. `takes` maps its inputs to whether they are required.

    With `takes` None any argument may be given.
    """

    word: str
    prompt: Prompt | None = None
    tool: StepTool | None = None
    pipeline: Pipeline | None = None
    takes: Mapping[str, bool] | None = None


@dataclass(slots=True)
class StepReader:
    """Reads one step. Adds problems to `problems`, and the steps that it needs to `edges`."""

    name: str
    spec: StepSpec
    source: SettingsSource
    context: PipelineContext
    problems: Problems
    edges: list[Edge] = field(default_factory=list)

    def read(self, target: StepTarget) -> Step:
        """Return the step. It is only valid where nothing was added to `problems`."""
        spec, items = self.spec, self._item_names()
        local = frozenset(items) | ({INDEX} if items else set()) | ({PREVIOUS, ROUND} if spec.repeat else set())
        arguments = {key: self._compile(("with", key), value, local) for key, value in spec.with_.items()}
        filled = self._fill(target, items, local)
        when = None if spec.when is None else self._compile(("when",), spec.when, local, bare=True)
        resolver = self._resolver(target)
        for after in spec.after:
            self._edge(after, "after", self.location.problem(("after",), ""))
        return Step(
            name=self.name,
            place=self.location.problem((), ""),
            about=spec.about,
            prompt_call=self._prompt_call(resolver, target.prompt, local, filled) if target.prompt else None,
            tool=target.tool,
            pipeline=target.pipeline,
            allow=self.context.tools.allow,
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

    @property
    def location(self) -> Location:
        """The place of the step."""
        return self.source.location

    def _resolver(self, target: StepTarget) -> SettingsResolver:
        sources = [self.source]
        if target.prompt:
            prompt = target.prompt
            folder = prompt.file.parent if prompt.file else self.source.folder
            values = prompt_settings(prompt, self.problems)
            sources.append(SettingsSource(values=values, location=Location(prompt), folder=folder, is_prompt=True))
        return SettingsResolver(self.context.project, (*sources, *self.context.defaults), self.problems)

    def _prompt_call(
        self, resolver: SettingsResolver, prompt: Prompt, local: frozenset[str], filled: tuple[str, ...]
    ) -> PromptCall:
        answer = resolver.answer()
        if answer.in_prompt:
            for text in answer.texts:
                self._check_known(text, frozenset(prompt.inputs), prompt.inputs)
        else:
            self._check_names(answer.texts, "answer", local)
        sources: dict[str, tuple[str, ...]] = {name: (name,) for name in filled}
        sources |= {name: path for name, value in self.spec.with_.items() if (path := path_of_argument(value))}
        inputs = {name: self._typed(spec, sources.get(name, ())) for name, spec in prompt.inputs.items()}
        home = self.context.file.parent / f"{self.context.file.stem}.{self.name}"
        return resolver.prompt_call(prompt, answer, tools=self.context.tools, sources=sources, inputs=inputs, home=home)

    def _typed(self, spec: PromptInput, source: tuple[str, ...]) -> PromptInput:
        """Return an input of the prompt; one without a type gets that of the pipeline's input that fills it."""
        kind = self.context.types.get(source[0]) if len(source) == 1 else None
        return replace(spec, type=kind) if kind and spec.type is None else spec

    def _item_names(self) -> tuple[str, ...]:
        spec = self.spec
        if isinstance(spec.for_each, Mapping):
            return tuple(spec.for_each)
        return (spec.as_,) if spec.as_ else ()

    def _loop(self, items: tuple[str, ...]) -> ForEach | None:
        spec = self.spec
        if spec.for_each is None:
            return None
        self._check_lists(spec.for_each)
        if isinstance(spec.for_each, Mapping):
            lists = {
                name: self._compile(("for_each", name), value, frozenset(), bare=True)
                for name, value in spec.for_each.items()
            }
            return ForEach(lists, is_single=False)
        return ForEach({items[0]: self._compile(("for_each",), spec.for_each, frozenset(), bare=True)}, is_single=True)

    def _check_lists(self, given: Any) -> None:
        """Report an input of a single value where `for_each` needs a list."""
        for name, text in given.items() if isinstance(given, Mapping) else [("", given)]:
            bare = text.strip().removeprefix("{{").removesuffix("}}").strip() if isinstance(text, str) else ""
            if self.context.types.get(bare) in SINGLE_VALUE_TYPES:
                message = f"`for_each` needs a list, and the input `{bare}` is a {self.context.types[bare]}"
                hint = f"`inputs: {{{bare}: {{type: list}}}}`"
                self.problems.add(self.location.problem(("for_each", name) if name else ("for_each",), message, hint))

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

    def _fill(self, target: StepTarget, items: tuple[str, ...], local: frozenset[str]) -> tuple[str, ...]:
        """Return the inputs that are filled by name. Report inputs that nothing fills, and arguments for none."""
        given, takes = self.spec.with_, target.takes
        if takes is None:
            return ()
        for key in given:
            if key not in takes:
                problem = self.location.problem(
                    ("with", key), f"{target.word} has no input `{key}`", nearest(key, takes)
                )
                self.problems.add(problem)
        if target.tool:
            self._report_missing(target, (name for name, required in takes.items() if required and name not in given))
            return ()
        filled = [name for name in takes if name in items and name not in given]
        for name, required in takes.items():
            if not required or name in given or name in items:
                continue
            if name in self.context.inputs | self.context.steps | local:
                filled.append(name)
                if name in self.context.steps:
                    self.edges.append(Edge(self.name, name, f"input {name}"))
            else:
                self._report_missing(target, (name,))
        return tuple(filled)

    def _report_missing(self, target: StepTarget, names: Iterable[str]) -> None:
        for name in names:
            close = nearest(name, self.context.inputs | self.context.steps)
            hint = f"give it by `with: {{{name}: …}}`"
            if close and close.startswith("did") and not target.tool:
                hint = f"{close} Else {hint}"
            message = f"nothing gives the input `{name}` of {target.word}"
            self.problems.add(self.location.problem((), message, hint))

    def _compile(
        self, path: tuple[Key, ...], value: Any, local: frozenset[str], *, bare: bool = False
    ) -> CompiledValue:
        """Compile a value of the step, which may read `local` besides the pipeline's names."""
        compiled = compile_value(value, self.location.below(*path), self.problems, bare=bare)
        self._check_names(compiled.texts, ".".join(map(str, path)), local)
        return compiled

    def _check_names(self, texts: Iterable[CompiledText], reason: str, local: frozenset[str]) -> None:
        """Report unknown names in expressions of the step, and add an edge to each step that they read."""
        context = self.context
        known = context.inputs | context.steps | local
        for text in texts:
            self._check_known(text, known, known | GLOBALS)
            self.problems.add(missing_in_lists(text, context.lists - local))
            self.edges += [Edge(self.name, name, reason) for name in sorted((text.names & context.steps) - local)]
            for name in sorted(text.statuses):
                self._edge(name, f"{reason} (steps.{name})", text.place)

    def _check_known(self, text: CompiledText, known: frozenset[str], near: Iterable[str]) -> None:
        for name in sorted(text.names - known):
            self.problems.add(_unknown_name(name, near, text.place))

    def _edge(self, step: str, reason: str, place: Problem) -> None:
        """Add an edge to a step that is named explicitly."""
        if step in self.context.steps:
            self.edges.append(Edge(self.name, step, reason))
        else:
            self.problems.add(_unknown_name(step, self.context.steps, place, word="step"))


def _unknown_name(name: str, known: Iterable[str], place: Problem, word: str = "name") -> Problem:
    # The place of a `--set` option is the start of its message.
    return replace(place, message=f"{place.message}unknown {word} `{name}`", hint=nearest(name, known))


def prompt_settings(prompt: Prompt, problems: Problems) -> Mapping[str, Any]:
    """Return a prompt's front matter as checked settings."""
    keys = {field.alias or name for name, field in SettingsSpec.model_fields.items()} - {"tools", "model"}
    values = {key: value for key, value in prompt.settings.items() if key in keys}
    if "answer" in values:
        values["answer"] = labels_as_written(values["answer"], lambda path: prompt.text(("answer", *path)))
    spec = validate_usable(values, SettingsSpec, prompt.problem, problems)
    return spec.given() if spec else {}


def prompt_inputs(prompt: Prompt) -> dict[str, Input]:
    """Return a prompt's inputs as inputs of a pipeline."""
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


def _type_of(spec: PromptInput) -> InputType:
    """Return the type of an untyped input, from its default or example."""
    value = spec.default if spec.default is not None else spec.example
    kinds: dict[type, InputType] = {bool: "boolean", int: "number", float: "number", list: "list", dict: "json"}
    return kinds.get(type(value), "text")


def add_role_inputs(prompt: Prompt, technique: Any, given: Collection[str], project: Project) -> Prompt:
    """Return an inline prompt with an input for each role of its technique that is among `given`.

    An inline prompt has no front matter to name the inputs that only a technique reads, its own or one beneath it.
    `given` are the names that the step could fill them from. The question is left out unless the step binds it: the
    prompt's own input section is then the question. A broken technique is reported where it is checked.
    """
    if technique is None:
        return prompt
    try:
        chain = list(with_nested(configure(technique, project), project))
    except InputError:
        return prompt
    roles = [(link, role) for link in chain for role in link.technique.roles]
    names = [link.roles.get(role.name, role.name if role.name != SECTION else "") for link, role in roles]
    return replace(prompt, inputs={**{name: PromptInput() for name in names if name in given}, **prompt.inputs})
