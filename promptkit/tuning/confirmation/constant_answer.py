"""The best constant answer: the same label for every row, which costs no call, as a bar to compare the incumbent with.

Where one label is frequent, a prompt that always says it looks good by accuracy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import scalar_text
from promptkit.evaluation.suite.suite import answer_type
from promptkit.tuning.confirmation.confirm import Difference, measured_gain
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator, RowResult
from promptkit.tuning.search_space.candidate import Candidate, Choice

LEAST_ROWS_A_LABEL: Final = 3
"""Expected answers with fewer rows each, on average, are not a few classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantAnswer:
    """The best constant answer, its means in the metric's own units, and the incumbent's difference to it.

    `search` and `confirm` are estimates as records have them.
    """

    answer: str
    search: Mapping[str, Any]
    confirm: Mapping[str, Any]
    difference: Difference

    def record(self) -> dict[str, Any]:
        """Return the constant answer as JSON has it."""
        return {
            "answer": self.answer,
            "search": self.search,
            "confirm": self.confirm,
            "difference": self.difference.record(),
            "beaten": self.difference.low > 0,
        }


def constant_answer(evaluator: Evaluator, split: DataSplit, incumbent: Candidate) -> ConstantAnswer | None:
    """Compare the incumbent with the best constant answer on the held-out rows that it was evaluated on.

    The constant answer is the expected answer with the best score on the search rows and the pool. None if the expected
    answers are not a few classes, if scoring takes requests, or if no constant answer is ever right. Sends no request.
    """
    metric, visible = evaluator.metric, split.visible
    rows = [row for row in split.holdout if evaluator.result(incumbent, row) is not None]
    if not rows or not visible or metric.asks or metric.costly or evaluator.suite.conversation is not None:
        return None
    constants = {}
    for label in _classes(split):
        text = scalar_text(label) or str(label)
        candidate = Candidate({"": Choice(f"always `{text}`", {"always": text})})
        if not _evaluate(evaluator, candidate, label, [*visible, *rows]):
            return None
        constants[text] = candidate
    sign = 1 if metric.higher_is_better else -1
    means = {text: sign * (evaluator.estimate(constant, visible).mean or 0.0) for text, constant in constants.items()}
    if not any(evaluator.scores(constant, visible).any() for constant in constants.values()):
        return None
    best = max(means, key=lambda text: means[text])
    search, confirm = (evaluator.estimate(constants[best], places) for places in (split.search, rows))
    return ConstantAnswer(
        answer=best,
        search={"mean": search.mean, "low": search.low, "high": search.high, "n": search.n},
        confirm={"mean": confirm.mean, "low": confirm.low, "high": confirm.high, "n": confirm.n},
        difference=measured_gain(evaluator, constants[best], incumbent, rows),
    )


def _classes(split: DataSplit) -> list[Hashable]:
    """Return the expected answers of the search rows if they are a few classes, the most frequent first."""
    if split.labels is None:
        return []
    counts = Counter(split.labels[place] for place in split.visible)
    is_few = LEAST_ROWS_A_LABEL * len(set(split.labels)) <= len(split.labels)
    return [label for label, _ in counts.most_common()] if is_few else []


def _evaluate(evaluator: Evaluator, candidate: Candidate, label: Any, rows: Iterable[int]) -> bool:
    """Give the evaluator the results of a constant answer on rows, and return whether each has a score."""
    pipeline, repeat = evaluator.suite.baseline.pipeline, evaluator.suite.repeat
    output = _output(answer_type(pipeline), label)
    steps = dict.fromkeys(pipeline.output.names, output)
    for row in rows:
        score = evaluator.score_output(row, output, steps)
        if score.value is None and score.applies:
            return False
        evaluator.add_result(candidate, row, _result(evaluator, score, repeat, output, steps))
    return True


def _output(answer: AnswerType | None, label: Any) -> Any:
    try:
        return label if answer is None else answer.parse(scalar_text(label) or str(label))
    except ValueError:
        return label


def _result(evaluator: Evaluator, score: Score, repeat: int, output: Any, steps: Mapping[str, Any]) -> RowResult:
    values: Sequence[float] = () if score.value is None else evaluator.metric.numbers(score)
    return RowResult(
        score=None if score.value is None else evaluator.normalized(score.value),
        values=(tuple(values),) * repeat if values else (),
        unparsed=0.0,
        calls=0,
        tokens=0,
        judge_tokens=0,
        seconds=0.0,
        output=output,
        steps=steps,
        problem="",
        cell_numbers=(),
        exempt=not score.applies,
    )
