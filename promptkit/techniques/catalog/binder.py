"""Binder: queries in which the model itself stands in for a column or a value that SQL cannot compute."""

from dataclasses import replace
from typing import Any

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.programs import scalar, value_answer
from promptkit.techniques.methods.qa_queries import InvalidCall, NeuralQuery, TooManyCalls, read_query
from promptkit.techniques.methods.tables import EXAMPLE_ROWS, cell_text, likelihood, table_of, table_schema, with_table
from promptkit.techniques.parameters import Count, Temperature
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task
from promptkit.tools.tables import QueryFailed, Table, number_of


@technique(
    needs={"sql", "table"},
    roles=["table", "question"],
    calls="samples * (1 + asked)",
    requests="samples * (1 + asked)",
    sampling="samples > 1",
)
async def binder(
    task: Task, *, samples: Count = 3, temperature: Temperature = 0.4, chunk: Count = 20, asked: Count = 3
) -> Answer:
    """Write queries that may ask the model about cells, run them, and vote on what they give (Cheng et al. 2023).

    `asked` is how many QA calls one query may make: a query that needs more has no answer. A call about each row takes
    a request for every `chunk` different rows. Several samples need a temperature above 0.
    """
    source = table_of(task)
    first = source.table.select(rows=range(min(EXAMPLE_ROWS, len(source.table.rows))))
    sketch = await table_schema(task, source.table)
    written = await with_table(task, source, first).sample(
        "parse", samples, temperature=temperature, logprobs=True, sketch=sketch
    )
    likeliest_first = sorted(written, key=lambda exchange: -likelihood(exchange))  # A tie goes to the first.
    answers = await task.each(lambda exchange: run(task, exchange, source.table, chunk, asked), likeliest_first)
    voted = task.vote(answers)
    if voted.flag and len(answers) > 1:
        return replace(voted, problem=f"{voted.problem}; the first: {answers[0].problem}")
    return voted


async def run(task: Task, exchange: Exchange, table: Table, chunk: int, asked: int) -> Answer:
    """Return the result of a query as the answer; no answer if it fails or is empty."""
    query = await task.read(exchange, read_query)
    if query is None:
        return task.no_answer("the reply holds no query", exchange)
    try:
        result = await NeuralQuery(task, exchange, table, chunk=chunk, most=asked).result(query)
    except (InvalidCall, QueryFailed) as error:
        task.warn("program_failed")
        return task.no_answer(str(error), exchange)
    except TooManyCalls as error:
        return task.no_answer(str(error), exchange).with_extra(capped=True)
    return result_answer(task, result, table)


def result_answer(task: Task, result: Table, source: Table) -> Answer:
    """Return a query's result as an answer: its rows where there are several columns, else its cells.

    Numbers of a column of the table are texts as they stand in it (`13 551`), where the answer is text.
    """
    rows = [[scalar(cell) for cell in row] for row in result.rows]
    if len(result.columns) > 1 and rows:
        records = [dict(zip(result.columns, row, strict=True)) for row in rows]
        alone = records if len(records) == 1 else []
        for value in (records, *alone, rows):
            if (answer := task.answer(value)).flag is None:
                return answer
    written = [texts_of(name, source) for name in result.columns]
    pairs = [pair for row in rows for pair in zip(row, written, strict=True) if pair[0] is not None]
    return cells_answer(
        task, [cell for cell, _ in pairs], [texts.get(cell) or cell_text(cell) for cell, texts in pairs]
    )


def texts_of(name: str, source: Table) -> dict[Any, str]:
    """Return the texts of a column's cells by the numbers as which a query reads them; empty without that column."""
    if name not in source.columns:
        return {}
    cells = [row[source.columns.index(name)] for row in source.rows]
    texts = [cell.strip() for cell in cells if isinstance(cell, str)]
    return {number: text for text in reversed(texts) if (number := number_of(text)) is not None}


def cells_answer(task: Task, cells: list[Any], texts: list[str]) -> Answer:
    """Return cells as an answer: the list of them or of their texts, else the only one, else the texts with commas
    between.
    """
    if not cells:
        return task.no_answer("the query gives nothing")
    if cells in ([0], [1]) and (answer := value_answer(task, bool(cells[0]))).flag is None:
        return answer
    alone = [cells[0], texts[0]] if len(cells) == 1 else []
    for value in (cells, texts, *alone):
        if (answer := task.answer(value)).flag is None:
            return answer
    return value_answer(task, cells[0]) if len(cells) == 1 else task.parse(", ".join(texts))
