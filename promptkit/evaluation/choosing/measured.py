"""A technique as it was measured, and the order in which measured techniques are worth their price."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from promptkit.evaluation.statistics import Interval, wilson
from promptkit.techniques import Spec

State = Literal["measured", "incomplete", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What rows took together. `calls` as papers count them, `requests` as the runtime does, `cached` of them known
    before; `seconds` is the model's own time."""

    calls: int = 0
    requests: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        names = self.__dataclass_fields__
        return Spent(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One technique on the rows of a comparison.

    Of `rows`, `missing` have no answer because a server or tool failed (`reason` is the first failure); all else is of
    the others. An `unparsed` and a `truncated` answer is wrong. `seen` of the rows were seen when the technique was
    prepared. `spent` is what the answered rows took, `lost` what was asked for the missing ones. `reason` also says why
    a technique is `unavailable`: what it needs is not at hand, or not prepared. `dominated_by` is a technique
    that is at least as often right for no more requests, and better in one of the two.
    """

    spec: Spec
    name: str
    rows: int
    right: int = 0
    unparsed: int = 0
    truncated: int = 0
    missing: int = 0
    seen: int = 0
    spent: Spent = Spent()
    lost: Spent = Spent()
    reason: str = ""
    available: bool = True
    dominated_by: str | None = None

    @property
    def n(self) -> int:
        """How many rows have an answer, right or wrong."""
        return self.rows - self.missing

    @property
    def state(self) -> State:
        return "unavailable" if not self.available else "incomplete" if self.missing else "measured"

    @property
    def accuracy(self) -> float:
        return self.right / self.n if self.n else 0.0

    @property
    def interval(self) -> Interval:
        return wilson(self.right, self.n)

    def per_row(self, what: str) -> float:
        """Return one of the amounts of `spent`, per answered row."""
        amount: float = getattr(self.spent, what)
        return amount / self.n if self.n else 0.0


def by_worth(measured: Iterable[Measured]) -> list[Measured]:
    """Return techniques by what one gets for what one pays, each with what it is dominated by.

    First those that no other dominates (none is at least as often right for no more requests a row, and better in one
    of the two), the most accurate first, and of equals the cheapest: for each further right answer one pays more. Then
    the dominated ones, then the incomplete ones, which are compared with none, then those that could not be asked.
    """
    every = list(measured)
    whole = [each for each in every if each.state == "measured"]
    told = [replace(each, dominated_by=_dominating(each, whole)) for each in whole]
    rest = [each for state in ("incomplete", "unavailable") for each in every if each.state == state]
    return [*sorted(told, key=lambda each: (each.dominated_by is not None, *_worth(each))), *rest]


def _worth(each: Measured) -> tuple[float, float]:
    return -each.accuracy, each.per_row("requests")


def _dominating(each: Measured, others: Sequence[Measured]) -> str | None:
    """Return the name of the most accurate (of equals the cheapest) technique that dominates one."""
    found = [other for other in others if _dominates(other, each)]
    return min(found, key=_worth).name if found else None


def _dominates(one: Measured, other: Measured) -> bool:
    better, cheaper = one.accuracy - other.accuracy, other.per_row("requests") - one.per_row("requests")
    return better >= 0 and cheaper >= 0 and (better > 0 or cheaper > 0)


def spec_text(spec: Any) -> str:
    """Return a technique's spec in one line, as YAML: `name`, or `{name: {parameter: value}}`."""
    if isinstance(spec, Mapping):
        return "{" + ", ".join(f"{key}: {spec_text(value)}" for key, value in spec.items()) + "}"
    if isinstance(spec, list | tuple):
        return "[" + ", ".join(map(spec_text, spec)) + "]"
    plain = isinstance(spec, str) and _PLAIN.fullmatch(spec)
    return str(spec) if plain else json.dumps(spec, ensure_ascii=False)


_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
