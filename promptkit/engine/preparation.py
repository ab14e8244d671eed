"""A technique prepared for a step: its preparation runs over rows of data and writes an artifact."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.results import Totals, Trace, sum_totals
from promptkit.engine.session import ClientProvider, OnEvent, RunSettings, StepStarted
from promptkit.engine.single_step import SingleStep, with_technique
from promptkit.engine.step_rows import StepRows
from promptkit.errors import BudgetSpent, InputError, Problem, place
from promptkit.project import Project
from promptkit.runtimes.base import Model
from promptkit.runtimes.budget import Budget
from promptkit.storage.files import check_destination, write_atomic
from promptkit.storage.strict_json import plain
from promptkit.storage.yaml import load
from promptkit.storage.yaml_edit import block_text
from promptkit.techniques.artifacts import Artifact, artifact_file
from promptkit.techniques.description import find_all
from promptkit.techniques.perform import require, run_preparation
from promptkit.techniques.registry import Technique, parameters_of
from promptkit.techniques.spec import (
    ConfiguredTechnique,
    check_preparation,
    configure,
    find_known_technique,
    parse_spec,
)

FIELDS_TO_FILL = ("thoughts", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A planned preparation: the technique as the step uses it, the parameters, and the file of the artifact."""

    pipeline: Pipeline
    step: Step
    chosen: ConfiguredTechnique
    parameters: Mapping[str, Any]
    file: Path

    @property
    def technique(self) -> Technique:
        return self.chosen.technique

    @property
    def labelled(self) -> bool:
        """True where each row must have an expected answer."""
        return "labels" in self.technique.needs


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStep:
    """The result of a preparation. `answered` are the models used, as in a run's result."""

    artifact: Artifact
    totals: Totals
    answered: Mapping[str | None, Model]

    @property
    def unfilled(self) -> int:
        """The number of items whose thoughts or output a person has yet to fill in."""
        return sum(any(item.get(key, ...) in (None, "") for key in FIELDS_TO_FILL) for item in self.artifact.items)


def plan_preparation(
    name: str, pipeline: Pipeline, step: Step, parameters: Mapping[str, Any], *, overwrite: bool = False
) -> Preparation:
    """Plan the preparation of a technique for a step. Sends no request.

    Roles, demonstrations and parameters come from the step's `technique:` where that is this one, or is put over it.
    `parameters` of the preparation win. Raises InputError for a technique without preparation, for wrong parameters
    and, without `overwrite`, for an existing artifact, since a person may have edited it.
    """
    assert step.prompt_call is not None, "only a step that asks is prepared for"
    project = pipeline.project
    technique = find_known_technique(name, project)
    if technique.prepare is None:
        raise InputError(f"technique `{name}` needs no preparation", hint=_preparable_hint(project))
    spec = find_in_spec(step.prompt_call.technique, name)
    if spec is None:
        spec = name
        step = with_technique(pipeline, step, spec)
    call = step.prompt_call
    assert call is not None, "the step is the same but for its technique"
    others = {other: file for other, file in call.artifacts.items() if other != name}
    step = replace(step, prompt_call=replace(call, artifacts=others))
    chosen = configure(spec, project)
    known = parameters_of(technique.prepare)
    shared = {key: value for key, value in chosen.parameters.items() if key in known}
    wrong = check_preparation(technique, parameters)
    if wrong:
        raise InputError(wrong)
    file = artifact_file(pipeline.file.parent, call.home, name)
    if os.path.exists(file) and not overwrite:
        message = "there is an artifact already, and a person may have edited it"
        raise InputError(Problem(message, place(file), hint="--force overwrites it; its edits are lost"))
    check_destination(file, str(place(file)))
    defaults = {key: spec.default for key, spec in known.items() if spec.default is not inspect.Parameter.empty}
    return Preparation(
        pipeline=pipeline, step=step, chosen=chosen, parameters={**defaults, **shared, **parameters}, file=file
    )


def read_parameters(texts: Sequence[str]) -> dict[str, Any]:
    """Parse `KEY=VALUE` texts; values are YAML. Raises InputError with everything that is wrong."""
    parameters: dict[str, Any] = {}
    problems: list[Problem] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            problems.append(Problem(f"`--set {text}` must be PARAMETER=VALUE"))
            continue
        try:
            parameters[key.strip()] = load(value, file=f"--set {key}").value
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return parameters


def uses_technique(step: Step, name: str) -> bool:
    """Return True where a step's technique is, or is put over, the one of that name."""
    return step.prompt_call is not None and find_in_spec(step.prompt_call.technique, name) is not None


def find_in_spec(spec: Any, name: str) -> Any:
    """Return the part of a technique's spec with that name: itself, or one that it is put over. None for none."""
    found, settings = parse_spec(spec)
    if found == name:
        return spec
    return find_in_spec(settings["over"], name) if settings.get("over") else None


async def prepare(
    preparation: Preparation,
    rows: StepRows,
    *,
    models: ClientProvider,
    settings: RunSettings | None = None,
    on_event: OnEvent | None = None,
    budget: int | None = None,
) -> PreparedStep:
    """Run a preparation over rows and return its artifact, which `write_artifact` writes.

    Makes at most `budget` requests, cached ones included. Raises BudgetSpent when more are needed, InputError where the
    rows lack what the technique needs, Unsupported where the model does, and the errors of the runtime. Answers are
    kept in the store, so that the same preparation only asks for what is missing.
    """
    _check_rationales(preparation.technique, rows)
    alone = SingleStep(preparation.pipeline, preparation.step, models=models, settings=settings, on_event=on_event)
    if on_event is not None:
        on_event(StepStarted(step=preparation.step.name))
    trace = Trace(name=preparation.step.name, kind="step")
    context = await alone.context(rows.rows[0], trace)
    await require(preparation.chosen, context, preparing=True)
    if budget is not None:
        context = replace(context, client=context.client.within(Budget(budget)))
    try:
        made = await run_preparation(preparation.chosen, context, rows.rows, preparation.parameters)
    except BudgetSpent as spent:
        raise _budget_error(spent, budget or 0, preparation.step) from None
    totals = sum_totals([trace], sum(call.reply.seconds for call in trace.calls))
    model = await alone.model()
    seed = preparation.parameters.get("seed", context.options.seed)
    artifact = Artifact(
        technique=preparation.technique.name,
        pipeline=preparation.pipeline.name,
        step=preparation.step.name,
        model=model.reference if totals.calls else "",
        digest=model.digest if totals.calls else "",
        seed=seed if isinstance(seed, int) else 0,
        parameters=plain(preparation.parameters),
        rows=tuple(row.hash for row in rows.rows),
        items=tuple(plain(item) for item in made.items),
        uncertain=tuple(plain(item) for item in made.uncertain),
    )
    return PreparedStep(artifact=artifact, totals=totals, answered=alone.answered)


def write_artifact(artifact: Artifact, file: Path, command: str) -> None:
    """Write an artifact as YAML that a person may edit, atomically. `command` is the command that made it."""
    shown = "".join(character if character.isprintable() else "?" for character in command)
    head = f"# Made by `{shown}`. It may be edited: the step uses it as it is.\n"
    values = _yaml_safe(artifact.model_dump())
    write_atomic(file, head + block_text({key: values[key] for key in _KEY_ORDER}))


_KEY_ORDER = ("technique", "pipeline", "step", "model", "digest", "seed", "parameters", "items", "uncertain", "rows")


def _yaml_safe(value: Any) -> Any:
    """Return data without characters that YAML cannot hold (NUL, lone surrogates), which a model may write."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_yaml_safe(key): _yaml_safe(part) for key, part in value.items()}
    return [_yaml_safe(part) for part in value] if isinstance(value, list | tuple) else value


def _budget_error(spent: BudgetSpent, budget: int, step: Step) -> BudgetSpent:
    """Return the error with what happened to the answers and how to continue."""
    if not step.uses_cache:
        return BudgetSpent(f"{spent.message}; the step has `cache: false`, so no answers were kept")
    hint = f"the same command with --budget calls={2 * budget} reuses them; they count again"
    return BudgetSpent(f"{spent.message}; what was answered is kept", hint=hint)


def _check_rationales(technique: Technique, rows: StepRows) -> None:
    """Raise InputError for rows without a rationale where the technique needs one."""
    lacking = [row.number for row in rows.rows if not row.rationale] if "rationales" in technique.needs else []
    if lacking:
        message = f"technique `{technique.name}` needs a rationale in each row, and {_row_numbers(lacking)} without one"
        raise InputError(Problem(message, place(rows.file), hint="a field `rationale` or `thoughts` holds it"))


def _row_numbers(rows: Sequence[int]) -> str:
    """Return row numbers as text, the first few of many: `row 3 is`, `rows 3, 4 and 17 more are`."""
    if len(rows) == 1:
        return f"row {rows[0]} is"
    first = ", ".join(map(str, rows[:5]))
    return f"rows {first}{f' and {len(rows) - 5} more' if len(rows) > 5 else ''} are"


def _preparable_hint(project: Project) -> str | None:
    found = [technique.name for technique in find_all(project)[0] if technique.prepare]
    return f"techniques with a preparation: {', '.join(found)}" if found else None
