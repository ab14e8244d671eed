"""Program of thoughts: the model writes a program, an interpreter computes `ans`."""

from dataclasses import replace

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.programs import calls, computed_answer, ending_in, functions, read_program
from promptkit.techniques.parameters import Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task
from promptkit.tools.algebra import solve_equations
from promptkit.tools.python import Execution, assigned_names

ANS = "ans"
FLAG = "keep_prompting"
HEAD = "def solver():"


@technique(
    needs={"sandbox"},
    calls="1 + (1 if retry else 0) + (1 if keep_prompting or answer == 'choice' else 0)",
    requests="1 + (1 if retry else 0) + (1 + decided if keep_prompting else 1 if answer == 'choice' else 0)",
)
async def program_of_thoughts(
    task: Task, *, retry: bool = True, temperature: Warmth = 0.4, keep_prompting: bool = False
) -> Answer:
    """Write a program and run it; `ans` is the answer, or what an option is chosen by (Chen et al. 2023).

    `retry` asks once more, at `temperature`, for a program that failed. With `keep_prompting` a program may end with
    that flag, and its values are thought about.
    """
    written = await task.ask("program", keep_prompting=keep_prompting)
    flag, ran = await run(task, written, keep_prompting)
    if ran.value is None and retry and await task.can("sampling"):
        written = await task.ask("program", keep_prompting=keep_prompting, sample=1, temperature=temperature)
        flag, ran = await run(task, written, keep_prompting)
    if ran.value is None:
        return task.no_answer(ran.failure.message if ran.failure else f"`{ANS}` is None", written)
    if flag:
        return await task.decide(await task.ask("finish", computed=ran.value))
    if task.answer_type.name == "choice":
        return (await task.decide(await task.ask("option", value=ran.value))).with_extra(value=ran.value)
    return computed_answer(task, ran, written)


async def run(task: Task, exchange: Exchange, keep_prompting: bool) -> tuple[bool, Execution]:
    """Run the program of a reply; return whether it ends with the flag, and `ans`, or with the flag all variables."""
    program = ending_in_ans(exchange)
    names = assigned_names(program)
    flag = FLAG if keep_prompting and FLAG in names else "False"
    every = f"{{{', '.join(f'{name!r}: {name}' for name in names if name != FLAG)}}}"
    value = f"[True, {every}] if {flag} else [False, {ANS}]"
    ran = await task.code(f"{program}\n{value}", functions={"solve_equations": solve_equations}, of=exchange)
    flagged, found = ran.value or (False, None)
    return flagged, replace(ran, value=found)


def ending_in_ans(exchange: Exchange) -> str:
    """Return the program of a reply; one that defines `solver()`, or went on in it, is made to call it."""
    program = read_program(exchange, HEAD)
    if "solver" in functions(program) and ANS not in assigned_names(program) and not calls(program, "solver"):
        return f"{program}\n{ANS} = solver()"
    return ending_in(program, ANS)
