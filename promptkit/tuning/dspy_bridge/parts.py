"""The steps of a pipeline as DSPy's predictors: what each is given, what it answers, and what it is told."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dspy

from promptkit.engine import step_inputs
from promptkit.errors import InputError
from promptkit.tuning.bootstrap import thoughts_of
from promptkit.tuning.edits import INSTRUCTIONS, section_source
from promptkit.tuning.traces import step_nodes

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.tuning.field import Cell, Field

ROW: Final = "row"
"""Under this name examples carry their place in the field's rows."""
THOUGHTS: Final = "thoughts"
"""Under this name demonstrations carry thoughts, which are no field of a signature."""
RESERVED: Final = frozenset(
    {ROW, THOUGHTS, "self", "base", "augmented", "signature", "new_signature", "demos", "config", "lm", "prediction"}
)
"""What calls of DSPy's give a meaning of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A step that asks. `attribute` is the program's that holds its predictor, `inputs` and `output` are the fields of
    the signature that the prompt's inputs and the answer are; `written` are its instructions as the prompt has them."""

    step: str
    attribute: str
    inputs: Mapping[str, str]
    output: str
    written: str
    signature: Any


def read_parts(pipeline: Pipeline) -> tuple[Part, ...]:
    """Return the steps of a pipeline that ask a model, in their order."""
    parts: list[Part] = []
    for step in pipeline.steps.values():
        if step.asking is not None:
            taken = {*dir(dspy.Module), "forward", "desk", *(each.attribute for each in parts)}
            parts.append(_part(step, free_name(step.name, taken)))
    return tuple(parts)


def _part(step: Step, attribute: str) -> Part:
    asking = step.asking
    assert asking is not None, "only a step that asks is a part"
    taken = {*dir(dspy.Signature), *dir(type(dspy.Signature))}
    inputs: dict[str, str] = {}
    for name in asking.inputs:
        inputs[name] = free_name(name, taken)
        taken.add(inputs[name])
    output = free_name("answer", taken)
    fields = {
        field: (str, dspy.InputField(desc=asking.inputs[name].about or name)) for name, field in inputs.items()
    } | {output: (str, dspy.OutputField())}
    signature = dspy.Signature(fields, section_source(asking.prompt, INSTRUCTIONS) or "")
    return Part(
        step=step.name,
        attribute=attribute,
        inputs=inputs,
        output=output,
        written=signature.instructions,
        signature=signature,
    )


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name for a field or attribute of DSPy's: that name, but for what is taken or means something there."""
    name = re.sub(r"\W", "_", name).strip("_") or "value"
    name = f"value_{name}" if name[0].isdigit() else name
    while name in taken or name in RESERVED:
        name += "_"
    return name


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step was given in a cell and what it made of it, by the fields of its signature."""

    part: Part
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


def answers(field: Field, pipeline: Pipeline, parts: Sequence[Part], row: int, cell: Cell) -> Iterator[Answer]:
    """Yield what each step was asked in a cell, item by item of a `for_each`; a step in rounds is left out.

    Where an answer does not parse it is the reply as it came.
    """
    trace = field.trace(cell)
    scope = {**field.rows[row].inputs[0], **cell.steps}
    for part in parts:
        nodes = [each for each in step_nodes(trace, part.step) if each["status"] != "skipped"]
        try:
            given = step_inputs(pipeline, pipeline.steps[part.step], scope)
        except InputError:
            continue
        for inputs, node in zip(given, nodes, strict=False):
            calls = node["calls"]
            if not calls:
                continue
            value = calls[-1]["reply"] if node["value"] is None else node["value"]
            thoughts = thoughts_of(node)
            outputs = {part.output: value} | ({THOUGHTS: thoughts} if thoughts else {})
            yield Answer(part, {part.inputs[name]: inputs[name] for name in part.inputs if name in inputs}, outputs)
