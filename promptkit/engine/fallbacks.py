"""Steps that a model cannot run as they are written: what runs in their place, found out without asking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.answers import AnswerType, build, constrained, read_calibration
from promptkit.runtimes import Request

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Asking, Pipeline
    from promptkit.engine.session import Askers
    from promptkit.runtimes import Model

SCORING = frozenset({"logprobs", "continue"})
_ANY_LABELS = {"label": ["a", "b"]}
"""Stands for labels that only a row brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A setting that a step does not run with: what was `wanted`, what runs `instead`, and why. `step` is its name,
    `outer.inner` in a sub-pipeline."""

    step: str
    wanted: str
    instead: str
    reason: str

    def __str__(self) -> str:
        return f"step {self.step} runs with `{self.instead}` in place of `{self.wanted}`: {self.reason}"


async def fallbacks(
    pipeline: Pipeline, models: Askers, *, model: str | None = None, prefix: str = ""
) -> list[Fallback]:
    """Return what the steps of a pipeline fall back on, on the models that answer them; no request is sent.

    `model` answers steps that name none, `prefix` stands before the names of steps. Raises what a model's absence
    raises.
    """
    found: list[Fallback] = []
    for step in pipeline.steps.values():
        named, name = step.model or model, f"{prefix}{step.name}"
        if step.pipeline is not None:
            inner = step.pipeline.model or named
            found += await fallbacks(step.pipeline, models, model=inner, prefix=f"{name}.")
        if step.asking is not None:
            found += step_fallbacks(name, step.asking, await (await models.get(named)).model())
    return found


def step_fallbacks(name: str, asking: Asking, model: Model) -> Iterator[Fallback]:
    """Yield what a step of that name falls back on, on a model."""
    decides = decide_fallback(asking, model)
    if decides is not None:
        instead, reason = decides
        yield Fallback(step=name, wanted=f"decide: {asking.decide}", instead=f"decide: {instead}", reason=reason)
    elif asking.decide == "score" and asking.calibrate is not None and isinstance(asking.answer, AnswerType):
        calibration = read_calibration(asking.calibrate, asking.answer.alternatives())
        if not calibration.holds_for(model.reference):
            wanted, reason = f"calibrate: offsets of {calibration.model}", f"{model.reference} answers"
            yield Fallback(step=name, wanted=wanted, instead="calibrate: none", reason=reason)
    if asking.messages == "system" and "system" not in model.capabilities:
        reason = "the model's chat template has no system role"
        yield Fallback(step=name, wanted="messages: system", instead="messages: one", reason=reason)


def decide_fallback(asking: Asking, model: Model) -> tuple[str, str] | None:
    """Return how a step decides in place of what it says, and why; None where the model can do what it says."""
    lacking = sorted(SCORING - model.capabilities) if asking.decide == "score" else []
    if asking.decide == "generate" or (asking.decide == "score" and not lacking):
        return None
    answer = asking.answer if isinstance(asking.answer, AnswerType) else build(_ANY_LABELS)
    _, notice = constrained(Request(), answer, model.capabilities)
    if not lacking:
        return ("generate", notice) if notice else None
    return ("generate" if notice else "constrain"), f"the model lacks {' and '.join(lacking)}"
