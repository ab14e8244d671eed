"""`implicit_rag` (Vatsal and Singh 2024): passages copied and an answer from them, in one reply."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example

CONTEXT = "First comes alpha\n  beta. Then gamma ZEBRA7 follows. Delta is last."
REPLY = "Section 1: alpha beta\nSection 2: gamma ZEBRA7\nAnswer: gamma"
PROMPT = """\
---
inputs: {context: {type: text}, question: {type: text}}
---
{% block context %}{{ context }}{% endblock %}
{% block input %}{{ question }}{% endblock %}
"""


async def ask(
    bench: Bench, context: Any = CONTEXT, *, decide: Any = "generate", warn: Any = lambda names: None, **parameters: Any
) -> Any:
    step = bench.step(values={"context": context, "question": "What follows?"}, decide=decide, warn=warn)
    return await perform({"implicit_rag": parameters}, step)


async def test_one_call_lists_the_sections_and_answers_after_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY], "text", prompt=PROMPT)

    answer = await ask(bench, sections=7, words=41)

    (text,) = bench.texts
    assert answer.value == "gamma"
    assert answer.extra == {"sections": ["alpha beta", "gamma ZEBRA7"], "ungrounded": []}
    assert CONTEXT in text
    assert in_order(text, ["7 passages", "41 words", "Then answer", '"Answer:"', "What follows?"])


async def test_a_section_that_stands_nowhere_in_the_context_is_reported(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY], "text", prompt=PROMPT)

    answer = await ask(bench, CONTEXT.replace("ZEBRA7", ""))

    assert answer.value == "gamma"
    assert answer.extra["ungrounded"] == ["gamma ZEBRA7"]


async def test_sections_without_an_answer_are_no_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["Section 1: alpha beta\nSection 2: gamma ZEBRA7"], "text", prompt=PROMPT)

    answer = await ask(bench)

    assert (answer.value, answer.flag) == (None, "unparsed")
    assert answer.extra["sections"] == ["alpha beta", "gamma ZEBRA7"]


async def test_the_sections_are_read_in_other_writings(tmp_path: Path) -> None:
    reply = 'Here they are.\n**Section 1:** "alpha\nbeta"\n- Section 2. Delta is last.\n**Answer:** Delta'
    bench = Bench(tmp_path, [reply], {"label": ["alpha", "Delta"]}, prompt=PROMPT)

    answer = await ask(bench)

    assert answer.value == "Delta"
    assert answer.extra == {"sections": ["alpha\nbeta", "Delta is last."], "ungrounded": []}


@pytest.mark.parametrize("answered", ["**Answer:** Delta", "Answer: **Delta**", "## Answer\nDelta"])
async def test_a_text_is_read_without_the_cue_and_the_emphasis_and_is_no_section(tmp_path: Path, answered: str) -> None:
    bench = Bench(tmp_path, [f"Section 1: Delta is last.\n{answered}"], "text", prompt=PROMPT)

    answer = await ask(bench)

    assert (answer.value, answer.extra["sections"]) == ("Delta", ["Delta is last."])


async def test_an_answer_without_copied_sections_is_a_warning(tmp_path: Path) -> None:
    warned: list[str] = []

    for reply in ["Answer: Delta", "Section 1: alpha\nAnswer: Delta"]:
        await ask(Bench(tmp_path, [reply], "text", prompt=PROMPT), warn=warned.extend)

    assert warned == ["no_passage"]


async def test_a_list_of_passages_is_shown_and_searched_as_one_text(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY], "text", prompt=PROMPT.replace("context: {type: text}", "context: {type: list}"))

    answer = await ask(bench, ["alpha beta", "gamma ZEBRA7"])

    assert "<CONTEXT>\nalpha beta\n\ngamma ZEBRA7\n</CONTEXT>" in bench.texts[0]
    assert answer.extra["ungrounded"] == []


async def test_under_constrain_the_answer_is_decided_after_the_sections(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, ["Section 1: alpha beta\nAnswer: alpha", " Delta"], {"label": ["alpha", "Delta"]}, prompt=PROMPT
    )

    answer = await ask(bench, decide="constrain")

    assert answer.value == "Delta"
    assert answer.extra["sections"] == ["alpha beta"]
    assert bench.runtime.requests[1].begun == "Section 1: alpha beta\nAnswer:"


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    prompt = MARKED.replace("{question: {type: text}}", "{context: {type: text}, question: {type: text}}")
    bench = Bench(tmp_path, ["CUE-MARK: two"], "text", prompt=prompt)

    values = {"context": "", "question": "QUESTION-MARK?"}
    step = bench.step(values=values, examples=(marked_example("two"),), decide="generate")
    answer = await perform("implicit_rag", step)

    assert answer.value == "two"
    assert bench.shown == [("answer", ALL)]


@pytest.mark.parametrize(("decide", "requests"), [("generate", 1), ("constrain", 2)])
async def test_it_costs_what_its_formulas_say(tmp_path: Path, decide: Any, requests: int) -> None:
    bench = Bench(tmp_path, [REPLY, "gamma"], "text", prompt=PROMPT)

    await ask(bench, decide=decide)
    found = cost(configure("implicit_rag", bench.project), bench.project, decide=decide)

    assert (found.calls, found.requests, found.depth) == (1, requests, requests)
    assert len(bench.texts) == requests
