"""`structured_cot` (Li et al. 2024): a solving process first, then the program that is checked against it."""

from pathlib import Path
from typing import Any

from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from promptkit.tools.python import run_python
from tests.techniques.steps import MARKED, Bench, in_order, marked_example, without

STRUCTURE = "Input: n: int\nOutput: s: int\n1: Initialize s SENT-7\n2: for i in 1..n do\n3:   add i to s\n4: return s"
PROGRAM = "def tri(n):\n    return sum(range(n+1))"
REQUIREMENT = {"question": "QUESTION-MARK Write tri(n)."}


def fenced(program: str) -> str:
    return f"```python\n{program}\n```"


async def ask(bench: Bench, **parameters: Any) -> Any:
    return await perform({"structured_cot": parameters}, bench.step(decide="generate", values=REQUIREMENT))


async def test_the_program_is_written_from_the_process_and_may_correct_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STRUCTURE, fenced(PROGRAM)], {"code": "python"})

    answer = await ask(bench, temperature=0.8)

    first, second = bench.runtime.requests
    assert answer.value == PROGRAM
    assert (await run_python(f"{answer.value}\ntri(3)")).value == 6
    assert [first.temperature, second.temperature] == [0.8, 0.0]
    assert all(word in bench.texts[0] for word in ("sequence", "branch", "loop", "input-output"))
    assert in_order(bench.texts[1], ["Write tri(n)", "SENT-7", "it may contain errors"])
    assert answer.extra["structure"] == STRUCTURE


async def test_the_process_is_drawn_at_a_temperature_that_is_not_0(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STRUCTURE, fenced(PROGRAM)], {"code": "python"})

    await ask(bench)

    assert bench.runtime.requests[0].temperature > 0


async def test_where_nothing_can_be_sampled_the_process_is_greedy(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STRUCTURE, fenced(PROGRAM)], {"code": "python"}, capabilities=without("sampling"))

    answer = await ask(bench)

    assert answer.value == PROGRAM
    assert bench.runtime.requests[0].temperature == 0


async def test_of_several_code_blocks_the_last_is_the_program(tmp_path: Path) -> None:
    reply = f"The process forgets 0:\n{fenced('def tri(n): return 0')}\nSo:\n{fenced(PROGRAM)}\nDone."
    bench = Bench(tmp_path, [STRUCTURE, reply], {"code": "python"})

    answer = await ask(bench)

    assert answer.value == PROGRAM


async def test_an_example_of_use_after_the_program_is_not_the_program(tmp_path: Path) -> None:
    reply = f"{fenced(PROGRAM)}\nUse it so:\n{fenced('print(tri(3))  # 6')}"
    bench = Bench(tmp_path, [STRUCTURE, reply], {"code": "python"})

    assert (await ask(bench)).value == PROGRAM


async def test_a_reply_without_a_program_has_no_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STRUCTURE, "```python\n```"], {"code": "python"})

    answer = await ask(bench)

    assert (answer.value, answer.flag) == (None, "unparsed")


async def test_under_constrain_the_second_request_is_bound_to_one_block(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STRUCTURE, fenced(PROGRAM)], {"code": "python"})

    answer = await perform("structured_cot", bench.step(values=REQUIREMENT))

    assert (answer.value, len(bench.texts)) == (PROGRAM, 2)
    assert [request.grammar is not None for request in bench.runtime.requests] == [False, True]


async def test_each_repeat_has_a_process_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STRUCTURE, fenced(PROGRAM)], {"code": "python"})

    await perform("structured_cot", bench.step(values=REQUIREMENT, sample="3"))

    assert {request.sample for request in bench.runtime.requests} == {"3"}


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STRUCTURE, fenced(PROGRAM)], {"code": "python"}, prompt=MARKED)

    await perform("structured_cot", bench.step(values=REQUIREMENT, examples=(marked_example("x = 1"),)))

    assert bench.shown == [
        ("structure", "persona instructions constraints context output_format input"),
        ("code", "persona instructions constraints context output_format input recap cue"),
    ]
    assert bench.levels == [("structure", 1), ("code", 2)]


def test_it_costs_two_requests(tmp_path: Path) -> None:
    project = Bench(tmp_path, []).project

    found = cost(configure("structured_cot", project), project)

    assert (found.calls, found.requests, found.depth) == (2, 2, 2)
