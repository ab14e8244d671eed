"""Chain of event: summarize the events that several documents share, in order of time."""

import re
from functools import partial
from itertools import chain
from typing import Any, Literal

from promptkit.answers.base import Unparsed
from promptkit.answers.reader.json_reader import read_json
from promptkit.errors import InputError
from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Count, Tokens
from promptkit.techniques.reading import read_list, some_items
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Variant = Literal["chained", "single"]
_DOCUMENTS = re.compile(r"\b(?:documents?|docs?|texts?|sources?)\b[^\n]{0,60}?\d[\d,; and&]*", re.IGNORECASE)


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
    found = await task.each(lambda reply: task.read(reply, some_items), replies)
    extracted = [(items or [])[:events] for items in found]
    specific = list(dict.fromkeys(chain.from_iterable(extracted)))
    if not specific:
        return task.no_answer("no document tells of an event", replies[-1])
    room = 64 + 48 * sum(map(len, extracted))
    merged = await task.ask("generalise", extracted=extracted, max_tokens=room)
    general = await task.read(merged, partial(read_general, count=len(texts))) or []
    if not general:
        task.note(merged, "the specific events are summarized")
    least = threshold or max(2, -(-len(texts) // 2))
    kept = [event["event"] for event in general if len(event["docs"]) >= least]
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


def read_general(text: str, count: int) -> list[dict[str, Any]]:
    """Return the general events of a reply, each with the numbers of its documents, 1 to `count`, each once.

    They are JSON, else a list whose items name their documents. Raises Unparsed.
    """
    try:
        found = read_json(text)
    except Unparsed:
        found = [_listed_event(item) for item in read_list(text)]
    if isinstance(found, dict):
        found = next((value for value in found.values() if isinstance(value, list) and "event" not in found), [found])
    listed = found if isinstance(found, list) else []
    events = [
        {"event": str(event["event"]).strip(), "docs": document_numbers(event.get("docs"), count)}
        for event in listed
        if isinstance(event, dict) and str(event.get("event") or "").strip()
    ]
    if not any(event["docs"] for event in events):
        raise Unparsed("the reply does not say in which documents the events stand")
    return events


def _listed_event(item: str) -> dict[str, Any]:
    """Return an item of a list as an event: `A mill burned. (documents 1, 3)`."""
    named = list(_DOCUMENTS.finditer(item))
    return {
        "event": item[: named[-1].start()].strip(" (-–—:,[") if named else item,
        "docs": named[-1][0] if named else "",
    }


def document_numbers(given: Any, count: int) -> list[int]:
    """Return the numbers of documents that there are, in order, each once however often and however it is named."""
    listed = given if isinstance(given, list) else [given]
    numbers = {int(number) for named in listed for number in re.findall(r"(?<!\d)\d{1,6}(?!\d)", str(named))}
    return sorted(number for number in numbers if 1 <= number <= count)
