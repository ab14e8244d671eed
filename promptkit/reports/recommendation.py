"""What is recommended, as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from promptkit.reports.columns import WIDTH, paragraph
from promptkit.reports.numbers import counted
from promptkit.reports.text import visible

if TYPE_CHECKING:
    from promptkit.evaluation.choosing import Recommendation

LEGEND = (
    "The score: points for what suits the task and the input, less for what it costs and for too small a model. "
    "The basis: P its own paper, checked; V one of the survey's 29 tasks; S, L second-hand lists of what it reports; "
    "M memory. More in docs/using-techniques.md under The score."
)


def recommendation_text(found: Recommendation, *, width: int = WIDTH) -> str:
    """Return the techniques, the best first, each with what it costs and why, then those dropped, then a legend."""
    return visible("\n".join(_lines(found, min(width, WIDTH))))


def _lines(found: Recommendation, width: int) -> Iterator[str]:
    for place, each in enumerate(found.ranked, start=1):
        requests = counted(round(each.cost.requests), "request")
        told = f"{place}. {each.name} · {each.score:.2f} · at most {requests} a row, {each.cost.depth:g} deep"
        yield from paragraph(told, width=width, rest="   ")
        for reason in each.reasons:
            yield from paragraph(reason, width=width, first="   ", rest="   ")
    if found.dropped:
        yield from ("", "dropped:")
        for left_out in found.dropped:
            yield from paragraph(f"{left_out.name}: {left_out.reason}", width=width, first="   ", rest="     ")
    yield from ("", *paragraph(LEGEND, width=width))


def recommendation_record(found: Recommendation) -> dict[str, Any]:
    """Return a recommendation as the documented JSON object."""
    return {
        "task": found.task,
        "title": found.title,
        "ranked": [
            {
                "technique": each.spec,
                "score": round(each.score, 3),
                "basis": each.basis,
                "calls": each.cost.calls,
                "requests": each.cost.requests,
                "depth": each.cost.depth,
                "reasons": list(each.reasons),
                "prepares": each.prepares,
            }
            for each in found.ranked
        ],
        "dropped": [{"technique": each.name, "reason": each.reason} for each in found.dropped],
    }
