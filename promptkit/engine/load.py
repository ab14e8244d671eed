"""From a target's name or path to a `Pipeline` in which nothing is wrong, or to everything that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptkit.engine.inputs import wrong_value
from promptkit.engine.pipeline import Case, Input, Pipeline
from promptkit.engine.reader import PipelineReader, changed_step, read_case, report_unknown_steps
from promptkit.engine.scope import NAME, Key, result_of
from promptkit.engine.sets import read_changes
from promptkit.engine.settings import Source, project_defaults
from promptkit.engine.spec import CaseSpec, validated
from promptkit.engine.steps import Around, StepReader, Target, prompt_inputs
from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.prompts import BrokenPrompt, Prompt, Prompts
from promptkit.storage import Document, Problems, load_file, resolved

YAML = (".yaml", ".yml")


def load_target(
    target: str | Path, project: Project, *, sets: Sequence[str] = (), changes: Mapping[str, Any] | None = None
) -> Pipeline:
    """Read a pipeline or a prompt, by name or path, with `--set STEP.KEY=VALUE` applied; no model is called.

    `changes` are the same as values (`{"STEP.KEY": VALUE}`), and stand over `sets`.

    Raises InputError with every problem in it and in the files that it names.
    """
    path = project.target(target) if isinstance(target, str) else resolved(target)
    problems = Problems()
    changed: dict[str, Any] = {}
    with problems.gather():
        changed = read_changes(sets, changes)
    loader = Loader(project, problems)
    pipeline = loader.pipeline(path, changed) if path.suffix in YAML else loader.prompt(path, changed)
    problems.check()
    assert pipeline is not None, "a target without problems is a pipeline"
    return pipeline


def check(target: str | Path, project: Project) -> list[Problem]:
    """Return everything that is wrong with a pipeline or prompt, in file order; empty when nothing is."""
    try:
        load_target(target, project)
    except InputError as error:
        return list(error.problems)
    return []


class Loader:
    """Loads targets into one list of problems."""

    def __init__(self, project: Project, problems: Problems) -> None:
        self.project = project
        self.problems = problems
        self.prompts = Prompts(project)
        self.defaults = project_defaults(project, problems)

    def pipeline(self, path: Path, changes: Mapping[str, Any], within: tuple[Path, ...] = ()) -> Pipeline | None:
        """Return the pipeline in a file, None where it is too broken; `within` are the files that lead to it."""
        document: Document | None = None
        with self.problems.gather():
            document = load_file(path)
        return None if document is None else PipelineReader(self, document, path, changes, (*within, path)).read()

    def prompt(self, path: Path, changes: Mapping[str, Any]) -> Pipeline | None:
        """Return the pipeline of one step that a prompt is, None where it is too broken."""
        with self.problems.gather():
            try:
                prompt = self.prompts.load(path)
            except BrokenPrompt as broken:
                self.problems.add(broken.problems)
                prompt = broken.prompt
            return self._one_step(prompt, path, changes)
        return None

    def _one_step(self, prompt: Prompt, path: Path, changes: Mapping[str, Any]) -> Pipeline:
        name = "_".join(NAME.findall(prompt.name)) or "prompt"
        inputs = prompt_inputs(prompt)
        for key, each in inputs.items():
            for given, value in (("example", each.example), ("default", each.default)):
                if value is not None and (wrong := wrong_value(each, value)):
                    self.problems.add(prompt.problem(("inputs", key, given), f"`{given}` {wrong}"))
        report_unknown_steps(changes, {name}, self.problems)
        own = changes.get(name, {})
        spec = changed_step(name, {"prompt": str(path)}, own, self.problems)
        target = prompt
        if "prompt" in own:
            prompt = self._other_prompt(name, own["prompt"], path)
            inputs = prompt_inputs(prompt)

        def problem(below: Sequence[Key], message: str, hint: str | None = None) -> Problem:
            if below and below[0] in own:
                return Problem(f"--set {name}.{below[0]}: {message}", hint=hint)
            return prompt.problem(below, message, hint)

        source = Source(values=spec.given(), problem=problem, folder=path.parent)
        around = Around(
            project=self.project,
            file=path,
            inputs=frozenset(inputs),
            steps=frozenset(),
            tools={},
            defaults=self.defaults,
        )
        # Each of its inputs is the pipeline's, with a default or without.
        reader = StepReader(name, spec, source, around, self.problems)
        step = reader.read(Target(f"prompt `{prompt.name}`", prompt=prompt, takes=dict.fromkeys(inputs, True)))
        return Pipeline(
            name=target.name,
            about=target.about,
            file=path,
            project=self.project,
            inputs=inputs,
            steps={name: step},
            edges=(),
            output=result_of(name),
            cases=self._cases(target, inputs),
        )

    def _other_prompt(self, step: str, value: Any, path: Path) -> Prompt:
        """Return the prompt that `--set` puts in the place of the one that is the target. Raises InputError."""
        if not isinstance(value, str):
            raise InputError(f"--set {step}.prompt: in the place of a prompt goes another by its name or path")
        return self.prompts.load(value, beside=path, at=Problem(""))

    def _cases(self, prompt: Prompt, inputs: Mapping[str, Input]) -> tuple[Case, ...]:
        cases = prompt.settings.get("cases") or []
        if not isinstance(cases, list):
            self.problems.add(prompt.problem(("cases",), "`cases` must be a list"))
            return ()
        read: list[Case] = []
        for number, case in enumerate(cases):

            def problem(path: Sequence[Key], message: str, hint: str | None = None, at: int = number) -> Problem:
                return prompt.problem(("cases", at, *path), message, hint)

            with self.problems.gather():
                read.append(read_case(validated(case, CaseSpec, problem), number, inputs, problem))
        return tuple(read)
