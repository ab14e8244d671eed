"""Chain of table: the model chooses operations, code does them, and the last table shows the answer."""

from typing import Annotated

from pydantic import Field

from promptkit.techniques.context import Answer
from promptkit.techniques.methods.table_chain import OPERATIONS, Operation
from promptkit.techniques.methods.tables import WorkingTable, rows_shown, table_lines, table_of, with_table
from promptkit.techniques.parameters import Count, Temperature
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

Calls = Annotated[int, Field(ge=0, le=1000)]
END = "<END>"


@technique(
    needs={"table"},
    roles=["table", "question"],
    calls="2 * operations + 2 + 2 * (samples - 1) + row_calls",
    requests="2 * operations + 2 + 2 * (samples - 1) + row_calls",
    sampling="samples > 1",
)
async def chain_of_table(
    task: Task,
    *,
    operations: Count = 3,
    samples: Count = 1,
    temperature: Temperature = 0.0,
    row_calls: Calls = 0,
    shown_rows: Count = 50,
) -> Answer:
    """Change the table by one operation after another, and answer from what is left (Wang et al. 2024).

    An operation whose arguments do not fit is left out. `samples` are those of a selection of rows or columns; several
    need a temperature above 0. `row_calls` is how many calls a further column may take where each row has its own.
    """
    source = table_of(task)
    work = WorkingTable.of(source.table)
    done: dict[str, str] = {}
    skipped: list[str] = []
    ended = False

    def now() -> Operation:
        shown = with_table(task, source, work.table.select(rows=range(len(work.table.rows))[:shown_rows]))
        return Operation(
            task=shown,
            work=work,
            samples=samples,
            temperature=temperature,
            row_calls=row_calls,
            shown_rows=shown_rows,
        )

    for _ in range(operations):
        step = now()
        operation = await plan(step, done, skipped)
        if operation is None:
            ended = True
            break
        changed = await OPERATIONS[operation](step)
        if changed is None:
            skipped.append(operation)
            continue
        work, arguments = changed
        done[operation] = f"f_{operation}({', '.join(arguments)})"
    step = now()
    counts = None if work.counts is None else table_lines(work.counts, most=shown_rows)
    shown = rows_shown(task, work.table, shown_rows)
    answer = await step.task.decide(await step.task.ask("answer", counts=counts, **shown))
    answer = answer.with_extra(operations=list(done.values()), skipped=skipped)
    if ended or not allowed(step, done, skipped):
        return answer
    return answer.with_extra(capped=True)


def allowed(step: Operation, done: dict[str, str], skipped: list[str]) -> list[str]:
    """Return the operations that may come next: those after the last one done, in order, that were not left out."""
    order = list(OPERATIONS)
    last = max((order.index(name) for name in done), default=-1)
    after = [name for name in order[last + 1 :] if name not in skipped]
    return after if step.can_add_a_column else [name for name in after if name != "add_column"]


async def plan(step: Operation, done: dict[str, str], skipped: list[str]) -> str | None:
    """Return the operation that comes next; None where none may, or the reply names none of them."""
    names = allowed(step, done, skipped)
    if not names:
        return None
    offered = [*(f"f_{name}" for name in names), *([END] if done or skipped else [])]
    reply = await step.task.ask("plan", rows=step.rows, done=list(done.values()), allowed=offered)
    return None if reply.value in (None, END) else str(reply.value).removeprefix("f_")
