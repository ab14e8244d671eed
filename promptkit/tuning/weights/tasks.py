"""The trainings of a tuning: their steps, and the search rows that train and that compare.

A split, and no cross-fitting: the file that is confirmed is the one that was compared, and an adapter is trained once
instead of once for each fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from promptkit.engine.pipeline import Pipeline, Step
from promptkit.evaluation.suite.contamination import given_inputs, step_inputs_of_row
from promptkit.evaluation.suite.generated import generated_mark
from promptkit.runtimes.base import Model
from promptkit.tuning.data_split import DataSplit, row_content
from promptkit.tuning.options import WEIGHTS
from promptkit.tuning.search.elimination import LEAST_PAIRS
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.search_space.demonstration import Demonstration, gold_demonstrations
from promptkit.tuning.weights.trainer import Trainer, TrainingRow, TrainingTask

COMPARE_SHARE: Final = 0.4
MOST_COMPARE_ROWS: Final = 60
"""The first search rows compare the trained candidates: the prompt without weights was asked them already."""
LEAST_TRAINING_ROWS: Final = 20
"""With fewer rows nothing is trained: a head on 20 labels is often worse than the prompt."""


@dataclass(frozen=True, slots=True)
class WeightsRows:
    """The search rows by their places: `compared` are never trained on, `training` never compared."""

    compared: tuple[int, ...]
    training: tuple[int, ...]


def split_search_rows(split: DataSplit) -> WeightsRows:
    """Return the search rows of a target in both parts; held-out rows are in neither.

    The compared rows are the first of the common order. Rows of their clusters do not train, as they would give the
    answers away.
    """
    count = min(MOST_COMPARE_ROWS, max(LEAST_PAIRS, int(COMPARE_SHARE * len(split.search))))
    compared = split.search[:count]
    rest = (*split.search[len(compared) :], *split.demo_pool)
    if split.clusters is None:
        return WeightsRows(compared, rest)
    seen = {split.clusters[place] for place in (*compared, *split.holdout)}
    return WeightsRows(compared, tuple(place for place in rest if split.clusters[place] not in seen))


def weights_steps(pipeline: Pipeline, only: Sequence[str]) -> list[str]:
    """Return the steps whose weights may be trained: those that ask a model and that `only` selects."""
    names = {part.strip() for text in only for part in text.split(",")}
    return [
        step.name
        for step in pipeline.steps.values()
        if step.prompt_call is not None
        and step.uses_cache
        and (not names or not names.isdisjoint({step.name, WEIGHTS, f"{step.name}.{WEIGHTS}"}))
    ]


def training_task(
    split: DataSplit,
    pipeline: Pipeline,
    step: str,
    model: Model,
    *,
    training: Sequence[int],
    prompt: Candidate | None = None,
    seed: int = 0,
) -> TrainingTask:
    """Return the training of a step, on the rows with right answers that its prompt does not show as examples.

    A model that is trained on a request with the answer in it learns to copy. `training` are the places of the rows to
    train on; a step with labels of its own has some of them. `pipeline` is the target of the split under the candidate
    `prompt`.
    """
    call, hidden = pipeline.steps[step].prompt_call, prompt.shows if prompt else frozenset()
    # The nearest examples of a row are never the row itself.
    fixed = call.examples.all if call is not None and call.examples.nearest is None else ()
    shown = {row_content(example.inputs) for example in fixed}
    known = set(split.visible) - hidden
    places = [place for place in training if place in known]
    rows = tuple(
        _training_row(split, pipeline.steps[step], demo)
        for demo in gold_demonstrations(split.suite, split.rows, step, places)
        if row_content(demo.inputs) not in shown
    )
    return TrainingTask(pipeline=pipeline, step=step, model=model, rows=rows, seed=seed)


def _training_row(split: DataSplit, step: Step, demo: Demonstration) -> TrainingRow:
    row = split.rows[demo.row]
    given = step_inputs_of_row(step, row.inputs[0], given_inputs(split.suite, row.row.fields))
    scope = {**row.inputs[0], **generated_mark(row.row.fields)}
    return TrainingRow(scope=scope, inputs=demo.inputs, given=given, answer=demo.output)


def task_problem(trainer: Trainer, task: TrainingTask) -> str | None:
    """Return the reason why a task is not trained, as far as it is known without a request; None if it is."""
    if task.pipeline.steps[task.step].for_each is not None:
        return "the step asks several times a row"
    if not task.rows:
        return "the rows have no right answers of this step"
    if len(task.rows) < LEAST_TRAINING_ROWS:
        return f"{len(task.rows)} rows are left to train on, at least {LEAST_TRAINING_ROWS} are needed"
    return trainer.problem(task)


def planned_notes(
    whole: DataSplit,
    splits: Mapping[str, DataSplit],
    models: Mapping[str, Model],
    steps: Sequence[str],
    trainers: Sequence[Trainer],
) -> Iterator[str]:
    """Yield for each step what is trained for the chosen prompt; then what is not and why, each reason once.

    `splits` are by step, of the rows of the target's split, `whole`.
    """
    rows = split_search_rows(whole)
    untrained: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        split = splits[step]
        task = training_task(split, split.suite.baseline.pipeline, step, models[step], training=rows.training)
        for trainer in trainers:
            problem = task_problem(trainer, task)
            if problem is None:
                on = f"about {len(task.rows)} search rows, compared with the prompt on {len(rows.compared)} others"
                yield f"{step}.{WEIGHTS}: {trainer.kind} is trained for the chosen prompt on {on}"
            else:
                untrained.setdefault((trainer.kind, problem), []).append(f"{step}.{WEIGHTS}")
    for (kind, problem), names in untrained.items():
        yield f"{', '.join(names)}: {kind} is not trained: {problem}"
