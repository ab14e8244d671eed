"""SQL queries that call the model, `QA("map@question"; column)`: a call becomes a column or a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, Literal

from promptkit.answers.base import Unparsed
from promptkit.answers.reader.code_reader import find_program
from promptkit.answers.reader.fences import fenced_blocks
from promptkit.answers.reader.list_reader import bare_item, listed_items
from promptkit.techniques.context import Exchange
from promptkit.techniques.methods.tables import ROW_ID, cell_text, rows_shown, sql_literal, sql_name, table_lines
from promptkit.techniques.reading import filled_lines
from promptkit.techniques.task import Task
from promptkit.tools.tables import Table

_CALL: Final = re.compile(r"\bQA\s*\(", re.IGNORECASE)
_KIND: Final = re.compile(r"\s*(map|ans)\s*@\s*", re.IGNORECASE)
_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}
_TABLE_ROW: Final = re.compile(r"\|?\s*(?:row\s*)?\d+\s*\|([^|]*)\|?", re.IGNORECASE)
_ROW: Final = re.compile(r"(?:(?<!\s)\s+)?row\s*(\d+)\s*[:|]\s*", re.IGNORECASE)


class InvalidCall(ValueError):
    """A call that is not closed or does not have its form."""


@dataclass(frozen=True, slots=True)
class QACall:
    """A call in a query: its position, its question, and its arguments as written."""

    start: int
    end: int
    kind: Literal["map", "ans"]
    question: str
    arguments: tuple[str, ...]


def outermost_calls(query: str) -> list[QACall]:
    """Return the calls of a query that are not inside another, in order; quoted text has none. Raises InvalidCall."""
    found: list[QACall] = []
    at = 0
    for start, opened in _opened(query):
        if start < at:
            continue
        parts, at = _parts(query, opened)
        found.append(_call(start, at, parts))
    return found


def _opened(query: str) -> Iterator[tuple[int, int]]:
    """Yield the positions of calls and of the text after their opening bracket, outside of quotes."""
    at = 0
    while at < len(query):
        if query[at] in _QUOTES and (end := _end_of_quote(query, at)) is not None:
            at = end
        elif (call := _CALL.match(query, at)) and (at == 0 or not (query[at - 1].isalnum() or query[at - 1] == "_")):
            yield call.start(), call.end()
            at = call.end()
        else:
            at += 1


def _parts(query: str, at: int) -> tuple[list[str], int]:
    """Return the parts of a call between its separators, and its end. Raises InvalidCall."""
    parts: list[str] = []
    begin, depth = at, 0
    while at < len(query):
        sign = query[at]
        if sign in _QUOTES and (end := _end_of_quote(query, at)) is not None:
            at = end
            continue
        if sign == "(":
            depth += 1
        elif sign == ")" and depth == 0:
            return [*parts, query[begin:at]], at + 1
        elif sign == ")":
            depth -= 1
        elif depth == 0 and (sign == ";" or (sign == "," and not parts)):
            # Further commas belong to a sub-query or a list of columns.
            parts.append(query[begin:at])
            begin = at + 1
        at += 1
    raise InvalidCall("a QA call is not closed")


def _end_of_quote(query: str, at: int) -> int | None:
    """Return the end of the quotes that open at a position, None if they stay open. Doubled quotes are inside."""
    closing = _QUOTES[query[at]]
    end = at + 1
    while (end := query.find(closing, end)) >= 0:
        if closing == '"' and query[end - 1] == "\\":
            end += 1
        elif query[end + 1 : end + 2] == closing:
            end += 2
        else:
            return end + 1
    return None


def _call(start: int, end: int, parts: Sequence[str]) -> QACall:
    asked = unquoted(parts[0])
    kind = _KIND.match(asked)
    question = asked[kind.end() :].strip() if kind else ""
    arguments = tuple(part.strip() for part in parts[1:] if part.strip())
    if kind is None or not question or not arguments:
        raise InvalidCall('a QA call is QA("map@question"; column) or QA("ans@question"; query)')
    return QACall(start, end, "map" if kind[1].lower() == "map" else "ans", question, arguments)


def unquoted(text: str) -> str:
    """Return a text without the quotes around it; doubled and escaped ones inside become single."""
    text = text.strip()
    opening = text[:1]
    if opening in _QUOTES and len(text) > 1 and text.endswith(_QUOTES[opening]):
        closing = _QUOTES[opening]
        return text[1:-1].replace(closing * 2, closing).replace(f"\\{closing}", closing)
    return text


def read_query(text: str) -> str:
    """Return the query of a reply: a call alone, else SQL, without the prose around it. Raises Unparsed."""
    blocks = fenced_blocks(text)
    inside = blocks[0].text.strip() if blocks else text.strip()
    query = inside if _CALL.match(inside) else str(find_program(text, "sql").value)
    return query.strip().rstrip(";")


def read_values(reply: str, count: int) -> list[str]:
    """Return the values of a reply for `count` rows, one a line.

    Lines may be numbered as the rows are, or be those of a table; a JSON list or one line with commas is read as well.
    Raises Unparsed for another number of values, and for lines in another form.
    """
    listed = listed_items(reply)
    if listed and listed.rule in ("JSON list", "fence"):
        values = listed.texts
    else:
        rows = [found for line in filled_lines(reply) if (found := _TABLE_ROW.fullmatch(line.strip()))]
        in_table = rows and len(rows) == len(filled_lines(reply))
        values = [found[1].strip() for found in rows] if in_table else [_bare(line) for line in filled_lines(reply)]
        if len(values) == count + 1 and values[0].endswith(":"):
            values = values[1:]
        if len(values) == 1 and count > 1:
            values = [part.strip() for part in values[0].split(",")]
    if len(values) != count:
        raise Unparsed(f"there must be {count} values, one for each row, and there are {len(values)}")
    if any("|" in value for value in values):
        raise Unparsed("each line must hold the value of one row and nothing else")
    return values


def _bare(line: str) -> str:
    return bare_item(_ROW.sub("", line, count=1))


DEEPEST: Final = 3
"""The depth to which calls may be nested."""
MOST_SHOWN: Final = 200
"""The number of rows that a call for one value reads."""
MOST_REQUESTS: Final = 100
"""The number of requests of one query, a safety stop."""
LONGEST_READ: Final = 2_000
"""The characters of a cell that a call reads, since cells may be long texts."""

_SELECT: Final = re.compile(r"SELECT\s+(?!DISTINCT\b)", re.IGNORECASE)
_QUERY: Final = re.compile(r"(?:SELECT|WITH|VALUES)\b", re.IGNORECASE)
_IN: Final = re.compile(r"\bIN\s*$", re.IGNORECASE)
_IN_BRACKETS: Final = re.compile(r"\bIN\s*\(\s*$", re.IGNORECASE)
_TOKENS_A_ROW: Final = 16
_DIGITS: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,15})?")


class TooManyCalls(Exception):
    """A query that needs more calls or requests than it may make."""


class NeuralQuery:
    """A query that a model wrote, with calls of the model. Each call that answers row by row adds a column to the
    table.

    There may be `most` calls. One that answers row by row takes a request for each `chunk` different rows. Raises
    InvalidCall or QueryFailed if the query, or the reply to a call, cannot be used, and TooManyCalls.
    """

    def __init__(self, task: Task, exchange: Exchange, table: Table, *, chunk: int, most: int) -> None:
        self._task = task
        self._exchange = exchange
        self._table = table
        self._chunk = chunk
        self._most = most
        self._calls = 0
        self._requests = 0

    async def result(self, query: str) -> Table:
        """Return the result of a query; for a query that is only a call, the call's answers in one column."""
        calls = outermost_calls(query)
        if len(calls) == 1 and not (query[: calls[0].start] + query[calls[0].end :]).strip("() \n"):
            values = await (self._answers(calls[0], 1) if calls[0].kind == "ans" else self._values(calls[0], 1))
            return Table(("answer",), tuple((value,) for value in values))
        selected = await self._select(await self._bound(query, 1))
        return Table(selected.columns, selected.rows)

    async def _bound(self, query: str, depth: int) -> str:
        """Return a query with a column or a value in place of each call, inner calls before outer ones."""
        calls = outermost_calls(query)
        if calls and depth > DEEPEST:
            raise InvalidCall(f"QA calls are nested more than {DEEPEST} deep")
        different = {query[call.start : call.end]: call for call in calls}
        bound = await self._task.each(lambda call: self._stand_in(call, depth), different.values())
        places = dict(zip(different, bound, strict=True))
        for call in reversed(calls):
            before = query[: call.start]
            stand_in = places[query[call.start : call.end]]
            query = f"{before}{_written(stand_in, before, query[call.end :])}{query[call.end :]}"
        return query

    async def _stand_in(self, call: QACall, depth: int) -> str | list[Any]:
        """Return the name of the column that a call adds, or its values."""
        if call.kind == "ans":
            return await self._answers(call, depth)
        values = await self._values(call, depth)
        columns = Table.of([[*self._table.columns, "answer"]]).columns
        self._table = Table(columns, tuple((*row, value) for row, value in zip(self._table.rows, values, strict=True)))
        return sql_name(columns[-1])

    async def _answers(self, call: QACall, depth: int) -> list[Any]:
        """Return the model's answers from the cells that a call names."""
        _, cells = await self._cells_of(call, depth)
        self._count(1)
        rows_shown(self._task, cells, MOST_SHOWN)
        reply = await self._task.ask(
            "ans", rows=table_lines(cells, most=MOST_SHOWN, longest=LONGEST_READ), asked=call.question
        )
        if reply.value is None:
            raise InvalidCall(f"the reply to `{call.question}` holds no answer")
        return list(reply.value)

    async def _values(self, call: QACall, depth: int) -> list[Any]:
        """Return a value for each row of the table, None for rows that the call does not name."""
        places, cells = await self._cells_of(call, depth)
        if places is None:
            raise InvalidCall("a map call needs rows of the table w, and its query returns none")
        rows = [tuple(cell_text(cell, LONGEST_READ) for cell in row) for row in cells.rows]
        different = iter(dict.fromkeys(rows))
        chunks = list(iter(lambda: list(islice(different, self._chunk)), []))
        self._count(len(chunks))
        answered = await self._task.each(lambda chunk: self._map(call.question, cells.columns, chunk), chunks)
        known = {row: value for answers in answered for row, value in answers}
        values: list[Any] = [None] * len(self._table.rows)
        for place, row in zip(places, rows, strict=True):
            values[place] = known[row]
        return values

    async def _map(
        self, question: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]
    ) -> list[tuple[tuple[str, ...], str]]:
        reply = await self._task.ask(
            "map",
            rows=table_lines(Table(tuple(columns), tuple(rows)), longest=LONGEST_READ),
            asked=question,
            stop=[f"\nrow {len(rows) + 1} :"],
            max_tokens=_TOKENS_A_ROW * (len(rows) + 1),
        )
        values = await self._task.read(reply, partial(read_values, count=len(rows)))
        if values is None:
            raise InvalidCall(f"the reply does not hold {len(rows)} values")
        return list(zip(rows, values, strict=True))

    async def _cells_of(self, call: QACall, depth: int) -> tuple[list[int] | None, Table]:
        """Return the cells that a call names, and their rows in the table if they belong to rows."""
        arguments = await self._task.each(lambda argument: self._bound(argument, depth + 1), call.arguments)
        known = {name.casefold(): name for name in self._table.columns}
        names = [known.get(unquoted(argument).removeprefix("w.").casefold()) for argument in arguments]
        if all(names):
            return list(range(len(self._table.rows))), self._table.select([name for name in names if name])
        query = _without_brackets(arguments[0])
        if len(arguments) > 1 or not _QUERY.match(query):
            query = f"SELECT {', '.join(arguments)} FROM w"
        if call.kind == "map":
            query = _SELECT.sub(f"SELECT {ROW_ID}, ", query, count=1)
        selected = await self._select(query)
        cells = Table(selected.columns, selected.rows)
        if ROW_ID not in cells.columns:
            return None, cells
        at = cells.columns.index(ROW_ID)
        places = [row[at] for row in cells.rows]
        are_rows = all(isinstance(place, int) and 0 <= place < len(self._table.rows) for place in places)
        return places if are_rows else None, cells.select(name for name in cells.columns if name != ROW_ID)

    async def _select(self, query: str) -> Any:
        return await self._task.sql(self._table, query, of=self._exchange)

    def _count(self, requests: int) -> None:
        """Count a call that takes so many requests. Raises TooManyCalls."""
        self._calls += 1
        self._requests += requests
        if self._calls > self._most:
            raise TooManyCalls(f"the query needs more than {self._most} QA calls; `asked` allows more")
        if self._requests > MOST_REQUESTS:
            raise TooManyCalls(f"the query needs more than {MOST_REQUESTS} requests; a larger `chunk` needs fewer")


def _written(stand_in: str | list[Any], before: str, after: str) -> str:
    """Return the SQL that stands in for a call: a column, all values after IN, else the first value."""
    if isinstance(stand_in, str):
        return stand_in
    values = [_literal(value) for value in stand_in] or ["NULL"]
    if _IN.search(before):
        return f"({', '.join(values)})"
    return ", ".join(values) if _IN_BRACKETS.search(before) and after.lstrip().startswith(")") else values[0]


def _literal(value: Any) -> str:
    """Return a value as an SQL literal; digits as a number, since SQLite holds any text to be more than a number."""
    return value if isinstance(value, str) and _DIGITS.fullmatch(value) else sql_literal(value)


def _without_brackets(query: str) -> str:
    query = query.strip()
    return query[1:-1].strip() if query.startswith("(") and query.endswith(")") else query
