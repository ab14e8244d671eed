"""Rows of data from JSONL, JSON, CSV, TSV, YAML and plain text.

A file may be far larger than memory where its format has a row a line. Each reader yields rows with their lines and, in
the place of invalid rows, problems. An error that makes the rest of a file unreadable is raised.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from promptkit.errors import InputError, Problem, nearest, place
from promptkit.storage.files import open_file, read_text, unreadable
from promptkit.storage.strict_json import parse_json
from promptkit.storage.yaml import load_file

Row = dict[str, Any]
NumberedRow = tuple[int | None, Row | Problem]
"""A row, or its problem, with the line where it begins (None: unknown in this format)."""

_ROW_NUMBER = re.compile(r"^row \d+: ")
MAX_LINE = 32_000_000
MAX_PROBLEMS = 20
MAX_YAML_VALUES = 1_000_000


def read_rows(path: Path, *, select: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file, by its ending: .jsonl .json .csv .tsv .yaml .yml .txt.

    `select` is the dotted path of the list in a JSON or YAML file. Rows of .csv and .tsv hold text, rows of .txt are
    `{"text": line}`. Raises InputError: after the first invalid row no more rows come, and the error names all
    invalid ones, up to 20.
    """
    return _checked(read_numbered(path, select=select))


def read_numbered(path: Path, *, select: str | None = None) -> Iterator[NumberedRow]:
    """Yield the rows of a file as `read_rows` does, each with its line; a Problem stands for an invalid row.

    Raises InputError for a file whose rows cannot be told apart from some place on.
    """
    file = str(place(path))
    if path.suffix in (".json", ".yaml", ".yml"):
        found = _whole(path, file, select)
    elif select is not None:
        raise InputError(Problem("`select` is for .json and .yaml files", file))
    elif path.suffix in _BY_LINE:
        found = _BY_LINE[path.suffix](path, file)
    else:
        hint = nearest(path.suffix, [*_BY_LINE, ".json", ".yaml", ".yml"])
        raise InputError(Problem("rows are not read from a file with this ending", file, hint=hint))
    return found


def deduplicated_problems(problems: Sequence[Problem]) -> list[Problem]:
    """Return problems of rows, those that differ by their row (`row 3: …`) alone as one, with their number."""
    alike: dict[str, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(_ROW_NUMBER.sub("", problem.message), []).append(problem)
    deduplicated = []
    for first, *others in alike.values():
        more = f", and so in {len(others)} more row{'s' if len(others) > 1 else ''}" if others else ""
        deduplicated.append(replace(first, message=f"{first.message}{more}"))
    return deduplicated


def _checked(found: Iterable[NumberedRow]) -> Iterator[Row]:
    """Yield the rows up to the first invalid one. Raises InputError with that and the next ones."""
    problems: list[Problem] = []
    try:
        for _, row in found:
            if isinstance(row, Problem):
                problems.append(row)
                if len(problems) == MAX_PROBLEMS:
                    break
            elif not problems:
                yield row
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)


def _lines(path: Path, file: str) -> Iterator[tuple[int, str | Problem]]:
    """Yield the number and the text of each line, its end included."""
    with open_file(path) as stream:
        number = 0
        while line := _read_line(stream, path):
            number += 1
            if len(line) > MAX_LINE:
                raise InputError(Problem(f"a line longer than {MAX_LINE // 1_000_000} MB", file, number))
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                hint = "save the file as UTF-8"
                yield number, Problem("not UTF-8", file, number, error.start + 1, hint)
                continue
            yield number, text


def _read_line(stream: BinaryIO, path: Path) -> bytes:
    try:
        return stream.readline(MAX_LINE + 1)
    except OSError as error:
        raise unreadable(path, error) from None


def _json_lines(path: Path, file: str) -> Iterator[NumberedRow]:
    for number, line in _lines(path, file):
        if isinstance(line, Problem):
            yield number, line
        elif line.strip():
            yield number, _json_row(line, file, number)


def _json_row(line: str, file: str, number: int) -> Row | Problem:
    try:
        row = parse_json(line)
    except json.JSONDecodeError as error:
        hint = "is the file cut off?" if not line.endswith("\n") else None
        return Problem(f"not JSON: {error.msg}", file, number, error.colno, hint)
    except ValueError as error:
        return Problem(f"not JSON: {error}", file, number)
    if not isinstance(row, dict):
        return Problem("a row must be a JSON object", file, number)
    return row


def _text_lines(path: Path, file: str) -> Iterator[NumberedRow]:
    for number, line in _lines(path, file):
        if isinstance(line, Problem):
            yield number, line
        elif "\0" in line:
            yield number, _nul(file, number)
        elif line.strip():
            yield number, {"text": line.rstrip("\r\n")}


def _comma_separated(path: Path, file: str) -> Iterator[NumberedRow]:
    _, header = next(_lines(path, file), (1, ""))
    return _table(path, file, csv_separator(header) if isinstance(header, str) else ",")


def csv_separator(header: str) -> str:
    """Return the comma, or the semicolon, which spreadsheets write where the comma is the decimal point."""
    return ";" if ";" in header and "," not in header else ","


def _tab_separated(path: Path, file: str) -> Iterator[NumberedRow]:
    return _table(path, file, "\t")


def _table(path: Path, file: str, delimiter: str) -> Iterator[NumberedRow]:
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(_table_lines(path, file), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        repeated = sorted(name for name, count in Counter(header).items() if count > 1)
        if repeated:
            raise InputError(Problem(f"the column `{repeated[0]}` is given twice", file, 1))
        line = reader.line_num + 1
        for fields in reader:
            begun, line = line, reader.line_num + 1
            if not fields:
                continue
            if len(fields) == len(header):
                yield begun, dict(zip(header, fields, strict=True))
            else:
                message = f"{len(fields)} fields, but the header has {len(header)}"
                hint = "put a field that holds the separator in quotes"
                yield begun, Problem(message, file, reader.line_num, hint=hint)
    except csv.Error as error:
        hint = "a quote in a quoted field is written twice"
        raise InputError(Problem(str(error), file, reader.line_num, hint=hint)) from None


def _table_lines(path: Path, file: str) -> Iterator[str]:
    for number, line in _lines(path, file):
        if isinstance(line, Problem):
            raise InputError(line)
        if "\0" in line:
            raise InputError(_nul(file, number))
        yield line


def _nul(file: str, number: int) -> Problem:
    return Problem("the line holds a NUL", file, number, hint="save the file as UTF-8")


def _whole(path: Path, file: str, select: str | None) -> Iterator[NumberedRow]:
    """Yield the rows of a file that is one document."""
    keys = select.split(".") if select else []
    line_of: Callable[[int], int | None]
    if path.suffix == ".json":
        value = _json_document(path, file)
        line_of = _no_line
    else:
        document = load_file(path, max_values=MAX_YAML_VALUES)
        value = document.value

        def line_of(index: int) -> int | None:
            return document.at([*keys, index])[0]

    rows = _selected(value, keys, file)
    for index, row in enumerate(rows):
        line = line_of(index)
        yield line, row if isinstance(row, dict) else Problem(f"row {index + 1} is not a mapping", file, line)


def _no_line(index: int) -> None:
    return None


def _json_document(path: Path, file: str) -> Any:
    text = read_text(path)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"not JSON: {error.msg}", file, error.lineno, error.colno)) from None
    except ValueError as error:
        raise InputError(Problem(f"not JSON: {error}", file)) from None


def _selected(value: Any, keys: list[str], file: str) -> list[Any]:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            known = value if isinstance(value, dict) else ()
            raise InputError(Problem(f"`select`: there is no `{key}`", file, hint=nearest(key, known)))
        value = value[key]
    if not isinstance(value, list):
        hint = None
        if isinstance(value, dict):
            lists = [name for name, item in value.items() if isinstance(item, list)]
            hint = f"select: {lists[0]}" if lists else None
        raise InputError(Problem("the rows must be a list", file, hint=hint))
    return value


_BY_LINE: dict[str, Callable[[Path, str], Iterator[NumberedRow]]] = {
    ".jsonl": _json_lines,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
    ".txt": _text_lines,
}
