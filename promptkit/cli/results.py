"""Results of runs: in the order of their items, printed for a person, and as the documented JSON object."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from promptkit.cli.session import Session
    from promptkit.engine.results import Result, Totals
    from promptkit.reports.progress import Progress
    from promptkit.runtimes.base import Model


class ModelResult(Protocol):
    """What models answered: a run, a preparation, a comparison."""

    @property
    def totals(self) -> Totals: ...

    @property
    def answered(self) -> Mapping[str | None, Model]: ...


def show_result(result: Result, session: Session, progress: Progress, *, trace: bool) -> None:
    """Show the trace where it is wanted, what the run came to, and which model answered."""
    from promptkit.reports.output import note
    from promptkit.reports.trace import trace_text

    for message in result.notices:
        progress.notice(message)
    if trace:
        note(trace_text(result.trace))
    note(spent_text([result.totals], result.totals.seconds))
    show_models(result, session, progress)


def spent_text(totals: Sequence[Totals], seconds: float) -> str:
    """Return what runs took together: `3 calls (1 cached) · 210+34 tokens · 1.2 s`."""
    from promptkit.reports.text import calls_text, seconds_text, tokens_text

    calls = calls_text(sum(each.calls for each in totals), sum(each.cached for each in totals))
    tokens = tokens_text(sum(each.tokens_in for each in totals), sum(each.tokens_out for each in totals))
    return f"{calls} · {tokens} · {seconds_text(seconds)}"


def show_models(result: ModelResult, session: Session, progress: Progress) -> None:
    """Show once each model that answered and why it was chosen, where a notice has not already said so."""
    told = announced(result, session)
    for reference, why in answered_by(result, session).items():
        if reference not in told:
            progress.notice(f"answered by {reference} (named by {why})")


def answered_by(result: ModelResult, session: Session) -> dict[str, str]:
    """Return what answered, a recording in place of its model, with why it was chosen; nothing where nothing did."""
    if not result.totals.calls:
        return {}
    models = session.models
    return {models.replayed(named) or model.reference: models.why(named) for named, model in result.answered.items()}


def announced(result: ModelResult, session: Session) -> frozenset[str]:
    """Return the models of which a notice has said that they answer."""
    return frozenset(model.reference for named, model in result.answered.items() if session.models.announced(named))


def model_records(result: ModelResult, session: Session) -> list[dict[str, Any]]:
    """Return each model that answered with why it was chosen, the default first."""
    records = [
        {"reference": model.reference, "digest": model.digest, "why": session.models.why(named)}
        for named, model in result.answered.items()
    ]
    return records or [{"reference": session.reference, "digest": None, "why": session.models.why()}]


def json_line(result: Result, session: Session, *, indent: int | None = None, **placed: Any) -> str:
    """Return the run as the documented JSON object; `placed` is what else is said of it, such as its row's number."""
    from promptkit.engine.results import trace_record
    from promptkit.reports.text import json_text

    models = model_records(result, session)
    error = {"error": str(result.error)} if result.error else {}
    record = {"run": result.run, **placed, "target": result.target, "model": models[0], **result.record(), **error}
    record["trace"] = trace_record(result.trace)["parts"]
    if len(models) > 1:
        record["models"] = models
    return json_text(record, indent=indent)


Item = TypeVar("Item")
ItemResult = TypeVar("ItemResult")


async def in_order(
    function: Callable[[Item], Coroutine[Any, Any, ItemResult]], items: Iterable[Item], *, at_once: int | None = None
) -> AsyncGenerator[ItemResult, None]:
    """Yield the result of each item in the order of the items, with the next ones in work meanwhile.

    What one raises is raised in its place; the others are then cancelled.
    """
    from promptkit.engine.step_run import MAX_CONCURRENT_ITEMS

    at_once = at_once or MAX_CONCURRENT_ITEMS
    tasks: deque[asyncio.Task[ItemResult]] = deque()
    try:
        for item in items:
            tasks.append(asyncio.create_task(function(item)))
            if len(tasks) == at_once:
                yield await tasks.popleft()
        while tasks:
            yield await tasks.popleft()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
