"""`federated` (Liu et al. 2023): wordings of one question vote; other questions become demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.artifacts import Artifact, Prepared, Row
from promptkit.techniques.catalog.federated import prepare, restated
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform, task_for
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, flat, in_order, marked_example, routed

EXTRACT = "Therefore, the answer (arabic numerals) is"
RESTATE = "Restate the whole problem in other words"
TRIGGER = "Let's think step by step."
WORDED = MARKED.replace("inputs: {question: {type: text}}", "inputs: {question: {type: text}, wordings: {type: list}}")
WORDINGS = ["P-ONE?", "P-TWO?", "P-THREE?"]
EXTRACTED = {"P-ONE?": "15", "P-TWO?": "12", "P-THREE?": "12"}


def by_wording(request: Any) -> str:
    text = flat(request)
    (wording,) = [each for each in WORDINGS if each in text]
    return EXTRACTED[wording] if EXTRACT in text else f" about {wording[:5]}."


async def ask(bench: Bench, step: Any, **parameters: Any) -> Any:
    return await perform({"federated": parameters}, step)


def with_wordings(bench: Bench, **settings: Any) -> Any:
    values = {"question": "QUESTION-MARK?", "wordings": WORDINGS}
    return bench.step(values=values, cue="none", **{"decide": "generate", **settings})


async def test_each_given_wording_is_answered_alone_and_they_vote(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_wording, prompt=WORDED)

    answer = await ask(bench, with_wordings(bench))

    assert answer.value == 12
    assert len(bench.texts) == 6
    assert all(sum(wording in text for wording in WORDINGS) == 1 for text in bench.texts)
    assert not any("QUESTION-MARK" in text for text in bench.texts)
    assert all(request.temperature == 0 for request in bench.runtime.requests)


async def test_a_blank_wording_is_none(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_wording, prompt=WORDED)
    values = {"question": "QUESTION-MARK?", "wordings": ["P-ONE?", " ", "P-ONE? "]}

    answer = await ask(bench, bench.step(values=values, decide="generate"))

    assert answer.extra["wordings"] == ["P-ONE?"]


async def test_no_more_wordings_are_asked_than_the_step_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_wording, prompt=WORDED)

    answer = await ask(bench, with_wordings(bench, decide="constrain"), phrasings=2)

    assert answer.extra["wordings"] == WORDINGS[:2]
    assert len(bench.texts) == 4


PARAPHRASED = routed(
    (RESTATE, ["Of 3 and 4, what is the SUMP?", "Of 3 and 5, what is the LOSTP?"]),
    (EXTRACT, ["7", "7"]),
    ("SUMP", " so."),
    ("QUESTION-MARK 3+4?", " so."),
)


async def test_a_paraphrase_that_changes_a_number_is_dropped_and_not_replaced(tmp_path: Path) -> None:
    bench = Bench(tmp_path, PARAPHRASED)

    answer = await ask(bench, bench.step(decide="generate"), phrasings=3)

    assert answer.value == 7
    assert len(bench.texts) == 2 + 2 * 2
    assert answer.extra["wordings"] == ["QUESTION-MARK 3+4?", "Of 3 and 4, what is the SUMP?"]
    assert not any("LOSTP" in text for text in bench.texts)
    assert [record.request.temperature > 0 for record in bench.records] == [True, True, False, False, False, False]


@pytest.mark.parametrize("before", ["", "Here is the restated problem:\n\n", "\n\nSure:\n\n\n"])
async def test_a_paraphrase_is_the_paragraph_that_announces_no_other(tmp_path: Path, before: str) -> None:
    reply = f"{before}Is a whale one of the FISHES?\n\nI kept the sense."
    bench = Bench(tmp_path, routed((RESTATE, [reply]), (EXTRACT, "false"), ("", " so.")), "boolean")

    answer = await ask(bench, bench.step(values={"question": "Is a whale a fish?"}, decide="generate"), phrasings=2)

    assert answer.extra["wordings"] == ["Is a whale a fish?", "Is a whale one of the FISHES?"]


LONG = "Nora owns 3 boxes of pens.\n\nEach box has 12 pens. How many pens does she own?"


@pytest.mark.parametrize(
    ("question", "reply", "kept"),
    [
        (LONG, f"Sure:\n\n{LONG.replace('owns', 'has')}\n\nI kept the 2 numbers.", LONG.replace("owns", "has")),
        (LONG, "Nora has three boxes of twelve pens each. How many has she?", True),
        (LONG, "Nora has one box, then three boxes of 12 pens. How many pens are in all of them?", True),
        (LONG, "Nora has 3 boxes of pens.\n\nEach has 11 pens. How many pens does she have?", ""),
        (LONG, "Nora has 3 boxes of 12 pens each, which makes a lot of pens for her.", ""),
        (LONG, "3 times 12?", ""),
        ("Is a whale a fish?", "A whale is a mammal.", ""),
    ],
)
def test_a_paraphrase_is_kept_that_has_the_numbers_the_question_and_the_length(
    question: str, reply: str, kept: str | bool
) -> None:
    assert restated(reply, question) == (reply if kept is True else kept)


async def test_without_a_paraphrase_the_question_is_asked_alone_and_a_warning_tells(tmp_path: Path) -> None:
    bench, warned = Bench(tmp_path, routed((RESTATE, "Of 3 and 5?"), (EXTRACT, "7"), ("", " so."))), list[str]()

    answer = await ask(bench, bench.step(decide="generate", warn=warned.extend), phrasings=2)

    assert (answer.value, len(answer.extra["wordings"])) == (7, 1)
    assert warned == ["no_paraphrase"]


async def test_a_paraphrase_may_be_as_long_as_the_question(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed((RESTATE, "Of 3 and 5?"), (EXTRACT, "7"), ("", " so.")))

    for length in (10, 1000):
        step = bench.step(values={"question": length * "x"}, decide="generate")
        await perform({"federated": {"phrasings": 2}}, step)

    bounds = [record.request.max_tokens for record in bench.records if record.call == "paraphrase"]
    assert bounds == [128, 1000]


async def test_paraphrases_that_are_the_same_are_asked_once(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path,
        routed((RESTATE, ["Of 3 and 4?", "QUESTION-MARK 3+4?", " Of 3 and 4? "]), (EXTRACT, "7"), ("", " so.")),
    )

    answer = await ask(bench, bench.step(decide="generate"), phrasings=4)

    assert answer.extra["wordings"] == ["QUESTION-MARK 3+4?", "Of 3 and 4?"]


async def test_one_phrasing_is_the_question_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [" so.", "7"])

    answer = await ask(bench, bench.step(decide="generate"), phrasings=1)

    assert (answer.value, len(bench.texts)) == (7, 2)


async def test_wordings_run_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed((RESTATE, "The sum of 3 and 4?"), (EXTRACT, "7"), ("", " so.")))

    await ask(bench, bench.step(), phrasings=2)

    assert sorted(bench.levels) == [("extract", 3), ("extract", 3), ("paraphrase", 1), ("reason", 2), ("reason", 2)]


LABELS = {
    "POOL-A?": ["A-ODD.\nOutput: 9", "A-ONE.\nOutput: 7", "A-TWO.\nOutput: 7"],
    "POOL-B?": ["B-ODD.\nOutput: 2", "B-ONE.\nOutput: 4", "B-TWO.\nOutput: 4.0"],
}


def labelling(labels: dict[str, list[str]]) -> Any:
    left = {question: list(replies) for question, replies in labels.items()}

    def script(request: Any) -> str:
        text = flat(request)
        if "QUESTION-MARK" in text:
            return " so.\nOutput: 40"
        return left[next(question for question in left if question in text)].pop(0)

    return script


async def prepared(bench: Bench, labels: dict[str, list[str]], **parameters: Any) -> Prepared:
    task = task_for(configure("federated", bench.project), bench.step(decide="generate", values={}))
    rows = [Row(inputs={"question": question}, expect="GOLD-999") for question in labels]
    return await prepare(task, rows, **{"samples": 3, **parameters})


def step_of(bench: Bench, items: Any, **settings: Any) -> Any:
    artifact = Artifact(technique="federated", items=tuple(dict(item) for item in items))
    return bench.step(artifacts={"federated": artifact}, **{"decide": "generate", **settings})


async def test_pool_questions_labelled_by_a_vote_are_the_demonstrations_of_one_call(tmp_path: Path) -> None:
    bench = Bench(tmp_path, labelling(LABELS))

    made = await prepared(bench, LABELS)
    answer = await ask(bench, step_of(bench, made.items), variant="different")

    text = bench.texts[-1]
    assert answer.value == 40
    assert len(bench.texts) == 2 * 3 + 1
    shown = ["The worked examples may contain mistakes", "POOL-A?", "A-ONE.", "Output: 7", "POOL-B?", "B-ONE."]
    assert in_order(text, [*shown, "Output: 4", "QUESTION-MARK", TRIGGER])
    assert not any(word in text for word in ("A-ODD", "B-ODD", "GOLD-999", "Output: 9", "Output: 2"))
    assert [request.temperature > 0 for request in bench.runtime.requests] == [True] * 6 + [False]


async def test_the_questions_most_like_the_given_one_but_for_its_numbers_are_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: " so.\nOutput: 40")
    pool = ["Tom has 3 apples and eats 1.", "A train runs 80 km in 2 hours.", "Ann has 70 apples and eats 21."]
    items = [{"input": {"question": text}, "thoughts": "B", "output": 1} for text in pool]
    step = step_of(bench, items, values={"question": "Sue has 80 apples and eats 2."})

    await ask(bench, step, variant="different", shown=2)

    assert in_order(bench.texts[0], [pool[0], pool[2], "Sue has 80"])
    assert pool[1] not in bench.texts[0]


async def test_samples_that_do_not_agree_are_told(tmp_path: Path) -> None:
    labels = {**LABELS, "POOL-B?": ["B.\nOutput: 4"] * 3}

    made = await prepared(Bench(tmp_path, labelling(labels)), labels)

    assert list(made.uncertain) == [{"input": {"question": "POOL-A?"}, "answers": {"9": 1, "7": 2}}]


async def test_a_question_without_thoughts_or_an_answer_is_no_demonstration(tmp_path: Path) -> None:
    labels = {"POOL-A?": ["Output: 9"] * 3, "POOL-B?": ["no idea"] * 3}

    made = await prepared(Bench(tmp_path, labelling(labels)), labels)

    assert made.items == []
    assert [each["answers"] for each in made.uncertain] == [{"9": 3}, {"no answer": 3}]


async def test_different_without_a_preparation_says_how_to_prepare(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="promptkit techniques prepare federated sums --step add"):
        await ask(bench, bench.step(home="sums.add"), variant="different")


@pytest.mark.parametrize(
    ("decide", "variant", "calls", "requests", "depth"),
    [
        ("generate", "same", 8, 8, 3),
        ("constrain", "same", 5, 8, 3),
        ("generate", "different", 1, 1, 1),
        ("constrain", "different", 1, 2, 2),
    ],
)
async def test_it_costs_what_its_formulas_say(
    tmp_path: Path, decide: Any, variant: str, calls: int, requests: int, depth: int
) -> None:
    restated = ["The sum of 3 and 4?", "Add 4 to 3: what comes?"]
    bench = Bench(tmp_path, routed((RESTATE, restated), (EXTRACT, "7"), ("", "7")))
    spec = {"federated": {"variant": variant, "phrasings": 3}}
    items = [{"input": {"question": "A?"}, "thoughts": "B", "output": 1}]

    assert (await perform(spec, step_of(bench, items, decide=decide))).value == 7

    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    assert (most.calls, most.requests, most.depth) == (calls, requests, depth)
    assert (len(bench.records), max(record.level for record in bench.records)) == (requests, depth)


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed((RESTATE, "QUESTION-MARK anew?"), ("", "7")), prompt=MARKED)
    step = bench.step(values={"question": "QUESTION-MARK?"}, examples=(marked_example(2),))

    await ask(bench, step, phrasings=2)

    assert bench.shown == [("paraphrase", "persona input"), *[("reason", ALL)] * 2, *[("extract", ALL)] * 2]


async def test_each_call_of_different_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: "so.\nCUE-MARK: 7", prompt=MARKED)
    task = task_for(configure("federated", bench.project), bench.step(decide="generate", values={}))
    item = {"input": dict(marked_example(2).inputs), "thoughts": "THOUGHTS-MARK", "output": 2}

    await prepare(task, [Row(inputs={"question": "QUESTION-MARK?"})], samples=1)
    await ask(bench, step_of(bench, [item]), variant="different")

    alone = "persona instructions constraints context output_format input recap cue"
    assert bench.shown == [("label", alone), ("answer", ALL)]
    assert "step by step" in bench.texts[0]
