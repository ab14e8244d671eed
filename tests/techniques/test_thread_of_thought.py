"""`thread_of_thought` (Zhou et al. 2023): a walk through the whole context, and an answer that goes on from it."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example, without

TRIGGER = "Walk me through this context in manageable parts step by step, summarizing and analyzing as we go."
CONCLUSION = "Therefore, the answer:"
WALK = "Part 1 names Dresden. Part 2 says YAK9."
VALUES = {"context": "A long text with ZEBRA7 in it.", "question": "Which town?"}
PROMPT = """\
---
inputs: {context: {type: text}, question: {type: text}}
---
{% block context %}Read this. {{ context }}{% endblock %}
{% block input %}{{ question }}{% endblock %}
{% block recap %}RECAP-MARK{% endblock %}
"""
LISTED = PROMPT.replace("context: {type: text}", "found: {type: list}").replace("{{ context }}", "{{ found }}")


async def ask(bench: Bench, values: Any = VALUES, **settings: Any) -> Any:
    return await perform("thread_of_thought", bench.step(values=values, **settings))


async def test_the_answer_goes_on_from_the_walk_with_the_whole_context_in_view(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [WALK, " Leipzig."], {"label": ["Dresden", "Leipzig"]}, prompt=PROMPT)

    answer = await ask(bench, decide="generate")

    first, second = bench.texts
    assert answer.value == "Leipzig"
    assert in_order(first, ["ZEBRA7", "Which town?", TRIGGER, "RECAP-MARK"])
    assert CONCLUSION not in first
    assert in_order(second, ["ZEBRA7", TRIGGER, "YAK9", CONCLUSION])
    assert bench.runtime.requests[1].messages == bench.runtime.requests[0].messages


async def test_under_constrain_the_conclusion_is_the_deciding_request_of_the_walk(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [WALK, " Leipzig"], {"label": ["Dresden", "Leipzig"]}, prompt=PROMPT)

    answer = await ask(bench)

    assert answer.value == "Leipzig"
    assert [request.grammar is not None for request in bench.runtime.requests] == [False, True]
    assert bench.runtime.requests[1].begun == f"{WALK}\n{CONCLUSION}"
    assert bench.levels == [("walk", 1), ("conclude", 2)]


async def test_a_runtime_that_cannot_continue_gets_the_walk_as_a_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [WALK, "Leipzig"], "text", prompt=PROMPT, capabilities=without("continue"))

    answer = await ask(bench)

    assert answer.value == "Leipzig"
    assert [message.content for message in bench.runtime.requests[1].messages[1:]] == [WALK, CONCLUSION]


@pytest.mark.parametrize("printing", ["{{ found }}", "{% for each in found %}- {{ each }}\n{% endfor %}"])
async def test_a_list_becomes_numbered_passages_in_its_place(tmp_path: Path, printing: str) -> None:
    bench = Bench(tmp_path, [WALK, "Leipzig"], "text", prompt=LISTED.replace("{{ found }}", printing))

    await ask(bench, {"found": ["ALPHA is a town.", "BETA is none."], "question": "Which town?"})

    assert in_order(
        bench.texts[0],
        ["Read this.", "retrieved Passage 1 is: ALPHA is a town.", "retrieved Passage 2 is: BETA is none.", "Which"],
    )
    assert [bench.texts[0].count(word) for word in ("ALPHA", "BETA", "[")] == [1, 1, 0]


async def test_without_a_context_it_is_an_error_that_names_the_inputs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [], "text", prompt=MARKED)

    with pytest.raises(InputError, match="no input plays the role `context`"):
        await perform("thread_of_thought", bench.step())


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    prompt = MARKED.replace("{question: {type: text}}", "{context: {type: text}, question: {type: text}}")
    bench = Bench(tmp_path, [WALK, "two"], "text", prompt=prompt)

    values = {"context": "", "question": "QUESTION-MARK?"}
    await ask(bench, values, examples=(marked_example("two"),), decide="generate")

    assert bench.shown == [("walk", ALL), ("conclude", ALL)]


@pytest.mark.parametrize(("decide", "calls", "requests"), [("generate", 2, 2), ("constrain", 1, 2)])
async def test_it_costs_what_its_formulas_say(tmp_path: Path, decide: Any, calls: int, requests: int) -> None:
    bench = Bench(tmp_path, [WALK, "Leipzig"], "text", prompt=PROMPT)

    await ask(bench, decide=decide)
    found = cost(configure("thread_of_thought", bench.project), bench.project, decide=decide)

    assert (found.calls, found.requests, found.depth) == (calls, requests, 2)
    assert len(bench.texts) == requests
