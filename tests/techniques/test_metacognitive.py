"""`metacognitive` (Wang and Zhao 2024): five stages in one reply, of which the answer sentence counts."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.catalog.metacognitive import read_confidence
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example

STAGES = (
    "1. It is about a film.\n2. preliminary: positive\n3. I am unsure, so I look again.\n"
    "4. The sentiment is negative, as it was too long.\n5. Confidence: 85%"
)
LABELS = {"label": ["positive", "negative"]}


async def ask(bench: Bench, **settings: Any) -> Any:
    return await perform("metacognitive", bench.step(cue="The sentiment is", **settings))


async def test_the_answer_sentence_counts_and_not_the_preliminary_judgement(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STAGES], LABELS)

    answer = await ask(bench, decide="generate")

    (text,) = bench.texts
    assert answer.value == "negative"
    assert answer.extra == {"confidence": 85}
    assert in_order(
        text,
        ["1. Clarify", "2. Make a preliminary", "3. Critically assess", "try to reassess", "4. Confirm", "5. Evaluate"],
    )
    assert in_order(text, ["5. Evaluate", 'begins with "The sentiment is"', "QUESTION-MARK"])


@pytest.mark.parametrize(
    ("kind", "sentence", "value"),
    [("text", "Paris.", "Paris."), ({"list": {"separator": ","}}, "Paris, Rome and Oslo.", ["Paris", "Rome", "Oslo"])],
)
@pytest.mark.parametrize("last", ["5. Confidence: 90%", "**5.** I am 90% confident.", "Stage 5: Confidence is 90%"])
async def test_the_stage_after_the_answer_sentence_is_no_answer(
    tmp_path: Path, kind: Any, sentence: str, value: Any, last: str
) -> None:
    bench = Bench(tmp_path, [f"1. A question.\n4. The answer is {sentence}\n{last}"], kind)

    answer = await perform("metacognitive", bench.step(decide="generate"))

    assert answer.value in (value, str(value).rstrip("."))
    assert answer.extra["confidence"] == 90


async def test_a_number_is_not_read_from_the_confidence(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["2. preliminary: 6\n5. I am 85 percent confident.\nThe answer is 7"])

    answer = await perform("metacognitive", bench.step(decide="generate"))

    assert (answer.value, answer.extra["confidence"]) == (7, 85)


async def test_without_the_answer_sentence_there_is_no_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["2. preliminary: positive\n5. Confidence: 85%"], LABELS)

    answer = await ask(bench, decide="generate")

    assert (answer.value, answer.flag, answer.extra["confidence"]) == (None, "unparsed", 85)


async def test_under_constrain_the_decided_label_stands_against_the_sentence_of_stage_four(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [STAGES, " positive"], LABELS)

    answer = await ask(bench)

    assert (answer.value, answer.extra["confidence"]) == ("positive", 85)
    assert bench.runtime.requests[1].begun == f"{STAGES}\nThe sentiment is"


async def test_under_constrain_a_preliminary_judgement_worded_as_the_answer_does_not_end_the_stages(
    tmp_path: Path,
) -> None:
    stages = "1. A film.\n2. Preliminary:\nThe sentiment is positive\n3. It was too long.\n5. Confidence: 85%"
    bench = Bench(tmp_path, [f"{stages}\nThe sentiment is negative.", " negative"], LABELS)

    answer = await ask(bench)

    first, second = bench.runtime.requests
    assert (answer.value, answer.extra["confidence"]) == ("negative", 85)
    assert first.stop == ()
    assert second.begun == f"{stages}\nThe sentiment is"


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("5. Confidence (0-100%): 85", 85),
        ("I am 72.5% confident, for 2 reasons.", 72),
        ("Confidence: 100 %", 100),
        ("My confidence is 90%.\nI could be more confident.", 90),
        ("There were 95% of them.\nNo word of it.", None),
        ("I am confident.", None),
        ("", None),
    ],
)
def test_the_confidence_is_read_where_it_is_spoken_of(text: str, confidence: int | None) -> None:
    assert read_confidence(text) == confidence


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["CUE-MARK: 2"], prompt=MARKED)

    await perform("metacognitive", bench.step(examples=(marked_example(2),), decide="generate"))

    assert bench.shown == [("answer", ALL)]


@pytest.mark.parametrize(("decide", "requests"), [("generate", 1), ("constrain", 2)])
async def test_it_costs_what_its_formulas_say(tmp_path: Path, decide: Any, requests: int) -> None:
    bench = Bench(tmp_path, [STAGES, " positive"], LABELS)

    await ask(bench, decide=decide)
    found = cost(configure("metacognitive", bench.project), bench.project, decide=decide)

    assert (found.calls, found.requests, found.depth) == (1, requests, requests)
    assert len(bench.texts) == requests
