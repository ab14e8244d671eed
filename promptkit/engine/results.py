"""What a run gives back: the output, each step's result, the counts, and the trace of every call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from promptkit.errors import PromptkitError
from promptkit.runtimes import Model
from promptkit.storage import plain

if TYPE_CHECKING:
    from promptkit.techniques import CallRecord

Status = Literal["done", "skipped", "failed", "capped"]
Kind = Literal["run", "step", "item", "round", "pipeline"]


@dataclass(slots=True, kw_only=True)
class Trace:
    """A node of the trace: the run, a step, an item of `for_each`, a round of `repeat` or a sub-pipeline.

    `started` is seconds on the event loop's clock, as in the calls. `unparsed` and `truncated` count the node's own
    answers that no repair could mend. `failure` is what `on_error` let pass. `extra` is what the technique says beside
    its answer: votes, scores, verdicts.
    """

    name: str
    kind: Kind
    status: Status = "done"
    value: Any = None
    problem: str | None = None
    started: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    unparsed: int = 0
    truncated: int = 0
    failure: PromptkitError | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    calls: list[CallRecord] = field(default_factory=list)
    children: list[Trace] = field(default_factory=list)

    def nodes(self) -> Iterator[Trace]:
        """Yield this node and all below it."""
        yield self
        for child in self.children:
            yield from child.nodes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums. `calls` and `cached` count requests; `unparsed` the answers that no repair could mend, `truncated` those
    that stayed cut off."""

    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    unparsed: int = 0
    truncated: int = 0


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

    `answered` maps each model reference used (None: the run's default) to the model; `run` is its number in the store.
    """

    target: str
    output: Any
    steps: Mapping[str, StepResult]
    totals: Totals
    trace: Trace
    answered: Mapping[str | None, Model]
    notices: tuple[str, ...] = ()
    error: PromptkitError | None = None
    run: int | None = None

    def record(self) -> dict[str, Any]:
        """Return the run as JSON-able data: what the store keeps and `--json` prints (`output`, `steps`, `totals`)."""
        return {
            "output": self.output,
            "steps": {name: _step_record(step) for name, step in self.steps.items()},
            "totals": _counts(self.totals),
        }


def count(nodes: Iterable[Trace], seconds: float) -> Totals:
    """Return the sums over nodes of a trace."""
    calls = cached = tokens_in = tokens_out = unparsed = truncated = 0
    for node in nodes:
        unparsed += node.unparsed
        truncated += node.truncated
        for call in node.calls:
            calls += call.requests
            cached += call.requests if call.reply.cached else 0
            tokens_in += call.reply.tokens_in or 0
            tokens_out += call.reply.tokens_out or 0
    return Totals(
        calls=calls,
        cached=cached,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=seconds,
        unparsed=unparsed,
        truncated=truncated,
    )


def step_result(trace: Trace) -> StepResult:
    """Return what became of the step that a node of the trace is."""
    totals = count(trace.nodes(), trace.seconds)
    return StepResult(
        status=trace.status,
        value=plain(trace.value),
        waited=trace.waited,
        problem=trace.problem,
        **{name: getattr(totals, name) for name in Totals.__dataclass_fields__},
    )


def _counts(totals: Totals) -> dict[str, Any]:
    return {name: getattr(totals, name) for name in Totals.__dataclass_fields__}


def _step_record(step: StepResult) -> dict[str, Any]:
    record = {"status": step.status, **_counts(step), "waited": step.waited, "value": step.value}
    return record if step.problem is None else {**record, "problem": step.problem}
