"""Rows, cells and traces as small compressed blocks: what the list needs at once, and what opening a row needs.

A block is base64 of zlib-compressed JSON, so nothing in it can be read as HTML. Browsers inflate it themselves.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import IO, TYPE_CHECKING, Any

from promptkit.evaluation import compared
from promptkit.storage import plain

if TYPE_CHECKING:
    from promptkit.evaluation import CellView, RunView

FLAGS = ("", "unparsed", "truncated", "error")
WIDEST = 1000  # Characters of a text in the list, where it is searched; an opened row has all of it.
LIST_ROWS = 500
OPENED_ROWS = 50
_OPENED_SIZE = 1_000_000  # Characters of JSON from which a block is full with fewer rows.
_LEVEL = 6


def block(kind: str, content: str, **data: int) -> bytes:
    """Return JSON as an inert element; `data` becomes its data attributes."""
    marks = "".join(f' data-{name}="{value}"' for name, value in data.items())
    packed = b64encode(zlib.compress(content.encode("ascii"), _LEVEL))
    return f'<script type="text/plain" class="pack-{kind}"{marks}>'.encode() + packed + b"</script>\n"


def json_of(value: Any) -> str:
    """Return a value as compact ASCII JSON; what JSON cannot hold is text."""
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(plain(value), separators=(",", ":"))


def row_blocks(view: RunView, opened: IO[bytes]) -> Iterator[bytes]:
    """Yield the blocks of the list, LIST_ROWS rows each; write those of opened rows with their traces to `opened`.

    Both come from one walk over the cells, so a run that goes on meanwhile is seen the same by both.
    """
    variants = {name: number for number, name in enumerate(view.variants)}
    names: dict[str, int] = {}
    listed: list[list[Any]] = []
    details: list[str] = []
    rows = 0
    for _, group in groupby(view.cells(), key=lambda cell: cell.row):
        cells = list(group)
        listed.append(_listed(cells, variants, view.metrics, names))
        details.append(json_of(_opened(view, cells)))
        rows += 1
        if len(details) == OPENED_ROWS or sum(map(len, details)) > _OPENED_SIZE:
            opened.write(_opened_block(details, rows))
            details = []
        if len(listed) == LIST_ROWS:
            yield _list_block(listed, names)
            listed, names = [], {}
    if details:
        opened.write(_opened_block(details, rows))
    if listed:
        yield _list_block(listed, names)


def _list_block(rows: list[list[Any]], names: Mapping[str, int]) -> bytes:
    return block("rows", json_of({"names": list(names), "rows": rows}), count=len(rows))


def _opened_block(details: Sequence[str], rows: int) -> bytes:
    return block("opened", f"[{','.join(details)}]", first=rows - len(details))


def _listed(
    cells: Sequence[CellView], variants: Mapping[str, int], metrics: Sequence[str], names: dict[str, int]
) -> list[Any]:
    """Return a row as [row, expected, cells, field values]; `names` gets the fields that are new to the block."""
    first = cells[0]
    for name in first.fields:
        names.setdefault(name, len(names))
    fields: list[Any] = [None] * len(names)
    for name, value in first.fields.items():
        fields[names[name]] = _short(value)
    aim = next(iter(metrics), "")
    return [first.row, _short(compared(first, aim)[0]), [_cell(cell, variants, metrics) for cell in cells], fields]


def _cell(cell: CellView, variants: Mapping[str, int], metrics: Sequence[str]) -> list[Any]:
    scores = [cell.scores[name].value if name in cell.scores else None for name in metrics]
    return [
        variants[cell.variant],
        FLAGS.index(cell.flag),
        _short(_answer(cell, next(iter(metrics), ""))),
        [score if score is None else round(score, 6) for score in scores],
        cell.tokens_in + cell.tokens_out,
        round(cell.seconds, 4),
        cell.calls,
    ]


def _answer(cell: CellView, aim: str) -> Any:
    """Return what the list shows of a cell: what its aim compared, the whole output being in the opened row."""
    if cell.flag:
        return cell.problem if cell.flag == "error" else cell.output
    return compared(cell, aim)[1]


def _short(value: Any) -> Any:
    """Return a value as the list shows it: numbers, booleans and None as they are, all else text of bounded length."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _opened(view: RunView, cells: Sequence[CellView]) -> dict[str, Any]:
    return {
        "fields": dict(cells[0].fields),
        "expect": cells[0].expect,
        "cells": [
            {
                "output": cell.output,
                "problem": cell.problem,
                "repeat": cell.repeat,
                "scores": {name: [score.value, dict(score.detail), score.why] for name, score in cell.scores.items()},
                "steps": dict(cell.steps),
                "calls": cell.calls,
                "cached": cell.cached,
                "tokens_in": cell.tokens_in,
                "tokens_out": cell.tokens_out,
                "seconds": cell.seconds,
                "trace": view.trace(cell.cell),
            }
            for cell in cells
        ],
    }
