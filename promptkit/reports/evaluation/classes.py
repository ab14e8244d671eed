"""A confusion matrix with each class's recall and precision, where it fits; else the pairs most often confused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptkit.reports.evaluation.figures import metric_parts
from promptkit.reports.evaluation.grid import Cell, grid, shortened
from promptkit.reports.text import visible

if TYPE_CHECKING:
    from rich.text import Text

MOST_CLASSES = 12
MOST_PAIRS = 5
WIDEST_LABEL = 16
FLAGS = {"(unparsed)": "unparsed", "(truncated)": "cut off"}


def class_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield the classes of the baseline's first metric that has some."""
    from rich.text import Text

    variant = record["variants"][0]
    with_classes = (each["parts"] for each in variant["metrics"].values() if each["parts"].get("confusion"))
    parts: Mapping[str, Any] | None = next(with_classes, None)
    if parts is None:
        return
    of = f"{shortened(visible(variant['name']), width // 3)}: " if len(record["variants"]) > 1 else ""
    lines = _matrix(parts["confusion"], parts.get("classes") or {})
    if lines is not None and max(line.cell_len for line in lines) <= width:
        yield Text(f"{of}expected classes down, answers across", style="bold")
        yield from lines
        return
    pairs = _pairs(parts["confusion"])
    if pairs:
        yield Text(f"{of}most often confused", style="bold")
        yield from grid(pairs, right=(0,), width=width, indent=2)


def _matrix(confusion: Mapping[str, Mapping[str, int]], classes: Mapping[str, Any]) -> list[Text] | None:
    """Return the matrix, what is right in bold; None of more classes than a person takes in at once."""
    predicted = list(confusion)
    more = {label for row in confusion.values() for label in row} - set(predicted)
    predicted += sorted(more - FLAGS.keys()) + [label for label in FLAGS if label in more]
    if len(predicted) > MOST_CLASSES:
        return None
    head: list[Cell] = ["", *((_label(each), "dim") for each in predicted), ("recall", "dim"), ""]
    rows: list[list[Cell]] = [head]
    for expected, row in confusion.items():
        counts = [_count(row.get(label, 0), right=label == expected) for label in predicted]
        value, interval = metric_parts(_part(classes.get(expected, {}), "recall"))
        rows.append([_label(expected), *counts, value, interval])
    precisions = [
        metric_parts(_part(classes.get(label, {}), "precision"))[0] if label in classes else "" for label in predicted
    ]
    rows.append([("precision", "dim"), *precisions])
    return grid(rows, right=range(1, len(predicted) + 2), indent=2)


def _part(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a class's recall or precision as a metric that is a share."""
    ends = {"mean": of.get(name), "low": of.get(f"{name}_low"), "high": of.get(f"{name}_high")}
    return {"kind": "label", "bounds": [0, 1], **ends}


def _count(count: int, *, right: bool) -> Cell:
    if not count:
        return ("·", "dim")
    return (f"{count:,}", "bold green" if right else "red")


def _label(label: str) -> str:
    return FLAGS.get(label) or shortened(label, WIDEST_LABEL)


def _pairs(confusion: Mapping[str, Mapping[str, int]]) -> list[list[Cell]]:
    found = [
        (count, expected, label)
        for expected, row in confusion.items()
        for label, count in row.items()
        if label != expected and count
    ]
    found.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return [[f"{count:,} ×", f"{_label(expected)} → {_label(label)}"] for count, expected, label in found[:MOST_PAIRS]]
