"""`chain_of_code` (Li et al. 2024): the interpreter runs what it can, and the model evaluates the rest."""

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
    parameters = {"attempts": 1, **parameters}
    return await perform({"chain_of_code": parameters}, bench.step(decide="generate"))


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_an_undefined_function_asks_the_model_at_each_call(tmp_path: Path, decide: Any) -> None:
    bench = Bench(tmp_path, [PROGRAM, "True", "False", "True"])

    answer = await perform({"chain_of_code": {"variant": "function"}}, bench.step(decide=decide))

    assert (answer.value, answer.extra["emulated"]) == (20, 3)
    lines = [request.messages[-1].content.rsplit("Line: ", 1)[1] for request in bench.runtime.requests[1:]]
    assert [line.partition("\n")[0] for line in lines] == [f'is_fruit("{item}")' for item in "abc"]
    assert bench.levels == [("program", 1), ("emulate", 2), ("emulate", 3), ("emulate", 4)]


async def test_step_by_step_the_model_gets_the_failing_line_with_the_state_and_the_lines_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [PROGRAM, "True", "False", "True"])

    answer = await ask(bench)

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
    assert (request.temperature, request.stop, request.begun) == (0.0, ("\n",), "Value:")


async def test_the_request_for_a_line_has_room_for_the_variables_of_the_state(tmp_path: Path) -> None:
    words = ", ".join(f"'word{number}'" for number in range(60))
    bench = Bench(tmp_path, [f"words = [{words}]\nanswer = shout(words)", "42"])

    answer = await ask(bench)

    assert answer.value == 42
    assert bench.runtime.requests[1].max_tokens > 400


async def test_a_chat_that_cannot_continue_a_turn_may_write_a_value_on_several_lines(tmp_path: Path) -> None:
    replies = ["answer = legs('spider')", '```json\n{\n  "answer": 42\n}\n```']
    bench = Bench(tmp_path, replies, capabilities=without("continue"))

    answer = await ask(bench)

    assert (answer.value, bench.runtime.requests[1].stop) == (42, ())


async def test_the_request_for_a_line_states_the_task_and_its_labels(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["answer = tone_of('Great, more rain.')", "'ironic'"], {"label": ["ironic", "literal"]})

    answer = await ask(bench)

    assert answer.value == "ironic"
    assert "INSTRUCTIONS-MARK" in bench.texts[1] and '"ironic", "literal"' in bench.texts[1]


@pytest.mark.parametrize("labels", [["yes", "no"], ["no", "yes"]])
async def test_what_the_model_affirms_is_the_label_that_says_so(tmp_path: Path, labels: list[str]) -> None:
    bench = Bench(tmp_path, ["answer = is_sarcastic('Great, more rain.')", "yes"], {"label": labels})

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == ("yes", 2)


@pytest.mark.parametrize(
    ("program", "reply"),
    [
        ('y = "3" + 39\nanswer = y', "42"),
        ("import atlas\nanswer = 42", "{}"),
        ('answer = world.population("Atlantis")', "42"),
    ],
)
async def test_by_default_the_model_takes_over_any_line_that_fails(tmp_path: Path, program: str, reply: str) -> None:
    bench = Bench(tmp_path, [program, reply])

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (42, 2)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "program", ["n = 42\nprint(n)", "def solution():\n    return 42", "print('so')\nif 1 > 0:\n    print(42)"]
)
async def test_the_answer_is_found_in_another_form(tmp_path: Path, variant: str, program: str) -> None:
    bench = Bench(tmp_path, [program])

    answer = await ask(bench, variant=variant)

    assert (answer.value, len(bench.texts)) == (42, 1)


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

    spec, warned = {"chain_of_code": {"variant": variant, "limit": 2}}, list[str]()

    answer = await perform(spec, bench.step(warn=warned.extend))

    assert (answer.value, answer.flag, answer.extra["capped"]) == (None, "unparsed", True)
    assert (len(bench.texts), warned) == (3, ["program_failed", "capped"])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("failing", "said"),
    [
        ("x = 1\ny = (2 +\nanswer = 3", "the program failed in line 3, `answer = 3`: "),
        ("I cannot write a program.", "the reply holds no program"),
        ("import math", "the program ends without a value"),
        ("answer = [1, 2]", "the value of the program is not an answer: [1, 2] is not a number"),
    ],
)
async def test_a_program_that_fails_is_written_again_with_its_error(
    tmp_path: Path, variant: str, failing: str, said: str
) -> None:
    bench = Bench(tmp_path, [failing, "answer = 6 * 7"])

    answer = await ask(bench, variant=variant, attempts=2)

    assert (answer.value, len(bench.texts)) == (42, 2)
    assert f"That program cannot be used: {said}" in bench.texts[1]
    assert [request.temperature for request in bench.runtime.requests] == [0.0, 0.4]


async def test_a_program_that_fails_to_the_last_attempt_is_no_answer(tmp_path: Path) -> None:
    sampling = Bench(tmp_path, ["for x in: no"] * 2)
    greedy = Bench(tmp_path, ["for x in: no"] * 2, capabilities=without("sampling"))

    assert [(await ask(bench, attempts=2)).flag for bench in (sampling, greedy)] == ["unparsed"] * 2
    assert [bench.runtime.requests[1].temperature for bench in (sampling, greedy)] == [0.4, 0.0]


@pytest.mark.parametrize(
    "program",
    [
        "while True:\n    pass",
        "while True:\n    print('x' * 999)",
        "def numbers():\n    yield 1\nanswer = list(numbers())",
        "answer = list(map(is_fruit, ['a']))",
        "import math",
        "open('taken', 'w')\nanswer = 1",
    ],
)
async def test_run_at_once_what_the_sandbox_does_not_run_gives_no_answer(
    tmp_path: Path, impatient: None, program: str
) -> None:
    bench = Bench(tmp_path, [program])

    answer = await ask(bench, variant="function")

    assert (answer.value, answer.flag, len(bench.texts)) == (None, "unparsed", 1)
    assert bench.records[0].problem


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

    over = {"chain_of_code": {"variant": "function"}}

    answer = await perform({"self_consistency": {"over": over, "samples": 3}}, bench.step())

    warm = {record.call: record.request.temperature > 0 for record in bench.records}
    assert answer.value == 42
    assert warm == {"program": True, "emulate": False}


@pytest.mark.parametrize("variant", VARIANTS)
async def test_each_call_shows_and_hides(tmp_path: Path, variant: str) -> None:
    bench = Bench(tmp_path, ["answer = legs(2)", "8"], prompt=MARKED)

    await perform({"chain_of_code": {"variant": variant}}, bench.step(examples=(marked_example(2),)))

    assert bench.shown == [
        ("program", "persona instructions constraints context output_format input"),
        ("emulate", "persona instructions constraints output_format input"),
    ]


def test_what_it_costs_at_most(tmp_path: Path) -> None:
    project = Bench(tmp_path, []).project

    found = cost(configure({"chain_of_code": {"limit": 5}}, project), project)

    assert (found.calls, found.requests, found.depth) == (7, 7, 7)
    assert cost(configure("chain_of_code", project), project, answer="label").requests == 23
