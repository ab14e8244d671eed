"""`synthetic_prompting` (Shao et al. 2023): a program gets a question, better programs answer it, the longest show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.artifacts import Artifact, Prepared, Row
from promptkit.techniques.catalog.synthetic_prompting import prepare
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform, task_for
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, flat, in_order, marked_example

SEEDS = [
    {"input": "SEED-A 1+1?", "topic": "cow", "output": "def solution():\n    a = 1\n    return a + a"},
    {"input": "SEED-B 2+2?", "topic": "lamp", "output": "def solution():\n    return 2 + 2"},
]
TOPICS = ["boat", "kite"]
LONG = "def solution():\n    a = 5\n    b = 1\n    c = 2\n    d = a + b\n    return d + c"
SHORT = "def solution():\n    SHORT = 5\n    more = 3\n    return SHORT + more"
OTHER = "def solution():\n    return 9"
AGREEING = [LONG, SHORT, OTHER]
DIFFERENT = [f"def solution():\n    return {number}" for number in (1, 2, 3)]
BACKWARD = "Lines:"


class Model:
    """A model that writes a question about the topic asked for, and programs for it in the order given."""

    def __init__(self, *forward: str, questions: str = "How many {topic}s has Q{number}?") -> None:
        self.forward = list(forward)
        self.questions = questions
        self.asked = 0

    def __call__(self, request: Any) -> str:
        text = flat(request)
        if BACKWARD in text:
            self.asked += 1
            topic = re.findall(r"Topic: (\w+)", text)[-1]
            question = self.questions.format(topic=topic, number=self.asked)
            return f"    BACK{self.asked} = 1  # 1\n    return BACK{self.asked}  # 2\nQuestion: {question}"
        return self.forward.pop(0)


def spec() -> Any:
    return {"synthetic_prompting": {"demos": {"program": SEEDS}}}


async def prepared(bench: Bench, **parameters: Any) -> Prepared:
    task = task_for(configure(spec(), bench.project), bench.step(values={}))
    rows = [Row(inputs={"question": "ROW?"})]
    return await prepare(task, rows, **{"rounds": 2, "topics": TOPICS, "chosen": 1, **parameters})


def step_of(bench: Bench, items: Any, **settings: Any) -> Any:
    artifact = Artifact(technique="synthetic_prompting", items=tuple(dict(item) for item in items))
    return bench.step(artifacts={"synthetic_prompting": artifact}, **settings)


def backward(bench: Bench) -> list[str]:
    return [text for text in bench.texts if BACKWARD in text]


def forward(bench: Bench) -> list[str]:
    return [text for text in bench.texts if BACKWARD not in text]


async def test_what_more_than_half_of_the_programs_agree_on_is_a_demonstration_with_the_shortest(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, Model(*AGREEING, *DIFFERENT, "def solution():\n    return 40"))

    made = await prepared(bench)
    answer = await perform(spec(), step_of(bench, made.items))

    assert answer.value == 40
    assert len(bench.texts) == 4 + 4 + 1
    assert [item["output"] for item in made.items] == [SHORT]
    assert "has Q1?" in made.items[0]["input"]
    assert "Q1" in bench.texts[-1] and "SHORT" in bench.texts[-1] and "Q2" not in bench.texts[-1]


async def test_a_question_is_solved_from_the_question_and_the_seeds_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Model(*AGREEING, *DIFFERENT))

    await prepared(bench)

    first = forward(bench)[:3]
    assert all(in_order(text, ["SEED-A", "SEED-B", "has Q1?"]) for text in first)
    assert not any("BACK" in text or "ROW?" in text for text in bench.texts[1:4])
    assert all(request.temperature > 0 for request in bench.runtime.requests)


async def test_a_question_is_asked_for_by_topic_and_number_of_lines_with_numbered_programs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Model(*DIFFERENT * 40), context=None)

    await prepared(bench, rounds=30)

    lines = {int(text.rpartition(BACKWARD)[2].split()[0]) for text in backward(bench)}
    topics = {re.findall(r"Topic: (\w+)", text)[-1] for text in backward(bench)}
    assert lines == {1, 2, 3, 4}  # From the shortest seed to two more than the longest.
    assert topics == {"boat", "kite"}
    assert in_order(backward(bench)[0], ["def solution():", "a = 1  # 1", "return a + a  # 2", "Question: SEED-A"])


async def test_earlier_questions_are_shown_too_as_many_as_there_are_seeds(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Model(*AGREEING * 12))

    await prepared(bench, rounds=12)

    shown = [len(re.findall(r"^Question: ", text, re.MULTILINE)) for text in backward(bench)]
    assert set(shown) == {2}
    assert any("has Q" in text for text in backward(bench))
    assert not any("BACK" in text for text in bench.texts)


@pytest.mark.parametrize(
    ("questions", "problem"),
    [
        ("How many are there?", "the question is not about `"),
        ("SEED-A 1+1?", "the question is there already"),
        ("a {topic} and a man and a {topic} and a man and a dog?", "the question repeats itself"),
        (" ", "the reply holds no question"),
    ],
)
async def test_a_bad_question_is_left_out_before_a_program_is_asked_for(
    tmp_path: Path, questions: str, problem: str
) -> None:
    bench = Bench(tmp_path, Model(questions=questions))

    made = await prepared(bench)

    assert made.items == []
    assert len(bench.texts) == 2
    assert all(each["problem"].startswith(problem) for each in made.uncertain)


async def test_exactly_half_is_no_majority(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Model(LONG, SHORT, OTHER, DIFFERENT[0]))

    made = await prepared(bench, rounds=1, samples=4)

    assert made.items == []
    assert made.uncertain[0]["answers"] == {"8": 2, "9": 1, "1": 1}


async def test_programs_that_fail_do_not_agree(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Model("def solution():\n    return 1 / 0", "no program at all", OTHER))

    made = await prepared(bench, rounds=1)

    assert made.uncertain[0]["answers"] == {"no answer": 2, "9": 1}


async def test_of_each_cluster_the_longest_program_is_shown(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, Model(*[OTHER] * 3, *[SHORT] * 3, *[OTHER] * 3), embedder=lambda text: [float("boat" in text)]
    )

    made = await prepared(bench, rounds=3, topics=["boat"])

    assert [item["output"] for item in made.items] == [SHORT]


async def test_topics_are_asked_for_until_there_are_enough(tmp_path: Path) -> None:
    replies = ["1. boat\n2. kite\n3. two words", "kite\nDrum", "sail"]
    bench = Bench(tmp_path, [*replies[:2], *["no"] * 4])

    await prepared(bench, topics=None, words=3, rounds=4)

    assert [record.call for record in bench.records] == ["words", "words", *["question"] * 4]
    assert "boat, kite" in bench.texts[1]
    assert {re.findall(r"Topic: (\w+)", text)[-1] for text in backward(bench)} <= {"boat", "kite", "drum"}


async def test_the_calls_for_topics_have_an_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: "no topic here")

    await prepared(bench, topics=None, word_calls=2, rounds=1)

    assert [record.call for record in bench.records] == ["words", "words", "question"]
    assert re.findall(r"Topic: (\w+)", bench.texts[2])[-1] in {"cow", "lamp"}


async def test_the_same_seed_makes_the_same_pool(tmp_path: Path) -> None:
    benches = [Bench(tmp_path, Model(*AGREEING * 8)) for _ in range(3)]

    for bench, seed in zip(benches, (1, 1, 2), strict=True):
        await prepared(bench, rounds=8, seed=seed)

    assert benches[0].texts == benches[1].texts != benches[2].texts


async def test_without_a_demonstration_there_is_nothing_to_start_from(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])
    task = task_for(
        configure({"synthetic_prompting": {"demos": {"program": []}}}, bench.project), bench.step(values={})
    )

    with pytest.raises(InputError, match="no demonstration"):
        await prepare(task, [])


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_the_step_costs_what_its_formula_says(tmp_path: Path, decide: Any) -> None:
    bench = Bench(tmp_path, [LONG])

    answer = await perform(spec(), step_of(bench, SEEDS, decide=decide))

    most = cost(configure(spec(), bench.project), bench.project, decide=decide)
    assert answer.value == 8
    assert len(bench.records) == most.calls == most.requests == most.depth == 1


async def test_without_a_preparation_the_step_says_how_to_prepare(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="promptkit techniques prepare synthetic_prompting sums --step add"):
        await perform(spec(), bench.step(home="sums.add"))


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    model = Model(*AGREEING, LONG)
    bench = Bench(tmp_path, lambda request: "boat" if "nouns" in flat(request) else model(request), prompt=MARKED)
    task = task_for(
        configure(spec(), bench.project), bench.step(values={"question": "ROW"}, examples=(marked_example(1),))
    )

    await prepare(task, [], rounds=1, words=1)
    await perform(spec(), step_of(bench, SEEDS, examples=(marked_example(1),)))

    making = "persona instructions constraints context"
    assert bench.shown == [
        ("words", "persona"),
        ("question", "persona"),
        *[("program", f"{making} output_format")] * 3,
        ("program", f"{making} output_format input"),
    ]
