"""Verify and edit: where reasoning paths differ, their sentences are looked up and corrected before the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptkit.answers.base import Unparsed
from promptkit.errors import InputError
from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.parameters import Count, Tokens, Warmth
from promptkit.techniques.reading import before_cue, filled_text, read_list, read_sentences
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(
    needs={"sampling", "documents"},
    roles=["question", "documents?"],
    calls="samples + 2 * sentences + 1",
    requests="samples * (1 + decided) + 2 * sentences + 1",
)
async def verify_and_edit(
    task: Task,
    *,
    samples: Count = 5,
    temperature: Warmth = 0.7,
    threshold: Count | None = None,
    sentences: Count = 4,
    passages: Count = 3,
    max_tokens: Tokens = 256,
) -> Answer:
    """Vote; without `threshold` votes for one answer, verify a rationale, edit it and answer (Zhao et al. 2023).

    `threshold`, left out, is more than half of the `samples`; a single sample is always verified. `sentences` caps how
    many of the rationale are verified, the others being left out; `passages` how many are found for each; `max_tokens`
    bounds the thoughts. Raises InputError for a threshold that the samples cannot reach.
    """
    enough = threshold or samples // 2 + 1
    if enough > samples:
        raise InputError(
            f"technique `verify_and_edit`: {samples} `samples` cannot reach a `threshold` of {enough} votes",
            hint="set `threshold` to at most `samples`",
        )
    thoughts = await task.sample("reason", samples, temperature=temperature, max_tokens=max_tokens, logprobs=True)
    answers = await task.each(task.decide, thoughts)
    voted = task.vote(answers)
    if max((vote["weight"] for vote in voted.extra.get("votes", ())), default=0) >= enough:
        return voted
    rationale = read_sentences(likeliest(task, thoughts, answers, voted))
    edits = await task.each(lambda sentence: edit(task, sentence, passages), rationale[:sentences])
    found = await task.ask("answer", statements=[edit["statement"] for edit in edits])
    answer = (await task.decide(found)).with_extra(**voted.extra, edits=edits)
    return answer.with_extra(capped=True) if len(rationale) > sentences else answer


def likeliest(task: Task, thoughts: Sequence[Exchange], answers: Sequence[Answer], voted: Answer) -> str:
    """Return the rationale, without its answer, of the likeliest path that reaches the answer voted for.

    Without log-probabilities it is the first such path; where no path has an answer, all are in question.
    """
    paths = list(thoughts)
    if voted.flag is None:
        winner = task.vote_key(voted)
        paths = [
            path
            for path, answer in zip(thoughts, answers, strict=True)
            if answer.flag is None and task.vote_key(answer) == winner
        ]
    best = max(paths, key=lambda path: -math.inf if path.confidence is None else path.confidence)
    return before_cue(best.text, best.cue)


async def edit(task: Task, sentence: str, count: int) -> dict[str, str]:
    """Return a sentence with the question that verifies it and the statement that takes its place."""
    verifying = await task.read(await task.ask("question", sentence=sentence), read_question) or ""
    found = await task.retrieve(verifying, count) if verifying else []
    if not found:
        task.warn("no_passage")
        return {"sentence": sentence, "question": verifying, "statement": sentence}
    reply = await task.ask("verify", verifying=verifying, passages=[passage.text for passage in found])
    statement = await task.read(reply, filled_text)
    return {"sentence": sentence, "question": verifying, "statement": statement or sentence}


def read_question(text: str) -> str:
    """Return the question of a reply, without the words that announce it. Raises Unparsed without one."""
    lines = [line for line in read_list(text) if not line.endswith(":")]
    if not lines:
        raise Unparsed("the reply holds no question")
    return next((line for line in lines if line.endswith("?")), lines[0])
