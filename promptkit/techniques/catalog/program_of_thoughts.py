"""Program of thoughts: the model writes a program, an interpreter computes `ans`."""

from dataclasses import replace
from functools import partial

from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.attempts import answer_by_attempts, computed_answer, importable_modules, read_program
from promptkit.techniques.methods.program_result import find_result
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task
from promptkit.tools.algebra import solve_equations
from promptkit.tools.python import assigned_names

ANS = "ans"
FLAG = "keep_prompting"
SOLVER = "solver"
_CHOICE = "1 if answer in ['choice', 'label'] else 0"


@technique(
    needs={"sandbox"},
    calls=f"attempts + (1 if keep_prompting else {_CHOICE})",
    requests=f"attempts + (1 + decided if keep_prompting else {_CHOICE})",
)
async def program_of_thoughts(
    task: Task, *, attempts: Count = 2, temperature: Warmth = 0.4, keep_prompting: bool = False
) -> Answer:
    """Write a program and run it; `ans` is the answer, or what an option is chosen by (Chen et al. 2023).

    A program that fails is written again with its error, up to `attempts` programs, the further ones at `temperature`
    where the model can sample. With `keep_prompting` a program may end with that flag, and the model goes on from its
    values in thoughts.
    """
    written = await task.ask("program", keep_prompting=keep_prompting, modules=await importable_modules(task))
    run_flagged = partial(run, task, keep_prompting)
    return await answer_by_attempts(task, written, run_flagged, attempts, temperature=temperature)


async def run(task: Task, keep_prompting: bool, exchange: Exchange) -> Answer:
    """Run the program of a reply; return `ans` as the answer, or what is thought about its variables by the flag."""
    program = read_program(exchange, f"def {SOLVER}():")
    result = find_result(program, variable=ANS, function=SOLVER)
    assigned = assigned_names(result.program)
    names = [name for name in assigned if name != FLAG]
    flag = FLAG if keep_prompting and FLAG in assigned else "False"
    every = f"{{{', '.join(f'{name!r}: {name}' for name in names)}}}"
    answer = names[-1] if names and result.value == FLAG else result.value
    ending = f"{result.program}\n[True, {every}] if {flag} else [False, {answer}]"
    execution = await task.code(ending, functions={"solve_equations": solve_equations}, of=exchange)
    is_flagged, value = execution.value or (False, None)
    if is_flagged:
        return await task.decide(await task.ask("finish", computed=value))
    return await computed_answer(task, program, replace(execution, value=value), exchange)
