"""Demonstrations that a model generates: steps of runs that ended right, and thoughts that led to a right answer.

The idea is that of DSPy's BootstrapFewShot (Khattab et al. 2023, arXiv 2310.03714).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import step_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError
from promptkit.runtimes.base import Model
from promptkit.tuning.evaluator import Evaluator, RowResult, partition_valid, step_nodes
from promptkit.tuning.search.steps import Objectives
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from promptkit.tuning.search_space.demonstration import Demonstration, GeneratedDemos, label_of
from promptkit.tuning.search_space.settings import answer_of

RIGHT: Final = 1.0
SAMPLES, SAMPLE_TEMPERATURE = 3, 0.7
"""The samples of a row whose greedy thoughts led to a wrong answer, and their temperature."""
THINKING: Final = "chain_of_thought"
REASON: Final = "reason"
"""The call of a technique that thinks in one request."""


async def from_runs(
    evaluator: Evaluator, rows: Sequence[int], candidate: Candidate, *, most_calls: int
) -> dict[str, list[Demonstration]]:
    """Return, for each step that asks, its inputs and answers in the runs on `rows` that ended right.

    Steps without labels of their own get demonstrations so. Results of earlier runs in the store are not asked for
    again. An answer that came of thoughts in one call includes them. About `most_calls` calls at most are counted;
    further rows are left out. A step in rounds gives none. Raises the errors of `Evaluator.evaluate`.
    """
    await evaluate_within(evaluator, candidate, rows, most_calls)
    pipeline = evaluator.variant(candidate).pipeline
    steps = [step for step in pipeline.steps.values() if step.prompt_call is not None and step.repeat is None]
    right = list(right_results(evaluator, rows, candidate))
    return {
        step.name: [
            demo for row, result in right for demo in _result_demonstrations(evaluator, pipeline, step, row, result)
        ]
        for step in steps
    }


async def with_thoughts(
    evaluator: Evaluator, rows: Sequence[int], candidate: Candidate, step: str, *, model: Model, most_calls: int
) -> list[Demonstration]:
    """Return demonstrations of a step with its `model`'s own thoughts that led to a right end, at most one per row.

    Each row is asked greedily; rows that ended wrong are sampled up to SAMPLES times if the model can sample. The
    output is the answer that the thoughts led to. About `most_calls` calls at most are counted. A step in rounds, and
    one that cannot think, gives none. Raises the errors of `Evaluator.evaluate`.
    """
    by_row: dict[int, Demonstration] = {}
    end, cost = int(evaluator.budget.spent + most_calls), 0
    for thinking in _thinking(candidate, step, model):
        if not partition_valid(evaluator, [thinking])[0]:
            return []
        pipeline = evaluator.variant(thinking).pipeline
        asked = pipeline.steps[step]
        lacking = [row for row in rows if row not in by_row]
        if asked.repeat is not None or not lacking:
            break
        cost = await evaluate_within(evaluator, thinking, lacking, end - int(evaluator.budget.spent), cost)
        for row, result in right_results(evaluator, lacking, thinking):
            thought = (
                demo for demo in _result_demonstrations(evaluator, pipeline, asked, row, result) if demo.thoughts
            )
            if (first := next(thought, None)) is not None:
                by_row[row] = first
    return [by_row[row] for row in rows if row in by_row]


def _thinking(candidate: Candidate, step: str, model: Model) -> Iterator[Candidate]:
    """Yield the candidate with a step that thinks: greedily, then sampled.

    The answer is decided apart from the thoughts, so that these are known wherever the model ends them. A model's own
    thoughts would take their place, so they are off where they can be.
    """
    ways: list[tuple[str, dict[str, Any]]] = [("greedy", {"temperature": 0.0})]
    if {"sampling", "seed"} <= model.capabilities:
        ways += [
            (f"sample {seed}", {"temperature": SAMPLE_TEMPERATURE, "seed": seed}) for seed in range(1, SAMPLES + 1)
        ]
    for name, options in ways:
        chosen = {**candidate.changes.get(f"{step}.options", {}), **options}
        changes = {"technique": THINKING, "decide": "constrain", "options": chosen}
        if "think" in model.capabilities:
            changes["think"] = "off"
        yield candidate.with_choice(
            f"{step}.thoughts", Choice(name, {f"{step}.{key}": value for key, value in changes.items()})
        )


async def evaluate_within(
    evaluator: Evaluator, candidate: Candidate, rows: Sequence[int], most_calls: int, cost: int = 0
) -> int:
    """Evaluate as many rows as fit into `most_calls`, and return the cost per row: `cost`, or that of the first.

    The rows depend on results alone, so that a repeated search asks for the same ones.
    """
    if not cost and rows and most_calls > 0:
        await evaluator.evaluate([candidate], rows[:1])
        result = evaluator.result(candidate, rows[0])
        cost = max(1, result.calls if result else 1)
    if cost:
        await evaluator.evaluate([candidate], rows[: max(0, most_calls // cost)])
    return cost


def right_results(evaluator: Evaluator, rows: Sequence[int], candidate: Candidate) -> Iterator[tuple[int, RowResult]]:
    """Yield the results of a candidate on rows that ended right, each with its row's place."""
    for row in rows:
        result = evaluator.result(candidate, row)
        if result is not None and result.score == RIGHT:
            yield row, result


def _result_demonstrations(
    evaluator: Evaluator, pipeline: Pipeline, step: Step, row: int, result: RowResult
) -> Iterator[Demonstration]:
    """Yield the inputs of a step in a result and its answer, for each item of its `for_each`."""
    scope = {**evaluator.rows[row].inputs[0], **result.steps}
    try:
        given = step_inputs(pipeline, step, scope)
    except InputError:
        return
    value = result.steps.get(step.name)
    outputs = [value] if step.for_each is None else value or []
    nodes = step_nodes(evaluator.trace(result), step.name)
    asked = [pair for pair in zip(outputs, nodes, strict=False) if pair[1]["status"] != "skipped"]
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
    """Return the thoughts of a trace node that thought once, to the end, and then decided."""
    thoughts = [call for call in node["calls"] if call["call"] == REASON and not call["deciding"]]
    if len(thoughts) != 1 or thoughts[0]["finish"] != "stop" or not thoughts[0]["reply"].strip():
        return None
    return f"{thoughts[0]['begun']} {thoughts[0]['reply'].strip()}".strip()


GENERATION_SHARE: Final = 0.1
"""The share of the search's calls for each of the two kinds."""
LEAST_GENERATION_CALLS: Final = 20
FROM_RUNS, SOLVED = "from its own runs", "that it solved"


async def generate_demonstrations(
    objectives: Objectives,
    parameters: Sequence[Parameter],
    models: Mapping[str, Model],
    *,
    calls: int,
) -> GeneratedDemos:
    """Return demonstrations that the models made, by step and pool; empty if there are few calls.

    With several steps, those without examples from the data get their inputs and answers in runs that ended right. A
    step that may think gets rows that it solved, with its thoughts, which are shown if its technique thinks. `models`
    are those of the steps whose examples may vary. Raises the errors of `Evaluator.evaluate`.
    """
    share = int(GENERATION_SHARE * calls)
    generated: dict[str, dict[str, Sequence[Demonstration]]] = {}
    if share < LEAST_GENERATION_CALLS:
        return generated
    with_examples = {
        parameter.step
        for parameter in parameters
        if any(choice.changes.get(f"{parameter.step}.examples") for choice in parameter.choices)
    }
    lacking = [step for step in models if step not in with_examples]
    whole = objectives.whole
    if lacking and len(models) > 1:
        pools = await from_runs(whole.estimates.evaluator, whole.split.demo_pool, Candidate(), most_calls=share)
        generated |= {step: {FROM_RUNS: pool} for step, pool in pools.items() if step in lacking and pool}
    thinking = [step for step in models if _may_think(step, parameters)]
    for step in thinking:
        objective = objectives.steps.get(step, whole)
        pool = await with_thoughts(
            objective.estimates.evaluator,
            objective.split.demo_pool,
            Candidate(),
            step,
            model=models[step],
            most_calls=share // len(thinking),
        )
        if pool:
            generated.setdefault(step, {})[SOLVED] = pool
    return generated


def _may_think(step: str, parameters: Sequence[Parameter]) -> bool:
    """Tell whether a choice of a step thinks in one request before it answers."""
    choices = (
        choice
        for parameter in parameters
        if parameter.step == step and parameter.kind == "technique"
        for choice in parameter.choices
    )
    return any(THINKING in str(choice.changes.get(f"{step}.technique", "")) for choice in choices)
