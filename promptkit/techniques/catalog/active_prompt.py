"""Active-Prompt: a person writes the thoughts for the questions of a pool that the model is least sure of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from statistics import pvariance
from typing import Annotated, Any, Literal

from pydantic import Field

from promptkit.errors import InputError
from promptkit.techniques.artifacts import Prepared, Row
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.pool import count_answers, draw_rows
from promptkit.techniques.methods.prepared import with_prepared_examples
from promptkit.techniques.parameters import Count, Temperature, Tokens, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Metric = Literal["disagreement", "entropy", "variance"]
Several = Annotated[int, Field(ge=2, le=1000)]


async def prepare(
    task: Task,
    rows: Sequence[Row],
    *,
    pool: Count = 50,
    pool_samples: Several = 5,
    pool_temperature: Warmth = 0.7,
    chosen: Count = 4,
    metric: Metric = "disagreement",
    seed: int = 0,
) -> Prepared:
    """Answer each question of a pool several times; list the `chosen` ones whose answers differ most, to be filled in.

    The samples think as the prompt's examples show, or after the zero-shot trigger where these show no thoughts. An
    item's `thoughts` and `output` are the data's own where it has them, else empty. `uncertain` is the pool, the least
    sure first. Raises InputError for `variance` where answers are no numbers.
    """
    if metric == "variance" and task.answer_type.name != "number":
        raise InputError("`metric: variance` is for numbers", hint="disagreement and entropy are for any answer")
    pooled = draw_rows(rows, pool, seed=seed)

    async def look_at(row: Row) -> tuple[Row, float, dict[str, int]]:
        asked = task.on(row)
        answers = await sample_answers(asked, pool_samples, pool_temperature)
        return row, round(uncertainty(asked, answers, metric), 4), count_answers(asked, answers)

    ranked = sorted(await task.each(look_at, pooled), key=lambda looked: -looked[1])
    return Prepared(
        items=[item_of(row) for row, _, _ in ranked[:chosen]],
        uncertain=[
            {"input": dict(row.inputs), "uncertainty": unsure, "answers": answers} for row, unsure, answers in ranked
        ],
    )


async def sample_answers(task: Task, samples: int, temperature: float) -> list[Answer]:
    """Return several answers to a question of the pool."""
    zero_shot = not task.examples_think
    chains = await task.sample("pool", samples, temperature=temperature, zero_shot=zero_shot)
    if zero_shot:
        chains = await task.each(lambda chain: task.continue_("extract", chain), chains)
    return await task.each(task.decide, chains)


def item_of(row: Row) -> dict[str, Any]:
    """Return a row as an example, with empty fields for a person to fill in."""
    output = "" if row.expect is None else row.expect
    return {"input": dict(row.inputs), "thoughts": row.rationale.strip(), "output": output}


def uncertainty(task: Task, answers: Sequence[Answer], metric: Metric) -> float:
    """Return the disagreement of answers. One that does not parse counts as a separate value, in `variance` as none.

    `disagreement` is the share of distinct answers; of two possible ones, how near their counts are to each other.
    """
    keys: list[Hashable] = [None if answer.flag else task.vote_key(answer) for answer in answers]
    counts = Counter(keys)
    if metric == "variance":
        numbers = [float(answer.value) for answer in answers if answer.flag is None]
        return pvariance(numbers) if numbers else 0.0
    if metric == "entropy":
        shares = [count / len(keys) for count in counts.values()]
        return -sum(share * math.log(share) for share in shares)
    if len(task.answer_type.alternatives()) == 2:
        given = [count for key, count in counts.items() if key is not None]
        return 1 - (2 * max(given, default=0) - sum(given)) / len(keys)
    return len(counts) / len(keys)


@technique(
    needs={"rows", "sampling"},
    roles=["question"],
    calls="samples",
    requests="samples * (1 + decided)",
    prepare=prepare,
)
async def active_prompt(
    task: Task, *, samples: Count = 1, temperature: Temperature = 0.0, max_tokens: Tokens | None = None
) -> Answer:
    """Think as a person's examples show, written for the questions the model is least sure of (Diao et al. 2024).

    Several samples need a temperature above 0, and vote. `max_tokens` bounds each chain, 256 where the step has no
    bound.
    """
    shown = with_prepared_examples(task)
    chains = await shown.sample("reason", samples, temperature=temperature, max_tokens=max_tokens)
    return task.vote(await task.each(task.decide, chains))
