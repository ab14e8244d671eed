"""Program-aided language models: the model writes the program, the interpreter finds the answer."""

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.programs import computed_answer, ending_in, functions
from promptkit.techniques.parameters import Count, Temperature
from promptkit.techniques.reading import program
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

ENTRY, RESULT = "solution()", "result"


@technique(needs={"sandbox"}, roles=["question"], calls="samples", requests="samples", sampling="samples > 1")
async def pal(task: Task, *, samples: Count = 1, temperature: Temperature = 0.0) -> Answer:
    """Write a program that computes the answer, and run it; of several, return the value most have (Gao et al. 2023).

    Several samples need a temperature above 0. A program that fails is out of the vote.
    """
    written = await task.sample("program", samples, temperature=temperature)
    return task.vote(await task.each(lambda exchange: run(task, exchange), written))


async def run(task: Task, exchange: Exchange) -> Answer:
    """Return the result of a program's `solution()` as the answer, or of a program without it what it ends in."""
    written = await task.read(exchange, program("python"))
    if written is None:
        return task.no_answer("the reply holds no program", exchange)
    has_entry = functions(written).get("solution") == []
    run_to_end = f"{written}\n{ENTRY}" if has_entry else f"{ending_in(written, RESULT)}\n{RESULT}"
    return computed_answer(task, await task.code(run_to_end, of=exchange), exchange)
