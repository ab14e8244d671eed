"""The HTML page of an evaluation, written part by part so that only a few hundred rows are in memory.

Rows and traces are base64 blocks of zlib-compressed JSON, which cannot be read as HTML; browsers inflate them.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from promptkit.evaluation.cells.cell import compared_values
from promptkit.reports.page.classes import class_tables
from promptkit.reports.page.comparisons import comparison_table, threshold_table
from promptkit.reports.page.markup import text
from promptkit.reports.page.summary import headline, summary
from promptkit.storage.files import write_private
from promptkit.storage.strict_json import plain

if TYPE_CHECKING:
    from promptkit.evaluation.cells.cell import Cell, RunView

FLAGS = ("", "unparsed", "truncated", "error")
WIDEST = 1000  # Characters of a text in the list, where it is searched; an opened row has all of it.
LIST_ROWS = 500
OPENED_ROWS = 50
_OPENED_SIZE = 1_000_000  # Characters of JSON from which a block is full with fewer rows.
_LEVEL = 6


def packed_block(kind: str, content: str, **data: int) -> bytes:
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
        listed.append(_list_row(cells, variants, view.metrics, names))
        details.append(json_of(_opened_row(view, cells)))
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
    return packed_block("rows", json_of({"names": list(names), "rows": rows}), count=len(rows))


def _opened_block(details: Sequence[str], rows: int) -> bytes:
    return packed_block("opened", f"[{','.join(details)}]", first=rows - len(details))


def _list_row(
    cells: Sequence[Cell], variants: Mapping[str, int], metrics: Sequence[str], names: dict[str, int]
) -> list[Any]:
    """Return a row as [row, expected, cells, field values]; `names` gets the fields that are new to the block."""
    first = cells[0]
    for name in first.fields:
        names.setdefault(name, len(names))
    fields: list[Any] = [None] * len(names)
    for name, value in first.fields.items():
        fields[names[name]] = _list_value(value)
    aim = next(iter(metrics), "")
    return [
        first.row,
        _list_value(compared_values(first, aim)[0]),
        [_list_cell(cell, variants, metrics) for cell in cells],
        fields,
    ]


def _list_cell(cell: Cell, variants: Mapping[str, int], metrics: Sequence[str]) -> list[Any]:
    scores = [cell.scores[name].value if name in cell.scores else None for name in metrics]
    return [
        variants[cell.variant],
        FLAGS.index(cell.flag),
        _list_value(_list_answer(cell, next(iter(metrics), ""))),
        [score if score is None else round(score, 6) for score in scores],
        cell.tokens_in + cell.tokens_out,
        round(cell.seconds, 4),
        cell.calls,
    ]


def _list_answer(cell: Cell, aim: str) -> Any:
    """Return what the list shows of a cell: what its aim compared, the whole output being in the opened row."""
    if cell.flag:
        return cell.problem if cell.flag == "error" else cell.output
    return compared_values(cell, aim)[1]


def _list_value(value: Any) -> Any:
    """Return a value as the list shows it: numbers, booleans and None as they are, all else text of bounded length."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _opened_row(view: RunView, cells: Sequence[Cell]) -> dict[str, Any]:
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
                "trace": view.trace(cell.number),
            }
            for cell in cells
        ],
    }


_PLACE = re.compile(r"<!--(\w+)-->")
# `start` is the last, as it uses all the others.
_SCRIPTS = ("text", "run", "filters", "list", "opened", "trace", "words", "figures", "slices", "start")
_COPIED = 1 << 20


def write_page(view: RunView, path: Path) -> None:
    """Write a run as one HTML page that asks nothing of a network. Raises StoreFailed where it cannot be written.

    What is said of the run stands in the page as plain HTML; rows and traces are compressed blocks that its script
    inflates, traces only when a row is opened.
    """
    write_private(path, page_parts(view))


def page_parts(view: RunView) -> Iterator[bytes]:
    """Yield the page in order."""
    style, script = _asset("page.css"), _script()
    parts: dict[str, Callable[[], str]] = {
        "policy": lambda: policy(style, script),
        "title": lambda: text(f"{view.suite}, run {view.number}"),
        "style": lambda: style,
        "headline": lambda: headline(view),
        "summary": lambda: summary(view),
        "comparisons": lambda: comparison_table(view.record),
        "thresholds": lambda: threshold_table(view.record),
        "classes": lambda: class_tables(view),
    }
    for number, part in enumerate(_PLACE.split(_asset("page.html"))):
        if number % 2 == 0:
            yield part.encode()
        elif part == "rows":
            yield from _row_parts(view, script)
        else:
            yield parts[part]().encode()


def _row_parts(view: RunView, script: str) -> Iterator[bytes]:
    """Yield the list's blocks, the script, and only then what it needs later: the table shows before that is read."""
    yield packed_block("about", json_of(_about(view)))
    with TemporaryFile() as opened:
        yield from row_blocks(view, opened)
        yield f"<script>{script}</script>\n".encode()
        opened.seek(0)
        while copied := opened.read(_COPIED):
            yield copied


def _about(view: RunView) -> dict[str, Any]:
    """Return what the script needs to know of the run as a whole."""
    said = {each["name"]: each for each in view.record.get("variants", ())}
    keys = ("cases", "missing", "calls", "tokens_in", "tokens_out", "seconds", "cost")
    return {
        "variants": [
            {
                "name": name,
                **{key: said.get(name, {}).get(key) for key in keys},
                "metrics": {
                    metric: {key: each.get(key) for key in ("mean", "low", "high", "bounds", "higher_is_better")}
                    for metric, each in said.get(name, {}).get("metrics", {}).items()
                },
            }
            for name in view.variants
        ],
        "metrics": list(view.metrics),
    }


def policy(style: str, script: str = "") -> str:
    """Return a content security policy under which nothing but the page's own script and style has any effect."""
    scripts = f"script-src {_hash(script)}; " if script else ""
    return f"default-src 'none'; {scripts}style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _script() -> str:
    """Return the parts of the script as one, in a scope of its own."""
    parts = "\n".join(_asset("script", f"{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n{{\n{parts}}}'


def _asset(*name: str) -> str:
    return files(__package__).joinpath(*name).read_text(encoding="utf-8")
