"""Reads a file of real rows: the fields that are inputs, the field with expected answers, and rows for cases."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from promptkit.api.start.checks import EXAMPLE_LIMIT, MOST_LABELS, input_name, is_label, labels_fault, slug, text_fault
from promptkit.api.start.sentence import SentenceFacts
from promptkit.api.start.vocabulary import Kind
from promptkit.engine.scope import KEYWORDS, NAME
from promptkit.errors import InputError, Problem, nearest, place
from promptkit.storage.rows import Row, read_rows

MOST_FIELDS: Final = 500
_LEAST_REPEATS: Final = 2
"""The rows that a label has on average at least, in a field that is taken for labels without being named."""
_TEXT_NAMES: Final = re.compile(
    r"text|mail|message|body|review|comment|content|question|description|sentence|document|title"
)
_EXPECT_NAMES: Final = [
    "expect",
    "expected",
    "label",
    "labels",
    "category",
    "class",
    "topic",
    "answer",
    "target",
    "gold",
    "intent",
    "sentiment",
    "output",
    "reference",
    "score",
    "rating",
]
_TRUE: Final = frozenset({"true", "yes", "1", "y", "ja", "oui", "sí", "si"})
_FALSE: Final = frozenset({"false", "no", "0", "n", "nein", "non"})


@dataclass(frozen=True, slots=True)
class RowsFacts:
    """The facts of a file of rows: its `count`, a mapping of input names to `fields`, and where answers are expected.

    `expect` is the field with the expected answers, None for none, `values` their distinct texts in order of frequency,
    and `examples` the first row of each of them (without them the first rows). `is_text`: all of them are texts, as in
    CSV; `has_gaps`: some rows have none. `columns` are the names of all fields, and `record` the fields that hold those
    of a record.
    """

    file: Path
    count: int
    fields: Mapping[str, str]
    expect: str | None = None
    values: tuple[str, ...] = ()
    examples: tuple[Row, ...] = ()
    kind: Kind | None = None
    is_text: bool = True
    has_gaps: bool = False
    columns: tuple[str, ...] = ()
    record: Mapping[str, str] = field(default_factory=dict)

    def columns_of(self, names: Iterable[str]) -> dict[str, str]:
        """Return the fields of rows that hold the fields of a record; none where one of them is missing."""
        named = {slug(column): column for column in self.columns}
        return {name: named[name] for name in names} if all(name in named for name in names) else {}

    def expected(self, row: Row, kind: Kind) -> Any:
        """Return a row's expected answer as a value of a kind, None where there is none."""
        if self.record:
            return {name: row.get(of) for name, of in self.record.items()}
        value = row.get(self.expect) if self.expect is not None else None
        if value in (None, ""):
            return None
        if kind == "label":
            return _text_of(value)
        if kind == "boolean":
            return _text_of(value).casefold() in _TRUE
        return float(value) if kind == "number" and isinstance(value, str) else value

    def expression(self, field_name: str) -> str:
        """Return the expression that reads a field of a row."""
        is_name = NAME.fullmatch(field_name) and field_name not in KEYWORDS
        return f"row.{field_name}" if is_name else f"row[{field_name!r}]"

    def when_expression(self) -> str | None:
        """Return the condition that a row has an expected answer, None where all of them have one."""
        if self.expect is None:
            return None if self.record else "row.expect is defined"
        return f"({self.expression(self.expect)} | default('')) not in ['', none]" if self.has_gaps else None

    def expect_expression(self, kind: Kind) -> str:
        """Return the expression of the expected answer as a value of a kind."""
        assert self.expect is not None
        read = f"({self.expression(self.expect)} | default(''))" if self.has_gaps else self.expression(self.expect)
        if kind == "label":
            return f"{{{{ {read} | string }}}}" if not self.is_text else f"{{{{ {read} }}}}"
        if kind == "boolean" and self.is_text:
            true = sorted({value.casefold() for value in self.values} & _TRUE)
            return f"{{{{ ({read} | lower) in {true!r} }}}}"
        if kind == "number" and self.is_text:
            return f"{{{{ {read} | float }}}}"
        return f"{{{{ {read} }}}}"


@dataclass(slots=True)
class _FieldSummary:
    """One field over many rows: its distinct values, and the characters of its texts."""

    values: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Row] = field(default_factory=dict)
    characters: int = 0
    rows: int = 0
    texts: int = 0
    blank: int = 0
    is_flat: bool = True
    is_full: bool = False

    def add(self, value: Any, row: Row) -> None:
        self.rows += 1
        if isinstance(value, dict | list):
            self.is_flat = False
            return
        text = _text_of(value)
        self.characters += len(text)
        self.texts += value is None or isinstance(value, str)
        self.blank += not text
        if text in self.values or len(self.values) <= MOST_LABELS:
            self.values[text] += 1
            self.examples.setdefault(text, row)
        else:
            self.is_full = True

    @property
    def is_closed(self) -> bool:
        """Tell whether the values can be labels, each of which comes up again."""
        names = [value for value in self.values if value]
        return (
            self.is_flat
            and not self.is_full
            and labels_fault(names) is None
            and self.rows >= _LEAST_REPEATS * len(names)
            and self.characters <= 40 * self.rows
        )


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def read_data(
    file: Path, reading: SentenceFacts, *, inputs: Sequence[str] = (), expect: str | None = None
) -> RowsFacts:
    """Return the facts of a file's rows. `inputs` and `expect` name fields; without them they are found.

    Raises InputError for a file that cannot be read, has no rows, or lacks a named field.
    """
    summaries: dict[str, _FieldSummary] = {}
    first: list[Row] = []
    count = 0
    for count, row in enumerate(read_rows(file), 1):
        if count <= 4:
            first.append(row)
        for name in islice(row, MOST_FIELDS):
            if name in summaries or len(summaries) < MOST_FIELDS:
                summaries.setdefault(name, _FieldSummary()).add(row[name], row)
    if not summaries:
        raise InputError(Problem("has no rows", place(file)))
    for name in (*inputs, *([expect] if expect is not None else [])):
        if name not in summaries:
            raise InputError(Problem(f"the rows have no field `{name}`", place(file), hint=nearest(name, summaries)))
    if expect is None:
        expect = _expect_field(summaries, reading, inputs)
    chosen = list(inputs) or [_input_field(summaries, reading, expect, file)]
    found = summaries[expect] if expect is not None else None
    values = tuple(value for value, _ in found.values.most_common() if value) if found else ()
    examples = [found.examples[value] for value in values[:4]] if found and found.is_closed else first
    return RowsFacts(
        file=file,
        count=count,
        fields=_named(chosen),
        expect=expect,
        values=values,
        examples=tuple(row for row in examples if _is_example(row, chosen)),
        kind=_kind(found),
        is_text=found is None or found.texts == found.rows,
        has_gaps=found is not None and (found.rows < count or found.blank > 0),
        columns=tuple(summaries),
    )


def _named(fields: Sequence[str]) -> dict[str, str]:
    """Return the fields by the names of their inputs, which differ."""
    named: dict[str, str] = {}
    for name in dict.fromkeys(fields):
        base = input_name(name)
        free = next(name for name in (base, *(f"{base}_{number}" for number in range(2, 1000))) if name not in named)
        named[free] = name
    return named


def _is_example(row: Row, fields: Sequence[str]) -> bool:
    """Tell whether the inputs of a row are short enough, and plain, for a case."""
    return all(isinstance(row.get(name), str) and text_fault(row[name], EXAMPLE_LIMIT) is None for name in fields)


def _expect_field(summaries: Mapping[str, _FieldSummary], reading: SentenceFacts, inputs: Sequence[str]) -> str | None:
    """Return the field with the expected answers: the one with the sentence's labels, else one with a usual name."""
    free = {name: summary for name, summary in summaries.items() if name not in inputs}
    wanted = {label.casefold() for label in reading.labels}
    if wanted and not reading.is_usual:
        for name, summary in free.items():
            if summary.is_flat and wanted >= {value.casefold() for value in summary.values if value} != set():
                return name
    kind = reading.kind
    order = sorted(free, key=lambda name: _EXPECT_NAMES.index(name.lower()) if name.lower() in _EXPECT_NAMES else 99)
    for name in order:
        is_usual = name.lower() in _EXPECT_NAMES
        if _fits(free[name], kind, is_usual=is_usual) and (is_usual or kind in ("label", "boolean", None)):
            return name
    return None


def _fits(summary: _FieldSummary, kind: Kind | None, *, is_usual: bool) -> bool:
    values = {value.casefold() for value in summary.values if value}
    if kind == "boolean":
        return summary.is_flat and bool(values) and values <= _TRUE | _FALSE
    if kind in ("label", None):
        return summary.is_closed
    if kind == "number":
        return summary.is_flat and bool(values) and all(map(_is_number, values))
    if kind == "text":
        return is_usual and summary.is_flat
    return is_usual and not summary.is_flat


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(?:\.\d+)?", text) is not None


def _kind(found: _FieldSummary | None) -> Kind | None:
    """Return the kind of answer that a field of expected answers shows, None where it shows none."""
    if found is None or not found.is_flat:
        return None
    values = {value.casefold() for value in found.values if value}
    if values and values <= _TRUE | _FALSE and len(values) > 1:
        return "boolean"
    return "label" if found.is_closed else None


def _input_field(summaries: Mapping[str, _FieldSummary], reading: SentenceFacts, expect: str | None, file: Path) -> str:
    """Return the field that the task is about: one that the sentence names, else the one with the longest texts."""
    free = {name: one for name, one in summaries.items() if name != expect and one.is_flat and one.texts}
    if not free:
        hint = "--input FIELD names the field"
        raise InputError(Problem("the rows have no field with texts for the input", place(file), hint=hint))
    named = next((name for name in reading.inputs if name in free), None)

    def rank(name: str) -> float:
        mean = free[name].characters / free[name].rows
        return mean * (2 if _TEXT_NAMES.search(name.lower()) else 1)

    return named if named is not None else max(free, key=rank)


def label_values(rows: RowsFacts, reading: SentenceFacts) -> tuple[str, ...]:
    """Return the labels of the rows: in the sentence's order where it lists the same ones, else by frequency."""
    labels = tuple(value for value in rows.values if is_label(value))
    order = {label.casefold(): at for at, label in enumerate(reading.labels)}
    return tuple(sorted(labels, key=lambda label: order.get(label.casefold(), len(order))))
