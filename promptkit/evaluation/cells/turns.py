"""The turns of a conversation as cells, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from promptkit.evaluation.cells.cell import Cell, CellFlag
from promptkit.evaluation.suite.binding import expected_of_turn
from promptkit.evaluation.suite.suite import Measure

_COSTS: Final = ("calls", "tokens_in", "tokens_out", "seconds")


def turn_record(index: int, text: str, cell: Cell) -> dict[str, Any]:
    """Return the turn of a conversation as its output has it: the user's text, and what the target made of it.

    `answer` is the target's value, `steps` those of its steps, where it has several.
    """
    return {
        "index": index,
        "number": index + 1,
        "user": text,
        "answer": cell.output,
        **({"steps": dict(cell.steps)} if len(cell.steps) > 1 else {}),
        **({"flag": cell.flag, "problem": cell.problem} if cell.flag else {}),
        "tool_calls": cell.tool_calls,
        **{name: getattr(cell, name) for name in _COSTS},
    }


def turn_cells(cell: Cell) -> Iterator[Cell]:
    """Yield each turn of a conversation as a cell; its `turn` has the `messages` before the answer too."""
    messages, turns = cell.output["messages"], cell.output["turns"]
    # A turn whose answer cannot be read is the last one, and is not among the messages.
    answered = sum("flag" not in turn for turn in turns)
    start = len(messages) - 2 * answered
    for turn in turns:
        index = turn["index"]
        before = [*messages[: start + 2 * index], {"role": "user", "content": turn["user"]}]
        flag: CellFlag = turn.get("flag", "")
        yield replace(
            cell,
            output=turn["answer"],
            flag=flag,
            problem=turn.get("problem", ""),
            steps=turn.get("steps", {}),
            read_trace=partial(_trace_of_target, cell, index),
            turn={**turn, "messages": before},
            **{name: turn[name] for name in _COSTS},
        )


def turns_to_score(measure: Measure, cell: Cell) -> Iterator[tuple[Cell, Any]]:
    """Yield the turns that a metric scores, each as a cell with what is expected of it."""
    for turn in turn_cells(cell):
        assert turn.turn is not None, "the cell of a turn has its record"
        expected = expected_of_turn(measure, cell.fields, cell.expect, turn.turn)
        if expected is not None or not measure.metric.needs_expected:
            yield replace(turn, expect=expected), expected


def _trace_of_target(cell: Cell, index: int) -> Mapping[str, Any]:
    """Return the trace of the target in a turn of a conversation, the last part of it."""
    turns = cell.trace.get("parts", ())
    parts = turns[index]["parts"] if index < len(turns) else ()
    return parts[-1] if parts else {}
