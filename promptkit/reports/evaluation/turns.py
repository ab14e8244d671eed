"""Conversations of an evaluation: metrics by turn, and one conversation in full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.turns import TURN, TURNS
from promptkit.evaluation.record import EvalRecord, MetricRecord, VariantRecord
from promptkit.reports.evaluation.figures import metric_parts
from promptkit.reports.layout import TableCell, grid, shortened
from promptkit.reports.text import calls_text, one_line, tokens_text, visible
from promptkit.reports.trace import text_block, tool_call_line

ENDED = {
    "turns": "after the row's turns",
    "user": "by the user",
    "until": "where `until` held",
    "max": "at the most turns",
    "broken": "at an answer that cannot be read",
}


def is_conversation(output: Any) -> bool:
    """Tell whether the output of a cell is a conversation."""
    return isinstance(output, Mapping) and output.get("ended") in ENDED and TURNS in output and "messages" in output


def turn_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the baseline's metrics of each turn, a line a turn, with how many conversations reached it."""
    variant = record.variants[0]
    of_turns = {name: metric for name, metric in variant.metrics.items() if metric.parts.get(TURNS)}
    if not of_turns:
        return
    of = f"{shortened(visible(variant.name), width // 3)}: " if len(record.variants) > 1 else ""
    yield Text(f"{of}by turn", style="bold")
    numbers = sorted({part[TURN] for metric in of_turns.values() for part in metric.parts[TURNS]})
    rows: list[list[TableCell]] = [[("turn", "dim"), *((name, "dim") for name in of_turns), ("conversations", "dim")]]
    for number in numbers:
        parts = [_part(metric, number) for metric in of_turns.values()]
        reached = max(part.n for part in parts)
        rows.append([str(number), *(" ".join(filter(None, metric_parts(part))) for part in parts), f"{reached:,}"])
    yield from grid(rows, right=(0, len(of_turns) + 1), width=width, indent=2)


def _part(metric: MetricRecord, number: int) -> MetricRecord:
    """Return a metric's estimate of one turn as a metric."""
    found: Mapping[str, Any] = next((part for part in metric.parts[TURNS] if part[TURN] == number), {})
    return metric.model_copy(update={"parts": {}, "mean": None, "low": None, "high": None, "n": 0, **found})


def part_values(metric: MetricRecord) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a metric that are means, by name: of each turn, and precision and recall of tool calls."""
    for part in metric.parts.get(TURNS, ()):
        yield f"turn {part[TURN]}", part["mean"]
    for name in ("precision", "recall"):
        if isinstance(part := metric.parts.get(name), Mapping):
            yield name, part.get("mean")


def tool_call_notes(variants: Sequence[VariantRecord], tags: Mapping[str, str]) -> Iterator[str]:
    """Yield precision and recall of the metrics of tool calls."""
    for name in variants[0].metrics:
        for variant in variants:
            found = [
                f"{part} {100 * mean:.0f} %"
                for part, mean in part_values(variant.metrics[name])
                if part in ("precision", "recall")
            ]
            if found:
                of = f" ({tags[variant.name]})" if len(variants) > 1 else ""
                yield f"{name}{of}: {', '.join(found)} of the calls"


def simulated_user_notes(variants: Sequence[VariantRecord], tags: Mapping[str, str]) -> Iterator[str]:
    """Yield the costs of the simulated user of each variant, which are not among its own."""
    for variant in variants:
        if spent := variant.simulated_user:
            of = f" ({tags[variant.name]})" if len(variants) > 1 else ""
            calls, tokens = (
                calls_text(spent["calls"], spent["cached"]),
                tokens_text(spent["tokens_in"], spent["tokens_out"]),
            )
            yield f"the simulated user{of} took {calls} and {tokens}, which are not counted above"


def conversation_lines(cell: Cell) -> Iterator[str]:
    """Yield a conversation turn by turn, each with its tool calls and its scores."""
    output = cell.output
    yield f"conversation, ended {ENDED[output['ended']]}:"
    answered = sum("flag" not in turn for turn in output[TURNS])
    for message in output["messages"][: len(output["messages"]) - 2 * answered]:
        yield from _indented(text_block(message["role"], message["content"]))
    replies = iter(output["messages"][len(output["messages"]) - 2 * answered + 1 :: 2])
    for turn in output[TURNS]:
        yield f"  turn {turn['number']}"
        yield from _indented(text_block("user", turn["user"]), 4)
        reply = next(replies)["content"] if "flag" not in turn else f"({turn['flag']}) {one_line(turn['problem'])}"
        yield from _indented(text_block("assistant", reply), 4)
        if not isinstance(turn["answer"], str) and turn["answer"] is not None:
            yield f"    answer: {one_line(turn['answer'])}"
        yield from (f"    {tool_call_line(call)}" for call in turn["tool_calls"])
        yield from (f"    {line}" for line in _score_lines(cell, turn["number"]))


def _score_lines(cell: Cell, number: int) -> Iterator[str]:
    for name, score in cell.scores.items():
        for turn in score.detail.get(TURNS, ()):
            if turn[TURN] == number:
                detail = turn.get("detail", {})
                shown = [f"{key} {one_line(value, 200)}" for key, value in detail.items() if key != "got"]
                yield " · ".join([f"{visible(name)}: {turn['score']:.4g}", *shown])


def _indented(lines: Iterator[str], by: int = 2) -> Iterator[str]:
    return (" " * by + line for line in lines)
