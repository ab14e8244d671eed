"""`debate` (Du et al. 2024): agents answer, read the others' answers, answer again, and vote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.base import Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.steps import MARKED, Bench, in_order


def spec(**parameters: Any) -> dict[str, Any]:
    return {"debate": {"over": "vanilla", **parameters}}


def rounds(*answers: Sequence[str]) -> Any:
    """Return a script: what each agent answers, by round."""
    asked: dict[str, int] = {}

    def script(request: Request) -> str:
        held = asked[request.sample] = asked.get(request.sample, -1) + 1
        return answers[held][int(request.sample.rpartition("/")[2])]

    return script


async def ask(bench: Bench, technique: Any, **settings: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    answer = await perform(technique, bench.step(decide="generate", warn=warned.extend, **settings))
    return answer, warned


async def test_in_a_further_round_each_agent_sees_its_own_answer_and_those_of_the_others(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rounds(["71", "72", "72"], ["72", "72", "72"]), prompt=MARKED)

    answer, warned = await ask(bench, spec())

    assert (answer.value, answer.extra["rounds"], warned) == (72, 2, [])
    assert bench.levels == [("answer", 1)] * 3 + [("answer", 2)] * 3
    assert len(set(bench.texts[:3])) == 1
    others = ["Response of another agent:\n72", "Response of another agent:\n72", "answer again"]
    assert in_order(bench.texts[3], ["QUESTION-MARK", "Your previous response:\n71", *others])
    assert in_order(bench.texts[4], ["Your previous response:\n72", "Response of another agent:\n71"])
    assert {request.temperature for request in bench.runtime.requests[:3]} == {0.7}
    assert [request.sample for request in bench.runtime.requests] == ["0/0", "0/1", "0/2"] * 2


async def test_the_debate_ends_where_all_agree(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rounds(["7", "7.0", "7"]))

    answer, _ = await ask(bench, spec(rounds=5))

    assert (answer.value, answer.extra["rounds"], len(bench.texts)) == (7, 1, 3)


async def test_an_agent_without_an_answer_takes_part_in_the_next_round(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rounds(["no idea", "7"], ["7", "7"]))

    answer, _ = await ask(bench, spec(agents=2))

    assert answer.extra["votes"] == [{"value": 7, "weight": 2}]
    assert "No answer was found." in bench.texts[2]


async def test_a_tie_at_the_end_goes_to_the_first_with_a_warning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rounds(["7", "8"], ["8", "7"]))

    answer, warned = await ask(bench, spec(agents=2))

    assert (answer.value, warned) == (8, ["tie"])


async def test_the_reasoning_of_the_agents_is_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rounds(["So. Output: 7", "Hm. Output: 8"], ["x Output: 7", "y Output: 7"]))

    await ask(bench, spec(agents=2, over="chain_of_draft"))

    assert "Response of another agent:\nHm.\nAnswer: 8" in bench.texts[2]


async def test_agents_may_be_different_models_in_turn(tmp_path: Path) -> None:
    models = {"ollama/a": Scripted(["7", "7"]), "ollama/b": Scripted(["7"])}

    async def client_of(reference: str) -> Client:
        return Client(models[reference])

    bench = Bench(tmp_path, [])
    answer, _ = await ask(bench, spec(models=["ollama/a", "ollama/b"]), client_of=client_of)

    assert answer.value == 7
    assert [len(model.requests) for model in models.values()] == [2, 1]


async def test_more_models_than_agents_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names 3 models for 2 agents"):
        await ask(Bench(tmp_path, []), spec(agents=2, models=["ollama/a", "ollama/b", "ollama/c"]))


def test_one_agent_is_no_debate(tmp_path: Path) -> None:
    (problem,) = check_spec(spec(agents=1), Bench(tmp_path, []).project)

    assert "agents" in problem.message


async def test_it_costs_what_it_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rounds(["1", "2", "3"], ["1", "2", "3"], ["1", "2", "3"]))

    await ask(bench, spec(rounds=3))

    most = cost(configure(spec(rounds=3), bench.project), bench.project, decide="generate")
    assert (most.requests, most.depth) == (9, 3) == (len(bench.records), bench.records[-1].level)
