"""`complex_cot` (Fu et al. 2023): the examples with the most steps; of several chains only the longest vote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.artifacts import Artifact, Prepared, Row
from promptkit.techniques.catalog.complex_cot import prepare
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform, task_for
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example


def lines(count: int, name: str) -> str:
    return "\n".join(f"{name}{number}." for number in range(count))


def chain(steps: int, answer: str) -> str:
    return f"{lines(steps, 'step')}\nOutput: {answer}"


CHAINS = [chain(2, "10"), chain(2, "10"), chain(6, "12"), chain(5, "12"), chain(4, "10")]
POOL = [("TWO?", 2), ("FIVE?", 5), ("THREE?", 3), ("SEVEN?", 7)]


async def prepared(folder: Path, rows: list[Row], **parameters: Any) -> Prepared:
    bench = Bench(folder, [])
    return await prepare(task_for(configure("complex_cot", bench.project), bench.step(values={})), rows, **parameters)


def pool() -> list[Row]:
    return [
        Row(inputs={"question": question}, expect=count, rationale=lines(count, question)) for question, count in POOL
    ]


def step_of(bench: Bench, *items: Any, **settings: Any) -> Any:
    items = items or ({"input": {"question": "SEVEN?"}, "thoughts": "a\nb", "output": 7},)
    artifact = Artifact(technique="complex_cot", items=items)
    return bench.step(artifacts={"complex_cot": artifact}, **{"decide": "generate", **settings})


async def ask(bench: Bench, *, step: Any = None, **parameters: Any) -> Any:
    return await perform({"complex_cot": parameters}, step or step_of(bench))


async def test_the_rows_with_the_most_steps_are_chosen_without_a_call(tmp_path: Path) -> None:
    made = await prepared(tmp_path, pool(), chosen=2)

    assert [(item["input"]["question"], item["output"]) for item in made.items] == [("SEVEN?", 7), ("FIVE?", 5)]


async def test_steps_are_lines_not_characters_and_blank_lines_are_none(tmp_path: Path) -> None:
    long_line = Row(inputs={"question": "LONG?"}, expect=1, rationale="word " * 200 + "\n\n\n\nend.")
    steps = Row(inputs={"question": "STEPS?"}, expect=1, rationale="a\nb\nc")

    made = await prepared(tmp_path, [long_line, steps], chosen=1)

    assert made.items[0]["input"] == {"question": "STEPS?"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row(inputs={"question": "A?"}, expect=1, rationale="one line. and more."), "one line"),
        (Row(inputs={"question": "A?"}, rationale="a\nb"), "expected answer"),
        (Row(inputs={"question": "A?"}, expect=1), "rationale"),
    ],
)
async def test_rows_that_tell_no_steps_are_an_error(tmp_path: Path, row: Row, message: str) -> None:
    with pytest.raises(InputError, match=message):
        await prepared(tmp_path, [row])


async def test_the_step_shows_only_the_chosen_ones_each_step_on_its_line(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [chain(3, "12")])
    made = await prepared(tmp_path, pool(), chosen=2)

    answer = await ask(bench, step=step_of(bench, *(dict(item) for item in made.items)))

    assert (answer.value, len(bench.texts)) == (12, 1)
    assert in_order(bench.texts[0], ["SEVEN?", lines(7, "SEVEN?"), "Output: 7", "FIVE?", "Output: 5", "QUESTION-MARK"])
    assert "TWO?" not in bench.texts[0] and "THREE?" not in bench.texts[0]
    assert bench.runtime.requests[0].temperature == 0


async def test_only_the_longest_chains_vote(tmp_path: Path) -> None:
    bench = Bench(tmp_path, CHAINS)

    answer = await ask(bench, samples=5, keep=3, temperature=0.7)

    assert answer.value == 12
    assert len(bench.texts) == 5
    assert all(request.temperature > 0 for request in bench.runtime.requests)
    assert (answer.extra["steps"], answer.extra["kept"]) == ([2, 2, 6, 5, 4], [2, 3, 4])


async def test_a_chain_without_an_answer_is_out_before_the_longest_are_chosen(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*CHAINS[:2], f"{lines(6, 'step')}\nOutput: unclear", *CHAINS[3:]])

    answer = await ask(bench, samples=5, keep=3, temperature=0.7)

    assert answer.value == 10
    assert answer.extra["kept"] == [0, 3, 4]
    assert answer.extra["unparsed"] == 1


async def test_all_chains_kept_are_plain_self_consistency(tmp_path: Path) -> None:
    assert (await ask(Bench(tmp_path, CHAINS), samples=5, keep=5, temperature=0.7)).value == 10


async def test_left_out_three_of_five_vote(tmp_path: Path) -> None:
    assert (await ask(Bench(tmp_path, CHAINS), samples=5, temperature=0.7)).extra["kept"] == [2, 3, 4]


async def test_an_answer_in_the_line_of_the_last_step_leaves_that_step_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["one\ntwo Output: 1", "one\n\ntwo\nOutput: 2", "one\nOutput: 3"])

    answer = await ask(bench, samples=3, keep=1, temperature=0.7)

    assert answer.extra["steps"] == [2, 2, 1]
    assert answer.value == 1


async def test_several_samples_at_temperature_0_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="temperature > 0"):
        await ask(Bench(tmp_path, []), samples=3)


@pytest.mark.parametrize(("decide", "requests", "depth"), [("generate", 3, 1), ("constrain", 6, 2)])
async def test_it_costs_what_its_formulas_say(tmp_path: Path, decide: Any, requests: int, depth: int) -> None:
    bench = Bench(tmp_path, [*CHAINS[2:], "12", "12", "10"])
    spec = {"complex_cot": {"samples": 3, "temperature": 0.7}}

    answer = await perform(spec, step_of(bench, decide=decide))

    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    assert answer.value == 12
    assert (most.calls, most.requests, most.depth) == (3, requests, depth)
    assert (len(bench.records), max(record.level for record in bench.records)) == (requests, depth)


async def test_without_a_preparation_the_step_says_how_to_prepare(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="promptkit techniques prepare complex_cot sums --step add"):
        await perform("complex_cot", bench.step(home="sums.add"))


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["so", "7"], prompt=MARKED)
    item = {"input": dict(marked_example(2).inputs), "thoughts": "THOUGHTS-MARK", "output": 2}

    await perform("complex_cot", step_of(bench, item, decide="constrain"))

    assert bench.shown == [("reason", ALL), ("reason", ALL)]
