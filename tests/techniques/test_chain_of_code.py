"""`chain_of_code` (Li et al. 2024): the interpreter runs what it can, the model says what the rest comes to."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, marked_example, routed, without

PROGRAM = """\
items = ["a", "b", "c"]
n = 0
for x in items:
    if is_fruit(x):
        n += 1
answer = n * 10
"""
VARIANTS = ("function", "step")


async def ask(bench: Bench, **parameters: Any) -> Any:
    return await perform({"chain_of_code": parameters}, bench.step(decide="generate"))


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_an_undefined_function_asks_the_model_at_each_call(tmp_path: Path, decide: Any) -> None:
    bench = Bench(tmp_path, [PROGRAM, "True", "False", "True"])

    answer = await perform("chain_of_code", bench.step(decide=decide))

    assert (answer.value, answer.extra["emulated"]) == (20, 3)
    lines = [request.messages[-1].content.rsplit("Line: ", 1)[1] for request in bench.runtime.requests[1:]]
    assert [line.partition("\n")[0] for line in lines] == [f'is_fruit("{item}")' for item in "abc"]
    assert bench.levels == [("program", 1), ("emulate", 2), ("emulate", 3), ("emulate", 4)]


async def test_step_by_step_the_model_gets_the_failing_line_with_the_state_and_the_lines_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM, "True", "False", "True"])

    answer = await ask(bench, variant="step")

    assert (answer.value, len(bench.texts)) == (20, 4)
    for text, item in zip(bench.texts[1:], "abc", strict=True):
        _, _, end = text.rpartition("State: ")
        assert f'"x": "{item}"' in end and "Line: is_fruit(x)" in end
    assert 'for x in items: -> {"x": "a"}' in bench.texts[2]
    assert 'n += 1 -> {"n": 1}' in bench.texts[2]


async def test_a_request_holds_long_values_and_many_lines_only_in_part(tmp_path: Path) -> None:
    program = "many = list(range(20000))\nn = 0\nfor x in range(100):\n    n += 1\nanswer = kind_of(many)"
    bench = Bench(tmp_path, [program, '{"answer": 7}'])

    answer = await ask(bench, variant="step")

    assert answer.value == 7
    assert "[0, 1, 2, " in bench.texts[1] and '"n": 100' in bench.texts[1]
    assert len(bench.texts[1]) < 10_000


@pytest.mark.parametrize("variant", VARIANTS)
async def test_the_request_for_a_line_is_greedy_and_ends_with_it(tmp_path: Path, variant: str) -> None:
    bench = Bench(tmp_path, [PROGRAM, "True", "False", "True"])

    await ask(bench, variant=variant)

    request = bench.runtime.requests[1]
    assert (request.temperature, request.stop, request.max_tokens, request.begun) == (0.0, ("\n",), 32, "Value:")


@pytest.mark.parametrize("variant", VARIANTS)
async def test_a_program_of_defined_names_asks_nothing(tmp_path: Path, variant: str) -> None:
    bench = Bench(tmp_path, [PROGRAM.replace("is_fruit(x)", "x != 'b'")])

    answer = await ask(bench, variant=variant)

    assert (answer.value, len(bench.texts)) == (20, 1)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_the_same_over_the_same_values_is_asked_once(tmp_path: Path, variant: str) -> None:
    bench = Bench(tmp_path, [PROGRAM.replace('"a", "b", "c"', '"a", "b", "a"'), "True", "False"])

    answer = await ask(bench, variant=variant)

    assert (answer.value, len(bench.texts)) == (20, 3)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("no", ["False", "false", "no", "No.", "`False`", "False\nSince it is a stone."])
async def test_a_no_is_never_taken_for_a_text(tmp_path: Path, variant: str, no: str) -> None:
    bench = Bench(tmp_path, [PROGRAM, "True", no, "yes"])

    answer = await ask(bench, variant=variant)

    assert answer.value == 20


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("reply", "expected"),
    [("8", 9), ("8.0", 9), ('"eight"', None), ("I would say it has eight.", None), ("", None)],
)
async def test_values_are_typed_and_a_reply_without_one_gives_no_answer(
    tmp_path: Path, variant: str, reply: str, expected: int | None
) -> None:
    program = 'legs = legs_of("spider")\nif legs == "eight":\n    raise ValueError\nanswer = legs + 1'
    bench = Bench(tmp_path, [program, reply, "nothing"])

    answer = await ask(bench, variant=variant)

    assert answer.value == expected
    assert answer.flag == (None if expected else "unparsed")


@pytest.mark.parametrize("variant", VARIANTS)
async def test_the_model_is_asked_so_often_and_not_more(tmp_path: Path, variant: str) -> None:
    bench = Bench(tmp_path, [PROGRAM, "True", "False"])

    answer = await ask(bench, variant=variant, limit=2)

    assert (answer.value, answer.flag, answer.extra["capped"]) == (None, "unparsed", True)
    assert len(bench.texts) == 3


@pytest.mark.parametrize("variant", VARIANTS)
async def test_what_is_no_python_is_written_once_more(tmp_path: Path, variant: str) -> None:
    bench = Bench(tmp_path, ["for x in: no", "answer = 6 * 7"])

    answer = await ask(bench, variant=variant)

    assert (answer.value, len(bench.texts)) == (42, 2)
    assert [request.temperature for request in bench.runtime.requests] == [0.0, 0.4]


async def test_what_is_no_python_twice_is_no_answer(tmp_path: Path) -> None:
    twice, greedy = (
        Bench(tmp_path, ["for x in: no"] * 2),
        Bench(tmp_path, ["for x in: no"], capabilities=without("sampling")),
    )

    assert [(await ask(bench)).flag for bench in (twice, greedy)] == ["unparsed", "unparsed"]
    assert (len(twice.texts), len(greedy.texts)) == (2, 1)


@pytest.mark.parametrize(
    "program",
    [
        "while True:\n    pass",
        "while True:\n    print('x' * 999)",
        "def numbers():\n    yield 1\nanswer = list(numbers())",
        "answer = list(map(is_fruit, ['a']))",
        "n = 42",
        "open('taken', 'w')\nanswer = 1",
    ],
)
async def test_run_at_once_what_the_sandbox_does_not_run_gives_no_answer(
    tmp_path: Path, impatient: None, program: str
) -> None:
    bench = Bench(tmp_path, [program])

    answer = await ask(bench)

    assert (answer.value, answer.flag, len(bench.texts)) == (None, "unparsed", 1)
    assert bench.records[0].notes


@pytest.mark.parametrize(
    ("program", "reply"),
    [
        ("words = ['a', 'b']\nanswer = list(map(is_fruit, words))[0]", '{"answer": 42}'),
        ("import nltk\nanswer = 42", "{}"),
        ("answer = sum(n for n in [40, legs()])", "42"),
        ("def numbers():\n    yield 42\nanswer = 42", "{}"),
    ],
)
async def test_step_by_step_the_model_does_what_the_sandbox_does_not(
    tmp_path: Path, impatient: None, program: str, reply: str
) -> None:
    bench = Bench(tmp_path, [program, reply])

    answer = await ask(bench, variant="step")

    assert (answer.value, len(bench.texts)) == (42, 2)
    assert bench.runtime.requests[1].begun == "Changes:"


async def test_step_by_step_a_loop_without_end_is_ended(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["n = 0\nwhile True:\n    n += 1"])

    answer = await ask(bench, variant="step", statements=60)

    assert (answer.flag, answer.extra["capped"]) == ("unparsed", True)


async def test_self_consistency_over_it_samples_programs_and_votes_but_lines_stay_greedy(tmp_path: Path) -> None:
    script = routed(("Line: dozen()", "12"), ("QUESTION-MARK", ["answer = 7", "answer = dozen() + 30", "answer = 42"]))
    bench = Bench(tmp_path, script)

    answer = await perform({"self_consistency": {"over": "chain_of_code", "samples": 3}}, bench.step())

    warm = {record.call: record.request.temperature > 0 for record in bench.records}
    assert answer.value == 42
    assert warm == {"program": True, "emulate": False}


@pytest.mark.parametrize("variant", VARIANTS)
async def test_each_call_shows_and_hides(tmp_path: Path, variant: str) -> None:
    bench = Bench(tmp_path, ["answer = legs(2)", "8"], prompt=MARKED)

    await perform({"chain_of_code": {"variant": variant}}, bench.step(examples=(marked_example(2),)))

    assert bench.shown == [
        ("program", "persona instructions constraints context input"),
        ("emulate", "persona input"),
    ]


def test_what_it_costs_at_most(tmp_path: Path) -> None:
    project = Bench(tmp_path, []).project

    found = cost(configure({"chain_of_code": {"limit": 5}}, project), project)

    assert (found.calls, found.requests, found.depth) == (7, 7, 7)
