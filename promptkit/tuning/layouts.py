"""The axis of a step's layout, and of how its sections become messages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promptkit.tuning.candidate import AS_WRITTEN, Axis, Level

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.runtimes import Model

MODES: Final = {
    "one": "all in one message",
    "turns": "examples as turns",
    "system": "what never changes as system message",
}


def layout_axis(pipeline: Pipeline, step: Step, model: Model, *, has_examples: bool) -> Axis:
    """Return the axis `STEP.layout`: each layout of the project and the shipped ones, then the other message modes.

    `has_examples` tells that some candidate shows examples: without any, turns are the same as one message.
    """
    asking = step.asking
    assert asking is not None, "only a step that asks has a layout"
    names = [name for name in pipeline.project.names("layouts") if not _is_written(pipeline, name, asking.layout)]
    levels = [Level(name, {f"{step.name}.layout": name}) for name in names]
    modes: dict[str, Any] = {"one": True, "turns": has_examples, "system": "system" in model.capabilities}
    levels += [
        Level(f"messages {mode}", {f"{step.name}.messages": mode}, MODES[mode])
        for mode, can in modes.items()
        if can and mode != asking.messages
    ]
    return Axis(name=f"{step.name}.layout", step=step.name, kind="layout", levels=(Level(AS_WRITTEN), *levels))


def _is_written(pipeline: Pipeline, name: str, layout: str | Path) -> bool:
    return layout == name or layout == pipeline.project.find_template("layouts", name)
