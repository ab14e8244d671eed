"""The rows of a file as inputs of a target; columns that are not inputs are carried along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.errors import InputError, Problem, near, place

if TYPE_CHECKING:
    from promptkit.engine import Pipeline

MAX_PROBLEMS = 20
AS_TYPED = {".csv", ".tsv", ".txt"}
"""Endings of files whose fields are texts, read by the type of the input as on the command line."""


@dataclass(frozen=True, slots=True)
class InputRow:
    """A row of a file: its number from 1, its `fields` as they stand there, and the `values` of the inputs."""

    number: int
    fields: Mapping[str, Any]
    values: Mapping[str, Any]


def read_filled(pipeline: Pipeline, path: Path) -> list[InputRow]:
    """Return the rows of a file with their inputs; further columns are carried along.

    Raises InputError with the number of each row that does not fit.
    """
    from promptkit.cli.values import read_inputs

    filled: list[InputRow] = []
    problems: list[Problem] = []
    try:
        for number, fields in enumerate(read_inputs(path), start=1):
            try:
                filled.append(InputRow(number, fields, fill_row(pipeline, fields, typed=path.suffix in AS_TYPED)))
            except InputError as error:
                problems += (_in_row(problem, number, path) for problem in error.problems)
                if len(problems) >= MAX_PROBLEMS:
                    break
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return filled


def fill_row(pipeline: Pipeline, fields: Mapping[str, Any], *, typed: bool) -> Mapping[str, Any]:
    """Return the inputs that a row gives; `typed` reads its texts by their inputs' types. Raises InputError."""
    from promptkit import engine

    given = {name: value for name, value in fields.items() if name in pipeline.inputs}
    missing = [name for name, spec in pipeline.inputs.items() if name not in given and not spec.has_default]
    if missing or (pipeline.inputs and not given):
        columns = ", ".join(f"`{name}`" for name in fields) or "none"
        lacking = missing or list(pipeline.inputs)
        raise InputError(
            Problem(
                f"the input `{name}` is missing", hint=near(name, _others(pipeline, fields)) or f"columns: {columns}"
            )
            for name in lacking
        )
    return engine.fill(pipeline, texts=given).values if typed else engine.fill(pipeline, given).values


def further(pipeline: Pipeline, row: InputRow) -> dict[str, Any]:
    """Return the fields of a row that are not inputs."""
    return {name: row.fields[name] for name in _others(pipeline, row.fields)}


def show_near_columns(pipeline: Pipeline, rows: Iterable[InputRow]) -> None:
    """Say once which columns nearly have the name of an input that the rows do not give."""
    from promptkit.reports import note

    found: dict[str, str] = {}
    for row in rows:
        for name in pipeline.inputs.keys() - row.fields.keys():
            for column in _others(pipeline, row.fields):
                if near(name, [column]):
                    found.setdefault(column, name)
    for column, name in found.items():
        note(f"the column `{column}` is not an input; `{name}`, which is, has its default")


def _others(pipeline: Pipeline, fields: Mapping[str, Any]) -> list[str]:
    return [name for name in fields if name not in pipeline.inputs]


def _in_row(problem: Problem, number: int, path: Path) -> Problem:
    return Problem(f"row {number}: {problem.message}", place(path), hint=problem.hint)
