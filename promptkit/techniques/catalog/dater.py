"""Dater: the part of a table that a question is about, and facts whose values SQL finds, before any reasoning."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.programs import scalar
from promptkit.techniques.methods.tables import (
    EXAMPLE_ROWS,
    cell_text,
    likelihood,
    read_rows,
    rows_shown,
    table_lines,
    table_of,
    table_schema,
    union_of_best,
    with_table,
)
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.reading import program, some_items
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task
from promptkit.tools.tables import QueryFailed, Table

Start = Callable[[], Awaitable[Any]]
CHOOSING, ASKING = 0.5, 0.4
"""The temperatures at which parts of the table are chosen, and at which facts and queries are written."""
MOST_CELLS = 10
"""The number of cells up to which a query's result fills a fact."""

_BLANK = re.compile(r"\{[^{}\n]{0,40}\}|_{3,}")


@technique(
    needs={"sql", "table", "sampling"},
    roles=["table", "question"],
    calls="column_samples + row_samples + cloze_samples + query_samples * clozes + samples",
    requests="column_samples + row_samples + cloze_samples + query_samples * clozes + samples * (1 + decided)",
)
async def dater(
    task: Task,
    *,
    column_samples: Count = 3,
    row_samples: Count = 3,
    cloze_samples: Count = 1,
    query_samples: Count = 3,
    samples: Count = 3,
    temperature: Warmth = 0.7,
    column_sets: Count = 2,
    row_sets: Count = 1,
    clozes: Count = 3,
    shown_rows: Count = 50,
) -> Answer:
    """Choose a part of the table, find the facts that SQL can compute, and reason over both (Ye et al. 2023).

    The part is the union of the best `column_sets` and `row_sets`; at most `clozes` facts are looked for. No prompt
    holds more than `shown_rows` rows: the first ones of the table, and of those chosen.
    """
    source = table_of(task)
    table = source.table
    short = with_table(task, source, table.select(rows=range(len(table.rows))[:EXAMPLE_ROWS]))
    begun: list[Start] = [
        partial(choose_columns, short, table, column_samples),
        partial(choose_rows, short, table, row_samples, shown_rows),
        partial(find_facts, short, table, cloze_samples, query_samples, clozes),
    ]
    by_column, by_row, facts = await task.each(lambda start: start(), begun)
    columns = union_of_best([(exchange, exchange.value or []) for exchange in by_column], column_sets)
    rows = union_of_best(
        [(exchange, read_rows(exchange.said, range(1, len(table.rows) + 1))) for exchange in by_row], row_sets
    )
    part = table.select(
        [name for name in table.columns if name in columns] or None, sorted(row - 1 for row in rows) or None
    )
    shown = rows_shown(task, part, shown_rows)
    reasoning = with_table(task, source, part.select(rows=range(shown["shown"])))
    thoughts = await reasoning.sample("reason", samples, temperature=temperature, logprobs=True, facts=facts, **shown)
    answers = await task.each(reasoning.decide, thoughts)
    voted = task.vote(answers, [likelihood(exchange) for exchange in thoughts])
    return voted.with_extra(columns=list(part.columns), rows=sorted(rows), facts=facts)


async def choose_columns(task: Task, table: Table, samples: int) -> list[Exchange]:
    """Return selections of columns; none of a table without columns."""
    if not table.columns:
        return []
    rows = table_lines(table, most=EXAMPLE_ROWS)
    return await task.sample("columns", samples, temperature=CHOOSING, logprobs=True, rows=rows)


async def choose_rows(task: Task, table: Table, samples: int, shown: int) -> list[Exchange]:
    """Return selections of rows, of which the first ones are shown."""
    rows = table_lines(table, most=shown)
    return await task.sample("rows", samples, temperature=CHOOSING, logprobs=True, rows=rows)


async def find_facts(task: Task, table: Table, samples: int, queries: int, most: int) -> list[str]:
    """Return the facts of the likeliest sample, each with the value that most of its queries give.

    One without a value is left out, and all are where each is 0 or each is 1: such counts are not to be relied on.
    """
    written = await task.sample(
        "cloze", samples, temperature=ASKING, logprobs=True, rows=table_lines(table, most=EXAMPLE_ROWS)
    )
    listed = await task.read(max(written, key=likelihood), some_items) or []
    facts = [_BLANK.sub("{}", line) for line in listed if _BLANK.search(line)][:most]
    sketch = await table_schema(task, table)
    values = await task.each(partial(find_value, task, table, sketch, queries), facts)
    if {cells for cells in values if cells} in ({("0",)}, {("1",)}):
        return []
    filled = [fill(fact, cells) for fact, cells in zip(facts, values, strict=True) if cells]
    return [fact for fact in filled if fact]


def fill(fact: str, cells: Sequence[str]) -> str:
    """Return a fact with its blank filled by all cells, or each of several blanks by one; empty where these differ."""
    blanks = fact.count("{}")
    if blanks == 1:
        return fact.replace("{}", ", ".join(cells))
    parts = fact.split("{}")
    return "".join(chain(*zip(parts, [*cells, ""], strict=True))) if blanks == len(cells) else ""


async def find_value(task: Task, table: Table, sketch: dict[str, Any], samples: int, cloze: str) -> tuple[str, ...]:
    """Return the cells that most queries give for a fact; a 0 counts a third. Empty where none gives any."""
    written = await task.sample("sql", samples, temperature=ASKING, sketch=sketch, cloze=cloze)
    tally: Counter[tuple[str, ...]] = Counter()
    for cells in await task.each(partial(run, task, table), written):
        if cells:
            tally[cells] += 1 if cells == ("0",) else 3
    return tally.most_common(1)[0][0] if tally else ()


async def run(task: Task, table: Table, exchange: Exchange) -> tuple[str, ...]:
    """Return the cells that a query gives, as texts; none where it fails or gives too many to fill a blank."""
    try:
        query = await task.read(exchange, program("sql"))
        selected = await task.sql(table, query or "", of=exchange)
    except QueryFailed:
        task.warn("program_failed")
        return ()
    cells = [cell_text(scalar(cell)) for row in selected.rows[: MOST_CELLS + 1] for cell in row if cell is not None]
    return tuple(cells) if len(cells) <= MOST_CELLS else ()
