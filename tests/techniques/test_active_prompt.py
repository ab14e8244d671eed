"""`active_prompt` (Diao et al. 2024): a person answers what the model is least sure of; these are the examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Reply
from promptkit.techniques.artifacts import Artifact, Prepared, Row
from promptkit.techniques.catalog.active_prompt import prepare
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform, task_for
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, flat, in_order, marked_example

EXTRACT = "Therefore, the answer"
SEEDS = (Example({"question": "SEED?"}, 1, "SEED-THOUGHTS"),)
GIVEN = {"Q1?": ["4", "4", "4"], "Q2?": ["1", "2", "3"], "Q3?": ["5", "5", "6"]}


def pool_script(given: dict[str, list[str]]) -> Any:
    """Return a script that answers each pool question by its list, whether the answer is extracted or not."""
    left = {question: list(answers) for question, answers in given.items()}

    def script(request: Any) -> str:
        text = flat(request)
        question = next(each for each in left if each in text)
        if EXTRACT in text or "SEED?" in text:
            reply = left[question].pop(0)
            return reply if EXTRACT in text else f"so.\nOutput: {reply}"
        return " so it is."

    return script


async def prepared(
    bench: Bench, given: dict[str, list[str]], *, rows: Any = None, step: Any = None, **parameters: Any
) -> Prepared:
    step = step or bench.step(decide="generate", values={})
    rows = rows or [Row(inputs={"question": question}) for question in given]
    return await prepare(task_for(configure("active_prompt", bench.project), step), rows, **parameters)


def asked_about(items: Any) -> list[str]:
    return [item["input"]["question"] for item in items]


async def test_the_questions_with_the_most_different_answers_are_listed_to_be_filled_in(tmp_path: Path) -> None:
    bench = Bench(tmp_path, pool_script(GIVEN))
    step = bench.step(decide="generate", values={}, examples=SEEDS)

    made = await prepared(bench, GIVEN, step=step, pool_samples=3, chosen=2)

    assert asked_about(made.items) == ["Q2?", "Q3?"]
    assert all((item["thoughts"], item["output"]) == ("", "") for item in made.items)
    assert len(bench.texts) == 9
    assert all("SEED-THOUGHTS" in text and "step by step" not in text for text in bench.texts)
    assert all(request.temperature > 0 for request in bench.runtime.requests)
    assert len({(request.sample, flat(request)) for request in bench.runtime.requests}) == 9


async def test_zero_shot_takes_two_calls_an_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, pool_script(GIVEN))

    made = await prepared(bench, GIVEN, pool_samples=3, chosen=2)

    assert asked_about(made.items) == ["Q2?", "Q3?"]
    assert len(bench.texts) == 18
    assert bench.runtime.requests[0].begun == "Let's think step by step."


async def test_the_whole_pool_is_told_the_least_sure_first(tmp_path: Path) -> None:
    given = {**GIVEN, "Q3?": ["5", "5.0", "no idea"]}

    made = await prepared(Bench(tmp_path, pool_script(given)), given, pool_samples=3)

    assert asked_about(made.uncertain) == ["Q2?", "Q3?", "Q1?"]
    assert made.uncertain[1]["answers"] == {"5": 2, "no answer": 1}
    assert made.uncertain[1]["uncertainty"] == pytest.approx(2 / 3, abs=1e-3)


@pytest.mark.parametrize(
    ("metric", "given", "expected"),
    [
        ("variance", {"Q1?": ["0", "10", "0"], "Q2?": ["1", "2", "3"], "Q3?": ["5", "5", "6"]}, ["Q1?", "Q2?"]),
        ("entropy", {"Q1?": ["0", "0", "0", "1"], "Q2?": ["1", "1", "2", "2"], "Q3?": ["3"] * 4}, ["Q2?", "Q1?"]),
        ("disagreement", {"Q1?": ["1"] * 4, "Q2?": ["2"] * 4, "Q3?": ["3", "3", "4", "4"]}, ["Q3?", "Q1?"]),
    ],
)
async def test_each_metric_ranks_in_its_way(
    tmp_path: Path, metric: Any, given: dict[str, list[str]], expected: list[str]
) -> None:
    bench = Bench(tmp_path, pool_script(given))

    made = await prepared(bench, given, pool_samples=len(given["Q1?"]), chosen=2, metric=metric)

    assert asked_about(made.items) == expected


async def test_of_two_possible_answers_the_nearest_counts_are_the_least_sure(tmp_path: Path) -> None:
    given = {
        "Q1?": ["true", "true", "true", "false"],
        "Q2?": ["true", "false", "true", "false"],
        "Q3?": ["false"] * 4,
    }
    bench = Bench(tmp_path, pool_script(given), "boolean")

    made = await prepared(bench, given, pool_samples=4)

    assert asked_about(made.uncertain) == ["Q2?", "Q1?", "Q3?"]


async def test_the_variance_of_labels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="variance"):
        await prepared(Bench(tmp_path, [], {"label": ["a", "b"]}), GIVEN, metric="variance")


async def test_rationales_and_answers_of_the_data_are_taken(tmp_path: Path) -> None:
    rows = [
        Row(inputs={"question": "Q2?"}, expect=2, rationale="One and one."),
        Row(inputs={"question": "Q3?"}, expect=5),
    ]
    bench = Bench(tmp_path, pool_script(GIVEN))

    made = await prepared(bench, GIVEN, rows=rows, pool_samples=3)

    assert made.items[0] == {"input": {"question": "Q2?"}, "thoughts": "One and one.", "output": 2}
    assert (made.items[1]["thoughts"], made.items[1]["output"]) == ("", 5)


async def test_the_pool_is_drawn_by_the_seed(tmp_path: Path) -> None:
    given = {f"Q{number}?": ["1", "2"] for number in range(10, 40)}

    first, again, other = [
        asked_about(
            (await prepared(Bench(tmp_path, pool_script(given)), given, pool=5, pool_samples=2, seed=seed)).uncertain
        )
        for seed in (1, 1, 2)
    ]

    assert first == again != other
    assert len(first) == 5


FILLED = (
    {"input": {"question": "Q2?"}, "thoughts": "ZEBRA7", "output": 2},
    {"input": {"question": "Q3?"}, "thoughts": "YAK9", "output": 5},
)


def step_of(bench: Bench, items: Any = FILLED, **settings: Any) -> Any:
    artifact = Artifact(technique="active_prompt", items=items)
    return bench.step(artifacts={"active_prompt": artifact}, home="sums.add", **{"decide": "generate", **settings})


async def test_the_step_shows_what_the_person_wrote_and_votes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["a\nOutput: 7", "b\nOutput: 7", "c\nOutput: 9"])

    answer = await perform({"active_prompt": {"samples": 3, "temperature": 0.7}}, step_of(bench))

    assert (answer.value, len(bench.texts)) == (7, 3)
    assert in_order(bench.texts[0], ["Q2?", "ZEBRA7", "Output: 2", "Q3?", "YAK9", "Output: 5", "QUESTION-MARK"])
    assert "Q1?" not in bench.texts[0]


async def test_the_step_refuses_while_an_item_is_empty(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])
    items = (FILLED[0], {**FILLED[1], "thoughts": "", "output": ""})

    with pytest.raises(InputError) as raised:
        await perform("active_prompt", step_of(bench, items))

    (problem,) = raised.value.problems
    assert problem.file == "sums.add.active_prompt.yaml"
    assert problem.message == "item 2: fill in `thoughts` and `output`"
    assert bench.texts == []


async def test_one_greedy_answer_that_does_not_parse_can_be_repaired(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Reply(text="a\nOutput: some", finish="length")])

    answer = await perform("active_prompt", step_of(bench))

    assert answer.flag == "truncated"
    assert answer.last is not None


@pytest.mark.parametrize(("decide", "requests", "depth"), [("generate", 3, 1), ("constrain", 6, 2)])
async def test_it_costs_what_its_formulas_say(tmp_path: Path, decide: Any, requests: int, depth: int) -> None:
    bench = Bench(tmp_path, ["a\nOutput: 7", "b\nOutput: 7", "c\nOutput: 9", "7", "7", "9"])
    spec = {"active_prompt": {"samples": 3, "temperature": 0.7}}

    assert (await perform(spec, step_of(bench, decide=decide))).value == 7

    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    assert (most.calls, most.requests, most.depth) == (3, requests, depth)
    assert (len(bench.records), max(record.level for record in bench.records)) == (requests, depth)


@pytest.mark.parametrize(("examples", "requests"), [((), 6), (SEEDS, 6)])
async def test_preparing_under_constrain_takes_two_requests_an_answer(
    tmp_path: Path, examples: Any, requests: int
) -> None:
    bench = Bench(tmp_path, lambda request: "1" if request.grammar else " so it is.")
    step = bench.step(values={}, examples=examples)

    await prepared(bench, {"Q1?": [], "Q2?": [], "Q3?": []}, step=step, pool=1, pool_samples=3)

    assert len(bench.records) == requests
    assert max(record.level for record in bench.records) == 2


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: "1", prompt=MARKED)
    example = marked_example(2)
    row = Row(inputs={"question": "QUESTION-MARK?"})

    await prepared(bench, {}, rows=[row], step=bench.step(values={}), pool_samples=2)
    item = {"input": dict(example.inputs), "thoughts": example.thoughts, "output": 2}
    await perform("active_prompt", step_of(bench, (item,), decide="generate"))

    thinking = "persona instructions constraints context output_format input recap"
    assert bench.shown == [
        *[("pool", thinking)] * 2,
        *[("extract", f"{thinking} cue")] * 2,
        ("reason", ALL),
    ]
