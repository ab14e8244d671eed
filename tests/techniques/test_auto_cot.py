"""`auto_cot` (Zhang et al. 2023): one demonstration of each cluster, thought by the model; labels are never read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.artifacts import Artifact, Prepared, Row
from promptkit.techniques.catalog.auto_cot import prepare
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform, task_for
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, flat, in_order, marked_example, routed, without

TRIGGER = "Let's think step by step."
EXTRACT = "Therefore, the answer (arabic numerals) is"
LONG = "LONGQ " + "word " * 69
POOL = {
    "SPAREQ?": 0.9,
    "FIRSTQ?": -0.3,
    "TALKQ?": 0.0,
    LONG: 0.1,
    "EDGEQ?": 48.0,
    "SECONDQ?": 50.0,
    "FARQ?": 52.0,
}
"""The pool's questions, and where the stub embedder puts them: two clusters, LONG and SECONDQ nearest their centres."""

THOUGHTS = {
    "TALKQ?": "one.\ntwo.\nthree.\nfour.\nfive.\nsix.\nseven.",
    "FIRSTQ?": "R-ONE: two and two.\nSo it is 4.",
    "SECONDQ?": "R-TWO: three times three is 9.",
}
ANSWERS = {"FIRSTQ?": "4", "SECONDQ?": "9"}


def place(text: str) -> list[float]:
    return [POOL[text], 0.0]


def rows() -> list[Row]:
    return [Row(inputs={"question": question}, expect="GOLD-999") for question in POOL]


def script(request: Any) -> str:
    text = flat(request)
    question = next((each for each in ("ASKED?", *POOL) if each in text and f"{each}\nR-" not in text), "")
    if "ASKED?" in text:
        return " so it is.\nOutput: 12"
    return ANSWERS[question] if EXTRACT in text else THOUGHTS[question]


def bench_of(folder: Path, script: Any = script, **settings: Any) -> Bench:
    return Bench(folder, script, embedder=place, **settings)


async def prepared(bench: Bench, *, decide: Any = "generate", **parameters: Any) -> Prepared:
    task = task_for(configure("auto_cot", bench.project), bench.step(decide=decide, values={}))
    return await prepare(task, rows(), chosen=2, **parameters)


def step_of(bench: Bench, made: Prepared, **settings: Any) -> Any:
    artifact = Artifact(technique="auto_cot", items=tuple(dict(item) for item in made.items))
    values = {"question": "ASKED?"}
    return bench.step(artifacts={"auto_cot": artifact}, **{"decide": "generate", "values": values, **settings})


async def test_each_cluster_gives_its_nearest_question_with_simple_thoughts(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)

    made = await prepared(bench)

    assert [(item["input"]["question"], item["output"]) for item in made.items] == [("FIRSTQ?", 4), ("SECONDQ?", 9)]
    assert made.items[0]["thoughts"] == f"{TRIGGER} R-ONE: two and two. So it is 4."
    assert len(bench.texts) == 5  # Nothing for LONG, one for TALKQ, two for each that was taken.
    assert all(request.temperature == 0 for request in bench.runtime.requests)


async def test_what_was_tried_and_left_out_is_told_with_its_reason(tmp_path: Path) -> None:
    made = await prepared(bench_of(tmp_path))

    assert [(each["input"]["question"], each["problem"]) for each in made.uncertain] == [
        (LONG, "the question has more than 60 words"),
        ("TALKQ?", "the thoughts have more than 5 lines"),
    ]


async def test_the_step_shows_exactly_the_demonstrations_and_asks_once(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    made = await prepared(bench)
    step = step_of(bench, made)

    answer = await perform("auto_cot", step)
    await perform("auto_cot", step)

    text = bench.texts[5]
    assert answer.value == 12
    assert len(bench.texts) == 5 + 2
    assert in_order(text, ["FIRSTQ?", "R-ONE", "Output: 4", "SECONDQ?", "R-TWO", "Output: 9", "ASKED?", TRIGGER])
    assert text.endswith(TRIGGER)
    assert not any(word in text for word in ("LONGQ", "TALKQ", "SPAREQ", "EDGEQ", "FARQ", "GOLD-999"))


async def test_under_constrain_the_extraction_is_the_deciding_request(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)

    made = await prepared(bench, decide="constrain")

    assert [item["output"] for item in made.items] == [4, 9]
    assert len(bench.texts) == 5
    assert [record.deciding for record in bench.records if record.call == "extract"] == [True, True]


@pytest.mark.parametrize(
    ("thoughts", "extracted", "problem"),
    [
        ("It is 4, and:", "4", "the thoughts break off"),
        ("2 and 2 are added.\n\n**So the answer is 4**", "4", None),
        ("### Adding\n\n2 and 2 are added.\n\n**Result:**\n\nSo the answer is **4**", "4", None),
        ("It is four of them.", "4", "the thoughts do not end in the answer 4"),
        ("It is 4. No, it is 5.", "4", None),
        ("It is 4. " + "And so on and so on. " * 3, "4", "the thoughts do not end in the answer 4"),
        ("It is 4.", "none", "there is no answer: the reply declines, or says that there is no answer: 'none'"),
        ("It is 4.0.", "4", None),
    ],
)
async def test_thoughts_are_taken_that_end_in_their_answer(
    tmp_path: Path, thoughts: str, extracted: str, problem: str | None
) -> None:
    bench = Bench(tmp_path, routed((EXTRACT, extracted), ("ONLYQ", thoughts.strip())))
    task = task_for(configure("auto_cot", bench.project), bench.step(decide="generate", values={}))

    made = await prepare(task, [Row(inputs={"question": "ONLYQ?"})])

    assert [each["problem"] for each in made.uncertain] == ([problem] if problem else [])
    assert len(made.items) == (0 if problem else 1)


async def test_without_embeddings_words_tell_the_clusters(tmp_path: Path) -> None:
    questions = ["apples and pears", "trains and tracks", "apples or pears", "trains on tracks"]
    bench = Bench(tmp_path, routed((EXTRACT, "1"), ("and|or|on", "no"), ("", "It is 1.")))
    task = task_for(configure("auto_cot", bench.project), bench.step(values={}))

    made = await prepare(task, [Row(inputs={"question": question}) for question in questions], chosen=2)

    assert [item["input"]["question"].split()[0] for item in made.items] == ["apples", "trains"]
    assert bench.notices == ["scripted has no good embeddings: texts are compared by their words (TF-IDF)"]


async def test_demonstrations_begin_with_the_trigger_where_the_runtime_cannot_continue(tmp_path: Path) -> None:
    made = await prepared(bench_of(tmp_path, capabilities=without("continue")))

    assert [item["thoughts"].partition(" R-")[0] for item in made.items] == [TRIGGER, TRIGGER]


async def test_the_thoughts_of_a_demonstration_are_plain_text(tmp_path: Path) -> None:
    reply = "### Adding\n\n2 and **2** are added.\n\nSo the answer is **4**"
    bench = Bench(tmp_path, routed((EXTRACT, "4"), ("ONLYQ", reply)))
    task = task_for(configure("auto_cot", bench.project), bench.step(decide="generate", values={}))

    (item,) = (await prepare(task, [Row(inputs={"question": "ONLYQ?"})])).items

    assert item["thoughts"] == f"{TRIGGER} 2 and 2 are added. So the answer is 4"


async def test_clusters_are_walked_at_once(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)

    await prepared(bench)

    assert sorted(bench.levels) == [("extract", 2), ("extract", 3), ("reason", 1), ("reason", 1), ("reason", 2)]


@pytest.mark.parametrize(("decide", "requests"), [("generate", 1), ("constrain", 2)])
async def test_the_step_costs_what_its_formula_says(tmp_path: Path, decide: Any, requests: int) -> None:
    bench = bench_of(tmp_path)
    step = step_of(bench, await prepared(bench), decide=decide)
    before = len(bench.records)

    await perform("auto_cot", step)

    most = cost(configure("auto_cot", bench.project), bench.project, decide=decide)
    assert len(bench.records) - before == most.requests == most.depth == requests
    assert most.calls == 1


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed((EXTRACT, "1"), ("EXAMPLE-MARK", "so."), ("", "It is 1.")), prompt=MARKED)
    chosen = configure("auto_cot", bench.project)
    example = marked_example(2)
    row = Row(inputs={"question": "QUESTION-MARK?"})
    task = task_for(chosen, bench.step(values={}, examples=(example,), cue="none"))

    await prepare(task, [row])
    item = {"input": dict(example.inputs), "thoughts": example.thoughts, "output": 2}
    await perform("auto_cot", bench.step(artifacts={"auto_cot": Artifact(technique="auto_cot", items=(item,))}))

    thinking = "persona instructions constraints context output_format input recap"
    assert bench.shown == [
        ("reason", thinking),
        ("extract", thinking),
        ("answer", ALL),
        ("answer", ALL),
    ]
