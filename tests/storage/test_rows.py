"""Rows are read from every usual format, or each wrong row is named."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.errors import InputError, Problem
from promptkit.storage.rows import read_rows
from promptkit.storage.strict_json import parse_json

ENDINGS = [".jsonl", ".json", ".csv", ".tsv", ".yaml", ".txt"]


def rows_of(folder: Path, name: str, data: bytes | str, select: str | None = None) -> list[dict[str, Any]]:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_rows(path, select=select))


def problems_of(folder: Path, name: str, data: bytes | str, select: str | None = None) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        rows_of(folder, name, data, select)
    return caught.value.problems


@pytest.mark.parametrize(
    ("name", "data", "rows"),
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": [true]}', [{"a": 1}, {"a": [True]}]),
        ("a.jsonl", b'\xef\xbb\xbf{"a": "\xc3\xa9"}\r\n', [{"a": "é"}]),
        ("a.jsonl", '{"a": "\u2028"}\n', [{"a": "\u2028"}]),
        ("a.jsonl", '{"a": "\\u0000"}\n', [{"a": "\0"}]),
        ("a.jsonl", "", []),
        ("a.json", '[{"a": 1}]', [{"a": 1}]),
        ("a.csv", "a,b\n1,x\n", [{"a": "1", "b": "x"}]),
        ("a.csv", b"\xef\xbb\xbfa,b\r\n1,x\r\n\r\n", [{"a": "1", "b": "x"}]),
        ("a.csv", 'a,b\n"1\n2","x ""y"""\n', [{"a": "1\n2", "b": 'x "y"'}]),
        ("a.csv", "", []),
        ("a.tsv", "a\tb\n1\t,\n", [{"a": "1", "b": ","}]),
        ("a.yaml", "- {a: 1}\n- a: 012\n", [{"a": 1}, {"a": 12}]),
        ("a.yml", "- {a: no}\n", [{"a": "no"}]),
        ("a.txt", "one\r\n\n two \n", [{"text": "one"}, {"text": " two "}]),
    ],
)
def test_rows_are_read(tmp_path: Path, name: str, data: bytes | str, rows: list[dict[str, Any]]) -> None:
    assert rows_of(tmp_path, name, data) == rows


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_select_names_the_list(tmp_path: Path, name: str) -> None:
    assert rows_of(tmp_path, name, '{"data": {"rows": [{"a": 1}]}}', "data.rows") == [{"a": 1}]


@pytest.mark.parametrize(
    ("name", "data", "line", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": ', 2, "not JSON"),
        ("a.jsonl", '{"a": NaN}\n', 1, "NaN"),
        ("a.jsonl", '{"a": 1e999}\n', 1, "too large"),
        ("a.jsonl", '{"a": 1, "a": 2}\n', 1, "twice"),
        ("a.jsonl", '{"a": "\\ud800"}\n', 1, "surrogate"),
        ("a.jsonl", "[1]\n", 1, "object"),
        ("a.jsonl", '{"a": "\0"}\n', 1, "not JSON"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', 2, "not UTF-8"),
        ("a.jsonl", '{"a": ' + "[" * 100_000, 1, "deep"),
        ("a.jsonl", '{"a": ' + "9" * 5000 + "}", 1, "not JSON"),
        ("a.json", '[{"a": 1},\n{]', 2, "not JSON"),
        ("a.json", '{"rows": []}', None, "must be a list"),
        ("a.json", "[1]", None, "row 1"),
        ("a.csv", "a,b\n1\n", 2, "1 fields, but the header has 2"),
        ("a.csv", "a,a\n1,2\n", 1, "column `a`"),
        ("a.csv", 'a,b\n"1,2\n', 2, "end of data"),
        ("a.csv", b"a,b\n1,\xff\n", 2, "not UTF-8"),
        ("a.csv", "a,b\n1,\0\n", 2, "NUL"),
        ("a.txt", "a\0", 1, "NUL"),
        ("a.yaml", "- {a: 1}\n- 2\n", 2, "row 2"),
        ("a.yaml", "- {a: *x}\n", 1, "alias"),
        ("a.parquet", "", None, "ending"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, name: str, data: bytes | str, line: int | None, message: str) -> None:
    problem = problems_of(tmp_path, name, data)[0]
    assert problem.file is not None and problem.file.endswith(name)
    assert problem.line == line
    assert message in problem.message


def test_all_wrong_rows_are_named_at_once(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "a.jsonl", '{"a": 1}\n{\n{"a": 2}\n[]\n')
    assert [problem.line for problem in problems] == [2, 4]


def test_a_select_that_is_wrong_names_the_nearest(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "a.json", '{"rows": []}', "row")[0].hint == "did you mean `rows`?"
    assert problems_of(tmp_path, "a.json", '{"rows": []}')[0].hint == "select: rows"


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "sentiment.jsonl").touch()
    with pytest.raises(InputError, match=r"did you mean `sentiment\.jsonl`"):
        list(read_rows(tmp_path / "sentimant.jsonl"))


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".txt"])
def test_a_line_of_ten_megabytes_is_a_row(tmp_path: Path, ending: str) -> None:
    text = "x" * 10_000_000
    data = {".jsonl": f'{{"text": "{text}"}}\n', ".csv": f"text\n{text}\n", ".txt": text}[ending]
    assert rows_of(tmp_path, "a" + ending, data) == [{"text": text}]


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    assert "longer than" in problems_of(tmp_path, "a.jsonl", b"x" * 33_000_000)[0].message


def test_rows_come_one_by_one_from_a_file_that_is_never_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 100_000 + "{")
    rows = read_rows(path)
    assert next(rows) == {"a": 1}


fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(st.sampled_from(ENDINGS), st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_rows_or_problems_of_the_file(tmp_path: Path, ending: str, data: bytes) -> None:
    try:
        rows = rows_of(tmp_path, "a" + ending, data)
    except InputError as error:
        assert all(problem.file for problem in error.problems)
    else:
        assert all(isinstance(row, dict) for row in rows)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@fuzz
@given(st.lists(st.dictionaries(texts, texts | st.integers() | st.none()), max_size=5))
def test_rows_written_as_json_lines_are_read_back(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert rows_of(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows)) == rows


@fuzz
@given(st.lists(st.lists(texts, min_size=2, max_size=2), max_size=5))
def test_rows_written_by_a_csv_library_are_read_back(tmp_path: Path, table: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *table])
    assert rows_of(tmp_path, "a.csv", text.getvalue()) == [{"a": a, "b": b} for a, b in table]


@given(st.text() | st.binary())
def test_strict_json_is_a_value_or_a_value_error(text: str | bytes) -> None:
    try:
        value = parse_json(text)
    except ValueError:
        return
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def test_a_table_that_a_spreadsheet_separated_by_semicolons_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('text;price\n"a; b";1,5\n', encoding="utf-8")

    assert list(read_rows(file)) == [{"text": "a; b", "price": "1,5"}]


@pytest.mark.attack("number")
@pytest.mark.parametrize("ending", [".csv", ".tsv"])
async def test_sixty_thousand_columns_are_read_at_once(tmp_path: Path, ending: str) -> None:
    mark = "," if ending == ".csv" else "\t"
    names = [f"column {number}" for number in range(60_000)]
    header, cells = mark.join(names), mark.join(map(str, range(60_000)))
    await asyncio.sleep(0)
    [row] = rows_of(tmp_path, f"wide{ending}", f"{header}\n{cells}\n")
    await asyncio.sleep(0)
    assert (len(row), row["column 59999"]) == (60_000, "59999")
    with pytest.raises(InputError, match="the column `column 7` is given twice"):
        rows_of(tmp_path, f"twice{ending}", f"{header}{mark}column 7\n")
