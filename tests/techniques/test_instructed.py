"""`instructed` (Shi et al. 2023): one sentence beneath the calls of any other technique."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.prompts.prompt import Example
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example

PERMISSION = "Feel free to ignore irrelevant information given in the questions."
EXAMPLES = (Example({"question": "FIRST?"}, 4, "R-ONE"),)
OVER_VERIFICATION = {"chain_of_verification": {"questions": 1}}


async def ask(bench: Bench, over: Any = None, **settings: Any) -> Any:
    spec: Any = "instructed" if over is None else {"instructed": {"over": over}}
    return await perform(spec, bench.step(**settings))


async def test_alone_it_stands_once_before_the_examples_and_the_problem(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["12"])

    answer = await ask(bench, examples=EXAMPLES)

    assert answer.value == 12
    assert len(bench.texts) == 1
    assert bench.texts[0].count(PERMISSION) == 1
    assert in_order(bench.texts[0], [PERMISSION, "INSTRUCTIONS-MARK", "FIRST?", "QUESTION-MARK"])


@pytest.mark.parametrize("over", ["vanilla", "chain_of_thought", "self_consistency"])
@pytest.mark.parametrize("settings", [{}, {"examples": EXAMPLES}, {"messages": "system"}])
async def test_taking_it_away_takes_away_that_sentence_and_nothing_else(
    tmp_path: Path, over: str, settings: dict[str, Any]
) -> None:
    bare, instructed = (Bench(tmp_path, lambda request: "12") for _ in range(2))

    await perform(over, bare.step(**settings))
    await ask(instructed, over, **settings)

    assert [text.replace(f"{PERMISSION}\n", "") for text in instructed.texts] == bare.texts


async def test_over_a_chain_of_thought_the_answer_is_read_as_without_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["He has 3 boxes of 4. The answer is 12."])

    answer = await ask(bench, "chain_of_thought", examples=EXAMPLES, decide="generate", cue="The answer is")

    assert answer.value == 12
    assert [text.count(PERMISSION) for text in bench.texts] == [1]


async def test_over_self_consistency_each_sample_holds_it_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["a\nOutput: 12", "b\nOutput: 31", "c\nOutput: 12"])

    answer = await ask(bench, {"self_consistency": {"samples": 3}}, decide="generate")

    assert answer.value == 12
    assert [text.count(PERMISSION) for text in bench.texts] == [1, 1, 1]
    assert len({request.sample for request in bench.runtime.requests}) == 3


async def test_over_chain_of_verification_it_is_a_part_of_the_task_that_is_planned_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["12", "1. How many boxes?", "3", "12"])

    await ask(bench, OVER_VERIFICATION)

    assert [(record.call, text.count(PERMISSION)) for record, text in zip(bench.records, bench.texts, strict=True)] == [
        ("baseline", 1),
        ("plan", 1),
        ("execute", 0),
        ("final", 1),
    ]


async def test_modifiers_lie_over_each_other_each_with_its_own_words(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "techniques" / "hurried"
    folder.mkdir(parents=True)
    front = "---\nproduces: answer\nmodifier: true\n---\n{% extends prompt %}"
    (folder / "answer.j2").write_text(front + "{% block instructions %}{{ super() }}\nBE QUICK{% endblock %}\n")
    bench = Bench(tmp_path, ["Chain.", "12"])

    await ask(bench, {"hurried": {"over": {"hurried": {"over": "chain_of_thought"}}}})

    for text in bench.texts:
        assert text.count(PERMISSION) == 1
        assert in_order(text, [PERMISSION, "INSTRUCTIONS-MARK", "BE QUICK", "BE QUICK", "QUESTION-MARK"])


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["Chain.", "12"], prompt=MARKED)

    await ask(bench, "chain_of_thought", examples=(marked_example(4),))

    assert bench.shown == [("reason", ALL), ("reason", ALL)]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
@pytest.mark.parametrize("over", ["vanilla", "chain_of_thought", OVER_VERIFICATION])
async def test_it_costs_what_the_technique_beneath_costs(tmp_path: Path, over: Any, decide: Any) -> None:
    project = Bench(tmp_path, []).project

    instructed = cost(configure({"instructed": {"over": over}}, project), project, decide=decide)

    assert instructed == cost(configure(over, project), project, decide=decide)
