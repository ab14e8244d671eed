"""Making a technique cheaper until it fits: fewer samples, then fewer steps, then a smaller variant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from promptkit.project import Project
from promptkit.techniques import Chosen, Cost, Spec, Technique, check, cost

FEWER: Final = (20, 5, 3, 2, 1)
FEWER_SAMPLES: Final = (20, 5, 3, 2)
"""A vote over one is no vote."""
SAMPLED: Final = (
    *("samples", "first", "breadth", "width", "phrasings"),
    *("column_samples", "row_samples", "cloze_samples", "query_samples"),
)
COUNTED: Final = (
    *("questions", "steps", "operations", "rounds", "cap", "depth", "limit"),
    *("asked", "clozes", "revisions", "sentences"),
)
SMALLER: Final[Mapping[str, tuple[str, ...]]] = {
    "chain_of_verification": ("revise", "factored", "two_step", "joint"),
    "chain_of_event": ("chained", "single"),
}
"""The variants of a technique, dearest first."""


def affordable(
    technique: Technique, project: Project, *, budget: float | None, depth: float | None, **step: Any
) -> tuple[Spec, Cost] | str:
    """Return the dearest settings of a technique that fit the budget, its defaults first; else why none does.

    `step` is what `cost` may know of the step.
    """
    spent: Cost | None = None
    for parameters in _cheaper(technique):
        if parameters and check({technique.name: parameters}, project):  # Not every technique can do with one of each.
            continue
        spent = cost(Chosen(technique, parameters), project, **step)
        if within(spent.requests, budget) and within(spent.depth, depth):
            return ({technique.name: parameters} if parameters else technique.name), spent
    assert spent is not None, "the defaults are tried first"
    if not within(spent.requests, budget):
        return f"takes {spent.requests:g} requests a row at the least, more than {budget:g}"
    return f"takes {spent.depth:g} requests that wait for each other, more than {depth:g}"


def within(amount: float, most: float | None) -> bool:
    """Tell whether an amount is at most another, None being no bound."""
    return most is None or amount <= most


def _cheaper(technique: Technique) -> Iterator[dict[str, Any]]:
    """Yield settings from the defaults to ever cheaper ones: fewer samples, fewer steps, then a smaller variant."""
    defaults = {name: each.default for name, each in technique.parameters.items()}
    variants = SMALLER.get(technique.name, (None,))
    usual = defaults.get("variant")
    smaller = variants[variants.index(usual) :] if usual in variants else variants
    for variant in smaller:
        chosen: dict[str, Any] = {} if variant in (None, usual) else {"variant": variant}
        yield dict(chosen)
        for names in (SAMPLED, COUNTED):
            counts = {name: defaults[name] for name in names if isinstance(defaults.get(name), int)}
            for fewer in FEWER_SAMPLES if names is SAMPLED else FEWER:
                lower = {name: fewer for name, count in counts.items() if fewer < count}
                if lower:
                    yield {**chosen, **lower}
            least = FEWER_SAMPLES[-1]
            chosen |= {name: least for name, count in counts.items() if names is SAMPLED and count > least}
