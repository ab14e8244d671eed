"""Chain of code: an interpreter runs the program that the model wrote, and the model what the interpreter cannot."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal

from promptkit.answers.reader.python_syntax import syntax_tree, undefined_names
from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.attempts import answer_by_attempts, computed_answer, importable_modules, read_program
from promptkit.techniques.methods.emulation import Emulator, ProgramStepper, Stuck, literal
from promptkit.techniques.methods.program_result import find_result
from promptkit.techniques.methods.syntax import is_python
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task
from promptkit.tools.python import Execution, open_sandbox

ANSWER = "answer"
_COST = "attempts + limit + (1 if answer in ['choice', 'label'] else 0)"


@technique(needs={"sandbox"}, roles=["question"], calls=_COST, requests=_COST)
async def chain_of_code(
    task: Task,
    *,
    variant: Literal["step", "function"] = "step",
    attempts: Count = 2,
    limit: Count = 20,
    statements: Count = 500,
    temperature: Warmth = 0.4,
) -> Answer:
    """Write a program and run it; the model takes over what the interpreter cannot run (Li et al. 2024).

    `step` runs the program line by line, and the model evaluates each line that fails, as in the paper; `statements`
    bounds the lines. `function` runs the whole program, and the model evaluates each call of an undefined function.
    The model is asked `limit` times at most. A program that fails all the same is written again with its error, up to
    `attempts` programs, the further ones at `temperature` where the model can sample.
    """
    emulator = Emulator(task, limit)
    execute = run_whole if variant == "function" else partial(run_by_line, statements)
    written = await task.ask("program", modules=await importable_modules(task))
    run_emulated = partial(run, emulator, execute)
    answer = await answer_by_attempts(task, written, run_emulated, attempts, temperature=temperature)
    answer = answer.with_extra(emulated=emulator.asked)
    return answer.with_extra(capped=True) if emulator.capped else answer


async def run(
    emulator: Emulator, execute: Callable[[Emulator, Exchange], Awaitable[Execution]], exchange: Exchange
) -> Answer:
    """Run the program of a reply, with the model for what the interpreter cannot run."""
    task, program = emulator.task, read_program(exchange)
    emulator.program = program
    try:
        # A program that is not Python is run whole: the failure says where.
        execution = await (execute(emulator, exchange) if is_python(program) else task.code(program, of=exchange))
        answer = await computed_answer(task, program, execution, exchange)
    except Stuck as error:
        answer = task.no_answer(str(error), exchange)
    return answer.with_extra(capped=True) if emulator.capped else answer


async def run_whole(emulator: Emulator, exchange: Exchange) -> Execution:
    """Run the whole program with a function that asks the model for each name that it does not define."""

    def asking(name: str) -> Callable[..., Any]:
        async def function(*given: Any, **named: Any) -> Any:
            arguments = [*map(literal, given), *(f"{key}={literal(value)}" for key, value in named.items())]
            return await emulator(f"{name}({', '.join(arguments)})", "value", state={}, seen={}, trace=[])

        return function

    functions = {name: asking(name) for name in undefined_names(syntax_tree(emulator.program))}
    ending = find_result(emulator.program, variable=ANSWER).ending
    return await emulator.task.code(ending, functions=functions, of=exchange)


async def run_by_line(statements: int, emulator: Emulator, _: Exchange) -> Execution:
    """Run the program line by line. Raises Stuck where neither the interpreter nor the model can go on."""
    async with open_sandbox(backend=emulator.task.programs) as sandbox:
        stepper = ProgramStepper(sandbox, emulator, statements)
        try:
            return await stepper.run(find_result(emulator.program, variable=ANSWER).assigned_to(ANSWER))
        except Stuck:
            emulator.capped = emulator.capped or stepper.capped
            raise
