"""Demonstrations that a model generates: steps of runs that ended right, and thoughts that led to a right answer.

The idea is that of DSPy's BootstrapFewShot (Khattab et al. 2023, arXiv 2310.03714).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import step_inputs
from promptkit.errors import InputError
from promptkit.tuning.evaluator import partition_valid, step_nodes
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from promptkit.tuning.search_space.examples import Demonstration, label_of
from promptkit.tuning.search_space.settings import answer_of

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.runtimes.base import Model
    from promptkit.tuning.evaluator import Evaluator, RowResult
    from promptkit.tuning.search.steps import Objectives
    from promptkit.tuning.search_space.examples import GeneratedDemos

RIGHT: Final = 1.0
SAMPLES, SAMPLE_TEMPERATURE = 3, 0.7
"""How often a row is asked again whose greedy thoughts led astray, and at which temperature."""
THINKING: Final = "chain_of_thought"
REASON: Final = "reason"
"""The call of a technique that thinks in one go."""


async def from_runs(
    field: Evaluator, rows: Sequence[int], candidate: Candidate, *, most_calls: int
) -> dict[str, list[Demonstration]]:
    """Return, for each step that asks, its inputs and answers in the runs on `rows` that ended right.

    So a step without labels of its own has demonstrations. What an earlier run of the same target left in the store is
    not asked again. An answer that came of thoughts in one call has them. At most about `most_calls` are counted:
    further rows are left out. A step in rounds gives none. Raises what `Field.have` raises.
    """
    await _evaluate_within(field, candidate, rows, most_calls)
    pipeline = field.variant(candidate).pipeline
    steps = [step for step in pipeline.steps.values() if step.prompt_call is not None and step.repeat is None]
    right = list(_right_results(field, rows, candidate))
    return {
        step.name: [each for row, cell in right for each in _result_demonstrations(field, pipeline, step, row, cell)]
        for step in steps
    }


async def with_thoughts(
    field: Evaluator, rows: Sequence[int], candidate: Candidate, step: str, *, model: Model, most_calls: int
) -> list[Demonstration]:
    """Return demonstrations of a step with thoughts of its own `model` that led to a right end, at most one a row.

    Each row is asked greedily, and those that ended wrong up to SAMPLES times more where the model can sample. The
    output is the answer that the thoughts led to, which for labels is the one expected. At most about `most_calls` are
    counted. A step in rounds, and one that cannot think, gives none. Raises what `Field.have` raises.
    """
    found: dict[int, Demonstration] = {}
    end, cost = int(field.budget.spent + most_calls), 0
    for thinking in _thinking(candidate, step, model):
        if not partition_valid(field, [thinking])[0]:
            return []
        pipeline = field.variant(thinking).pipeline
        asked = pipeline.steps[step]
        lacking = [row for row in rows if row not in found]
        if asked.repeat is not None or not lacking:
            break
        cost = await _evaluate_within(field, thinking, lacking, end - int(field.budget.spent), cost)
        for row, cell in _right_results(field, lacking, thinking):
            thought = (each for each in _result_demonstrations(field, pipeline, asked, row, cell) if each.thoughts)
            if (first := next(thought, None)) is not None:
                found[row] = first
    return [found[row] for row in rows if row in found]


def _thinking(candidate: Candidate, step: str, model: Model) -> Iterator[Candidate]:
    """Yield the candidate with a step that thinks: greedily, then sampled.

    The answer is decided apart from the thoughts, so that these are known wherever the model ends them.
    """
    ways: list[tuple[str, dict[str, Any]]] = [("greedy", {"temperature": 0.0})]
    if {"sampling", "seed"} <= model.capabilities:
        ways += [
            (f"sample {seed}", {"temperature": SAMPLE_TEMPERATURE, "seed": seed}) for seed in range(1, SAMPLES + 1)
        ]
    for name, options in ways:
        chosen = {**candidate.changes.get(f"{step}.options", {}), **options}
        changes = {"technique": THINKING, "decide": "constrain", "options": chosen}
        yield candidate.taking(
            f"{step}.thoughts", Choice(name, {f"{step}.{key}": each for key, each in changes.items()})
        )


async def _evaluate_within(
    field: Evaluator, candidate: Candidate, rows: Sequence[int], most_calls: int, cost: int = 0
) -> int:
    """Have the cells of as many rows as fit so many calls, and return what a row costs: `cost`, or what the first took.

    Which rows these are depends on the cells alone, so that a search made again asks for the same.
    """
    if not cost and rows and most_calls > 0:
        await field.have([candidate], rows[:1])
        cell = field.cell(candidate, rows[0])
        cost = max(1, cell.calls if cell else 1)
    if cost:
        await field.have([candidate], rows[: max(0, most_calls // cost)])
    return cost


def _right_results(field: Evaluator, rows: Sequence[int], candidate: Candidate) -> Iterator[tuple[int, RowResult]]:
    for row in rows:
        cell = field.cell(candidate, row)
        if cell is not None and cell.score == RIGHT:
            yield row, cell


def _result_demonstrations(
    field: Evaluator, pipeline: Pipeline, step: Step, row: int, cell: RowResult
) -> Iterator[Demonstration]:
    """Yield what a step was given in a cell and what it made of it, for each item of its `for_each`."""
    scope = {**field.rows[row].inputs[0], **cell.steps}
    try:
        given = step_inputs(pipeline, step, scope)
    except InputError:
        return
    value = cell.steps.get(step.name)
    outputs = [value] if step.for_each is None else value or []
    nodes = step_nodes(field.trace(cell), step.name)
    asked = [each for each in zip(outputs, nodes, strict=False) if each[1]["status"] != "skipped"]
    if len(outputs) != len(nodes) or len(asked) != len(given):
        return
    for inputs, (output, node) in zip(given, asked, strict=True):
        try:
            answer = answer_of(step, inputs, scope)
        except InputError:
            continue
        if output is not None and can_be_written(answer, output):
            label, thoughts = label_of(step, output), thoughts_of(node)
            yield Demonstration(inputs=inputs, output=output, thoughts=thoughts, label=label, row=row)


def can_be_written(answer: AnswerType, output: Any) -> bool:
    """Tell whether a value is an answer of the type."""
    try:
        answer.write(output)
    except ValueError:
        return False
    return True


def thoughts_of(node: Mapping[str, Any]) -> str | None:
    """Return the thoughts of a node of a trace that thought once, to the end, and decided after that."""
    said = [call for call in node["calls"] if call["call"] == REASON and not call["deciding"]]
    if len(said) != 1 or said[0]["finish"] != "stop" or not said[0]["reply"].strip():
        return None
    return f"{said[0]['begun']} {said[0]['reply'].strip()}".strip()


GENERATION_SHARE: Final = 0.1
"""Of the search's calls, for each of the two."""
LEAST_GENERATION_CALLS: Final = 20
FROM_RUNS, SOLVED = "from its own runs", "that it solved"


async def generate_demonstrations(
    beds: Objectives, axes: Sequence[Parameter], models: Mapping[str, Model], *, calls: int, most_requests: float
) -> GeneratedDemos:
    """Return what the model made, by step and by what tells the pools apart; nothing where there are few calls.

    Of several steps those without examples from the data get their own inputs and answers in runs that ended right.
    A step that may think gets rows that it solved, with its thoughts, which are shown where its technique thinks.
    `models` are those of the steps that may vary in their examples. Raises what `Field.have` raises.
    """
    share = int(GENERATION_SHARE * calls)
    made: dict[str, dict[str, Sequence[Demonstration]]] = {}
    if share < LEAST_GENERATION_CALLS:
        return made
    has = {axis.step for axis in axes if any(level.changes.get(f"{axis.step}.examples") for level in axis.levels)}
    lacking = [step for step in models if step not in has]
    whole = beds.whole
    if lacking and len(models) > 1:
        found = await from_runs(whole.evidence.field, whole.ground.pool, Candidate(), most_calls=share)
        made |= {step: {FROM_RUNS: pool} for step, pool in found.items() if step in lacking and pool}
    thinking = [step for step in models if _may_think(step, axes, most_requests)]
    for step in thinking:
        bed = beds.alone.get(step, whole)
        pool = await with_thoughts(
            bed.evidence.field,
            bed.ground.pool,
            Candidate(),
            step,
            model=models[step],
            most_calls=share // len(thinking),
        )
        if pool:
            made.setdefault(step, {})[SOLVED] = pool
    return made


def _may_think(step: str, axes: Sequence[Parameter], most_requests: float) -> bool:
    """Tell whether a level of a step thinks in one go before it answers, at a price that can be confirmed."""
    levels = (level for axis in axes if axis.step == step and axis.kind == "technique" for level in axis.levels)
    return any(
        level.requests <= most_requests and THINKING in str(level.changes.get(f"{step}.technique", ""))
        for level in levels
    )
