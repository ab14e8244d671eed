"""Programs that a model writes for an answer: read from a reply, run, and asked for again with their errors."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Awaitable, Callable
from itertools import takewhile
from typing import Final

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.program_result import last_value
from promptkit.techniques.methods.programs import value_answer
from promptkit.techniques.methods.syntax import returns_outside_functions
from promptkit.techniques.task import Task
from promptkit.tools.backends import importable
from promptkit.tools.python import Execution, cut_program
from promptkit.tools.sandbox import Failure

CORRECT: Final = "correct"
"""The call that asks for a corrected program in the conversation of the one that failed."""
OPTION: Final = "option"
"""The call that chooses a label or an option by the value of a program."""

CORRECTING: Final = 0.4
"""The temperature of a program that is written again."""

_LONGEST_LINE: Final = 100
_USEFUL_MODULES: Final = (
    "math", "cmath", "fractions", "decimal", "statistics", "random", "itertools", "functools", "operator",
    "collections", "heapq", "bisect", "datetime", "calendar", "dateutil", "re", "string", "json", "numpy", "sympy",
)  # fmt: skip
"""The modules that programs use to compute an answer. A prompt that listed all would distract small models."""


async def importable_modules(task: Task) -> tuple[str, ...]:
    """Return the modules that a prompt offers to a program of this step: the useful ones that its sandbox has."""
    there = await asyncio.to_thread(importable, task.programs)
    return tuple(name for name in _USEFUL_MODULES if name in there)


async def answer_by_attempts(
    task: Task,
    exchange: Exchange,
    run: Callable[[Exchange], Awaitable[Answer]],
    attempts: int,
    *,
    sample: int | None = None,
    temperature: float = CORRECTING,
) -> Answer:
    """Return the answer of a reply's program as `run` finds it, and of up to `attempts` programs if one fails.

    Each further one is asked for by `correct` in the same conversation, with the error, at the temperature of the first
    or, after a greedy one, at `temperature` where the model can sample: greedy models repeat their program. A program
    that reached a cap is not written again. Warns `program_failed` if the last one failed.
    """
    warm = temperature if await task.can("sampling") else 0.0
    answer = await run(exchange)
    for _ in range(attempts - 1):
        if not _failed(answer) or "capped" in answer.extra:
            break
        exchange = await task.ask(
            CORRECT,
            after=exchange,
            sample=sample,
            temperature=exchange.request.temperature or warm,
            max_tokens=2 * exchange.request.max_tokens if exchange.cut else None,
            problem="it was cut off before its end" if exchange.cut else answer.problem,
        )
        answer = await run(exchange)
    if _failed(answer):
        task.warn("program_failed")
    return answer


def _failed(answer: Answer) -> bool:
    """Tell whether a program gave no answer, as opposed to a reply of the model about its value."""
    return answer.flag is not None and answer.last is None


def read_program(exchange: Exchange, head: str = "") -> str:
    """Return the program of a reply, empty without one; the body of a function becomes the function with `head`.

    A reply is such a body if its turn was begun with the head, or if the program's top level returns.
    """
    text = exchange.text.strip("\n")
    if exchange.request.begun and text[:1].isspace():
        text = "\n".join(takewhile(lambda line: not line or line[0].isspace(), text.split("\n")))
    program = cut_program(text, to_run=True)
    if head and returns_outside_functions(program):
        return f"{head}\n{textwrap.indent(program, '    ')}"
    return program


async def computed_answer(
    task: Task, program: str, execution: Execution, exchange: Exchange, *, chooses: bool = True
) -> Answer:
    """Return the answer of a program that ran, or why there is none, which the trace of its reply notes.

    A value that is none of the step's labels or options is shown to the model, which chooses one by it (`chooses`).
    """
    if not program:
        return task.no_answer("the reply holds no program", exchange)
    if execution.failure:
        return task.no_answer(failure_text(program, execution.failure), exchange)
    value = last_value(execution)
    if value is None:
        return task.no_answer("the program ends without a value", exchange)
    answer = value_answer(task, value)
    if answer.flag is None:
        return answer
    if chooses and task.answer_type.name in ("choice", "label"):
        return (await task.decide(await task.ask(OPTION, value=value))).with_extra(value=value)
    return task.no_answer(f"the value of the program is not an answer: {answer.problem}", exchange)


def failure_text(program: str, failure: Failure) -> str:
    """Return the failure of a program in words, with the line where that is known."""
    lines = program.splitlines()
    if failure.message.startswith("the program"):
        return failure.message
    if failure.line is None or not 0 < failure.line <= len(lines):
        return f"the program failed: {failure.message}"
    line = lines[failure.line - 1].strip()
    shown = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"
    return f"the program failed in line {failure.line}, `{shown}`: {failure.message}"
