"""Structured chain of thought: a solving process in sequences, branches and loops, then the program."""

from dataclasses import replace

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.parameters import Temperature
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task
from promptkit.tools.python import cut_program


@technique(calls="2", requests="2")
async def structured_cot(task: Task, *, temperature: Temperature = 0.2) -> Answer:
    """Write the solving process at `temperature`, then the program from it at 0 (Li et al. 2024).

    Where the runtime cannot sample, both are greedy. The process may have errors, and the second call is told so. Of
    several code blocks the last is the program.
    """
    warm = temperature if await task.can("sampling") else 0.0
    structure = (await task.ask("structure", temperature=warm)).said
    written = await task.ask("code", structure=structure, temperature=0.0)
    return (await task.decide(last_block(task, written))).with_extra(structure=structure)


def last_block(task: Task, exchange: Exchange) -> Exchange:
    """Return an exchange whose reply is its last code block alone, where the answer is to be code."""
    if task.answer_type.name != "code":
        return exchange
    return replace(exchange, reply=replace(exchange.reply, text=cut_program(exchange.text, last=True)))
