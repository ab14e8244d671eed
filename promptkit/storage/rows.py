"""Rows of data from JSONL, JSON, CSV, TSV, YAML and plain text.

A file may be far larger than memory where its format has a row a line. Each reader yields rows and, in their place,
problems: the first problem ends the rows, the next ones are gathered, and then all are raised.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, Problem, nearest, place
from promptkit.storage.files import read_bytes, read_text
from promptkit.storage.strict_json import parse_json
from promptkit.storage.yaml import load_file

Row = dict[str, Any]

MAX_LINE = 32_000_000
MAX_PROBLEMS = 20
MAX_YAML_VALUES = 1_000_000


def read_rows(path: Path, *, select: str | None = None) -> Iterator[Row]:
    """Yield the rows of a file, by its ending: .jsonl .json .csv .tsv .yaml .yml .txt.

    `select` is the dotted path of the list in a JSON or YAML file. Rows of .csv and .tsv hold text, rows of .txt are
    `{"text": line}`. Raises InputError: after the first wrong row no more rows come, and the error names all
    that are wrong, up to 20.
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
    return _checked(found)


def _checked(found: Iterable[Row | Problem]) -> Iterator[Row]:
    problems: list[Problem] = []
    for row in found:
        if isinstance(row, Problem):
            problems.append(row)
            if len(problems) == MAX_PROBLEMS:
                break
        elif not problems:
            yield row
    if problems:
        raise InputError(problems)


def _lines(path: Path, file: str) -> Iterator[tuple[int, str | Problem]]:
    """Yield the number and the text of each line, its end included."""
    try:
        stream = path.open("rb")
    except (OSError, ValueError):
        read_bytes(path)  # Says best why a file cannot be read.
        raise
    with stream:
        number = 0
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                yield number, Problem(f"a line longer than {MAX_LINE // 1_000_000} MB", file, number)
                return
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                hint = "save the file as UTF-8"
                yield number, Problem("not UTF-8", file, number, error.start + 1, hint)
                continue
            yield number, text


def _json_lines(path: Path, file: str) -> Iterator[Row | Problem]:
    for number, line in _lines(path, file):
        if isinstance(line, Problem):
            yield line
        elif line.strip():
            yield _json_row(line, file, number)


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


def _text_lines(path: Path, file: str) -> Iterator[Row | Problem]:
    for number, line in _lines(path, file):
        if isinstance(line, Problem):
            yield line
        elif "\0" in line:
            yield _nul(file, number)
        elif line.strip():
            yield {"text": line.rstrip("\r\n")}


def _comma_separated(path: Path, file: str) -> Iterator[Row | Problem]:
    return _table(path, file, ",")


def _tab_separated(path: Path, file: str) -> Iterator[Row | Problem]:
    return _table(path, file, "\t")


class _BadLine(Exception):
    """Carries a problem out of the reader of a table, whose rows end where the text is no text."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def _table(path: Path, file: str, delimiter: str) -> Iterator[Row | Problem]:
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(_table_lines(path, file), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            yield Problem(f"the column `{repeated[0]}` is given twice", file, 1)
            return
        for fields in reader:
            if not fields:
                continue
            if len(fields) == len(header):
                yield dict(zip(header, fields, strict=True))
            else:
                message = f"{len(fields)} fields, but the header has {len(header)}"
                yield Problem(message, file, reader.line_num, hint="put a field that holds the separator in quotes")
    except csv.Error as error:
        yield Problem(str(error), file, reader.line_num, hint="a quote in a quoted field is written twice")
    except _BadLine as bad:
        yield bad.problem


def _table_lines(path: Path, file: str) -> Iterator[str]:
    for number, line in _lines(path, file):
        if isinstance(line, Problem):
            raise _BadLine(line)
        if "\0" in line:
            raise _BadLine(_nul(file, number))
        yield line


def _nul(file: str, number: int) -> Problem:
    return Problem("the line holds a NUL", file, number, hint="save the file as UTF-8")


def _whole(path: Path, file: str, select: str | None) -> Iterator[Row | Problem]:
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
        if isinstance(row, dict):
            yield row
        else:
            yield Problem(f"row {index + 1} is not a mapping", file, line_of(index))


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


_BY_LINE: dict[str, Callable[[Path, str], Iterator[Row | Problem]]] = {
    ".jsonl": _json_lines,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
    ".txt": _text_lines,
}
