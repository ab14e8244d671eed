"""Adaptive self-consistency: sample in small batches until the majority is unlikely to change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from promptkit.errors import Unsupported
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.methods.solutions import solution
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Probability = Annotated[float, Field(gt=0.5, lt=1)]
Weight = Literal["none", "logprob", "judge"]

BEST_GRADE = 10
LARGEST_EXPONENT = 700.0


@technique(
    needs={"sampling"},
    calls="samples * (over_calls + (0 if weigh == 'none' else 1))",
    requests="samples * (over_requests + {'none': 0, 'logprob': 2, 'judge': 1}[weigh])",
)
async def adaptive_self_consistency(
    task: Task,
    *,
    samples: Count = 10,
    batch: Count = 2,
    threshold: Probability = 0.95,
    weigh: Weight = "none",
    temperature: Warmth = 0.7,
    over: Spec = "chain_of_thought",
) -> Answer:
    """Sample `over` in batches until the majority stays with a probability of `threshold` (Aggarwal et al. 2023).

    The probability is that of a Beta distribution over the two answers with the most votes. `samples` caps the samples.
    `weigh` makes each vote count by the confidence in it (Taubenfeld et al. 2025): the probability that the model gives
    to `yes` when asked whether the answer is right (`logprob`), or a grade (`judge`).
    """
    if weigh == "logprob" and not await task.can("logprobs"):
        raise Unsupported(
            "`weigh: logprob` needs log-probabilities, which the model does not give", hint="`weigh: judge`"
        )
    answers: list[Answer] = []
    confidences: list[float | None] = []
    voted, probability = task.vote([]), 0.0
    while len(answers) < samples and probability < threshold:
        numbers = range(len(answers), min(len(answers) + batch, samples))
        drawn = await task.each(lambda number: task.run(over, sample=number, temperature=temperature), numbers)
        answers += drawn
        confidences += await task.each(lambda answer: confidence(task, answer, weigh), drawn)
        voted = task.vote(answers, weights(confidences))
        probability = probability_of_staying([vote["weight"] for vote in voted.extra.get("votes", ())])
    if probability < threshold:
        task.warn("capped")
    return voted.with_extra(samples=len(answers), probability=round(probability, 4))


async def confidence(task: Task, answer: Answer, weigh: Weight) -> float | None:
    """Return the confidence in an answer, from 0 to 1; 1 where votes are not weighed, None for one without a vote."""
    if answer.flag is not None:
        return None
    if weigh == "none":
        return 1.0
    shown = solution(task, answer)
    if weigh == "judge":
        grade = (await task.ask("grade", solution=shown)).value
        return 0.0 if grade is None else float(grade) / BEST_GRADE
    try:
        yes, no = await task.logprob("right", ["yes", "no"], solution=shown)
    except Unsupported:  # a reply without a token has no log-probability
        task.warn("unread_call")
        return 0.0
    return 1 / (1 + math.exp(min(no - yes, LARGEST_EXPONENT)))


def weights(confidences: Sequence[float | None]) -> list[float]:
    """Return confidences as votes: their mean is 1, so that they count as much evidence as plain votes.

    Where all are 0 the votes are plain.
    """
    known = [value for value in confidences if value is not None]
    mean = sum(known) / len(known) if known else 0.0
    return [0.0 if value is None else value / mean if mean else 1.0 for value in confidences]


def probability_of_staying(votes: Sequence[float]) -> float:
    """Return the probability that the leading answer keeps its lead over the second, by a Beta distribution.

    The prior is uniform (Aggarwal et al. 2023, arXiv 2305.11860). `votes` are the weights of the different answers.
    """
    from scipy.special import betainc

    if not votes:
        return 0.0
    first, second = (*sorted(votes, reverse=True), 0.0)[:2]
    return float(betainc(second + 1, first + 1, 0.5))
