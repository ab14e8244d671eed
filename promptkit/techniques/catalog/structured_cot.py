"""Structured chain of thought: a solving process in sequences, branches and loops, then the program."""

from promptkit.techniques.context import Answer
from promptkit.techniques.parameters import Temperature
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(calls="2", requests="2")
async def structured_cot(task: Task, *, temperature: Temperature = 0.2) -> Answer:
    """Write the solving process at `temperature`, then the program from it at 0 (Li et al. 2024).

    Where the runtime cannot sample, both are greedy. The process may have errors, and the second call is told so.
    """
    warm = temperature if await task.can("sampling") else 0.0
    structure = (await task.ask("structure", temperature=warm)).said
    written = await task.ask("code", structure=structure, temperature=0.0)
    return (await task.decide(written)).with_extra(structure=structure)
