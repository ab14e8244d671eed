"""Inputs of the type `table`: the forms in which people and data sets give a table, read as a list of rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError, Problem
from promptkit.storage.files import read_text
from promptkit.storage.rows import csv_separator
from promptkit.storage.yaml import load
from promptkit.tools.tables import Table

TABLE_FORMS: Final = (
    "a table is a list of mappings, a list of lists whose first names the columns, {columns: …, rows: …}, or CSV; "
    "NAME=@FILE.csv reads a file"
)

_YAML: Final = re.compile(r"\s*(?:[\[{]|-\s|(?:columns|rows|data)\s*:)")
_FILE: Final = re.compile(r"[^\n]+\.(?:csv|tsv)", re.IGNORECASE)


def table_rows(value: Any, *, folder: Path | None = None) -> Any:
    """Return a table as a list of mappings; a list of mappings stays as it is.

    A text is YAML, JSON or CSV, or the name of a .csv or .tsv file in `folder` or below it. Names of columns are made
    different, and cells that a row lacks are None. Raises ValueError for what is not a table, and InputError for a file
    that cannot be read.
    """
    if isinstance(value, str):
        value = _read(value, folder)
    if isinstance(value, list | tuple) and all(isinstance(row, Mapping) for row in value):
        return value
    table = Table.of(value)
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def is_table(value: Any) -> bool:
    """Tell whether a value is a table in one of its forms; the name of a file is not."""
    try:
        table_rows(value)
    except (ValueError, InputError):
        return False
    return True


def _read(text: str, folder: Path | None) -> Any:
    if _YAML.match(text):
        return load(text, file="table").value
    if _FILE.fullmatch(text.strip()):
        return _read_csv(_read_file(text.strip(), folder), tabs=text.strip().lower().endswith(".tsv"))
    if not text.strip():
        raise ValueError("the table is empty: a table in CSV begins with a line of column names")
    if "\n" not in text.strip():
        raise ValueError("a table in CSV must have a line of column names and at least one row")
    return _read_csv(text)


def _read_file(name: str, folder: Path | None) -> str:
    if folder is None:
        raise ValueError(f"a table must be a list of rows, not the name of a file; write @{name} to read it")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the table `{name}` is not in the folder of the file that names it")
    try:
        return read_text(path)
    except InputError as error:
        problem = error.problems[0]
        raise InputError(Problem(f"the table `{name}`: {problem.message}", hint=problem.hint)) from None


def _read_csv(text: str, *, tabs: bool = False) -> list[list[str]]:
    """Return the lines of a CSV text, the first of which names the columns. Raises ValueError."""
    header = text.partition("\n")[0]
    separator = "\t" if tabs or "\t" in header else csv_separator(header)
    try:
        return [fields for fields in csv.reader(io.StringIO(text), delimiter=separator, strict=True) if fields]
    except csv.Error as error:
        raise ValueError(f"a table in CSV cannot be read: {error}") from None
