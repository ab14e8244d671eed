"""A run for other programs: all of it as JSON lines, a table that no spreadsheet runs, XML that every CI reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.cells.cell import Cell, CellFlag
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import EvalRecord
from promptkit.reports.export import csv_parts, jsonl_parts, junit_parts

HOSTILE = "]]> <b>&amp; \x00\x1b[2J\x7f\ud800\ufffe\ufffff\n\u202e 'quote' \"double\"\r"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=3),
    max_leaves=6,
)


@dataclass
class View:
    """A run of one variant with these cells."""

    all: list[Cell]
    number: int = 3
    suite: str = "moods"
    status: str = "done"
    unread: int = 0
    started: float = 1_790_000_000.0
    metrics: tuple[str, ...] = ("accuracy",)
    variants: tuple[str, ...] = ("plain",)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"plain": {}})

    def cells(self, variant: str | None = None) -> Iterator[Cell]:
        return iter(self.all)

    def trace(self, cell: int) -> None:
        return None

    @property
    def record(self) -> EvalRecord:
        metric = {"bounds": [0, 1], "higher_is_better": True, "mean": 0.5, "low": 0.1, "high": 0.9, "n": 4}
        repeats = [cell.repeat for cell in self.all]
        record = {
            "rows": len({cell.row for cell in self.all}) + self.unread,
            "repeat": max(repeats, default=0) + 1,
            "model": {"reference": HOSTILE, "digest": "abc"},
            "variants": [{"name": "plain", "metrics": {"accuracy": metric}}],
        }
        return EvalRecord.model_validate(record)


def cell(
    row: int = 1, value: float | None = 1.0, *, output: Any = "good", flag: CellFlag = "", repeat: int = 0, **more: Any
) -> Cell:
    scores = (
        {}
        if flag == "error"
        else {"accuracy": Score(value, {"predicted": output}, "" if value is not None else "the judge babbled")}
    )
    fields = more.pop("fields", {"text": f"row {row}", "expect": "good"})
    return Cell(
        variant="plain",
        row=row,
        repeat=repeat,
        fields=fields,
        output=output,
        expect="good",
        flag=flag,
        scores=scores,
        problem="no server" if flag == "error" else "",
        **more,
    )


def junit(*cells: Cell) -> ElementTree.Element:
    view = View(list(cells))
    return ElementTree.fromstring("".join(junit_parts(view, view.record, "plain")).encode())


def verdicts(root: ElementTree.Element) -> list[str]:
    return [case[0].tag if len(case) else "passed" for case in root.iter("testcase")]


def table(*cells: Cell) -> list[dict[str, str]]:
    return list(csv.DictReader("".join(csv_parts(View(list(cells)), None)).splitlines(keepends=True)))


def test_wrong_is_a_failure_and_missing_an_error() -> None:
    root = junit(
        cell(1),
        cell(2, 0.0, output="bad"),
        cell(3, 0.0, output=None, flag="unparsed"),
        cell(4, output=None, flag="error"),
        cell(5, None),
    )
    assert verdicts(root) == ["passed", "failure", "failure", "error", "error"]
    assert {key: root.attrib[key] for key in ("tests", "failures", "errors")} == {
        "tests": "5",
        "failures": "2",
        "errors": "2",
    }
    assert [case[0].get("type") for case in root.iter("testcase") if len(case)] == [
        "wrong",
        "unparsed",
        "missing",
        "no score",
    ]
    assert [case[0].get("message") for case in root.iter("testcase") if len(case)][0::2] == [
        "expected good, the answer is bad",
        "no server",
    ]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((1.0, 1.0, 0.0), "passed"),
        ((1.0, 0.0), "failure"),
        ((1.0, 0.0, 0.0), "failure"),
        ((1.0, None, 0.0), "error"),
        ((0.0, 0.0, None), "failure"),
    ],
)
def test_a_row_of_several_repeats_is_one_case_and_right_where_most_are(
    values: tuple[float | None, ...], verdict: str
) -> None:
    cells = [
        cell(1, value, repeat=repeat, flag="error" if value is None else "") for repeat, value in enumerate(values)
    ]
    assert verdicts(junit(*cells)) == [verdict]


def test_rows_that_a_run_did_not_come_to_are_an_error_and_not_left_out() -> None:
    view = View([cell(1), cell(2, repeat=0), cell(2, repeat=1)], status="interrupted", unread=3)
    root = ElementTree.fromstring("".join(junit_parts(view, view.record, "plain")).encode())
    assert (root.attrib["tests"], root.attrib["errors"]) == ("3", "2")
    messages = [case[0].get("message") if len(case) else None for case in root.iter("testcase")]
    assert messages == [
        "1 of 2 repeats without an answer",
        None,
        "the run is interrupted: 3 rows of 5 without an answer",
    ]


def test_the_suite_says_what_was_run() -> None:
    root = junit(cell(seconds=0.25))
    (suite,) = root
    assert (suite.get("name"), suite.get("timestamp"), suite.get("time")) == ("moods", "2026-09-21T14:13:20", "0.250")
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties["variant"] == "plain"
    assert (properties["accuracy.mean"], properties["accuracy.n"]) == ("0.5", "4")


@pytest.mark.attack("html")
def test_the_xml_is_valid_whatever_was_said_and_shows_what_it_cannot_hold() -> None:
    root = junit(cell(1, 0.0, output=HOSTILE, fields={HOSTILE: HOSTILE}))
    (failure,) = root.iter("failure")
    assert "]]> <b>&amp; \\x00\\x1b[2J" in (failure.text or "")
    assert "\\ud800" in (failure.text or "")
    assert "\\x1b[2J" in (failure.get("message") or "")


@given(output=JSON, fields=st.dictionaries(st.text(min_size=1), JSON, min_size=1, max_size=3))
def test_every_answer_gives_valid_xml_a_whole_table_and_exact_json(output: Any, fields: dict[str, Any]) -> None:
    made = cell(1, 0.0, output=output, fields=fields)
    assert verdicts(junit(made)) == ["failure"]
    (row,) = table(made)
    assert len(row) == 14 + len(fields) and None not in row
    (line,) = jsonl_parts([made])
    told = json.loads(line)
    assert (told["output"], told["fields"]) == (output, fields)
    assert line.count("\n") == 1 and line.isascii()


def test_json_holds_all_of_a_cell() -> None:
    warnings = {"mood": ["weak_reading", "tie"]}
    made = cell(
        7,
        0.5,
        steps={"mood": "good"},
        warnings=warnings,
        warned_by={"tie": ["self_consistency"]},
        calls=2,
        cached=1,
        tokens_in=9,
        tokens_out=3,
        seconds=1.5,
        number=42,
    )
    (line,) = jsonl_parts([made])
    assert json.loads(line) == {
        "variant": "plain",
        "row": 7,
        "repeat": 0,
        "fields": {"text": "row 7", "expect": "good"},
        "expect": "good",
        "output": "good",
        "flag": "",
        "problem": "",
        "warnings": warnings,
        "warned_by": {"tie": ["self_consistency"]},
        "scores": {"accuracy": {"value": 0.5, "detail": {"predicted": "good"}, "why": ""}},
        "steps": {"mood": "good"},
        "calls": 2,
        "cached": 1,
        "tokens_in": 9,
        "tokens_out": 3,
        "seconds": 1.5,
        "cell": 42,
    }


@pytest.mark.attack("html")
@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_no_text_in_the_table_is_a_formula(text: str) -> None:
    (row,) = table(cell(output=text, fields={text: text}))
    assert row["output"] == row[f"field.{text}"] == f"'{text}"


def test_numbers_in_the_table_stay_numbers_and_the_rest_is_json() -> None:
    (row,) = table(cell(1, 0.25, output=-5, fields={"list": [1, "ä"], "yes": True, "none": None}))
    assert (row["output"], row["score.accuracy"]) == ("-5", "0.25")
    assert (row["field.list"], row["field.yes"], row["field.none"]) == ('[1, "ä"]', "true", "")


def test_the_table_has_the_fields_of_all_rows() -> None:
    rows = table(cell(1, fields={"a": "1"}), cell(2, fields={"b": "2"}))
    assert [(row["field.a"], row["field.b"]) for row in rows] == [("1", ""), ("", "2")]
