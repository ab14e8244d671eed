"""What a run tells while it goes on: for progress lines, streamed text and notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.engine.results import StepResult

if TYPE_CHECKING:
    from promptkit.runtimes import Request
    from promptkit.techniques import CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted:
    """A step begins. `step` is `outer.inner` inside a sub-pipeline; `items` is its number of items under `for_each`."""

    step: str
    items: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextArrived:
    """A piece of the reply to a request, as it streams. `item` is the place in the list under `for_each`."""

    step: str
    item: int | None
    request: Request
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished:
    """A request has its reply."""

    step: str
    item: int | None
    call: CallRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFinished:
    """One of a step's items is finished, in whatever order they finish."""

    step: str
    item: int
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished:
    """A step has its result."""

    step: str
    result: StepResult


@dataclass(frozen=True, slots=True)
class Notice:
    """A line a person should see once (a technique falls back, a chat template has no system role)."""

    message: str


Event = StepStarted | TextArrived | CallFinished | ItemFinished | StepFinished | Notice
OnEvent = Callable[[Event], None]
