"""Chain of event: summarize the events that several documents share, in order of time."""

import re
from itertools import chain
from typing import Any, Literal

from promptkit.errors import InputError
from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Variant = Literal["chained", "single"]


@technique(
    needs={"documents"},
    roles=["documents"],
    calls="1 if variant == 'single' else documents + 2",
    requests="1 + decided if variant == 'single' else documents + 2",
)
async def chain_of_event(
    task: Task,
    *,
    variant: Variant = "chained",
    events: Count = 6,
    threshold: Count | None = None,
    max_tokens: Tokens = 400,
) -> Answer:
    """Extract events, generalise them, keep those of several documents, summarize what is kept (Bao et al. 2024).

    `events` caps those of one document; `threshold` says in how many documents an event must stand to be kept: left out
    half of them, at least 2. Where none is, all events are summarized, and `common` in `extra` is false. `single` does
    all in one reply of at most `max_tokens`.
    """
    texts = read_documents(task.role("documents"))
    if variant == "single":
        reply = await task.ask("single", replace={"documents": ""}, texts=texts, events=events, max_tokens=max_tokens)
        return await task.decide(reply, marked=True)
    replies = await task.each(lambda text: task.ask("extract", text=text, events=events), texts)
    extracted: list[list[str]] = [reply.value or [] for reply in replies]
    specific = list(dict.fromkeys(chain.from_iterable(extracted)))
    if not specific:
        return task.no_answer("no document tells of an event", replies[-1])
    room = 64 + 48 * sum(map(len, extracted))
    merged = await task.ask("generalise", extracted=extracted, max_tokens=room)
    general = [
        {"event": text, "docs": document_numbers(event["docs"], len(texts))}
        for event in merged.value or []
        if (text := event["event"].strip())
    ]
    if not general:
        task.note(merged, "the specific events are summarized")
    least = threshold or max(2, -(-len(texts) // 2))
    kept = [event["event"] for event in general if len(event["docs"]) >= least]
    if not kept:
        task.warn("nothing_filtered")
    shown = kept or [event["event"] for event in general] or specific
    answer = await task.decide(await task.ask("summary", replace={"documents": ""}, shown=shown))
    return answer.with_extra(events=general, summarized=shown, common=bool(kept))


def read_documents(given: Any) -> list[str]:
    """Return the texts of documents, each a text or a mapping with a `text`. Raises InputError for fewer than two."""
    listed = given if isinstance(given, list) else [given]
    texts = [document["text"] if isinstance(document, dict) and "text" in document else document for document in listed]
    if len(texts) < 2:
        raise InputError(
            f"technique `chain_of_event` keeps what several documents share, and there are {len(texts)}",
            hint="give at least 2 documents, or use another technique",
        )
    return [str(text) for text in texts]


def document_numbers(given: Any, count: int) -> list[int]:
    """Return the numbers of documents that there are, in order, each once however often and however it is named."""
    listed = given if isinstance(given, list) else [given]
    numbers = {int(number) for named in listed for number in re.findall(r"(?<!\d)\d{1,6}(?!\d)", str(named))}
    return sorted(number for number in numbers if 1 <= number <= count)
