"""`universal_self_consistency` (Chen et al. 2023): the model picks the most consistent of several answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.runtimes.base import Request
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, flat, in_order

TEXTS = ["It rained.", "A storm came.", "A storm came and it rained."]


def spec(**parameters: Any) -> dict[str, Any]:
    return {"universal_self_consistency": {"over": "vanilla", "samples": 3, **parameters}}


def picking(picked: str, answers: Sequence[str] = TEXTS) -> Any:
    def script(request: Request) -> str:
        if "most consistent" in flat(request):
            return picked
        return answers[int(request.sample.rpartition("/")[2])]

    return script


async def ask(bench: Bench, technique: Any, **settings: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    answer = await perform(technique, bench.step(**{"decide": "generate", "warn": warned.extend, **settings}))
    return answer, warned


async def test_the_answer_that_the_model_picks_is_returned(tmp_path: Path) -> None:
    bench = Bench(tmp_path, picking("3"), "text", prompt=MARKED)

    answer, warned = await ask(bench, spec())

    assert (answer.value, answer.extra["picked"], warned) == (TEXTS[2], 3, [])
    shown = ["Response 1:", TEXTS[0], "Response 2:", TEXTS[1], "Response 3:", TEXTS[2], "from 1 to 3"]
    assert in_order(bench.texts[-1], ["INSTRUCTIONS-MARK", "CONTEXT-MARK", "QUESTION-MARK", *shown])
    assert [record.request.temperature for record in bench.records] == [0.7, 0.7, 0.7, 0.0]


async def test_the_reasoning_of_each_answer_is_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, picking("2", ["3 and 4. Output: 7", "4 and 4. Output: 8", "So. Output: 7"]))

    answer, _ = await ask(bench, spec(over="chain_of_draft"))

    assert answer.value == 8
    assert "4 and 4.\nAnswer: 8" in bench.texts[-1]


@pytest.mark.parametrize(("picked", "warning"), [("none of them", "unread_call"), ("4", "unread_call")])
async def test_where_no_answer_is_picked_the_first_is_returned_with_a_warning(
    tmp_path: Path, picked: str, warning: str
) -> None:
    bench = Bench(tmp_path, picking(picked), "text")

    answer, warned = await ask(bench, spec())

    assert (answer.value, answer.extra["picked"], warned) == (TEXTS[0], 1, [warning])


async def test_equal_answers_need_no_pick(tmp_path: Path) -> None:
    bench = Bench(tmp_path, picking("1", ["7", "7.0", "no idea"]))

    answer, _ = await ask(bench, spec())

    assert (answer.value, answer.extra["unparsed"], len(bench.texts)) == (7, 1, 3)


async def test_an_answer_that_does_not_parse_is_not_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, picking("2", ["no idea", "7", "8"]))

    answer, _ = await ask(bench, spec())

    assert answer.value == 8
    assert "no idea" not in bench.texts[-1] and "from 1 to 2" in bench.texts[-1]


async def test_under_constrain_the_number_is_one_of_those_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, picking("2"), {"label": ["x", *TEXTS]})

    answer, _ = await ask(bench, spec(samples=3), decide="constrain")

    assert answer.value == TEXTS[1]
    among = build_answer_type({"number": {"min": 1, "max": 3, "decimals": 0}})
    assert str(among.grammar()).partition("\n")[2] in str(bench.runtime.requests[-1].grammar)
    assert bench.runtime.requests[-1].begun == "The most consistent response is number"


async def test_it_costs_what_it_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, picking("3"), "text")

    await ask(bench, spec())

    most = cost(configure(spec(), bench.project), bench.project, decide="generate")
    assert (most.requests, most.depth) == (4, 2) == (len(bench.records), bench.records[-1].level)
