"""Complexity-based prompting: the examples with the most steps, and a vote among the longest chains."""

from collections.abc import Sequence

from promptkit.errors import InputError
from promptkit.techniques.artifacts import Prepared, Row
from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.prepared import with_prepared_examples
from promptkit.techniques.parameters import Count, Temperature, Tokens
from promptkit.techniques.reading import before_cue, filled_lines
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


async def prepare(task: Task, rows: Sequence[Row], *, chosen: Count = 4) -> Prepared:
    """Choose the rows whose rationale has the most steps, one to a line; no model is asked.

    Raises InputError where no row has both a rationale and an answer, or no rationale has more than one line.
    """
    usable = [row for row in rows if row.rationale.strip() and row.expect is not None]
    if not usable:
        raise InputError("no row has both a rationale and an expected answer")
    if all(len(filled_lines(row.rationale)) == 1 for row in usable):
        hint = "put each step of a rationale on a line of its own"
        raise InputError("each rationale is one line, so that none has more steps than another", hint=hint)
    ranked = sorted(usable, key=lambda row: -len(filled_lines(row.rationale)))
    return Prepared(
        items=[
            {"input": dict(row.inputs), "thoughts": "\n".join(filled_lines(row.rationale)), "output": row.expect}
            for row in ranked[:chosen]
        ]
    )


@technique(
    needs={"rows", "rationales"},
    calls="samples",
    requests="samples * (1 + decided)",
    sampling="samples > 1",
    prepare=prepare,
)
async def complex_cot(
    task: Task,
    *,
    samples: Count = 1,
    temperature: Temperature = 0.0,
    keep: Count | None = None,
    max_tokens: Tokens | None = None,
) -> Answer:
    """Think as the examples with the most steps show; of several chains only the longest vote (Fu et al. 2023).

    Several samples need a temperature above 0. `keep` is how many chains vote, left out: three of five. A chain without
    an answer is out before the longest are chosen. `max_tokens` bounds each chain, 256 where the step has no bound.
    """
    shown = with_prepared_examples(task)
    chains = await shown.sample("reason", samples, temperature=temperature, max_tokens=max_tokens)
    answers = await task.each(task.decide, chains)
    steps = [count_steps(chain) for chain in chains]
    answered = [number for number, answer in enumerate(answers) if answer.flag is None]
    longest = set(sorted(answered, key=lambda number: -steps[number])[: keep or (3 * samples + 4) // 5])
    voting = [answer for number, answer in enumerate(answers) if answer.flag or number in longest]
    return task.vote(voting).with_extra(steps=steps, kept=sorted(longest))


def count_steps(chain: Exchange) -> int:
    """Return the number of steps in a chain: the lines that are not blank before its answer."""
    return len(filled_lines(before_cue(chain.text, chain.cue)))
