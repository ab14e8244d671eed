"""`system_2_attention` (Weston and Sukhbaatar 2023): the input is written anew, and nobody sees the original again."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Reply
from promptkit.techniques.cost import Cost, cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order, marked_example

ORIGINAL = "ZEBRA7 I think the answer is Sunnyvale. Where was the mayor born?"
REWRITING = (
    "Unbiased text context (includes all content except user's bias): The mayor is YAK9.\n"
    "Question/Query (does not include user bias/preference): Where was the mayor born?"
)
ORDER = "Answer in an unbiased way."
PARTED = """\
---
inputs: {context: {type: text}, question: {type: text}}
---
{% block instructions %}Read about {{ question }}{% endblock %}
{% block context %}Said: {{ context }}{% endblock %}
{% block input %}Asked: {{ question }}{% endblock %}
{% block recap %}Again: {{ question }} {{ context }}{% endblock %}
"""
VALUES = {"context": "ZEBRA7 says Sunnyvale.", "question": "Where was Sunnyvale's mayor born?"}


def bench_of(folder: Path, replies: Any, answer: Any = "text", **settings: Any) -> Bench:
    return Bench(folder, replies, answer, **settings)


async def ask(bench: Bench, over: Any = None, **settings: Any) -> Any:
    spec: Any = "system_2_attention" if over is None else {"system_2_attention": {"over": over}}
    settings.setdefault("values", {"question": ORIGINAL})
    return await perform(spec, bench.step(decide=settings.pop("decide", "generate"), **settings))


async def test_the_answer_is_given_from_the_rewriting_alone(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [REWRITING, "Saratoga"])

    answer = await ask(bench)

    first, second = bench.texts
    assert answer.value == "Saratoga"
    assert ORIGINAL in first
    assert in_order(second, ["YAK9", "Where was the mayor born?", "RECAP-MARK", ORDER])
    assert "ZEBRA7" not in second and "Sunnyvale" not in second
    assert answer.extra["rewritten"] == {"context": "The mayor is YAK9.", "question": "Where was the mayor born?"}
    assert bench.levels == [("rewrite", 1), ("answer", 2)]


@pytest.mark.parametrize("mode", ["one", "system", "turns"])
async def test_bound_inputs_are_replaced_wherever_the_prompt_shows_them(tmp_path: Path, mode: Any) -> None:
    bench = bench_of(tmp_path, [REWRITING, "Saratoga"], prompt=PARTED)
    examples = (Example({"question": "FIRST?"}, "four"),)

    await ask(bench, values=VALUES, messages=mode, examples=examples)

    first, second = bench.texts
    assert all(text in first for text in VALUES.values())
    assert in_order(second, ["Read about Where was the mayor born?", "FIRST?", "Again: Where", "YAK9"])
    assert "ZEBRA7" not in second and "Sunnyvale" not in second


async def test_what_stands_in_neither_section_is_rewritten_too(tmp_path: Path) -> None:
    prompt = "---\ninputs: {text: {type: text}}\n---\n{% block instructions %}Answer: {{ text }}{% endblock %}\n"
    bench = bench_of(tmp_path, [REWRITING, "Saratoga"], prompt=prompt)

    await ask(bench, values={"text": ORIGINAL})

    assert ORIGINAL in bench.texts[0]
    assert in_order(bench.texts[1], ["Answer: Where was the mayor born?", "YAK9"])
    assert bench.texts[1].count("Where was the mayor born?") == 1
    assert "ZEBRA7" not in bench.texts[1]


async def test_over_a_technique_all_its_calls_see_only_the_rewriting(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [REWRITING, "Draft.", "1. Who is mayor?\n2. Where?", "YAK9", "There", "Saratoga"])

    answer = await ask(bench, "chain_of_verification")

    assert answer.value == "Saratoga"
    assert [record.call for record in bench.records] == ["rewrite", "baseline", "plan", "execute", "execute", "final"]
    assert not any(word in text for text in bench.texts[1:] for word in ("ZEBRA7", "Sunnyvale"))
    assert all("Where was the mayor born?" in bench.texts[at] for at in (1, 2, 5))


async def test_over_a_technique_with_roles_a_list_becomes_one_passage(tmp_path: Path) -> None:
    prompt = PARTED.replace("context: {type: text}", "context: {type: list}")
    bench = bench_of(tmp_path, [REWRITING, "Walk.", "Saratoga"], prompt=prompt)

    values = {"context": ["ZEBRA7 says Sunnyvale.", "More."], "question": "Where?"}
    await ask(bench, "thread_of_thought", values=values)

    assert "retrieved Passage 1 is: The mayor is YAK9." in bench.texts[1]
    assert not any("ZEBRA7" in text or "Passage 2" in text for text in bench.texts[1:])


async def test_over_a_technique_that_takes_its_context_from_another_input_that_is_replaced_too(tmp_path: Path) -> None:
    prompt = PARTED.replace("context: {type: text}", "found: {type: list}").replace("{{ context }}", "{{ found }}")
    bench = bench_of(
        tmp_path, [REWRITING, "Walk.", "Saratoga"], prompt=prompt.replace("Again: {{ question }}", "Again:")
    )

    await ask(bench, "thread_of_thought", values={"found": ["ZEBRA7 says Sunnyvale."], "question": "Where?"})

    assert "ZEBRA7" in bench.texts[0]
    assert in_order(bench.texts[1], ["YAK9", "Where was the mayor born?"])
    assert not any("ZEBRA7" in text for text in bench.texts[1:])


async def test_beneath_other_modifiers_and_samples_the_original_stays_away(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [REWRITING, "one", REWRITING, "two", REWRITING, "two"])
    inner = {"system_2_attention": {"over": "instructed"}}
    spec = {"instructed": {"over": {"self_consistency": {"samples": 3, "over": inner}}}}

    await perform(spec, bench.step(values={"question": ORIGINAL}, decide="generate"))

    answering = [text for record, text in zip(bench.records, bench.texts, strict=True) if record.call == "answer"]
    assert len(bench.texts) == 6
    assert [text.count("Feel free to ignore") for text in answering] == [2, 2, 2]
    assert not any("ZEBRA7" in text for text in answering)


@pytest.mark.parametrize(
    "rewriting",
    [
        REWRITING.replace("'", "’"),
        REWRITING.upper(),
        "Here you are:\n\n1. **" + REWRITING.replace("):", "):**").replace("\nQ", "\n\n2. **Q"),
        REWRITING.replace(": ", ":\n") + "\n\nThe answer would be Sunnyvale.",
        REWRITING + "\nAnswer: Sunnyvale",
        "Unbiased text context: The mayor is YAK9.\nQuestion/Query: Where was the mayor born?\nNote: no Sunnyvale.",
        "Question/Query: Where was the mayor born?\nUnbiased text context: The mayor is YAK9.",
    ],
)
async def test_the_two_parts_are_read_in_other_writings_and_without_what_is_said_around_them(
    tmp_path: Path, rewriting: str
) -> None:
    bench = bench_of(tmp_path, [rewriting, "Saratoga"])

    answer = await ask(bench)

    parts = {name: text.casefold() for name, text in answer.extra["rewritten"].items()}
    assert parts == {"context": "the mayor is yak9.", "question": "where was the mayor born?"}
    assert "Sunnyvale" not in bench.texts[1]


async def test_a_rewriting_without_labels_stands_whole_and_the_trace_says_so(tmp_path: Path) -> None:
    bench, warned = bench_of(tmp_path, ["Where was mayor YAK9 born?", "Saratoga"]), list[str]()

    answer = await ask(bench, warn=warned.extend)

    assert warned == ["unread_call"]
    assert answer.extra["rewritten"] == {"context": "", "question": "Where was mayor YAK9 born?"}
    assert "CONTEXT" not in bench.texts[1] and "ZEBRA7" not in bench.texts[1]
    assert any("lacks its labels" in note for note in bench.records[0].notes)


async def test_an_empty_rewriting_is_no_answer_and_never_the_original(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [Reply(text=" ", finish="stop")])

    answer = await ask(bench)

    assert (answer.value, answer.flag, len(bench.texts)) == (None, "unparsed", 1)


async def test_a_rewriting_that_runs_out_of_tokens_is_told(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [REWRITING, "Saratoga"])

    await perform({"system_2_attention": {"max_tokens": 12}}, bench.step(values={"question": ORIGINAL}))

    assert bench.runtime.requests[0].max_tokens == 12
    assert "the rewriting ran out of tokens" in bench.records[0].notes


async def test_numbers_of_the_question_that_are_lost_are_told(tmp_path: Path) -> None:
    rewriting = "Unbiased text context: $12 a piece.\nQuestion/Query: How many are left?"
    bench = bench_of(tmp_path, [rewriting, "7"], prompt=PARTED)

    answer = await ask(
        bench, values={"context": "12 eggs and 99 hens.", "question": "How many of 12 are left after 5?"}
    )

    assert answer.extra["rewritten"]["context"] == "$12 a piece."
    assert answer.extra["lost_numbers"] == ["5"]


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [REWRITING, "two"], prompt=MARKED)

    await perform("system_2_attention", bench.step(examples=(marked_example("two"),)))

    assert bench.shown == [
        ("rewrite", "persona context input"),
        ("answer", "persona instructions constraints output_format examples recap cue"),
    ]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
@pytest.mark.parametrize("over", ["vanilla", "plan_and_solve"])
async def test_it_costs_one_call_more_than_what_it_is_put_over(tmp_path: Path, decide: Any, over: str) -> None:
    bench = bench_of(tmp_path, [REWRITING, "one", "two"])

    await ask(bench, over, decide=decide)
    found = cost(configure({"system_2_attention": {"over": over}}, bench.project), bench.project, decide=decide)
    inner = cost(configure(over, bench.project), bench.project, decide=decide)

    assert found == Cost(1 + inner.calls, 1 + inner.requests, 1 + inner.depth)
    assert len(bench.texts) == found.requests
