"""What a run gives back: the output, each step's result, the counts, and the trace of every call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from promptkit.errors import PromptkitError
from promptkit.runtimes.base import Model

if TYPE_CHECKING:
    from promptkit.techniques import CallRecord

Status = Literal["done", "skipped", "failed", "capped"]
Kind = Literal["run", "step", "item", "round", "pipeline"]


@dataclass(slots=True, kw_only=True)
class Trace:
    """A node of the trace: the run, a step, an item of `for_each`, a round of `repeat` or a sub-pipeline."""

    name: str
    kind: Kind
    status: Status = "done"
    value: Any = None
    problem: str | None = None
    seconds: float = 0.0
    waited: float = 0.0
    started: float = 0.0
    calls: list[CallRecord] = field(default_factory=list)
    children: list[Trace] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums. `calls` and `cached` count requests; `unparsed` the answers that no repair could mend."""

    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    unparsed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult(Totals):
    """What became of one step. `value` is None where it was skipped; `waited` is how long others stood still for it."""

    status: Status
    value: Any = None
    waited: float = 0.0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a run. `error` is what ended it, else None; `output` is then None and `steps` what was finished.

    `answered` maps each model reference used to the model; `run` is its number in the store.
    """

    target: str
    output: Any
    steps: Mapping[str, StepResult]
    totals: Totals
    trace: Trace
    answered: Mapping[str, Model]
    notices: tuple[str, ...] = ()
    error: PromptkitError | None = None
    run: int | None = None

    def record(self) -> dict[str, Any]:
        """Return the run as JSON-able data: what the store keeps and `--json` prints (`output`, `steps`, `totals`)."""
        raise NotImplementedError

    def calls(self) -> list[dict[str, Any]]:
        """Return the trace's calls as JSON-able data, each with `step`, `item` and `round`, in the order they began."""
        raise NotImplementedError
