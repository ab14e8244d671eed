"""`chain_of_symbol` (Hu et al. 2024): the question is in words, the thoughts shown and written are symbols."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.prompts.prompt import Example
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order, marked_example

BRICKS = {"list": {"of": {"label": ["A", "B", "C", "D"]}, "separator": ","}}
REPLY = "A//D//B//C, so we get the result as C, B."
CUE = "so we get the result as"
LEGEND = ["B//A means", "A | B means", "A -> B: 50 m means"]
PROSE = (Example({"question": "FIRST?"}, ["A"], "PROSE-X is on top of A."),)


async def ask(bench: Bench, technique: Any = "chain_of_symbol", **settings: Any) -> Answer:
    return await perform(technique, bench.step(**{"examples": PROSE, "decide": "generate", **settings}))


async def test_the_answer_is_what_follows_the_cue_and_not_the_chain(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY], BRICKS)

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (["C", "B"], 1)


async def test_the_prompt_holds_the_legend_and_chains_of_symbols_and_no_thoughts_in_prose(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY], BRICKS)

    await ask(bench)

    text = bench.texts[0]
    assert in_order(text, ["INSTRUCTIONS-MARK", *LEGEND, f'"{CUE}"', "Thoughts: C//A//B", "QUESTION-MARK"])
    assert f"Thoughts: C//A//B\n{CUE} B, A\n" in text
    assert "PROSE-X" not in text and "FIRST?" not in text


@pytest.mark.parametrize(
    ("kind", "output"),
    [("list", "B\nA"), ({"list": {"separator": ";"}}, "B; A"), ("text", "B, A")],
)
async def test_a_list_is_shown_as_the_answers_lists_are_written(tmp_path: Path, kind: Any, output: str) -> None:
    bench = Bench(tmp_path, [f"A//B\n{CUE} {output}"], kind)

    answer = await ask(bench, examples=())

    assert f"Thoughts: C//A//B\n{CUE} {output}\n" in bench.texts[0]
    assert answer.value in (["B", "A"], ["A", "B"], output)


@pytest.mark.parametrize("symbol", ["//", " | ", " -> "])
async def test_each_symbol_of_the_legend_is_shown_in_a_chain(tmp_path: Path, symbol: str) -> None:
    bench = Bench(tmp_path, [REPLY], BRICKS)

    await ask(bench)

    shown = [line for line in bench.texts[0].splitlines() if line.startswith("Thoughts: ")]
    assert len(shown) == 3
    assert sum(symbol in line for line in shown) == 1


async def test_ones_own_demonstrations_are_shown_instead(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY], BRICKS)
    own = {"input": "OWN?", "thoughts": "OWN//CHAIN", "output": "D"}

    await ask(bench, {"chain_of_symbol": {"demos": {"reason": [own]}}})

    assert f"OWN?\nThoughts: OWN//CHAIN\n{CUE} D\n" in bench.texts[0]
    assert "C//A//B" not in bench.texts[0]


async def test_the_users_cue_stands_in_the_demonstrations_and_the_instructions(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["A//D//B//C\nTaken: C, B"], BRICKS)

    answer = await ask(bench, cue="Taken:")

    assert answer.value == ["C", "B"]
    assert in_order(bench.texts[0], ['"Taken:"', "Thoughts: C//A//B\nTaken: B, A\n"])
    assert CUE not in bench.texts[0]


async def test_under_constrain_the_result_is_decided_after_the_chain(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [f"A//D//B//C\n{CUE} D", " C, B"], BRICKS)

    answer = await ask(bench, decide="constrain")

    assert answer.value == ["C", "B"]
    assert bench.runtime.requests[1].begun == f"A//D//B//C\n{CUE}"
    assert bench.levels == [("reason", 1), ("reason", 2)]


@pytest.mark.parametrize(("decide", "replies"), [("generate", [REPLY]), ("constrain", [REPLY, " C, B"])])
async def test_it_costs_what_it_says(tmp_path: Path, decide: str, replies: list[str]) -> None:
    bench = Bench(tmp_path, replies, BRICKS)

    await ask(bench, decide=decide)

    most = cost(configure("chain_of_symbol", bench.project), bench.project, decide=decide)
    assert (most.calls, most.requests, most.depth) == (1, len(replies), len(replies))


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY, " 7"], prompt=MARKED)

    await ask(bench, decide="constrain", examples=(marked_example(2),))

    shown = "persona instructions constraints context output_format input recap cue"
    assert bench.shown == [("reason", shown), ("reason", shown)]
