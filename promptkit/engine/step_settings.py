"""The settings of a step that asks a model, each taken from the first source that gives it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.answers.build import build_answer_type as build_answer
from promptkit.answers.build import check_answer_type as check_answer
from promptkit.answers.calibration import check_calibration
from promptkit.answers.head import head_file
from promptkit.engine.heads import undecidable_by_head
from promptkit.engine.pipeline import PromptCall
from promptkit.engine.scope import CompiledText, CompiledValue, Key, Location, RowAnswer, Unplaced, compile_value
from promptkit.engine.spec import DefaultsSpec, OptionsSpec, ProgramsSpec, validate_usable
from promptkit.engine.step_rows import expected_value
from promptkit.engine.tool_settings import PipelineTools
from promptkit.errors import InputError, Problem, nearest
from promptkit.project import Project
from promptkit.project_code.reference import is_project_code
from promptkit.prompts.examples import Examples, read_examples
from promptkit.prompts.front_matter import PromptInput
from promptkit.prompts.prompt import Example, Prompt
from promptkit.runtimes.references import parse_reference
from promptkit.storage.files import resolved
from promptkit.storage.models import Problems
from promptkit.techniques.artifacts import artifact_file
from promptkit.techniques.context import Options
from promptkit.techniques.spec import call_names, configure, model_references, with_nested
from promptkit.techniques.spec import check_spec as check_technique
from promptkit.techniques.thinking import Think, read_think
from promptkit.techniques.warning_names import wrong_names
from promptkit.tools.base import Tool, Toolset

SCORABLE_TYPES = ("label", "choice", "boolean")
MAX_WRONG_EXAMPLES = 20  # a file may hold thousands
WITH_TOOLS = "function_calling"
"""The technique of a step that names tools and no technique."""
_EXAMPLE_FILES = ("file", "from")
"""The keys of `examples:` that may name a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsSource:
    """A source of settings: a step, a prompt's front matter, `defaults:` or `promptkit.yaml`."""

    values: Mapping[str, Any]
    location: Location
    folder: Path
    is_prompt: bool = False


@dataclass(frozen=True, slots=True)
class ChosenSetting:
    """A setting, with the source that it comes from."""

    value: Any
    source: SettingsSource

    def problem(self, key: str, message: str, hint: str | None = None, path: Sequence[Key] = ()) -> Problem:
        return self.source.location.problem((key, *path), message, hint)


@dataclass(frozen=True, slots=True)
class AnswerSetting:
    """`answer:`, built, or compiled where its expressions make one for each row. `texts` are these expressions.

    With `in_prompt` it is in the prompt's front matter, where expressions read the prompt's inputs.
    """

    name: str
    value: AnswerType | CompiledValue
    texts: tuple[CompiledText, ...] = ()
    in_prompt: bool = False


def first_setting(sources: Sequence[SettingsSource], key: str) -> ChosenSetting | None:
    """Return the value of `key` in the first source that gives it."""
    return next(
        (ChosenSetting(source.values[key], source) for source in sources if source.values.get(key) is not None), None
    )


def artifact_files(spec: Any, project: Project, home: Path) -> dict[str, Path]:
    """Return the artifact file of each technique that is prepared, of a step's technique and those beneath it.

    `home` is the start of the files' paths. An invalid `spec` has none.
    """
    try:
        found = [link.technique for link in with_nested(configure(spec, project), project)]
    except InputError:
        return {}
    return {
        technique.name: artifact_file(home.parent, home.name, technique.name)
        for technique in found
        if technique.prepare
    }


def resolve_model(text: str, folder: Path, project: Project) -> str:
    """Return a model reference of a file in `folder`, its path resolved. Raises InputError where it is invalid or
    leaves the root.
    """
    named = parse_reference(text)
    if named.is_local:
        path, hint = folder / named.path, "name it in promptkit.yaml, or by --model"
        if not project.inside(path):
            raise InputError(f"`{text}` leaves the project's root", hint=hint)
        if named.function and not is_project_code(path, project):
            raise InputError(f"`{text}` is of an installed package, not of the project", hint=hint)
    return named.beside(folder).text


class SettingsResolver:
    """Resolves the settings of one step. Adds problems to `problems`."""

    def __init__(self, project: Project, sources: Sequence[SettingsSource], problems: Problems) -> None:
        self._project = project
        self._sources = sources
        self._problems = problems

    def prompt_call(
        self,
        prompt: Prompt,
        answer: AnswerSetting,
        *,
        tools: PipelineTools,
        sources: Mapping[str, tuple[str, ...]],
        inputs: Mapping[str, PromptInput],
        home: Path,
    ) -> PromptCall:
        """Return everything that a step asks by.

        `sources` maps an input of the prompt to the path in the step's scope that fills it. `inputs` are the prompt's,
        typed by what fills them. `home` is the start of the paths of the step's artifacts.
        """
        if isinstance(answer.value, AnswerType):
            answer_type: AnswerType | RowAnswer = answer.value
        else:
            paths = {name: (name,) for name in prompt.inputs} if answer.in_prompt else sources
            answer_type = RowAnswer(answer.value, paths, self._project)
        technique = self._technique(inputs)
        by_head = self._decided_by_head(answer, technique.value)
        examples = self._examples(prompt, answer_type)
        self._check_outputs(examples.all, answer_type)
        return PromptCall(
            prompt=prompt,
            answer=answer_type,
            answer_in_prompt=answer.in_prompt,
            answer_name=answer.name,
            technique=technique.value,
            technique_folder=technique.source.folder,
            inputs=inputs,
            artifacts=artifact_files(technique.value, self._project, home),
            home=home.name,
            decide=self._get("otherwise" if by_head else "decide", "constrain"),
            # Training leaves a head beside the pipeline, under this name.
            head=(self._trained_file("head") or head_file(home)) if by_head else None,
            layout=self._layout(),
            messages=self._get("messages", "one"),
            cue=self._get("cue", None),
            calibrate=self._calibrate(),
            examples=examples,
            options=self._options(),
            programs=self._get("programs", ProgramsSpec()).backend,
            tools=self._tools(tools),
            data=self._data(),
            models=self._call_models(technique),
            references=(*self._references(technique), *_embedders(examples)),
            strict=self._strict(),
            adapter=self._trained_file("adapter"),
        )

    def answer(self) -> AnswerSetting:
        """Return the step's answer type. The caller checks the names in its expressions."""
        chosen = first_setting(self._sources, "answer")
        name = _answer_name(chosen)
        self._check_scored(name)
        if chosen is None:
            return AnswerSetting("text", build_answer("text"))
        in_prompt = chosen.source.is_prompt
        wrong = check_answer(chosen.value, self._project)
        self._problems.add(chosen.problem("answer", message) for message in wrong)
        problems = Problems()
        value = compile_value(chosen.value, chosen.source.location.below("answer"), problems)
        self._problems.add(problems.found)
        if problems.found:
            return AnswerSetting(name, build_answer("text"), value.texts, in_prompt)
        if wrong or value.names:
            return AnswerSetting(name, value, value.texts, in_prompt)
        try:
            return AnswerSetting(name, build_answer(chosen.value, self._project), value.texts, in_prompt)
        except InputError as error:
            self._add(chosen, "answer", error)
            return AnswerSetting(name, build_answer("text"), value.texts, in_prompt)

    def model(self) -> str | None:
        """Return the checked model reference."""
        chosen = first_setting(self._sources, "model")
        if chosen is None:
            return None
        try:
            return resolve_model(chosen.value, chosen.source.folder, self._project)
        except InputError as error:
            self._add(chosen, "model", error)
            return None

    def _trained_file(self, key: str) -> Path | None:
        """Return the file that the setting `adapter` or `head` names; a path outside the project is reported.

        A file that is not there is reported by `check` and before a run.
        """
        chosen = first_setting(self._sources, key)
        if chosen is None:
            return None
        file = chosen.source.folder / chosen.value
        if not self._project.inside(file):
            hint = "copy it beside the pipeline"
            self._problems.add(chosen.problem(key, f"the path `{chosen.value}` leaves the project", hint))
            return None
        return resolved(file)

    def _call_models(self, technique: ChosenSetting) -> dict[str, str]:
        """Return the models of calls that the step names, their paths resolved."""
        chosen = first_setting(self._sources, "models")
        if chosen is None or not chosen.value:
            return {}
        found = {}
        with suppress(InputError):  # An unknown technique is reported elsewhere.
            known = call_names(configure(technique.value, self._project), self._project)
            for call, reference in chosen.value.items():
                if call not in known:
                    message = f"the step's technique has no call `{call}`"
                    self._problems.add(chosen.problem("models", message, nearest(call, known), path=(call,)))
                    continue
                try:
                    found[call] = resolve_model(reference, chosen.source.folder, self._project)
                except InputError as error:
                    self._problems.add(
                        chosen.problem("models", problem.message, problem.hint, path=(call,))
                        for problem in error.problems
                    )
        return found

    def _references(self, technique: ChosenSetting) -> tuple[str, ...]:
        """Return the models that the technique's parameters name, their paths resolved."""
        found: list[str] = []
        with suppress(InputError):
            references = model_references(configure(technique.value, self._project), self._project)
            for reference in references:
                try:
                    found.append(resolve_model(reference, technique.source.folder, self._project))
                except InputError as error:
                    self._add(technique, "technique", error)
        return tuple(found)

    def _get(self, key: str, default: Any) -> Any:
        chosen = first_setting(self._sources, key)
        return default if chosen is None else chosen.value

    def _add(self, chosen: ChosenSetting, key: str, error: InputError, path: Sequence[Key] = ()) -> None:
        for problem in error.problems:
            self._problems.add(problem if problem.file else chosen.problem(key, problem.message, problem.hint, path))

    def _check_scored(self, name: str) -> None:
        """Report `decide: score` and `head` for an answer type without a closed set of answers."""
        decide = first_setting(self._sources, "decide")
        if decide and decide.value in ("score", "head") and name not in SCORABLE_TYPES:
            hint = f"`{decide.value}` is for {', '.join(SCORABLE_TYPES)}"
            verb = "scored" if decide.value == "score" else "decided by a head"
            self._problems.add(decide.problem("decide", f"an answer of the type `{name}` cannot be {verb}", hint))

    def _decided_by_head(self, answer: AnswerSetting, technique: Any) -> bool:
        """Tell whether a head decides the answer; report one whose labels differ by row, or that would not see all."""
        decide = first_setting(self._sources, "decide")
        if decide is None or decide.value != "head":
            return False
        if not isinstance(answer.value, AnswerType):
            message = "a head has fixed labels, and those of this answer differ by row"
            self._problems.add(decide.problem("decide", message, "set `decide: score` or `constrain`"))
        elif (name := undecidable_by_head(technique, self._project)) is not None:
            hint = "leave out `technique:`, or set `decide: constrain`"
            message = f"technique `{name}` thinks or asks several times, and a head decides a prompt that is sent once"
            self._problems.add(decide.problem("decide", message, hint))
        return True

    def _strict(self) -> frozenset[str]:
        """Return the warnings that are errors of the step; unknown ones are reported."""
        chosen = first_setting(self._sources, "strict")
        if chosen is None:
            return frozenset()
        for problem in wrong_names(chosen.value, self._project):
            self._problems.add(chosen.problem("strict", problem.message, problem.hint))
        return frozenset(chosen.value)

    def _technique(self, inputs: Mapping[str, PromptInput]) -> ChosenSetting:
        chosen = first_setting(self._sources, "technique")
        if chosen is None:
            return ChosenSetting(WITH_TOOLS if self._get("tools", None) else "vanilla", self._sources[0])
        for problem in check_technique(chosen.value, self._project, inputs, chosen.source.folder):
            placed = chosen.problem("technique", problem.message, problem.hint)
            self._problems.add(problem if problem.file else placed)
        return chosen

    def _layout(self) -> str | Path:
        chosen = first_setting(self._sources, "layout")
        name = chosen.value if chosen else "xml"
        if chosen and name.endswith(".j2"):
            file = resolved(chosen.source.folder / name)
            if os.path.isfile(file) and self._project.inside(file):
                return file
            if not self._project.inside(file):
                self._problems.add(chosen.problem("layout", f"the path `{name}` leaves the project"))
                return name
        try:
            found = self._project.find_template("layouts", name)
        except InputError as error:
            assert chosen is not None, "the name of the usual layout is right"
            self._add(chosen, "layout", error)
            return name
        if found is None and chosen:
            hint = nearest(name, self._project.names("layouts"))
            self._problems.add(chosen.problem("layout", f"unknown layout `{name}`", hint))
        return found or name

    def _calibrate(self) -> Mapping[str, Any] | None:
        chosen = first_setting(self._sources, "calibrate")
        if chosen is None:
            return None
        for message in check_calibration(chosen.value):
            self._problems.add(chosen.problem("calibrate", message))
        if not chosen.value.get("offsets"):
            hint = "`promptkit tune` finds the offsets and writes them down"
            self._problems.add(chosen.problem("calibrate", "`calibrate` has no `offsets`", hint))
        return chosen.value  # type: ignore[no-any-return]

    def _check_outputs(self, examples: Sequence[Example], answer: AnswerType | RowAnswer) -> None:
        """Report examples whose output is not an answer of the step's type, where the type is known."""
        chosen = first_setting(self._sources, "examples")
        wrong = 0
        for example in examples:
            answer_type = answer if isinstance(answer, AnswerType) else answer.fixed(example)
            try:
                if answer_type is not None:
                    answer_type.write(example.output)
            except ValueError as error:
                assert chosen is not None, "examples come from somewhere"
                message = f"the output of example {example.number} is not an answer: {error}"
                if isinstance(chosen.value, Mapping) and example.place is not None:
                    problem = replace(example.place, message=message)
                else:
                    below = ("from",) if isinstance(chosen.value, Mapping) else ()
                    problem = chosen.problem("examples", message, path=(*below, example.number - 1, "output"))
                self._problems.add(self._refused(problem))
                wrong += 1
                if wrong == MAX_WRONG_EXAMPLES:
                    return

    def _refused(self, example: Problem) -> Problem:
        """Return the problem of an example's output, placed at `--set` where that option changed the answer type."""
        answer = first_setting(self._sources, "answer")
        typed = answer.problem("answer", example.message) if answer else example
        if typed.file is not None or example.file is None:
            return example
        return replace(typed, hint=f"the example is in {example.file}, line {example.line}")

    def _examples(self, prompt: Prompt, answer: AnswerType | RowAnswer) -> Examples:
        chosen = first_setting(self._sources, "examples")
        if chosen is None:
            return Examples()
        spec = chosen.value
        for key in _EXAMPLE_FILES if isinstance(spec, Mapping) and not chosen.source.is_prompt else ():
            if isinstance(spec.get(key), str):
                file = chosen.source.folder / spec[key]
                if not self._project.inside(file):
                    message = f"the path `{spec[key]}` leaves the project"
                    self._problems.add(chosen.problem("examples", message, path=(key,)))
                    return Examples()
                spec = {**spec, key: str(resolved(file))}
        try:
            spec = None if chosen.source.is_prompt else spec
            examples = read_examples(prompt, spec, read_output=partial(_output, answer))
            return self._with_embedder(examples, chosen)
        except InputError as error:
            self._add(chosen, "examples", error)
            return Examples()

    def _with_embedder(self, examples: Examples, chosen: ChosenSetting) -> Examples:
        """Return examples with the path of the model that embeds them resolved, if they name one."""
        nearest = examples.nearest
        if nearest is None or nearest.model is None:
            return examples
        model = resolve_model(nearest.model, chosen.source.folder, self._project)
        return replace(examples, nearest=replace(nearest, model=model))

    def _data(self) -> tuple[Path, ...]:
        """Return the file of the examples; of a pool that names no source, the file of the prompt's own examples."""
        chosen = first_setting(self._sources, "examples")
        if chosen and isinstance(chosen.value, Mapping) and not chosen.value.keys() & set(_EXAMPLE_FILES):
            chosen = first_setting([source for source in self._sources if source.is_prompt], "examples")
        if chosen is None or not isinstance(chosen.value, Mapping):
            return ()
        named = [chosen.value[key] for key in _EXAMPLE_FILES if isinstance(chosen.value.get(key), str)]
        return tuple(resolved(chosen.source.folder / file) for file in named)

    def _options(self) -> Options:
        given: dict[str, Any] = {}
        for source in reversed(self._sources):
            options = source.values.get("options")
            given.update(options.given() if isinstance(options, OptionsSpec) else {})
        if "stop" in given:
            given["stop"] = tuple(given["stop"])
        given.pop("think", None)
        return Options(**given, think=self._think())

    def _think(self) -> Think:
        """Return the step's `think`, of each source its own key before that in `options`."""
        for source in self._sources:
            options = source.values.get("options")
            older = options.given().get("think") if isinstance(options, OptionsSpec) else None
            value = source.values.get("think")
            if value is not None or older is not None:
                return read_think(older if value is None else value)
        return None

    def _tools(self, tools: PipelineTools) -> dict[str, Tool | Toolset]:
        """Return the step's tools by name. Reports unknown ones, those that are not allowed, and names of two."""
        chosen = first_setting(self._sources, "tools")
        found: dict[str, Tool | Toolset] = {}
        if chosen is None:
            return found
        for number, entry in enumerate(chosen.value):
            path = (number,)
            try:
                named = tools.find(entry, chosen.source.folder)
            except InputError as error:
                self._add(chosen, "tools", error, path)
                continue
            if named is None:
                continue
            if found.get(named.name, named.tool) is not named.tool:
                hint = "declare them under two names in `tools:` of the pipeline"
                self._problems.add(chosen.problem("tools", f"two tools have the name `{named.name}`", hint, path))
            if refused := tools.refused(named):
                self._problems.add(chosen.problem("tools", *refused, path))
            found[named.name] = named.tool
        return found


def _embedders(examples: Examples) -> tuple[str, ...]:
    """Return the model that examples name to embed them, if they name one."""
    return (examples.nearest.model,) if examples.nearest is not None and examples.nearest.model is not None else ()


def _output(answer: AnswerType | RowAnswer, example: Example) -> Any:
    """Return the output of an example as the answer's type reads it, unchanged where that cannot or is not known."""
    answer_type = answer if isinstance(answer, AnswerType) else answer.fixed(example)
    if answer_type is None or not isinstance(example.output, str):
        return example.output
    try:
        return expected_value(answer_type, example.output)
    except ValueError:
        return example.output


def _answer_name(chosen: ChosenSetting | None) -> str:
    """Return the name of an answer type: `label` in `answer: {label: [a, b]}`."""
    spec = "text" if chosen is None else chosen.value
    return str(next(iter(spec), "") if isinstance(spec, Mapping) else spec)


def project_defaults(project: Project, problems: Problems) -> tuple[SettingsSource, ...]:
    """Return the checked `defaults` of `promptkit.yaml`."""
    if project.source is not None and project.settings.model is not None:
        try:
            parse_reference(project.settings.model)
        except InputError as error:
            problems.add(
                project.source.problem(("model",), problem.message, problem.hint) for problem in error.problems
            )
    if not project.settings.defaults:
        return ()
    location = Location(project.source or Unplaced(), ("defaults",))
    spec = validate_usable(project.settings.defaults, DefaultsSpec, location.problem, problems)
    return (SettingsSource(values=spec.given(), location=location, folder=project.root),) if spec else ()
