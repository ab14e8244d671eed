"""A model as a judge of two answers, shown in both orders: which of them is better, and how far order sways it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field

from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.metrics.base import Clients, Difference, Estimate, Metric, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import (
    NOTHING_SCORED,
    binary_difference,
    count_clusters,
    has_independent_cells,
)
from promptkit.evaluation.metrics.judge_prompt import SAME_MODEL, JudgePrompt, NoVerdict, fields_read, question_of
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, Score
from promptkit.evaluation.metrics.values import frozen, shown_value, text_of
from promptkit.evaluation.statistics.agreement import OrderCounts, both_orders, consistency, position_bias
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.project_code.reference import CodeReference

GIVES = frozenset({"rubric", "question", "first", "second", "expected"})
LEAST_CONSISTENT = 0.7
SHOWN_BIAS: Final = 0.05
"""The p of a position bias below which a note names it."""
VERDICTS: Final = {"first": 1, "second": -1}
_UNSURE: Final = "no verdict from this judge: it is inconsistent in too many pairs when their order is reversed"


class PairwiseParameters(ClosedModel):
    """`question` is what was asked: an expression or a field of the row; by default all fields but the expected one.

    `expected: false` hides the expected answer from the judge. `pairs: all` compares each two variants, and ranks them.
    """

    rubric: str = Field(min_length=1)
    model: str | None = None
    prompt: str = "judge_pair"
    question: str | None = None
    expected: bool = True
    pairs: Literal["baseline", "all"] = "baseline"


class Pairwise(Metric):
    """1 where a model prefers the answer to the baseline's in both orders, 0 where it prefers the baseline's, else 0.5.

    Equal answers are a tie without asking the judge; an unparsed answer loses to a parsed one. Interval and difference
    are Tango's, of consistent wins against losses; with repeats or clusters they are those of graded scores. Below a
    consistency of 0.7 neither is given (Zheng et al. 2023, NeurIPS, on judges influenced by order).

    With `pairs: all` three and more variants are ranked by their Bradley-Terry strengths.
    """

    kind = "pairwise"
    about = "a model's preference over the baseline's answer, asked in both orders"
    Parameters = PairwiseParameters
    parameters: PairwiseParameters
    needs_expected = False
    asks = True
    pairs = True
    costly = True
    columns = ("score", "shown_first", "shown_last", "same_model")

    def __init__(self, name: str, parameters: PairwiseParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        list(fields_read(parameters.question))
        self._prompt = JudgePrompt(parameters.prompt, parameters.model, context, GIVES)
        self.model = self._prompt.model
        self.all_pairs = parameters.pairs == "all"

    @property
    def key(self) -> str:
        # A score is that against the baseline, whatever else is compared.
        added = {"pairs", *({"expected"} if self.parameters.expected else ())}
        return f"{self.kind}:{self.parameters.model_dump_json(exclude=added)}:{self._prompt.key}"

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return self._prompt.code

    async def measure_pair(self, given: MetricInput, baseline: MetricInput, clients: Clients) -> Score:
        ours, theirs = given.cell.flag, baseline.cell.flag
        if ours or theirs:
            value = 0.5 if ours and theirs else 0.0 if ours else 1.0
            return Score(value, {"flag": ours, "baseline's flag": theirs})
        if frozen(given.got) == frozen(baseline.got):
            return Score(0.5, {"equal": True})
        values = {
            "rubric": self.parameters.rubric,
            "question": question_of(given, self.parameters.question, frozenset()),
            "expected": text_of(given.expected) if self.parameters.expected else "",
        }
        pair = text_of(given.got), text_of(baseline.got)
        verdicts, exchanges = [], []
        for first, second in (pair, pair[::-1]):
            try:
                verdict = await self._prompt.ask({**values, "first": first, "second": second}, clients)
            except NoVerdict as error:
                return Score(None, why=str(error))
            if verdict.value not in tuple(VERDICTS):
                why = f"the judge's verdict {shown_value(verdict.value)} is neither `first` nor `second`"
                return Score(None, why=why)
            verdicts.append(verdict.value)
            exchanges.append(verdict.exchange)
        return await self._scored(verdicts, exchanges, clients)

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        detail = score.detail
        shown_first, shown_last = detail.get("verdicts", (None, None))
        return (
            score.value,
            float(VERDICTS[shown_first]) if shown_first else nan,
            float(-VERDICTS[shown_last]) if shown_last else nan,
            float("same_model" in detail),
        )

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        apart = _difference_from_tie(sample, CONFIDENCE)
        return Estimate(
            mean=float(sample.scores.mean()),
            low=None if apart.low is None else 0.5 + apart.low,
            high=None if apart.high is None else 0.5 + apart.high,
            n=len(sample),
            clusters=count_clusters(sample),
            parts=_parts(sample),
            notes=(*apart.notes, *_order_notes(sample), *((SAME_MODEL,) if sample.values[:, 3].any() else ())),
        )

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        """Return the distance of the other variant from a tie; None where neither is the baseline."""
        if not len(a):
            return None
        if _is_baseline(b):
            return _difference_from_tie(a, level)
        if _is_baseline(a):
            turned = Sample(1 - b.values[:, :1], b.rows, b.clusters)
            return _difference_from_tie(b, level, turned)
        return None

    async def _scored(self, verdicts: Sequence[str], exchanges: Sequence[Mapping[str, Any]], clients: Clients) -> Score:
        detail: dict[str, Any] = {"verdicts": list(verdicts)}
        if await self._prompt.is_judged(clients):
            detail["same_model"] = True
        wins = (verdicts[0] == "first") + (verdicts[1] == "second")
        return Score(wins / 2, {**detail, JUDGE_DETAIL: list(exchanges)})


def _is_baseline(sample: Sample) -> bool:
    """Tell whether a variant is the baseline: all ties, and the judge was never asked."""
    return bool((sample.scores == 0.5).all()) and not _orders(sample).n


def _difference_from_tie(sample: Sample, level: float, turned: Sample | None = None) -> Difference:
    """Return the distance of the mean score from a tie: half of wins minus losses, as a share of all cells.

    There is no interval where the judge is inconsistent. `turned` has the same scores from the baseline's side.
    """
    scores = (turned or sample).scores
    wins, losses = (Sample((scores == at)[:, None].astype(float), sample.rows, sample.clusters) for at in (1.0, 0.0))
    found = binary_difference(wins, losses, True, level)
    assert found is not None and found.difference is not None, "there are cells"
    orders = _orders(sample)
    if orders.n and orders.same / orders.n < LEAST_CONSISTENT:
        return replace(
            found, difference=found.difference / 2, low=None, high=None, p=None, spread=None, notes=(_UNSURE,)
        )
    return replace(
        found,
        difference=found.difference / 2,
        low=_half(found.low),
        high=_half(found.high),
        # A discordant share scales with the square of a difference, a standard deviation with the difference.
        spread=_half(_half(found.spread) if has_independent_cells(sample) else found.spread),
        notes=found.notes if orders.n else (),
    )


def _half(value: float | None) -> float | None:
    return None if value is None else value / 2


def _orders(sample: Sample) -> OrderCounts:
    """Return the counts of the judge's verdicts in both orders."""

    asked = ~np.isnan(sample.values[:, 1])
    return both_orders(sample.values[asked, 1].astype(int), sample.values[asked, 2].astype(int))


def _order_notes(sample: Sample) -> list[str]:
    """Return the note on a judge that places sway, where that is shown."""
    orders = _orders(sample)
    if position_bias(orders.first, orders.last).p >= SHOWN_BIAS:
        return []
    swayed, place = (orders.first, "first") if orders.first > orders.last else (orders.last, "last")
    return [f"in {swayed} of {orders.n} pairs the judge preferred what stood {place}, whichever answer it was: ties"]


def _parts(sample: Sample) -> dict[str, Any]:
    """Return the parts of an estimate: counts of verdicts, consistency, and position bias."""
    wins, losses = int((sample.scores == 1).sum()), int((sample.scores == 0).sum())
    parts: dict[str, Any] = {"wins": wins, "losses": losses, "ties": len(sample) - wins - losses}
    orders = _orders(sample)
    parts["asked"] = orders.n
    if orders.n:
        same, sway = consistency(orders.same, orders.n), position_bias(orders.first, orders.last)
        parts["consistency"] = {"mean": same.mean, "low": same.low, "high": same.high}
        parts["position bias"] = {"value": sway.bias, "p": sway.p, "first": orders.first, "last": orders.last}
    return parts
