"""`math_prompter` (Imani et al. 2023): accepted is what an expression and a function agree on for random numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, flat, marked_example, routed

QUESTION = "Each of 5 tables seats 15, but 8 seats at each are broken. QUESTION-MARK"
TEMPLATE = "Each of A tables seats B, but C seats at each are broken. QUESTION-MARK"
RIGHT = "\n    return A*(B-C)"


def bench_of(folder: Path, algebra: list[str], program: list[str], **settings: Any) -> Bench:
    return Bench(folder, routed(("Answer =", algebra), ("Python", program)), **settings)


async def ask(bench: Bench, question: str = QUESTION, **parameters: Any) -> Any:
    parameters = {"attempts": 1, **parameters}
    step = bench.step(decide="generate", values={"question": question})
    return await perform({"math_prompter": parameters}, step)


async def test_a_pair_that_differs_on_random_numbers_is_rejected_and_another_round_asked(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["A*(B-C)", "A*B-C", "Answer = A*(B-C)"], ["return A*(B-C)"] * 3)

    answer = await ask(bench, rounds=2, cap=6)

    assert (answer.value, answer.flag, len(bench.texts)) == (35, None, 6)
    assert (answer.extra["rounds"], answer.extra["accepted"]) == (3, 2)
    assert [level for _, level in bench.levels] == [1, 1, 1, 1, 2, 2]


async def test_no_prompt_holds_a_number_of_the_question(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["A*(B-C)"] * 2, [RIGHT] * 2)

    await ask(bench, rounds=2)

    assert all(TEMPLATE in text for text in bench.texts)
    assert not any(number in text for text in bench.texts for number in ("5", "15", "8"))


@pytest.mark.parametrize("answer", [{"label": ["a", "b"]}, {"json": {"type": "object"}}, "boolean"])
async def test_another_answer_than_a_number_is_an_error_before_the_first_call(tmp_path: Path, answer: Any) -> None:
    bench = bench_of(tmp_path, [], [], answer=answer)

    with pytest.raises(InputError, match="technique `math_prompter` computes a number"):
        await ask(bench)


async def test_accepted_values_that_all_differ_lead_to_further_rounds(tmp_path: Path) -> None:
    differing = ["A+B+C", "A*B*C", "A*(B-C)", "A*(B-C)"]
    bench = bench_of(tmp_path, differing, [f"return {each}" for each in differing])

    answer = await ask(bench)

    assert (answer.value, answer.extra["rounds"], bench.warned) == (35, 4, [])
    assert "capped" not in answer.extra


async def test_accepted_values_that_still_differ_at_the_cap_are_a_tie(tmp_path: Path) -> None:
    differing = ["A+B+C", "A*B*C", "A*(B-C)"]
    bench = bench_of(tmp_path, differing, [f"return {each}" for each in differing])

    answer = await ask(bench, cap=3)

    assert (answer.value, bench.warned) == (28, ["tie", "capped"])


async def test_what_agrees_by_chance_on_the_real_numbers_is_not_accepted(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["A*B"] * 3, ["return A+B"] * 3)

    answer = await ask(bench, "What are 2 and 2?", rounds=2, cap=3)

    assert (answer.value, answer.flag, len(bench.texts)) == (4, "no_consensus", 6)
    assert (answer.extra["accepted"], answer.extra["capped"]) == (0, True)


async def test_rounds_are_samples_of_their_own_and_the_two_prompts_of_a_round_apart(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["A*(B-C)"] * 3, [RIGHT] * 3)

    await ask(bench)

    samples = [(record.call, record.sample) for record in bench.records]
    assert sorted(samples) == [(call, f"0/{n}") for call in ("algebra", "program") for n in range(3)]
    assert all(request.temperature > 0 for request in bench.runtime.requests)
    algebra = [flat(record.request) for record in bench.records if record.call == "algebra"]
    assert not any("Python" in text for text in algebra)


async def test_the_most_frequent_accepted_value_is_the_answer(tmp_path: Path) -> None:
    algebra = ["A+B+C", "A*(B-C)", "Answer = A * (B − C)."]
    bench = bench_of(tmp_path, algebra, ["return A+B+C", RIGHT, "def f(x, y, z):\n    return x*(y-z)"])

    answer = await ask(bench)

    assert answer.value == 35
    assert [vote["weight"] for vote in answer.extra["votes"]] == [1, 2]


@pytest.mark.parametrize(
    "program",
    [
        "return 1/0",
        "while True:\n    pass",
        "def solution(A, B, C):\n    while True:\n        print(A * 'x')",
        "def solution(A, B, C):\n    yield A*(B-C)",
        "def solution(A):\n    return A*(B-C)",
        "def solution(A, B, C):\n    return str(A*(B-C))",
        "35",
        "",
    ],
)
async def test_a_function_that_fails_is_rejected_and_never_voted_for(
    tmp_path: Path, impatient: None, program: str
) -> None:
    bench = bench_of(tmp_path, ["A*(B-C)"] * 2, [program] * 2)

    answer = await ask(bench, rounds=1, cap=2)

    assert (answer.value, answer.flag, len(bench.texts)) == (None, "unparsed", 4)


async def test_a_function_that_fails_is_written_again_with_its_error(tmp_path: Path) -> None:
    failing = "def solution(A, B, C):\n    return tables * (B - C)"
    script = routed(("That program cannot be used", RIGHT), ("Answer =", "A*(B-C)"), ("Python", failing))
    bench = Bench(tmp_path, script)

    answer = await ask(bench, rounds=1, attempts=2)

    assert (answer.value, answer.flag) == (35, None)
    assert "line 2, `return tables * (B - C)`: NameError" in bench.texts[-1]
    assert bench.levels == [("algebra", 1), ("program", 1), ("correct", 2)]


@pytest.mark.parametrize(
    ("algebra", "noted"),
    [
        ("", "no expression"),
        ("five times seven", "no expression"),
        ("A*(B-D)", "no expression"),
        ("__import__('os')", "no expression"),
        ("1/0", "differ on 5 draws"),
        ("A*(B-C)*9**9**9", "no expression"),
    ],
)
async def test_an_expression_that_is_none_is_rejected(tmp_path: Path, algebra: str, noted: str) -> None:
    bench = bench_of(tmp_path, [algebra], [RIGHT])

    answer = await ask(bench, rounds=1, cap=1)

    assert (answer.value, answer.flag) == (35, "no_consensus")
    assert any(noted in note for record in bench.records for note in record.notes)


async def test_division_of_whole_numbers_is_the_same_for_both(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["A/B"], ["return A / B"])

    answer = await ask(bench, "Share 3 among 4.", rounds=1)

    assert (answer.value, answer.flag) == (0.75, None)


async def test_draws_on_which_both_divide_by_zero_tell_nothing(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["A/(B//50)", "A/(B//50)", "A/0"], ["return A / (B // 50)"] * 3)

    answer = await ask(bench, "Share 30 among 150.", rounds=3, cap=3, draws=20)

    assert (answer.value, answer.extra["accepted"]) == (10, 2)


async def test_a_pair_that_comes_to_nothing_on_any_draw_is_rejected(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["thirty"], ["return A / (B // 100)"])

    answer = await ask(bench, "Share 30 among 150.", rounds=1, cap=1)

    assert (answer.value, answer.flag) == (30, "no_consensus")


async def test_a_question_without_numbers_is_asked_as_it_is(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["6 * 7"], ["return 42"])

    answer = await ask(bench, "How much is half a dozen times half of the rest?", rounds=1)

    assert (answer.value, answer.flag) == (42, None)
    assert not any("stand" in text for text in bench.texts)


async def test_the_model_may_take_the_question_apart(tmp_path: Path) -> None:
    taken = json.dumps({"template": "Half a dozen (A) of B. QUESTION-MARK", "values": {"A": 6, "B": 7}})
    bench = Bench(tmp_path, routed(("Write one JSON", taken), ("Answer =", "A*B"), ("Python", "return A*B")))

    answer = await ask(bench, rounds=1, template="model")

    assert (answer.value, len(bench.texts)) == (42, 3)
    assert all("Half a dozen (A) of B." in text for text in bench.texts[1:])


@pytest.mark.parametrize("reply", ["I do not know.", '{"template": "5 of A", "values": {"A": 15}}'])
async def test_a_template_of_no_use_is_made_by_code(tmp_path: Path, reply: str) -> None:
    script = routed(("Write one JSON", reply), ("Answer =", "A*(B-C)"), ("Python", RIGHT))
    bench = Bench(tmp_path, script)

    answer = await ask(bench, rounds=1, template="model")

    assert answer.value == 35
    assert TEMPLATE in bench.texts[1]


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    script = routed(("Write one JSON", "none"), ("Answer =", "A+B"), ("Python", "return A+B"))
    bench = Bench(tmp_path, script, prompt=MARKED)
    step = bench.step(examples=(marked_example(2),))

    await perform({"math_prompter": {"rounds": 1, "template": "model"}}, step)

    making = "persona instructions constraints context input"
    knowing = "persona instructions constraints context output_format input"
    assert sorted(bench.shown) == [("algebra", knowing), ("program", knowing), ("template", making)]


@pytest.mark.parametrize(
    ("parameters", "requests", "depth"),
    [
        ({}, 18, 8),
        ({"attempts": 1}, 12, 4),
        ({"attempts": 1, "rounds": 2, "cap": 3}, 6, 2),
        ({"attempts": 1, "rounds": 4, "cap": 1, "template": "model"}, 3, 2),
    ],
)
def test_what_it_costs_at_most(tmp_path: Path, parameters: dict[str, Any], requests: int, depth: int) -> None:
    project = Bench(tmp_path, []).project

    found = cost(configure({"math_prompter": parameters}, project), project)

    assert (found.calls, found.requests, found.depth) == (requests, requests, depth)
