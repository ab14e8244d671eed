"""The tool `sql`: read-only queries over the user's files of tables."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError, StoreFailed, ToolFailed, nearest, nearest_match
from promptkit.project import Project, cache_folder
from promptkit.project_code.file_reads import note_reads
from promptkit.storage.file_digests import CHANGING, file_digest, matching_files
from promptkit.storage.files import check_named, file_stamp, reason, resolved
from promptkit.tools.base import Tool
from promptkit.tools.table_copy import copied_tables
from promptkit.tools.table_files import FORMATS, Column, FileTable, describe_file, uri_parameters
from promptkit.workers.process import WorkFailed, run_in_worker
from promptkit.workers.sql_reader import quoted, read_databases

MOST_ROWS: Final = 50
"""Rows that a model gets."""
MOST_CHARACTERS: Final = 10_000
"""Characters of these rows; one cell has at most a tenth."""
QUERY_SECONDS: Final = 20.0
MOST_COUNTED: Final = 100_000

_MOST_FILES: Final = 50
_MOST_DATABASES: Final = 9
"""SQLite attaches ten files: these, and the copy of the others."""
_LONGEST_DESCRIPTION: Final = 6_000
_LONGEST_SAMPLE: Final = 30
_COPY: Final = "tables"
_HINT: Final = "write a file, as in `{sql: data/sales.csv}`, a list of files, or names of tables with their files"
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, and the name of its table; of a database, the name of its schema."""

    name: str
    path: Path

    @property
    def is_database(self) -> bool:
        return FORMATS[self.path.suffix.lower()] == "sqlite"


class SqlTool(Tool):
    """Runs one SELECT over tables. CSV, JSON and Parquet are copied to an SQLite file at the first query."""

    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "One SELECT statement in the dialect of SQLite."}},
        "required": ["query"],
        "additionalProperties": False,
    }

    def __init__(self, name: str, sources: Sequence[_Source], project: Project) -> None:
        """Set up the tool over files. Raises InputError for one that cannot be read."""
        self.name = name
        self._sources = sources
        self._project = project
        self._tables = tuple(
            table for source in sources for table in describe_file(source.path, source.name, file_stamp(source.path))
        )
        _check_distinct(self._tables)
        self.description = _description(self._tables)

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> SqlTool:
        """Return the tool over a file, a list of files, or a mapping from names of tables to files.

        A file may be a folder or a pattern such as `data/*.csv`, and is relative to `folder`. Raises InputError.
        """
        sources = list(_sources(settings, folder, project))
        databases = [source for source in sources if source.is_database]
        if len(sources) > _MOST_FILES or len(databases) > _MOST_DATABASES:
            raise InputError(f"`sql` reads at most {_MOST_FILES} files, {_MOST_DATABASES} of them databases")
        return cls(name, sources, project)

    @property
    def extra(self) -> str | None:  # type: ignore[override]
        """The extra for Parquet, where a file is one."""
        return "sql" if any(source.path.suffix.lower() == ".parquet" for source in self._sources) else None

    @property
    def identity(self) -> Mapping[str, Any]:
        """The names of the tables and their files within the project."""
        return {"tables": {source.name: self._project.portable_name(source.path) for source in self._sources}}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, with the write-ahead logs of databases that have one."""
        logs = (source.path.with_name(f"{source.path.name}-wal") for source in self._sources if source.is_database)
        return (*(source.path for source in self._sources), *(log for log in logs if log.is_file()))

    async def call(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `columns` and the first `rows` of the argument `query`, and a `note` where there are more.

        Raises ToolFailed, with near names for unknown ones.
        """
        for source in self._sources:
            if resolved(source.path) != source.path:
                raise ToolFailed(f"the file of `{source.name}` is now a link to another file")
        query = arguments["query"].strip()
        try:
            databases = await self._databases()
            found = await run_in_worker(
                read_databases, databases, query, MOST_ROWS, MOST_CHARACTERS, MOST_COUNTED, seconds=QUERY_SECONDS
            )
        except ValueError as error:
            raise ToolFailed(self._explained(str(error))) from None
        except WorkFailed as failed:
            raise ToolFailed(f"the query {failed}: ask for less, or in several queries") from None
        except InputError as error:
            raise ToolFailed(f"a file of the tables cannot be read: {error.problems[0].message}") from None
        except OSError as error:
            raise ToolFailed(f"a file of the tables cannot be read: {reason(error)}") from None
        except StoreFailed as error:
            raise ToolFailed(error.message) from None
        count, rows = found.pop("count"), found["rows"]
        if not count:
            found["note"] = "no row fits the query"
        elif count > len(rows):
            more = f"at least {count:,}" if count == MOST_COUNTED else f"{count:,}"
            found["note"] = f"the first {len(rows)} of {more} rows"
        return dict(found)

    async def _databases(self) -> list[tuple[str, str, str]]:
        """Return the databases, each a name, a path and the parameters of its URI; other files are copied first."""
        digests = await asyncio.to_thread(self._digests)
        files = [source for source in self._sources if not source.is_database]
        databases = [(s.name, str(s.path), uri_parameters(s.path)) for s in self._sources if s.is_database]
        if files:
            copied = [(source.name, source.path, digests[str(source.path)]) for source in files]
            copy = await copied_tables(copied, cache_folder() / "tables")
            databases.insert(0, (_COPY, str(copy), "mode=ro&immutable=1"))
            later = await asyncio.to_thread(self._digests)
            if any(later[str(path)] != digest or digest == CHANGING for _, path, digest in copied):
                raise ValueError("a file of the tables changed while it was read")
        note_reads(digests)
        return databases

    def _digests(self) -> dict[str, str]:
        return {str(path): file_digest(path) for path in self.files}

    def _explained(self, message: str) -> str:
        """Return a message of SQLite's with the names that may have been meant."""
        kind, _, name = message.removeprefix("no such ").partition(": ")
        name = name.rpartition(".")[2]
        if kind == "table":
            return f"there is no table `{name}`; the tables are {', '.join(table.name for table in self._tables)}"
        if kind == "column":
            columns = [column.name for table in self._tables for column in table.columns]
            near = nearest_match(name, columns)
            return f"there is no column `{name}`" + (f"; {near}" if near else "; the description has all columns")
        return message


def _sources(settings: Any, folder: Path, project: Project) -> Iterator[_Source]:
    if not settings:
        raise InputError("`sql` needs the files of its tables", hint=_HINT)
    if isinstance(settings, Mapping):
        for name, file in settings.items():
            if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name) or _is_reserved(name):
                raise InputError(f"`{name}` cannot be the name of a table", hint="use letters, digits and _")
            if not isinstance(file, str):
                raise InputError(f"the table `{name}` needs a file", hint=_HINT)
            yield _Source(name, _file(file, folder, project))
        return
    files = [settings] if isinstance(settings, str) else settings
    if not isinstance(files, list | tuple) or not all(isinstance(file, str) for file in files):
        raise InputError("`sql` takes files", hint=_HINT)
    paths = dict.fromkeys(path for file in files for path in _paths(file, folder, project))
    named: dict[str, Path] = {}
    for path in paths:
        name = _table_name(path)
        if name.lower() in named:
            first = named[name.lower()].name
            hint = f"name them, as in `{{sql: {{{name}: {first}, {name}_2: {path.name}}}}}`"
            raise InputError(f"the files `{first}` and `{path.name}` are both the table `{name}`", hint=hint)
        named[name.lower()] = path
        yield _Source(name, path)


def _paths(file: str, folder: Path, project: Project) -> Iterator[Path]:
    """Yield the files that a path, a folder or a pattern names."""
    is_folder = os.path.isdir(folder / file)
    if not is_folder and not ("*" in file or "?" in file):
        yield _file(file, folder, project)
        return
    found = matching_files(folder, f"{file.rstrip('/')}/*" if is_folder else file)
    tables = [name for name in found if Path(name).suffix.lower() in FORMATS and not Path(name).name.startswith(".")]
    if not tables:
        raise InputError(f"`{file}` holds no tables", hint=f"tables are in files that end in {', '.join(FORMATS)}")
    yield from (_file(name, folder, project) for name in tables)


def _file(name: str, folder: Path, project: Project) -> Path:
    path = resolved(folder / name)
    if not project.inside(path):
        raise InputError(f"the file `{name}` is outside of the project")
    check_named(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"tables are not read from `{name}`", hint=nearest(path.suffix, FORMATS))
    return path


def _table_name(path: Path) -> str:
    name = re.sub(r"\W+", "_", path.name.partition(".")[0]).strip("_") or "data"
    return f"t_{name}" if name[0].isdigit() or _is_reserved(name) else name


def _is_reserved(name: str) -> bool:
    return name.lower() in ("main", "temp", _COPY) or name.lower().startswith("sqlite_")


def _check_distinct(tables: Sequence[FileTable]) -> None:
    seen: set[str] = set()
    for table in tables:
        if table.name.lower() in seen:
            raise InputError(f"two of the files have a table `{table.name}`", hint="give them to two tools")
        seen.add(table.name.lower())


def _description(tables: Sequence[FileTable]) -> str:
    """Return the tables as a model reads them: as far as there is room with values, else without, else in part."""
    text = "\n".join(_declaration(table, samples=True) for table in tables)
    if len(text) > _LONGEST_DESCRIPTION:
        text = "\n".join(_declaration(table, samples=False) for table in tables)
    if len(text) > _LONGEST_DESCRIPTION:
        text = f"{text[:_LONGEST_DESCRIPTION]}… (more tables or columns follow)"
    return (
        f"Run one read-only SELECT, in the dialect of SQLite, and return its rows. At most {MOST_ROWS} rows come back: "
        f"let the query count, sum, sort and filter. Dates are texts. The tables:\n{text}"
    )


def _declaration(table: FileTable, *, samples: bool) -> str:
    more = " or more" if table.has_more else ""
    rows = "" if table.rows is None else f" -- {table.rows:,}{more} row{'' if table.rows == 1 else 's'}"
    columns = [f"{_written(column.name)} {_kind(column)}".rstrip() for column in table.columns]
    if not samples:
        return f"CREATE TABLE {_written(table.name)} ({', '.join(columns)});{rows}"
    lines = [f"  {column},{_values(described)}" for column, described in zip(columns, table.columns, strict=True)]
    return "\n".join([f"CREATE TABLE {_written(table.name)} ({rows}", *lines, ");"])


def _kind(column: Column) -> str:
    return _UNPRINTED.sub(" ", column.kind).partition(" ")[0][:_LONGEST_SAMPLE]


def _values(column: Column) -> str:
    values = ", ".join(_value(sample) for sample in column.samples)
    return f" -- {values}" if values else ""


def _value(sample: Any) -> str:
    if not isinstance(sample, str):
        return str(sample)
    text = _UNPRINTED.sub(" ", sample)
    return repr(text if len(text) <= _LONGEST_SAMPLE else f"{text[:_LONGEST_SAMPLE]}…")


def _written(name: str) -> str:
    """Return a name as it must stand in a query: in quotes where it is a word of SQL, or has other signs."""
    name = _UNPRINTED.sub(" ", name)
    if not _PLAIN_NAME.fullmatch(name):
        return quoted(name)
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            read = connection.execute(f"SELECT {name} FROM (SELECT 1 AS {name})").fetchone()
        except sqlite3.Error:
            return quoted(name)
    return name if read == (1,) else quoted(name)
