"""Auto-CoT: demonstrations from an unlabelled pool, one of each cluster, with the model's own thoughts."""

import re
from collections.abc import Sequence
from typing import Any, Final

from promptkit.techniques.artifacts import Prepared, Row
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.pool import clusters, draw_rows, question_of
from promptkit.techniques.methods.prepared import with_prepared_examples
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.reading import filled_lines, one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

HEADING: Final = re.compile(r"\s*(?:#+ .*|\*\*[^*]+(?::\*\*|\*\*:)|[-*_]{3,})\s*")
EMPHASIS: Final = re.compile(r"\*\*|__|(?<!\w)\*(?=\w)|(?<=[\w.])\*(?!\w)")


async def prepare(
    task: Task,
    rows: Sequence[Row],
    *,
    pool: Count = 200,
    chosen: Count = 4,
    words: Count = 60,
    lines: Count = 5,
    max_tokens: Tokens = 256,
    seed: int = 0,
) -> Prepared:
    """Cluster the questions, and in each cluster take the one nearest its centre whose thoughts are simple enough.

    `pool` caps the questions looked at, `chosen` is how many clusters, and so demonstrations, there are. A question has
    at most `words` words, its thoughts at most `lines` lines and `max_tokens` tokens. Expected answers are not read.
    `uncertain` are the questions that were tried and left out.
    """
    pooled = draw_rows(rows, pool, seed=seed)
    vectors = await task.embed([question_of(task, row) for row in pooled])

    async def represent(members: list[int]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the demonstration of a cluster, if it gives one, and the questions left out before it."""
        left_out: list[dict[str, Any]] = []
        for row in (pooled[at] for at in members):
            found = await demonstrate(task.on(row), question_of(task, row), words, lines, max_tokens)
            if isinstance(found, dict):
                return [{"input": dict(row.inputs), **found}], left_out
            left_out.append({"input": dict(row.inputs), "problem": found})
        return [], left_out

    walks = await task.each(represent, clusters(vectors, chosen, seed=seed))
    return Prepared(
        items=[item for items, _ in walks for item in items],
        uncertain=[item for _, left_out in walks for item in left_out],
    )


async def demonstrate(task: Task, question: str, words: int, lines: int, max_tokens: int) -> dict[str, Any] | str:
    """Return a question's thoughts and answer, or why it is no good demonstration; asks no more than it must."""
    if len(question.split()) > words:
        return f"the question has more than {words} words"
    exchange = await task.ask("reason", max_tokens=max_tokens)
    thoughts = plain_thoughts(exchange.said)
    if len(thoughts) > lines:
        return f"the thoughts have more than {lines} lines"
    if exchange.cut or not thoughts or thoughts[-1][-1] in ",;:":
        return "the thoughts break off"
    answer = await task.decide(await task.continue_("extract", exchange))
    if answer.flag is not None:
        return f"there is no answer: {answer.problem}"
    if task.answer_type.name == "number" and not concludes(task, " ".join(thoughts), answer):
        return f"the thoughts do not end in the answer {answer.value}"
    return {"thoughts": one_line(" ".join([exchange.head, *thoughts])), "output": answer.value}


def plain_thoughts(text: str) -> list[str]:
    """Return the lines of thoughts without those that are headings, and without emphasis."""
    lines = (line for line in filled_lines(text) if not HEADING.fullmatch(line))
    return [plain for line in lines if (plain := EMPHASIS.sub("", line).strip())]


def concludes(task: Task, thoughts: str, answer: Answer) -> bool:
    """Tell whether the answer stands in the last sentence of the thoughts, or in their last ten words."""
    sentence = re.split(r"(?<=[.!?])\s+", thoughts)[-1]
    ends = (sentence, " ".join(thoughts.split()[-10:]))
    found = {task.answer_type.vote_key(value) for end in ends for value in task.answer_type.mentions(end)}
    return task.vote_key(answer) in found


@technique(needs={"rows"}, roles=["question"], requests="1 + decided", prepare=prepare)
async def auto_cot(task: Task, *, max_tokens: Tokens = 256) -> Answer:
    """Think as demonstrations show that the model wrote itself, one of each cluster of a pool (Zhang et al. 2023)."""
    return await task.decide(await with_prepared_examples(task).ask("answer", max_tokens=max_tokens))
