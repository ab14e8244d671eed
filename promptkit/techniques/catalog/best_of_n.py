"""Best of n: sample several answers, and return the one that a verifier scores highest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.methods.solutions import solution
from promptkit.techniques.methods.verifier import JUDGE, Verdict, Verifier, check_verifier, verify
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Verified = tuple[Answer, Verdict]


@technique(
    needs={"sampling"},
    calls="samples * (over_calls + (1 if verifier == 'judge' else 0))",
    requests="samples * (over_requests + (1 if verifier == 'judge' else 0))",
)
async def best_of_n(
    task: Task,
    *,
    samples: Count = 5,
    verifier: Verifier = "judge",
    threshold: float | None = None,
    temperature: Warmth = 0.7,
    over: Spec = "chain_of_thought",
) -> Answer:
    """Sample answers by `over`, score each, and return the best (Cobbe et al. 2021).

    `verifier` scores them: `judge` grades from 0 to 10, `guard` is the step's own, `program` runs that of the answer,
    and `tool:NAME` is a tool of the step. The tool gets the `answer`, and returns True or False, a number, or a text
    that says what is wrong. A `threshold` is the score that is good enough: answers are then sampled one after the
    other, up to the first that reaches it. Of equal scores the first wins. Warns `none_accepted` where the verifier
    rejects all answers.
    """
    check_verifier(task, verifier, over)

    async def sample(number: int) -> Verified:
        answer = await task.run(over, sample=number, temperature=temperature)
        return answer, await score(task, answer, verifier)

    if threshold is None:
        verified = await task.each(sample, range(samples))
    else:
        verified = []
        while len(verified) < samples and not reaches(verified, threshold):
            verified.append(await sample(len(verified)))
        if not reaches(verified, threshold):
            task.warn("capped")
    answer, verdict = max(verified, key=rank)
    if verdict.score is False and answer.flag is None:
        task.warn("none_accepted")
    if is_tied(task, verified):
        task.warn("tie")
    scores = [{"value": scored.value, "score": given.score} for scored, given in verified]
    return answer.with_extra(score=verdict.score, candidates=scores)


async def score(task: Task, answer: Answer, verifier: str) -> Verdict:
    """Return the verdict on an answer; the score of one that the judge's reply does not grade is None."""
    if verifier != JUDGE or answer.flag is not None:
        return await verify(task, answer, verifier)
    return Verdict((await task.ask("judge", solution=solution(task, answer))).value)


def reaches(verified: Sequence[Verified], threshold: float) -> bool:
    """Tell whether the last answer's score is good enough."""
    return bool(verified) and verified[-1][0].flag is None and rank(verified[-1])[1] >= threshold


def rank(verified: Verified) -> tuple[bool, float]:
    """Return the sort key of an answer: those without a value come last, those without a score before them."""
    answer, verdict = verified
    return answer.flag is None, -math.inf if verdict.score is None else float(verdict.score)


def is_tied(task: Task, verified: Sequence[Verified]) -> bool:
    """Tell whether different answers have the best score. Those that were only accepted are not in competition."""
    best = max(map(rank, verified))
    equal = [(answer, verdict) for answer, verdict in verified if rank((answer, verdict)) == best]
    graded = not isinstance(equal[0][1].score, bool) and equal[0][0].flag is None
    return graded and len({task.vote_key(answer) for answer, _ in equal}) > 1
