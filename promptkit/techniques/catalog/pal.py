"""Program-aided language models: the model writes the program, the interpreter finds the answer."""

from functools import partial

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.attempts import answer_by_attempts, computed_answer, importable_modules, read_program
from promptkit.techniques.methods.program_result import find_result
from promptkit.techniques.parameters import Count, Temperature
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

ENTRY = "solution"
HEAD = f"def {ENTRY}():"
_COST = "samples * (attempts + (1 if answer in ['choice', 'label'] else 0))"


@technique(needs={"sandbox"}, roles=["question"], calls=_COST, requests=_COST, sampling="samples > 1")
async def pal(task: Task, *, samples: Count = 1, temperature: Temperature = 0.0, attempts: Count = 2) -> Answer:
    """Write a program that computes the answer, and run it; of several, return the value most have (Gao et al. 2023).

    Several samples need a temperature above 0. A program that fails is written again with its error, up to `attempts`
    programs a sample. A sample without a program that works does not vote.
    """
    written = await task.sample("program", samples, temperature=temperature, modules=await importable_modules(task))

    async def answer(number: int) -> Answer:
        sample = number if samples > 1 else None
        return await answer_by_attempts(task, written[number], partial(run, task), attempts, sample=sample)

    return task.vote(await task.each(answer, range(samples)))


async def run(task: Task, exchange: Exchange, *, chooses: bool = True) -> Answer:
    """Return the value of a reply's program as the answer. With `chooses` the model names the label it stands for."""
    program = read_program(exchange, HEAD)
    execution = await task.code(find_result(program, function=ENTRY).ending, of=exchange)
    return await computed_answer(task, program, execution, exchange, chooses=chooses)
