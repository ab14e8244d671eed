"""The HTML page of an evaluation, written part by part so that only a few hundred rows are in memory.

Rows and traces are base64 blocks of zlib-compressed JSON, which cannot be read as HTML; browsers inflate them: what
the list needs at once, and what an opened row needs.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from markupsafe import Markup

from promptkit.evaluation.cells.cell import Cell, RunView, compared_values
from promptkit.evaluation.record import EvalRecord, VariantRecord
from promptkit.reports.evaluation.variants import warning_counts
from promptkit.reports.page.html import asset, policy, templates
from promptkit.reports.page.values import page_values
from promptkit.storage.files import write_private
from promptkit.storage.strict_json import plain
from promptkit.techniques.warnings import warning_text

FLAGS = ("", "unparsed", "truncated", "error")
WIDEST = 1000
"""Characters of a text in the list, where it is searched; an opened row has all of it."""

LIST_ROWS = 500
OPENED_ROWS = 50
_OPENED_SIZE = 1_000_000
"""Characters of JSON from which a block is full with fewer rows."""

_LEVEL = 6
_COPIED = 1 << 20

# `start` is the last, as it uses all the others.
_SCRIPTS = ("text", "run", "filters", "list", "opened", "trace", "turns", "words", "figures", "slices", "start")


def write_page(view: RunView, record: EvalRecord, path: Path) -> None:
    """Write a run as one HTML page that loads nothing from a network. Raises StoreFailed where it cannot be written.

    The report stands in the page as plain HTML; rows and traces are compressed blocks that its script inflates, traces
    only when a row is opened.
    """
    write_private(path, page_parts(view, record))


def page_parts(view: RunView, record: EvalRecord) -> Iterator[bytes]:
    """Yield the page in order."""
    style, script = asset("page", "page.css"), _script()
    template = templates().get_template("page/page.html")
    parts = template.generate(
        policy=policy(style, script),
        style=Markup(style),
        row_parts=(Markup(part.decode()) for part in _row_parts(view, record, script)),
        **page_values(view, record),
    )
    return (part.encode() for part in parts)


def _script() -> str:
    """Return the parts of the script as one, in a scope of its own."""
    parts = "\n".join(asset("page", "script", f"{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n{{\n{parts}}}'


def _row_parts(view: RunView, record: EvalRecord, script: str) -> Iterator[bytes]:
    """Yield the list's blocks, the script, and only then the opened rows: the table shows before these are read."""
    yield packed_block("about", json_of(_about(view, record)))
    with TemporaryFile() as opened:
        yield from row_blocks(view, record, opened)
        yield f"<script>{script}</script>\n".encode()
        opened.seek(0)
        while copied := opened.read(_COPIED):
            yield copied


def _about(view: RunView, record: EvalRecord) -> dict[str, Any]:
    """Return the data that the script needs of the run as a whole."""
    variants = {variant.name: variant for variant in record.variants}
    return {
        "variants": [{"name": name, **_about_variant(variants.get(name))} for name in view.variants],
        "metrics": list(view.metrics),
        "warnings": [warning_text(name) for name in warning_counts(record.variants)],
    }


def _about_variant(variant: VariantRecord | None) -> dict[str, Any]:
    keys = ("cases", "missing", "calls", "tokens_in", "tokens_out", "seconds", "cost")
    figures = ("mean", "low", "high", "bounds", "higher_is_better")
    metrics = variant.metrics if variant is not None else {}
    return {
        **{key: getattr(variant, key, None) for key in keys},
        "metrics": {name: {key: getattr(metric, key) for key in figures} for name, metric in metrics.items()},
    }


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


def row_blocks(view: RunView, record: EvalRecord, opened: IO[bytes]) -> Iterator[bytes]:
    """Yield the blocks of the list, LIST_ROWS rows each; write those of opened rows with their traces to `opened`.

    Both come from one walk over the cells, so a run that goes on meanwhile is seen the same by both.
    """
    variants = {name: number for number, name in enumerate(view.variants)}
    names: dict[str, int] = {}
    warnings = {name: number for number, name in enumerate(warning_counts(record.variants))}
    listed: list[list[Any]] = []
    details: list[str] = []
    rows = 0
    for _, group in groupby(view.cells(), key=lambda cell: cell.row):
        cells = list(group)
        listed.append(_list_row(cells, variants, view.metrics, names, warnings))
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
    cells: Sequence[Cell],
    variants: Mapping[str, int],
    metrics: Sequence[str],
    names: dict[str, int],
    warnings: Mapping[str, int],
) -> list[Any]:
    """Return a row as [row, expected, cells, field values]; `names` gets the fields that are new to the block."""
    first = cells[0]
    for name in first.fields:
        names.setdefault(name, len(names))
    fields: list[Any] = [None] * len(names)
    for name, value in first.fields.items():
        fields[names[name]] = _list_value(value)
    expected, _ = compared_values(first, next(iter(metrics), ""))
    return [first.row, _list_value(expected), [_list_cell(cell, variants, metrics, warnings) for cell in cells], fields]


def _list_cell(
    cell: Cell, variants: Mapping[str, int], metrics: Sequence[str], warnings: Mapping[str, int]
) -> list[Any]:
    scores = [cell.scores[name].value if name in cell.scores else None for name in metrics]
    return [
        variants[cell.variant],
        FLAGS.index(cell.flag),
        _list_value(_list_answer(cell, next(iter(metrics), ""))),
        [score if score is None else round(score, 6) for score in scores],
        cell.tokens_in + cell.tokens_out,
        round(cell.seconds, 4),
        cell.calls,
        [warnings[name] for name in cell.warned if name in warnings],
        [at for at, name in enumerate(metrics) if name in cell.scores and not cell.scores[name].applies],
    ]


def _list_answer(cell: Cell, metric: str) -> Any:
    """Return the answer that the list shows: the value that the metric compared. The opened row has the output."""
    if cell.flag:
        return cell.problem if cell.flag == "error" else cell.output
    return compared_values(cell, metric)[1]


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
