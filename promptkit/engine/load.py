"""From a target's name or path to a checked `Pipeline`, or to every problem found in its files.

A file passes through `load_target`, `PromptReader` or `PipelineReader` (the file as a whole), `step_reader` (one step),
and `step_settings` (the settings of a step that asks a model). Sub-pipelines are read in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.engine.inputs import wrong_value
from promptkit.engine.overrides import StepOverrides, read_overrides, report_unknown_steps
from promptkit.engine.pipeline import Case, DependencyCycle, Edge, Input, Pipeline, Step, StepTool, execution_order
from promptkit.engine.scope import (
    INDEX,
    KEYWORDS,
    NAME,
    PREVIOUS,
    RESULT,
    ROUND,
    STEPS,
    CompiledValue,
    Key,
    Location,
    compile_value,
    constant,
    missing_in_lists,
    result_of,
    text_problem,
)
from promptkit.engine.spec import (
    CaseSpec,
    DefaultsSpec,
    InputSpec,
    PipelineSpec,
    Spec,
    StepSpec,
    labels_as_written,
    validate,
)
from promptkit.engine.step_reader import PipelineContext, StepReader, StepTarget, add_role_inputs, prompt_inputs
from promptkit.engine.step_settings import SettingsSource, project_defaults, resolve_model
from promptkit.engine.tool_settings import (
    PipelineTools,
    ToolReader,
    allowed_names,
    declared_name_fault,
    unknown_permission,
)
from promptkit.errors import InputError, Problem, nearest
from promptkit.project import Project
from promptkit.prompts.load import BrokenPrompt, Prompts
from promptkit.prompts.prompt import Prompt
from promptkit.prompts.sandbox import GLOBALS
from promptkit.storage.files import resolved
from promptkit.storage.models import Problems, read_model, read_rest
from promptkit.storage.yaml import Document, load_file
from promptkit.tools.base import Tool
from promptkit.tools.function_schema import takes_of

YAML_SUFFIXES = (".yaml", ".yml")


def load_target(
    target: str | Path, project: Project, *, sets: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> Pipeline:
    """Load a pipeline or a prompt by name or path, with `--set STEP.KEY=VALUE` applied. Sends no request.

    `changes` are overrides as values (`{"STEP.KEY": VALUE}`), and win over `sets`. Raises InputError with every problem
    in the target and in the files that it names.
    """
    path = project.target(target) if isinstance(target, str) else resolved(target)
    problems = Problems()
    changed: dict[str, Any] = {}
    with problems.gather():
        changed = read_overrides(sets, changes)
    state = LoadState(project, problems, Prompts(project), project_defaults(project, problems), ToolReader(project))
    if path.suffix in YAML_SUFFIXES:
        pipeline = load_pipeline(path, state, changed)
    else:
        pipeline = PromptReader(path, state, changed).read()
    problems.check()
    assert pipeline is not None, "a target without problems is a pipeline"
    return pipeline


@dataclass(frozen=True, slots=True)
class LoadState:
    """The state shared by the readers of one target's files. They all add to `problems`."""

    project: Project
    problems: Problems
    prompts: Prompts
    defaults: tuple[SettingsSource, ...]
    tools: ToolReader


def load_pipeline(
    path: Path, state: LoadState, changes: Mapping[str, Any], within: tuple[Path, ...] = ()
) -> Pipeline | None:
    """Load a pipeline file. `within` are the pipeline files that lead to it. None where it is too broken."""
    document: Document | None = None
    with state.problems.gather():
        document = load_file(path)
    return None if document is None else PipelineReader(document, path, state, changes, (*within, path)).read()


class PromptReader:
    """Reads a prompt file as a pipeline of one step."""

    def __init__(self, path: Path, state: LoadState, changes: Mapping[str, Any]) -> None:
        self._path = path
        self._state = state
        self._problems = state.problems
        self._changes = changes

    def read(self) -> Pipeline | None:
        """Return the pipeline, None where the prompt is too broken. It is only valid where no problem was added."""
        with self._problems.gather():
            try:
                prompt = self._state.prompts.load(self._path)
            except BrokenPrompt as broken:
                self._problems.add(broken.problems)
                prompt = broken.prompt
            return self._one_step(prompt)
        return None

    def _one_step(self, prompt: Prompt) -> Pipeline:
        name = "_".join(NAME.findall(prompt.name)) or "prompt"
        inputs = prompt_inputs(prompt)
        for key, declared in inputs.items():
            for given, value in (("example", declared.example), ("default", declared.default)):
                if value is not None and (wrong := wrong_value(declared, value)):
                    self._problems.add(prompt.problem(("inputs", key, given), f"`{given}` {wrong}"))
        report_unknown_steps(self._changes, {name}, self._problems)
        overrides = StepOverrides(name, self._changes.get(name, {}), Location(prompt))
        spec = overrides.apply({"prompt": str(self._path)}, self._problems)
        target = prompt
        if "prompt" in overrides.changes:
            prompt = self._other_prompt(name, overrides.changes["prompt"])
            inputs = prompt_inputs(prompt)
            overrides = StepOverrides(name, overrides.changes, Location(prompt))
        source = SettingsSource(values=spec.given(), location=Location(overrides), folder=self._path.parent)
        context = PipelineContext(
            project=self._state.project,
            file=self._path,
            inputs=frozenset(inputs),
            steps=frozenset(),
            tools=PipelineTools(reader=self._state.tools),
            defaults=self._state.defaults,
        )
        # Each of its inputs is an input of the pipeline, with or without a default.
        reader = StepReader(name, spec, source, context, self._problems)
        step = reader.read(StepTarget(f"prompt `{prompt.name}`", prompt=prompt, takes=dict.fromkeys(inputs, True)))
        return Pipeline(
            name=target.name,
            about=target.about,
            file=self._path,
            project=self._state.project,
            inputs=inputs,
            steps={name: step},
            edges=(),
            output=result_of(name),
            cases=self._cases(target, inputs),
        )

    def _other_prompt(self, step: str, value: Any) -> Prompt:
        """Load the prompt that `--set STEP.prompt=` puts in place of the target's. Raises InputError."""
        if not isinstance(value, str):
            raise InputError(f"--set {step}.prompt: must be the name or path of a prompt")
        return self._state.prompts.load(value, beside=self._path, at=Problem(""))

    def _cases(self, prompt: Prompt, inputs: Mapping[str, Input]) -> tuple[Case, ...]:
        cases = prompt.settings.get("cases") or []
        if not isinstance(cases, list):
            self._problems.add(prompt.problem(("cases",), "`cases` must be a list"))
            return ()
        read: list[Case] = []
        for number, case in enumerate(cases):
            location = Location(prompt, ("cases", number))
            with self._problems.gather():
                read.append(read_case(validate(case, CaseSpec, location.problem), number, inputs, location))
        return tuple(read)


class PipelineReader:
    """Reads one pipeline file. `within` ends with this file."""

    def __init__(
        self, document: Document, path: Path, state: LoadState, changes: Mapping[str, Any], within: tuple[Path, ...]
    ) -> None:
        self._document = document
        self._path = path
        self._state = state
        self._problems = state.problems
        self._changes = changes
        self._within = within
        self._head = _read_head(document, self._problems)

    def read(self) -> Pipeline:
        """Return the pipeline. It is only valid where no problem was added."""
        head = self._head
        inputs, model = self._inputs(), self._model()
        report_unknown_steps(self._changes, head.steps, self._problems)
        context = PipelineContext(
            project=self._state.project,
            file=self._path,
            inputs=frozenset(head.inputs),
            steps=frozenset(head.steps),
            lists=frozenset(
                name for name, step in head.steps.items() if isinstance(step, Mapping) and step.get("for_each")
            ),
            types={name: spec.type for name, spec in inputs.items()},
            tools=self._tools(),
            defaults=(*self._defaults(), *self._state.defaults),
        )
        self._check_names(context)
        edges: list[Edge] = []
        steps = {name: step for name in head.steps if (step := self._step(name, context, edges)) is not None}
        edges = list(dict.fromkeys(edges))
        self._check_allow(context.tools, list(steps.values()))
        return Pipeline(
            name=head.name or self._path.stem,
            about=head.about,
            file=self._path,
            project=self._state.project,
            inputs=inputs,
            steps={name: steps[name] for name in self._order(edges) if name in steps},
            edges=tuple(edges),
            output=self._output(context),
            output_keys=tuple(head.output) if isinstance(head.output, Mapping) else None,
            model=model,
            cases=self._cases(inputs),
            tools=context.tools.declared,
            allow=context.tools.allow,
            tune=head.tune,
        )

    def _problem(self, path: Sequence[Key], message: str, hint: str | None = None) -> Problem:
        return self._document.problem(path, message, hint)

    def _inputs(self) -> dict[str, Input]:
        inputs: dict[str, Input] = {}
        for name, value in self._head.inputs.items():
            spec = InputSpec()
            if value is not None:
                spec = self._part(InputSpec, ("inputs", name), spec)
            inputs[name] = Input(
                name=name,
                type=spec.type,
                about=spec.about,
                example=spec.example,
                has_example="example" in spec.model_fields_set,
                default=spec.default,
                has_default="default" in spec.model_fields_set,
                choices=tuple(spec.choices),
            )
            for key in ("example", "default"):
                value = getattr(spec, key)
                may_be_null = key == "default"  # A null default makes an input optional, as in prompts.
                is_given = key in spec.model_fields_set and not (may_be_null and value is None)
                if is_given and (wrong := wrong_value(inputs[name], value)):
                    self._problems.add(self._problem(("inputs", name, key), f"`{key}` {wrong}"))
        return inputs

    def _part(self, model: type[Spec], path: tuple[Key, ...], instead: Spec) -> Spec:
        return read_rest(self._document, model, self._problems, at=path) or instead

    def _tools(self) -> PipelineTools:
        declared: dict[str, StepTool] = {}
        for name, value in self._head.tools.items():
            if fault := declared_name_fault(name):
                self._problems.add(self._document.problem(("tools", name), fault, key=True))
            try:
                declared[name] = self._state.tools.read(value, self._path.parent, name)
            except InputError as error:
                self._add(error, ("tools", name))
        allow = allowed_names(self._head.allow, declared)
        return PipelineTools(reader=self._state.tools, declared=declared, names=self._head.tools.keys(), allow=allow)

    def _check_allow(self, tools: PipelineTools, steps: Sequence[Step]) -> None:
        """Report entries of `allow` that name nothing."""
        used = {name for step in steps for name in (step.prompt_call.tools if step.prompt_call else ())}
        used |= {step.tool.name for step in steps if step.tool is not None}
        for number, entry in enumerate(self._head.allow):
            if wrong := unknown_permission(entry, {*tools.names, *used}, self._state.project):
                self._problems.add(self._problem(("allow", number), wrong.message, wrong.hint))

    def _add(self, error: InputError, path: Sequence[Key]) -> None:
        for problem in error.problems:
            self._problems.add(problem if problem.file else self._problem(path, problem.message, problem.hint))

    def _defaults(self) -> tuple[SettingsSource, ...]:
        if not self._head.defaults:
            return ()
        spec = self._part(DefaultsSpec, ("defaults",), DefaultsSpec())

        return (
            SettingsSource(
                values=spec.given(), location=Location(self._document, ("defaults",)), folder=self._path.parent
            ),
        )

    def _check_names(self, context: PipelineContext) -> None:
        """Report names that no expression can contain, and names with two meanings."""
        places: list[tuple[tuple[Key, ...], str]] = [(("inputs", name), name) for name in self._head.inputs]
        places += [(("steps", name), name) for name in self._head.steps]
        for path, name in places:
            if not NAME.fullmatch(name) or name in KEYWORDS:
                hint = "a name has letters, digits and `_`"
                self._problems.add(self._document.problem(path, f"`{name}` is not a name", hint, key=True))
            elif name in GLOBALS or name in (STEPS, INDEX, PREVIOUS, ROUND, RESULT):
                message = f"`{name}` means something else in every expression"
                self._problems.add(self._document.problem(path, message, "take another name", key=True))
        for name in sorted(context.inputs & context.steps):
            message = f"`{name}` is an input and a step: one name must mean one thing"
            self._problems.add(self._document.problem(("steps", name), message, key=True))

    def _model(self) -> str | None:
        if self._head.model is not None:
            try:
                return resolve_model(self._head.model, self._path.parent, self._state.project)
            except InputError as error:
                self._add(error, ("model",))
        return None

    def _check_item_names(self, name: str, spec: StepSpec, context: PipelineContext) -> None:
        several = isinstance(spec.for_each, Mapping)
        names = list(spec.for_each) if several else [spec.as_] if spec.as_ else []
        for item in names:
            path = ("steps", name, "for_each", item) if several else ("steps", name, "as")
            if not NAME.fullmatch(item) or item in KEYWORDS:
                self._problems.add(self._problem(path, f"`{item}` is not a name", "a name has letters, digits and `_`"))
            elif item in context.inputs | context.steps:
                what = "an input" if item in context.inputs else "a step"
                self._problems.add(self._problem(path, f"`{item}` is {what} already: one name must mean one thing"))
            elif item in GLOBALS or item in (STEPS, INDEX, PREVIOUS, ROUND, RESULT):
                self._problems.add(
                    self._problem(path, f"`{item}` means something else in every expression", "take another name")
                )

    def _step(self, name: str, context: PipelineContext, edges: list[Edge]) -> Step | None:
        path = ("steps", name)
        with self._problems.gather():
            spec = read_rest(self._document, StepSpec, self._problems, at=path)
            if spec is None:
                return None
            changes, inner = _split_overrides(spec, self._changes.get(name, {}))
            answer = labels_as_written(spec.answer, lambda below: self._document.text((*path, "answer", *below)))
            overrides = StepOverrides(name, changes, Location(self._document, path))
            spec = overrides.apply({**spec.given(), **({"answer": answer} if answer else {})}, self._problems)
            self._check_item_names(name, spec, context)
            target = self._target(name, spec, context, inner)
            if target is None:
                return None
            values = spec.given()
            if target.prompt and target.takes is None:
                values.pop("examples", None)  # they cannot be checked without the prompt
            source = SettingsSource(values=values, location=Location(overrides), folder=self._path.parent)
            reader = StepReader(name, spec, source, context, self._problems, edges)
            return reader.read(target)
        return None

    def _target(
        self, name: str, spec: StepSpec, context: PipelineContext, inner: Mapping[str, Any]
    ) -> StepTarget | None:
        path = ("steps", name)
        if spec.prompt is not None:
            prompt = self._prompt(spec.prompt, (*path, "prompt"))
            if prompt is None:
                return StepTarget("prompt", prompt=self._state.prompts.inline("none", self._document, path))
            if prompt.file is None:
                given = {*spec.with_, *context.inputs, *context.steps, *([spec.as_] if spec.as_ else [])}
                prompt = add_role_inputs(prompt, spec.technique or context.technique, given, context.project)
            takes = {key: not needed.has_default for key, needed in prompt.inputs.items()}
            return StepTarget(f"prompt `{prompt.name}`", prompt=prompt, takes=takes)
        if spec.tool is not None:
            return self._tool_target(spec.tool, (*path, "tool"), context.tools)
        inside = self._inner_pipeline(str(spec.pipeline), (*path, "pipeline"), inner)
        if inside is None:
            return None
        takes = {key: not needed.has_default for key, needed in inside.inputs.items()}
        return StepTarget(f"pipeline `{inside.name}`", pipeline=inside, takes=takes)

    def _tool_target(self, name: str, path: tuple[Key, ...], tools: PipelineTools) -> StepTarget | None:
        try:
            found = tools.find(name, self._path.parent)
        except InputError as error:
            self._add(error, path)
            return None
        if found is None:
            return None
        if refused := tools.refused(found):
            self._problems.add(self._problem(path, *refused))
        if isinstance(found.tool, Tool):
            return StepTarget(f"tool `{name}`", tool=found, takes=takes_of(found.tool.parameters))
        if found.name == found.tool.name:
            hint = f"write `{found.name}/TOOL`; promptkit tools list {found.name} shows them"
            self._problems.add(self._problem(path, f"a step calls one tool, and `{found.name}` has several", hint))
        return StepTarget(f"tool `{name}`", tool=found)

    def _prompt(self, value: Any, path: tuple[Key, ...]) -> Prompt | None:
        """Return the step's prompt, or the valid part of a broken one; None where there is none."""
        prompts = self._state.prompts
        try:
            if isinstance(value, str) and (value.endswith(".j2") or not any(sign in value for sign in " \n{")):
                return prompts.load(value, beside=self._path, at=self._problem(path, ""))
            return prompts.inline(value, self._document, path)
        except BrokenPrompt as broken:
            self._problems.add(broken.problems)
            return broken.prompt
        except InputError as error:
            self._problems.add(error.problems)
            return None

    def _inner_pipeline(self, name: str, path: tuple[Key, ...], changes: Mapping[str, Any]) -> Pipeline | None:
        project = self._state.project
        try:
            file = project.find_pipeline(name, beside=self._path)
        except InputError as error:
            self._add(InputError([Problem(problem.message, hint=problem.hint) for problem in error.problems]), path)
            return None
        if file is None:
            hint = nearest(name, project.names("pipelines"))
            self._problems.add(self._problem(path, f"unknown pipeline `{name}`", hint))
            return None
        if file in self._within:
            circle = " → ".join(f"`{path.stem}`" for path in (*self._within[self._within.index(file) :], file))
            self._problems.add(self._problem(path, f"pipelines use each other in a circle: {circle}"))
            return None
        return load_pipeline(file, self._state, changes, self._within)

    def _order(self, edges: Sequence[Edge]) -> list[str]:
        try:
            return execution_order(self._head.steps, edges)
        except DependencyCycle as cycle:
            reasons = {(edge.step, edge.needs): edge.reason for edge in reversed(edges)}
            pairs = zip(cycle.steps, cycle.steps[1:], strict=False)
            needs = "; ".join(f"`{one}` needs `{other}` ({reasons[one, other]})" for one, other in pairs)
            path = ("steps", cycle.steps[0])
            self._problems.add(self._document.problem(path, f"steps need each other in a circle: {needs}", key=True))
            return list(self._head.steps)

    def _output(self, context: PipelineContext) -> CompiledValue:
        if self._head.output is None:
            return result_of(list(self._head.steps)[-1]) if self._head.steps else constant(None)
        known = context.inputs | context.steps

        value = compile_value(self._head.output, Location(self._document, ("output",)), self._problems)
        for text in value.texts:
            self._problems.add(missing_in_lists(text, context.lists))
            for name in sorted((text.names - known) | (text.statuses - context.steps)):
                self._problems.add(text_problem(text, f"unknown name `{name}`", nearest(name, known)))
        return value

    def _cases(self, inputs: Mapping[str, Input]) -> tuple[Case, ...]:
        cases: list[Case] = []
        for number in range(len(self._head.cases)):
            with self._problems.gather():
                spec = read_model(self._document, CaseSpec, at=("cases", number))
                cases.append(read_case(spec, number, inputs, Location(self._document, ("cases", number))))
        return tuple(cases)


def read_case(spec: CaseSpec, number: int, inputs: Mapping[str, Input], location: Location) -> Case:
    """Check a case and return it. Raises InputError."""
    problems = Problems()
    for name, value in spec.inputs.items():
        if name not in inputs:
            problems.add(location.problem(("inputs", name), f"unknown input `{name}`", nearest(name, inputs)))
        elif wrong := wrong_value(inputs[name], value):
            problems.add(location.problem(("inputs", name), f"`{name}` {wrong}"))
    for name, needed in inputs.items():
        if name not in spec.inputs and not needed.has_default:
            problems.add(location.problem(("inputs",), f"the case has no input `{name}`"))
    problems.check()
    return Case(
        name=spec.name or f"case {number + 1}",
        inputs=spec.inputs,
        expect=spec.expect,
        has_expect="expect" in spec.model_fields_set,
    )


def _read_head(document: Document, problems: Problems) -> PipelineSpec:
    """Read the top level, or the valid part of it, so that the steps are checked in any case."""
    with problems.gather():
        return read_model(document, PipelineSpec)
    raw = document.value if isinstance(document.value, Mapping) else {}
    kinds = {name: Mapping for name in ("inputs", "defaults", "steps", "tools")} | {"cases": list, "output": object}
    usable = {key: raw[key] for key, kind in kinds.items() if key in raw and isinstance(raw[key], kind)}
    return PipelineSpec.model_construct(**{"steps": {}, **usable})


def _split_overrides(spec: StepSpec, changes: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split overrides into those of the step itself and those of the steps of its sub-pipeline."""
    keys = {field.alias or name for name, field in StepSpec.model_fields.items()}
    inner = {key: value for key, value in changes.items() if spec.pipeline and key not in keys}
    return {key: value for key, value in changes.items() if key not in inner}, inner
