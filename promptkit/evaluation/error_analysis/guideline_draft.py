"""A draft of what the technique `annotation_guideline` uses: a rule for each pair of answers that a run confused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.engine.single_step import find_step
from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.error_analysis.groups import FEWEST_CONFUSIONS
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.contamination import given_inputs, step_inputs_of_row
from promptkit.evaluation.suite.data import DataRow
from promptkit.evaluation.suite.reader import load_suite
from promptkit.project import LIBRARY
from promptkit.prompts.template_loader import render_file
from promptkit.storage.strict_json import plain
from promptkit.techniques.artifacts import Artifact, artifact_file, row_hash

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.evaluation.error_analysis.groups import ErrorAnalysis, ErrorCase, ErrorGroup
    from promptkit.evaluation.stored_run import StoredRun
    from promptkit.evaluation.suite.suite import Suite, Variant
    from promptkit.project import Project

TECHNIQUE = "annotation_guideline"
TEMPLATE = Path("draft", "pair.j2")
LONGEST_CASE = 240
MOST_ROWS = 20_000
"""Rows whose hashes a draft holds; of a larger run it could not be said which rows it saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidelinePlan:
    """Where a draft belongs: the variant's pipeline, and the step of it that gives the answer."""

    suite: Suite
    variant: Variant
    step: Step

    @property
    def pipeline(self) -> Pipeline:
        return self.variant.pipeline

    @property
    def file(self) -> Path:
        """Where the technique looks for it."""
        assert self.step.prompt_call is not None, "the step of a draft asks"
        return artifact_file(self.pipeline.file.parent, self.step.prompt_call.home, TECHNIQUE)


def plan_guideline(view: StoredRun, variant: str, project: Project) -> GuidelinePlan:
    """Return where the draft of a run's variant belongs, by its suite as it is now.

    Raises InputError where the suite or the variant is gone, or the answer comes of no one step that asks a model.
    """
    file = project.root / view.how["folder"] / view.how["file"]
    if not file.is_file():
        told = f"the suite of run {view.number} is gone: it says which step a draft is for"
        raise InputError(Problem(told, place(file)))
    whole = load_suite(file, project)
    suite = next((each for each in (whole, *whole.steps) if each.name == view.suite), None)
    found = next((each for each in suite.variants if each.name == variant), None) if suite else None
    if suite is None or found is None:
        what = f"variant `{variant}`" if suite else f"suite `{view.suite}`"
        raise InputError(Problem(f"there is no {what} any more: run {view.number} was made with one", place(file)))
    return GuidelinePlan(suite=suite, variant=found, step=_answering(found))


def _answering(variant: Variant) -> Step:
    pipeline = variant.pipeline
    names = (variant.counted,) if variant.counted else tuple(pipeline.output.names & pipeline.steps.keys())
    step = find_step(pipeline, names[0]) if len(names) == 1 else None
    if step is None or step.prompt_call is None:
        hint = f"measure one step: `target: {{pipeline: {pipeline.name}, step: STEP}}`"
        raise InputError(f"the answer of `{pipeline.name}` comes of no one step that asks a model", hint=hint)
    return step


def draft_guideline(errors: ErrorAnalysis, view: StoredRun, plan: GuidelinePlan) -> Artifact:
    """Return an artifact with a rule for each pair of answers that was confused at least TIMES times.

    `uncertain` has every pair, and what else the run showed, for a person to look at. Raises InputError where there is
    nothing to make a rule of, and where the run has more than MOST_ROWS rows.
    """
    pairs = [pair for pair in errors.pairs if pair.count >= FEWEST_CONFUSIONS]
    if not pairs:
        told = f"no two answers were confused {FEWEST_CONFUSIONS} times: there is nothing to draft a rule of"
        raise InputError(told, hint=f"promptkit techniques prepare {TECHNIQUE} {plan.pipeline.name} --data FILE")
    reader = _RowInputs(plan)
    template = _template(plan.pipeline.project)
    return Artifact(
        technique=TECHNIQUE,
        pipeline=plan.pipeline.name,
        step=plan.step.name,
        model=str(plan.variant.sets.get("model") or view.model["reference"]),
        digest="" if plan.variant.sets.get("model") else view.model["digest"],
        parameters={"run": errors.run, "variant": errors.variant, "metric": errors.metric},
        rows=tuple(_row_hashes(view, errors.variant, reader)),
        items=tuple({"rule": render_file(template, _rule_values(pair, reader))} for pair in pairs),
        uncertain=tuple(plain(each) for each in _uncertain(errors, reader)),
    )


def _template(project: Project) -> Path:
    """Return the template of a rule: the project's own, else the shipped one."""
    own = project.find_template("techniques", TECHNIQUE)
    shipped = LIBRARY / "templates" / "techniques" / TECHNIQUE
    return next(folder / TEMPLATE for folder in (own, shipped) if folder and (folder / TEMPLATE).is_file())


class _RowInputs:
    """Reads what the step takes of a row of the run."""

    def __init__(self, plan: GuidelinePlan) -> None:
        self._plan = plan
        self._binder = Binder(plan.suite)
        self._at = [each.name for each in plan.suite.variants].index(plan.variant.name)

    def inputs(self, row: int, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what the row itself gives of the step's inputs; None where the suite, as it is now, cannot take it."""
        suite = self._plan.suite
        bound = self._binder.bind(DataRow(number=row, fields=fields, place=suite.data.where), row)
        if bound.problems:
            return None
        return step_inputs_of_row(self._plan.step, bound.inputs[self._at], given_inputs(suite, fields))

    def case(self, failure: ErrorCase) -> list[dict[str, str]]:
        """Return the inputs of a failing row, each in one line."""
        given = self.inputs(failure.cell.row, failure.cell.fields) or failure.cell.fields
        return [{"name": name, "text": _excerpt(value)} for name, value in given.items()]


def _excerpt(value: Any) -> str:
    import json

    text = " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())
    return text if len(text) <= LONGEST_CASE else text[: LONGEST_CASE - 1].rstrip() + "…"


def _row_hashes(view: StoredRun, variant: str, reader: _RowInputs) -> Sequence[str]:
    hashes: dict[str, None] = {}
    row = 0
    for cell in view.cells(variant):
        if cell.row == row:
            continue
        row = cell.row
        if (given := reader.inputs(row, cell.fields)) is not None:
            hashes[row_hash(given)] = None
        if len(hashes) > MOST_ROWS:
            raise InputError(f"run {view.number} has more than {MOST_ROWS:,} rows: a draft could not say which it saw")
    return list(hashes)


def _rule_values(pair: ErrorGroup, reader: _RowInputs) -> dict[str, Any]:
    return {"said": pair.got, "right": pair.expected, "cases": [reader.case(row) for row in pair.rows]}


def _uncertain(errors: ErrorAnalysis, reader: _RowInputs) -> Iterator[dict[str, Any]]:
    """Yield what a person should look at: pairs as the technique's own preparation tells them, then the rest."""
    for group in errors.groups:
        if group.kind == "pair":
            told = {"said": group.got, "right": group.expected, "times": group.count, "of": group.of_expected}
            yield {**told, "example": _example(group.rows[0], reader)}
        elif group.kind in ("unparsed", "truncated"):
            yield {"said": f"({group.kind})", "times": group.count, "example": _example(group.rows[0], reader)}
    for found in errors.slices:
        yield {"field": found.field, "value": found.value, "failed": found.failed, "of": found.rows}
    for alike in errors.similar:
        words = ", ".join(word.word for word in alike.words)
        yield {"words": words, "times": alike.count, "example": _example(alike.rows[0], reader)}


def _example(failure: ErrorCase, reader: _RowInputs) -> str:
    case = reader.case(failure)
    return case[0]["text"] if len(case) == 1 else "; ".join(f"{part['name']}: {part['text']}" for part in case)
