"""`term_definitions` (Vatsal, Singh and Tafreshi 2024): the definitions of the terms that are there, and no others."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example

GLOSSARY = {"PA": "prior authorization ZEBRA7", "UM": "utilization YAK9"}
PROMPT = """\
---
inputs: {context: {type: text, default: ""}, question: {type: text}, glossary: {type: json}}
---
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block context %}{{ context }}{% endblock %}
{% block input %}{{ question }}{% endblock %}
"""


async def ask(
    bench: Bench,
    question: str,
    *,
    context: Any = "",
    glossary: Any = GLOSSARY,
    decide: Any = "constrain",
    **settings: Any,
) -> Any:
    step = bench.step(values={"context": context, "question": question, "glossary": glossary}, decide=decide)
    return await perform({"term_definitions": settings}, step)


def defined(text: str) -> list[str]:
    """Return the lines of definitions in a prompt, in order."""
    return [line for line in text.splitlines() if line.startswith("- ")]


def bench_of(folder: Path, replies: Any = ("7",), **settings: Any) -> Bench:
    return Bench(folder, list(replies), **{"prompt": PROMPT, **settings})


async def test_only_terms_that_are_there_as_words_are_defined(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)

    answer = await ask(bench, "Did the patient need a PA?")

    (text,) = bench.texts
    assert answer.value == 7
    assert defined(text) == ["- PA: prior authorization ZEBRA7"]
    assert answer.extra["terms"] == ["PA"]


@pytest.mark.parametrize("over", ["vanilla", "chain_of_thought", {"self_consistency": {"samples": 2}}])
@pytest.mark.parametrize("context", ["", "Some context."])
async def test_without_a_term_the_requests_are_the_same_to_the_byte(tmp_path: Path, over: Any, context: str) -> None:
    bare, defining = (Bench(tmp_path, lambda request: "7", prompt=PROMPT) for _ in range(2))
    question = "Did the patient umpire?"

    await perform(over, bare.step(values={"context": context, "question": question, "glossary": GLOSSARY}))
    answer = await ask(defining, question, context=context, over=over)

    assert defining.runtime.requests == bare.runtime.requests
    assert answer.extra["terms"] == []


async def test_definitions_come_in_the_order_of_the_terms_after_the_context_and_before_the_input(
    tmp_path: Path,
) -> None:
    bench = bench_of(tmp_path)

    await ask(bench, "Does um ask for a pa, or UM?", context="Some context.")

    assert in_order(bench.texts[0], ["Some context.\n\nDefinitions:\n- UM: ", "YAK9\n- PA: ", "ZEBRA7", "Does um ask"])
    assert len(defined(bench.texts[0])) == 2


@pytest.mark.parametrize("context", ["Ask for a PA.", ["Nothing here.", "Ask for a PA."]])
async def test_terms_of_the_context_count_too(tmp_path: Path, context: Any) -> None:
    kind = "text" if isinstance(context, str) else "list"
    bench = bench_of(tmp_path, prompt=PROMPT.replace('{type: text, default: ""}', f"{{type: {kind}}}"))

    await ask(bench, "What does UM do?", context=context)

    assert defined(bench.texts[0]) == ["- UM: utilization YAK9", "- PA: prior authorization ZEBRA7"]


async def test_of_terms_that_overlap_the_longest_is_meant(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)
    glossary = {"form": "LONE", "PA": "SHORT", "PA form": "LONG", "C++": "SIGNS"}

    await ask(bench, "Is the PA\n form written in c++?", glossary=glossary)

    assert defined(bench.texts[0]) == ["- PA form: LONG", "- C++: SIGNS"]


@pytest.mark.parametrize(
    ("question", "terms"),
    [
        ("How many PAs are open?", ["PA"]),
        ("Two policies and three boxes of forms?", ["policy", "box", "form"]),
        ("Is it in its pass?", []),
        ("Was IT or were ITs meant?", ["IT"]),
    ],
)
async def test_the_plural_of_a_term_is_the_term(tmp_path: Path, question: str, terms: list[str]) -> None:
    glossary = dict.fromkeys(["PA", "policy", "box", "form"], "D") | ({"IT": "D"} if "IT" in question else {})
    bench = bench_of(tmp_path)

    answer = await ask(bench, question, glossary=glossary)

    assert answer.extra["terms"] == terms


async def test_at_most_so_many_are_defined_the_first_ones(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)

    answer = await ask(bench, "A UM, then a PA, then a UM.", most=1)

    assert answer.extra["terms"] == ["UM"]


@pytest.mark.parametrize(
    "glossary",
    [
        {"PA": {"definition": "consent", "aliases": ["pre-auth", "consent"]}},
        [{"term": "PA", "definition": "consent", "aliases": "pre-auth, consent"}],
        [{"PA": {"definition": "consent", "aliases": ["pre-auth"]}}],
    ],
)
async def test_an_alias_stands_for_its_term(tmp_path: Path, glossary: Any) -> None:
    bench = bench_of(tmp_path)

    await ask(bench, "Was the Pre-Auth granted?", glossary=glossary)

    assert defined(bench.texts[0]) == ["- PA: consent"]


async def test_of_entries_for_the_same_words_the_first_counts(tmp_path: Path) -> None:
    bench = bench_of(tmp_path)

    glossary = {"PA": "FIRST", "pa": "SECOND", "UM": {"definition": "THIRD", "aliases": ["Pa"]}}
    await ask(bench, "Was the PA granted?", glossary=glossary)

    assert defined(bench.texts[0]) == ["- PA: FIRST"]


async def test_a_glossary_may_be_a_list_of_texts(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, prompt=PROMPT.replace("{type: json}", "{type: list}"))

    await ask(bench, "Was the PA granted?", glossary=["PA: consent: the insurer's", "UM: an office"])

    assert defined(bench.texts[0]) == ["- PA: consent: the insurer's"]


@pytest.mark.parametrize("glossary", [{"PA": None}, {"PA": {"aliases": []}}, [7], "PA", [["PA"]], {"": "nothing"}])
async def test_a_glossary_that_cannot_be_read_is_the_users_error(tmp_path: Path, glossary: Any) -> None:
    bench = bench_of(tmp_path)

    with pytest.raises(InputError, match="glossary"):
        await ask(bench, "Was the PA granted?", glossary=glossary)


async def test_without_a_glossary_it_is_an_error_before_the_first_call(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, prompt=MARKED)

    with pytest.raises(InputError, match="no input plays the role `glossary`"):
        await perform("term_definitions", bench.step())


async def test_it_lies_over_and_beneath_other_techniques(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["12", "1. How many?", "3", "12"])

    await ask(bench, "How many PA?", over={"instructed": {"over": {"chain_of_verification": {"questions": 1}}}})

    assert [(record.call, len(defined(text))) for record, text in zip(bench.records, bench.texts, strict=True)] == [
        ("baseline", 1),
        ("plan", 1),
        ("execute", 0),
        ("final", 1),
    ]
    assert in_order(bench.texts[0], ["Feel free to ignore", "INSTRUCTIONS-MARK", "Definitions:", "How many PA?"])


async def test_what_is_written_anew_is_what_is_searched(tmp_path: Path) -> None:
    rewriting = "Unbiased text context: UM decides.\nQuestion/Query: Who decides?"
    bench = bench_of(tmp_path, [rewriting, "7"])
    values = {"context": "", "question": "I like the PA. Who decides, UM?", "glossary": GLOSSARY}

    await perform({"system_2_attention": {"over": "term_definitions"}}, bench.step(values=values))

    assert defined(bench.texts[1]) == ["- UM: utilization YAK9"]
    assert "PA" not in bench.texts[1]


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    prompt = MARKED.replace("{question: {type: text}}", "{question: {type: text}, glossary: {type: json}}")
    bench = bench_of(tmp_path, ["chain", "2"], prompt=prompt)

    values = {"question": "QUESTION-MARK PA", "glossary": GLOSSARY}
    step = bench.step(values=values, examples=(marked_example(2),))
    await perform({"term_definitions": {"over": "chain_of_thought"}}, step)

    assert bench.shown == [("reason", ALL), ("reason", ALL)]
    assert in_order(bench.texts[0], ["CONTEXT-MARK", "Definitions:", "FORMAT-MARK"])


@pytest.mark.parametrize("over", ["vanilla", "plan_and_solve"])
async def test_it_costs_what_the_technique_beneath_costs(tmp_path: Path, over: str) -> None:
    project = Bench(tmp_path, []).project

    found = cost(configure({"term_definitions": {"over": over}}, project), project)

    assert found == cost(configure(over, project), project)
