"""Confusion matrices and per-class values of each variant, as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptkit.reports.page.markup import NONE, count, figure, table, text

if TYPE_CHECKING:
    from promptkit.evaluation.cells.cell import RunView

MOST_CLASSES = 30
MOST_PAIRS = 20
_UNPARSED = "(unparsed)"
_Confusion = Mapping[str, Mapping[str, int]]


def class_tables(view: RunView) -> str:
    """Return a foldable part for each variant and metric that has classes."""
    parts = "".join(_foldable(view))
    return f'<div class="variants">{parts}</div>' if parts else '<p class="aside">No metric here has classes.</p>'


def _foldable(view: RunView) -> Iterator[str]:
    for variant in view.record.get("variants", ()):
        for name in view.metrics:
            parts = variant.get("metrics", {}).get(name, {}).get("parts") or {}
            tables = _matrix(parts.get("confusion") or {}) + _classes(parts.get("classes") or {})
            if tables:
                title = f"{text(variant['name'])} <span class='aside'>{text(name)}</span>"
                yield f"<details open><summary><h3>{title}</h3></summary>{tables}</details>"


def _matrix(confusion: _Confusion) -> str:
    """Return the matrix, shaded by the share of its row; of very many classes only the pairs most often confused."""
    if not confusion:
        return ""
    predicted = list(confusion)
    predicted += sorted({label for row in confusion.values() for label in row} - set(predicted) - {_UNPARSED})
    predicted += [_UNPARSED] if any(_UNPARSED in row for row in confusion.values()) else []
    if len(predicted) > MOST_CLASSES:
        return _pairs(confusion)
    head = ["Expected ↓<br>predicted →", *map(text, predicted), "All"]
    rows = []
    for expected, row in confusion.items():
        whole = sum(row.values())
        cells = [_share(row.get(label, 0), whole, right=label == expected) for label in predicted]
        rows.append([text(expected), *cells, count(whole)])
    return table("Confusion matrix: rows counted by expected and predicted class", head, rows, kind="confusion")


def _share(number: int, whole: int, *, right: bool) -> str:
    level = round(9 * number / whole) if whole else 0
    return f'<span class="heat h{level}{" right" if right else ""}">{count(number) if number else "·"}</span>'


def _pairs(confusion: _Confusion) -> str:
    found = [
        (number, expected, label)
        for expected, row in confusion.items()
        for label, number in row.items()
        if label != expected and number
    ]
    rows = [
        [text(expected), text(label), count(number)]
        for number, expected, label in sorted(found, key=lambda pair: (-pair[0], pair[1], pair[2]))[:MOST_PAIRS]
    ]
    return table(f"The {len(rows)} pairs most often confused", ["Expected", "Predicted", "Rows"], rows)


def _classes(classes: Mapping[str, Mapping[str, Any]]) -> str:
    if not classes:
        return ""
    rows = [
        [text(name), *(_value(value, key) for key in ("precision", "recall", "f1")), count(value.get("n"))]
        for name, value in classes.items()
    ]
    return table("By expected class", ["Class", "Precision", "Recall", "F1", "Rows"], rows, kind="classes")


def _value(value: Mapping[str, Any], key: str) -> str:
    if value.get(key) is None:
        return NONE
    low, high = value.get(f"{key}_low"), value.get(f"{key}_high")
    interval = f' <span class="interval">[{figure(low)}, {figure(high)}]</span>' if low is not None else ""
    return figure(value[key]) + interval
