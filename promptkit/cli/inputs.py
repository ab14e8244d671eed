"""Inputs of a target: `NAME=VALUE` arguments, stdin, files, and the rows of a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, Problem, nearest_match, place
from promptkit.reports.output import note
from promptkit.storage.files import MAX_FILE_BYTES, read_text
from promptkit.storage.rows import read_rows
from promptkit.storage.yaml import load_file

MAX_PROBLEMS = 20
TEXT_SUFFIXES = {".csv", ".tsv", ".txt"}
"""Suffixes of files whose fields are text, which the type of the input reads as on the command line."""


def read_texts(arguments: Iterable[str], *, noun: str = "input") -> dict[str, str]:
    """Return the text of each `NAME=VALUE`; `-` reads stdin and `@FILE` a file, both without their last line break.

    `noun` is the word for one of them in messages. Raises InputError with everything that is wrong.
    """
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not separator or not name:
            problems.append(Problem(f"`{argument}` is not an {noun}", hint="write NAME=VALUE"))
        elif name in texts:
            problems.append(Problem(f"{noun} `{name}` is given twice"))
        else:
            try:
                texts[name] = _read_value(value)
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)
    return texts


def _read_value(value: str) -> str:
    if value == "-":
        data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"stdin gives more than {MAX_FILE_BYTES // 1_000_000} MB")
        try:
            return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise InputError(f"stdin is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    if value.startswith("@"):
        return read_text(Path(value[1:])).removesuffix("\n").removesuffix("\r")
    return value


def read_inputs(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the inputs of each run in a file: one mapping, or rows of data. Raises InputError."""
    if path.suffix in {".json", ".yaml", ".yml"} and isinstance(value := load_file(path).value, dict):
        yield value
        return
    yield from read_rows(path)


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row of a file: its number from 1, its `fields` as they are in the file, and the `values` of the inputs."""

    number: int
    fields: Mapping[str, Any]
    values: Mapping[str, Any]


def read_filled(pipeline: Pipeline, path: Path) -> list[InputRow]:
    """Return the rows of a file with their inputs; extra columns are kept.

    Raises InputError with the number of each row that does not fit.
    """
    filled: list[InputRow] = []
    problems: list[Problem] = []
    try:
        for number, fields in enumerate(read_inputs(path), start=1):
            try:
                typed = path.suffix in TEXT_SUFFIXES
                values = fill_row(pipeline, fields, typed=typed, folder=path.parent)
                filled.append(InputRow(number, fields, values))
            except InputError as error:
                problems += (_row_problem(problem, number, path) for problem in error.problems)
                if len(problems) >= MAX_PROBLEMS:
                    break
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return filled


def fill_row(pipeline: Pipeline, fields: Mapping[str, Any], *, typed: bool, folder: Path) -> Mapping[str, Any]:
    """Return the inputs of a row; `typed` reads its texts by the inputs' types, and a table may be a file in `folder`.

    Raises InputError.
    """
    given = {name: value for name, value in fields.items() if name in pipeline.inputs}
    missing = [name for name, spec in pipeline.inputs.items() if name not in given and not spec.has_default]
    if missing or (pipeline.inputs and not given):
        columns = ", ".join(f"`{name}`" for name in fields) or "none"
        raise InputError(
            Problem(
                f"the input `{name}` is missing",
                hint=nearest_match(name, _extra_names(pipeline, fields)) or f"columns: {columns}",
            )
            for name in missing or pipeline.inputs
        )
    filled = fill_inputs(pipeline, None if typed else given, texts=given if typed else None, folder=folder)
    return filled.values


def extra_fields(pipeline: Pipeline, row: InputRow) -> dict[str, Any]:
    """Return the fields of a row that are not inputs."""
    return {name: row.fields[name] for name in _extra_names(pipeline, row.fields)}


def note_near_columns(pipeline: Pipeline, rows: Iterable[InputRow]) -> None:
    """Note once each column whose name is nearly that of an input without a column."""
    found: dict[str, str] = {}
    for row in rows:
        for name in pipeline.inputs.keys() - row.fields.keys():
            for column in _extra_names(pipeline, row.fields):
                if nearest_match(name, [column]):
                    found.setdefault(column, name)
    for column, name in found.items():
        note(f"the column `{column}` is not an input; `{name}`, which is, has its default")


def _extra_names(pipeline: Pipeline, fields: Mapping[str, Any]) -> list[str]:
    return [name for name in fields if name not in pipeline.inputs]


def _row_problem(problem: Problem, number: int, path: Path) -> Problem:
    return Problem(f"row {number}: {problem.message}", place(path), hint=problem.hint)
