"""`three_hop` (Fei et al. 2023): aspect, opinion and polarity in calls of their own, each after those before it."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example

SENTENCE = "The chicken took an hour. TAGX"
HOPS = ["waiting time ASP1", "dissatisfied OPN2", "It is negative, not positive."]
LABELS = {"label": ["positive", "neutral", "negative"]}
PROMPT = """\
---
inputs: {sentence: {type: text}, target: {type: text}}
---
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block input %}{{ sentence }}{% endblock %}
"""
TARGETED = MARKED.replace("{question: {type: text}}", "{question: {type: text}, target: {type: text}}")


async def ask(bench: Bench, *, decide: Any = "generate", **parameters: Any) -> Any:
    step = bench.step(values={"sentence": SENTENCE, "target": "service"}, decide=decide)
    return await perform({"three_hop": parameters}, step)


async def test_each_hop_is_a_call_that_sees_the_answers_before_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*HOPS, "negative"], LABELS, prompt=PROMPT)

    answer = await ask(bench)

    aspect, opinion, polarity, label = bench.texts
    assert answer.value == "negative"
    assert in_order(aspect, [SENTENCE, "which specific aspect of service is possibly mentioned?"])
    assert "ASP1" not in aspect and "OPN2" not in aspect
    assert in_order(opinion, [SENTENCE, "ASP1", "implicit opinion towards the mentioned aspect of service, and why?"])
    assert "OPN2" not in opinion
    assert in_order(polarity, [SENTENCE, "ASP1", "OPN2", "what is the sentiment polarity towards service?"])
    assert in_order(label, [polarity, HOPS[2], "the sentiment polarity is"])
    assert answer.extra == {"aspect": HOPS[0], "opinion": HOPS[1], "polarity": HOPS[2]}
    assert bench.levels == [("aspect", 1), ("opinion", 2), ("polarity", 3), ("label", 4)]


async def test_under_constrain_the_label_is_the_deciding_request_of_the_third_hop(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*HOPS, " negative"], LABELS, prompt=PROMPT)

    answer = await ask(bench, decide="constrain")

    assert answer.value == "negative"
    assert [request.grammar is not None for request in bench.runtime.requests] == [False, False, False, True]


async def test_without_a_label_call_code_reads_the_third_hop(tmp_path: Path) -> None:
    bench = Bench(tmp_path, HOPS, LABELS, prompt=PROMPT)

    answer = await ask(bench, label=False)

    assert answer.value == "negative"
    assert len(bench.texts) == 3


async def test_a_third_hop_that_affirms_no_label_is_no_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*HOPS[:2], "It is not positive."], LABELS, prompt=PROMPT)

    answer = await ask(bench, label=False)

    assert (answer.value, answer.flag) == (None, "unparsed")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("It is negative, not positive.", "negative"),
        ("Positive at first, but in the end Negative.", "negative"),
        ("It isn't positive. It is neutral.", "neutral"),
        ("It isn’t a positive one.", None),
        ("negative rather than neutral", "negative"),
        ("Instead of positive, it is negative.", "negative"),
        ("It is unpositive.", None),
        ("No word of it.", None),
    ],
)
async def test_the_last_label_counts_that_is_not_negated(tmp_path: Path, text: str, label: str | None) -> None:
    bench = Bench(tmp_path, [*HOPS[:2], text], LABELS, prompt=PROMPT)

    assert (await ask(bench, label=False)).value == label


async def test_the_target_may_be_an_input_of_another_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*HOPS, "negative"], LABELS, prompt=PROMPT.replace("target:", "thing:"))
    step = bench.step(values={"sentence": SENTENCE, "thing": "service"}, decide="generate")

    answer = await perform({"three_hop": {"target": "thing"}}, step)

    assert answer.value == "negative"
    assert "aspect of service" in bench.texts[0]


async def test_without_a_target_it_is_an_error_before_the_first_call(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [], LABELS, prompt=PROMPT.replace(", target: {type: text}", ", thing: {type: text}"))

    with pytest.raises(InputError, match="no input plays the role `target`"):
        await perform("three_hop", bench.step(values={"sentence": SENTENCE, "thing": "service"}))


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [*HOPS, "negative"], LABELS, prompt=TARGETED)

    values = {"question": "QUESTION-MARK", "target": "service"}
    step = bench.step(values=values, examples=(marked_example("positive"),), decide="generate")
    await perform("three_hop", step)

    making = "persona instructions constraints context examples input"
    assert bench.shown == [
        ("aspect", making),
        ("opinion", making),
        ("polarity", ALL),
        ("label", ALL),
    ]


@pytest.mark.parametrize(
    ("decide", "label", "calls", "requests"),
    [("generate", True, 4, 4), ("generate", False, 3, 3), ("constrain", True, 3, 4), ("constrain", False, 3, 4)],
)
async def test_it_costs_what_its_formulas_say(
    tmp_path: Path, decide: Any, label: bool, calls: int, requests: int
) -> None:
    bench = Bench(tmp_path, [*HOPS, " negative"], LABELS, prompt=PROMPT)

    await ask(bench, decide=decide, label=label)
    found = cost(configure({"three_hop": {"label": label}}, bench.project), bench.project, decide=decide)

    assert (found.calls, found.requests, found.depth) == (calls, requests, requests)
    assert len(bench.texts) == requests


async def test_a_hop_of_several_lines_stands_on_one_in_those_after_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["waiting\n\ntime ASP1\n", *HOPS[1:], "negative"], LABELS, prompt=PROMPT)

    answer = await ask(bench)

    assert "The mentioned aspect is: waiting time ASP1\n" in bench.texts[1]
    assert answer.extra["aspect"] == "waiting time ASP1"
