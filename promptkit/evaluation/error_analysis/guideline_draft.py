"""Drafts of annotation guidelines: a rule for each pair of answers that a run confused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.single_step import find_step
from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.error_analysis.cases import ErrorCase
from promptkit.evaluation.error_analysis.groups import FEWEST_CONFUSIONS, ErrorAnalysis, ErrorGroup
from promptkit.evaluation.labelling.reasons import label_reasons
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.contamination import given_inputs, step_inputs_of_row
from promptkit.evaluation.suite.data import DataRow
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite, Variant
from promptkit.project import LIBRARY, Project
from promptkit.prompts.template_loader import render_file
from promptkit.storage.strict_json import plain
from promptkit.techniques.artifacts import Artifact, artifact_file, row_hash

TECHNIQUE = "annotation_guideline"
TEMPLATE = Path("draft", "pair.j2")
LONGEST_CASE = 240
MOST_ROWS = 20_000
"""The most rows whose hashes a draft can hold; without them nobody could say which rows it saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidelinePlan:
    """The place of a draft: a variant's pipeline, and the step of it that gives the answer."""

    suite: Suite
    variant: Variant
    step: Step

    @property
    def pipeline(self) -> Pipeline:
        return self.variant.pipeline

    @property
    def file(self) -> Path:
        """The file where the technique looks for the draft."""
        assert self.step.prompt_call is not None, "the step of a draft asks"
        return artifact_file(self.pipeline.file.parent, self.step.prompt_call.home, TECHNIQUE)


def plan_guideline(view: StoredRun, variant: str, project: Project) -> GuidelinePlan:
    """Return the place of the draft for a run's variant, by its suite as it is now.

    Raises InputError where the suite or variant no longer exists, or the answer is not that of a single model step.
    """
    file = project.root / view.how["folder"] / view.how["file"]
    if not file.is_file():
        message = f"the suite of run {view.number} no longer exists: it says which step a draft is for"
        raise InputError(Problem(message, place(file)))
    whole = load_suite(file, project)
    suite = next((part for part in (whole, *whole.steps) if part.name == view.suite), None)
    found = next((candidate for candidate in suite.variants if candidate.name == variant), None) if suite else None
    if suite is None or found is None:
        what = f"variant `{variant}`" if suite else f"suite `{view.suite}`"
        raise InputError(Problem(f"{what} no longer exists: run {view.number} was made with it", place(file)))
    return GuidelinePlan(suite=suite, variant=found, step=_answering(found))


def _answering(variant: Variant) -> Step:
    pipeline = variant.pipeline
    names = (variant.counted,) if variant.counted else tuple(pipeline.output.names & pipeline.steps.keys())
    step = find_step(pipeline, names[0]) if len(names) == 1 else None
    if step is None or step.prompt_call is None:
        hint = f"measure one step: `target: {{pipeline: {pipeline.name}, step: STEP}}`"
        raise InputError(f"the answer of `{pipeline.name}` is not that of a single step that asks a model", hint=hint)
    return step


def draft_guideline(errors: ErrorAnalysis, view: StoredRun, plan: GuidelinePlan) -> Artifact:
    """Return an artifact with a rule for each pair of answers that was confused at least TIMES times.

    `uncertain` has every pair and the other findings, for a person to review. Raises InputError where there is no such
    pair, and where the run has more than MOST_ROWS rows.
    """
    pairs = [pair for pair in errors.pairs if pair.count >= FEWEST_CONFUSIONS]
    if not pairs:
        message = f"no two answers were confused {FEWEST_CONFUSIONS} times: there is no rule to draft"
        raise InputError(message, hint=f"promptkit techniques prepare {TECHNIQUE} {plan.pipeline.name} --data FILE")
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
        uncertain=tuple(plain(finding) for finding in _uncertain(errors, reader)),
    )


def _template(project: Project) -> Path:
    """Return the template of a rule: that of the project, else the shipped one."""
    custom = project.find_template("techniques", TECHNIQUE)
    shipped = LIBRARY / "templates" / "techniques" / TECHNIQUE
    return next(folder / TEMPLATE for folder in (custom, shipped) if folder and (folder / TEMPLATE).is_file())


class _RowInputs:
    """Reads the inputs of the step from a row of the run."""

    def __init__(self, plan: GuidelinePlan) -> None:
        self._plan = plan
        self._binder = Binder(plan.suite)
        self._at = [variant.name for variant in plan.suite.variants].index(plan.variant.name)

    def inputs(self, row: int, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the step's inputs that come from the row; None for a row that the suite, as it is now, cannot take."""
        given = self._target_inputs(row, fields)
        if given is None:
            return None
        return step_inputs_of_row(self._plan.step, given, given_inputs(self._plan.suite, fields))

    def _target_inputs(self, row: int, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
        bound = self._binder.bind(DataRow(number=row, fields=fields, place=self._plan.suite.data.where), row)
        return None if bound.problems else bound.inputs[self._at]

    def reasons(self, wrong: ErrorCase) -> list[str]:
        """Return the reasons that people gave with their labels of a wrong answer."""
        cell = wrong.cell
        given = self._target_inputs(cell.row, cell.fields)
        if given is None:
            return []
        return [_excerpt(reason) for reason in label_reasons(self._plan.suite, given, cell)]

    def case(self, wrong: ErrorCase) -> list[dict[str, str]]:
        """Return the inputs of a failing row, each on one line."""
        given = self.inputs(wrong.cell.row, wrong.cell.fields) or wrong.cell.fields
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
            raise InputError(
                f"run {view.number} has more than {MOST_ROWS:,} rows: a draft could not record which it saw"
            )
    return list(hashes)


def _rule_values(pair: ErrorGroup, reader: _RowInputs) -> dict[str, Any]:
    return {
        "said": pair.got,
        "right": pair.expected,
        "cases": [reader.case(row) for row in pair.rows],
        "reasons": list(dict.fromkeys(reason for row in pair.rows for reason in reader.reasons(row))),
    }


def _uncertain(errors: ErrorAnalysis, reader: _RowInputs) -> Iterator[dict[str, Any]]:
    """Yield the findings for a person to review: pairs in the form of the technique's preparation, then the rest."""
    for group in errors.groups:
        if group.kind == "pair":
            pair = {"said": group.got, "right": group.expected, "times": group.count, "of": group.of_expected}
            yield {**pair, "example": _example(group.rows[0], reader)}
        elif group.kind in ("unparsed", "truncated"):
            yield {"said": f"({group.kind})", "times": group.count, "example": _example(group.rows[0], reader)}
    for found in errors.slices:
        yield {"field": found.field, "value": found.value, "failed": found.failed, "of": found.rows}
    for alike in errors.similar:
        words = ", ".join(word.word for word in alike.words)
        yield {"words": words, "times": alike.count, "example": _example(alike.rows[0], reader)}


def _example(wrong: ErrorCase, reader: _RowInputs) -> str:
    case = reader.case(wrong)
    return case[0]["text"] if len(case) == 1 else "; ".join(f"{part['name']}: {part['text']}" for part in case)
