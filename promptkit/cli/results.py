"""Results of runs: printed for a person, and in the order of their items."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from promptkit.api.run import RunResult
from promptkit.api.session import UsedModel
from promptkit.engine.dependencies import ToolUse
from promptkit.engine.results import Totals
from promptkit.project_code.reference import CodeUse
from promptkit.reports.output import note
from promptkit.reports.progress import Progress
from promptkit.reports.text import calls_text, seconds_text, tokens_text
from promptkit.reports.trace import trace_text


def show_result(result: RunResult, progress: Progress, *, trace: bool) -> None:
    """Show the cost of a run and the models that answered, before them the trace where it is asked for."""
    for message in result.notices:
        progress.notice(message)
    if trace:
        note(trace_text(result.trace))
    note(spent_text([result.totals], result.totals.seconds))
    show_models(result.models, result.totals, progress)


def spent_text(totals: Sequence[Totals], seconds: float) -> str:
    """Return the cost of runs together: `3 calls (1 cached) · 210+34 tokens · 1.2 s`."""
    calls = calls_text(sum(run.calls for run in totals), sum(run.cached for run in totals))
    tokens = tokens_text(sum(run.tokens_in for run in totals), sum(run.tokens_out for run in totals))
    return f"{calls} · {tokens} · {seconds_text(seconds)}"


def show_models(models: Sequence[UsedModel], totals: Totals, progress: Progress) -> None:
    """Show once each model that answered and who named it, unless a notice has said so already."""
    announced = announced_models(models)
    for reference, why in answered_by(models, totals).items():
        if reference not in announced:
            progress.notice(f"answered by {reference} (named by {why})")


def answered_by(models: Sequence[UsedModel], totals: Totals) -> dict[str, str]:
    """Return the models that answered, a recording in place of its model, each with who named it."""
    return {model.replay or model.reference: model.why for model in models} if totals.calls else {}


def announced_models(models: Sequence[UsedModel]) -> frozenset[str]:
    """Return the models that a notice has already named as answering."""
    return frozenset(model.reference for model in models if model.announced)


def code_lines(uses: Sequence[CodeUse]) -> list[str]:
    """Return a line for each Python function of the project that would run."""
    return [f"would run {use.shown}" for use in uses]


def tool_lines(uses: Iterable[ToolUse]) -> list[str]:
    """Return a line for each step that may call tools, with the effects of these."""
    by_step: dict[tuple[str, str], list[str]] = {}
    for use in uses:
        by_step.setdefault((use.file, use.step), []).append(named_effects(use.name, use.effects))
    return [f"step `{step}` of {file} may call {', '.join(names)}" for (file, step), names in by_step.items()]


def named_effects(name: str, effects: Sequence[str]) -> str:
    """Return a tool with its effects: `news (network)`."""
    return f"{name} ({', '.join(effects)})" if effects else name


Item = TypeVar("Item")
ItemResult = TypeVar("ItemResult")


async def in_order(
    function: Callable[[Item], Coroutine[Any, Any, ItemResult]], items: Iterable[Item], *, at_once: int | None = None
) -> AsyncGenerator[ItemResult, None]:
    """Yield the result of each item in the order of the items, while the next ones are being worked on.

    An exception is raised in the place of its item; the other items are then cancelled.
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
