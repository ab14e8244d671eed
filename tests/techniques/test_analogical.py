"""`analogical` (Yasunaga et al. 2024): one reply recalls problems and then solves; only its last section is read."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Reply
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.steps import MARKED, Bench, in_order, marked_example

HEADINGS = ["# Problem:", "# Relevant problems:", "# Solve the initial problem:"]
RECALLED = """\
# Relevant problems:
1. Five and six? It is \\boxed{11}.
2. Twice eleven? It is \\boxed{22}.
3. Thrice eleven? It is \\boxed{33}.
"""
SOLVED = RECALLED + "# Solve the initial problem:\nFour times eleven is \\boxed{44}."
CUE = "The answer to the initial problem is"


async def ask(bench: Bench, technique: Any = "analogical", **settings: Any) -> Answer:
    return await perform(technique, bench.step(**{"decide": "generate", **settings}))


async def test_the_answer_is_that_of_the_last_section(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [SOLVED])

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (44, 1)


async def test_the_prompt_asks_for_so_many_distinct_problems_after_the_given_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [SOLVED])

    await ask(bench, {"analogical": {"exemplars": 5}})

    text = bench.texts[0]
    assert in_order(text, [HEADINGS[0], "QUESTION-MARK", HEADINGS[1], "Recall 5 problems", "distinct", HEADINGS[2]])
    assert in_order(text, [HEADINGS[2], CUE, "RECAP-MARK"])
    assert "# Tutorial:" not in text


async def test_knowledge_comes_before_the_recalled_problems(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [SOLVED])

    await ask(bench, {"analogical": {"knowledge": True}})

    assert in_order(bench.texts[0], [HEADINGS[0], "# Tutorial:", *HEADINGS[1:]])


@pytest.mark.parametrize(
    "last",
    [
        f"# Solve the initial problem:\n44, surely.\n{CUE} 44",
        "# Solve the initial problem:\nIt is 44",
        "## solve the initial problem\nIt is 44",
        "**Solve the initial problem:**\nIt is 44",
        "# 2. Solve the initial problem\nIt is \\boxed{44} (out of 100).",
        "### Solving the original problem\nIt is 44",
        "3. Solution to the given problem\nIt is 44",
    ],
)
async def test_what_follows_a_recalled_problems_cue_is_not_read(tmp_path: Path, last: str) -> None:
    bench = Bench(tmp_path, [f"{RECALLED}{CUE} 33\n{last}"])

    assert (await ask(bench)).value == 44


async def test_an_echoed_heading_is_not_the_last_section(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [f"# Solve the initial problem:\nlater, not 7.\n{SOLVED}"])

    assert (await ask(bench)).value == 44


@pytest.mark.parametrize(
    "reply", [f"{CUE} 44.", "We multiply: \\boxed{44}. That is 4 times 11.", "4 * 11 = 44, so it is 44."]
)
async def test_a_reply_that_recalls_no_problem_is_read_whole(tmp_path: Path, reply: str) -> None:
    bench, warned = Bench(tmp_path, [reply]), list[str]()

    assert (await ask(bench, warn=warned.extend)).value == 44
    assert warned == ["no_recalled_problem"]


async def test_a_reply_that_recalls_problems_has_no_warning(tmp_path: Path) -> None:
    warned: list[str] = []

    await ask(Bench(tmp_path, [SOLVED]), warn=warned.extend)

    assert warned == []


async def test_results_of_several_problems_without_a_heading_are_no_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["1. One.\nSolution to the problem: \\boxed{11}\n2. Two. \\boxed{12}"])

    assert (await ask(bench)).flag == "unparsed"


@pytest.mark.parametrize("decide", ["generate", "constrain"])
@pytest.mark.parametrize(("finish", "flag"), [("length", "truncated"), ("stop", "unparsed")])
async def test_a_reply_that_ends_before_the_last_section_has_no_answer_and_is_not_decided(
    tmp_path: Path, decide: str, finish: Any, flag: str
) -> None:
    bench = Bench(tmp_path, [Reply(text=RECALLED, finish=finish)])

    answer = await ask(bench, decide=decide)

    assert (answer.value, answer.flag, len(bench.texts)) == (None, flag, 1)
    assert bench.records[0].problem == "the reply does not come to solving the initial problem"


async def test_under_constrain_the_answer_is_decided_after_the_whole_reply(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [SOLVED, " 44"])

    answer = await ask(bench, decide="constrain")

    assert answer.value == 44
    assert bench.runtime.requests[1].begun == f"{SOLVED}\n{CUE}"
    assert bench.runtime.requests[1].grammar


async def test_under_constrain_recalled_problems_may_have_the_cue_too(tmp_path: Path) -> None:
    solving = f"{RECALLED}Answer: 33\n# Solve the initial problem:\nFour times eleven\nAnswer:"
    bench = Bench(tmp_path, [f"{solving} 55", " 44"])

    answer = await ask(bench, decide="constrain", cue="Answer:")

    assert answer.value == 44
    assert bench.runtime.requests[1].begun == solving


async def test_self_consistency_over_it_counts_a_cut_reply_as_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [RECALLED, SOLVED, RECALLED])

    answer = await ask(bench, {"self_consistency": {"samples": 3, "over": "analogical"}})

    assert (answer.value, answer.extra["unparsed"]) == (44, 2)


@pytest.mark.parametrize("parameters", [{"exemplars": 0}, {"knowledge": "yes"}, {"max_tokens": 0}])
def test_settings_that_mean_nothing_are_told_at_check(tmp_path: Path, parameters: dict[str, Any]) -> None:
    (problem,) = check_spec({"analogical": parameters}, Bench(tmp_path, []).project)

    assert next(iter(parameters)) in problem.message


@pytest.mark.parametrize(("decide", "replies"), [("generate", [SOLVED]), ("constrain", [SOLVED, " 44"])])
async def test_it_costs_what_it_says(tmp_path: Path, decide: str, replies: list[str]) -> None:
    bench = Bench(tmp_path, replies)

    await ask(bench, decide=decide)

    most = cost(configure("analogical", bench.project), bench.project, decide=decide)
    assert (most.calls, most.requests, most.depth) == (1, len(replies), len(replies))
    assert bench.levels == [("solve", level) for level in range(1, len(replies) + 1)]


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [SOLVED, " 44"], prompt=MARKED)

    await ask(bench, decide="constrain", examples=(marked_example(2),))

    shown = "persona instructions constraints context output_format input recap cue"
    assert bench.shown == [("solve", shown), ("solve", shown)]
