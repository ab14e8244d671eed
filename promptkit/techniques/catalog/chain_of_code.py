"""Chain of code: an interpreter runs the program that the model wrote, and the model what the interpreter cannot."""

from collections.abc import Callable
from typing import Any, Literal

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.emulation import Emulator, ProgramStepper, Stuck, literal
from promptkit.techniques.methods.programs import computed_answer, is_python
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task
from promptkit.tools.python import cut_program, open_sandbox, undefined_names


@technique(needs={"sandbox"}, roles=["question"], calls="2 + limit", requests="2 + limit")
async def chain_of_code(
    task: Task,
    *,
    variant: Literal["function", "step"] = "function",
    limit: Count = 20,
    statements: Count = 500,
    temperature: Warmth = 0.4,
) -> Answer:
    """Write a program and run it, the model being asked for what cannot be run (Li et al. 2024).

    `function` asks for each call of an undefined function, `step` for each line that fails, `limit` times at most;
    `statements` bounds the lines of `step`. A program that is no Python is written once more, at `temperature`.
    """
    written = await task.ask("program")
    if not is_python(cut_program(written.text)) and await task.can("sampling"):
        written = await task.ask("program", sample=1, temperature=temperature)
    if not is_python(cut_program(written.text)):
        return task.no_answer("the program is no Python", written)
    emulator = Emulator(task, cut_program(written.text), limit)
    answer = await (run(emulator, written) if variant == "function" else step(emulator, written, statements))
    answer = answer.with_extra(emulated=emulator.asked)
    return answer.with_extra(capped=True) if emulator.capped else answer


async def run(emulator: Emulator, written: Exchange) -> Answer:
    """Run the whole program with a function that asks for each name that it does not define."""

    def asking(name: str) -> Callable[..., Any]:
        async def function(*given: Any, **named: Any) -> Any:
            arguments = [*map(literal, given), *(f"{key}={literal(value)}" for key, value in named.items())]
            return await emulator(f"{name}({', '.join(arguments)})", "value", state={}, seen={}, trace=[])

        return function

    functions = {name: asking(name) for name in undefined_names(emulator.program)}
    ran = await emulator.task.code(f"{emulator.program}\nanswer", functions=functions, of=written)
    return computed_answer(emulator.task, ran, written)


async def step(emulator: Emulator, written: Exchange, statements: int) -> Answer:
    """Go through the program line by line."""
    async with open_sandbox() as sandbox:
        walk = ProgramStepper(sandbox, emulator, statements)
        try:
            return computed_answer(emulator.task, await walk.run(emulator.program), written)
        except Stuck as error:
            emulator.capped = emulator.capped or walk.capped
            return emulator.task.no_answer(str(error), written)
