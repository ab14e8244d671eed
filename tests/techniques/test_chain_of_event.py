"""`chain_of_event` (Bao et al. 2024): events of each document, counted by code, and a summary of those kept."""

import json
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order, marked_example, routed, without

DOCUMENTS = ["DOC1 text.", "DOC2 text.", "DOC3 text."]
EVENTS = [("EVA", [1, 2]), ("EVB", [3, 3]), ("EVC", [1, 2, 3])]
GENERAL = json.dumps([{"event": event, "docs": docs} for event, docs in EVENTS])
PROMPT = """\
---
inputs: {documents: {type: list}}
---
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block input %}{% for document in documents %}{{ document }}
{% endfor %}{% endblock %}
"""
EXTRACTING = [("Document: DOC1", "1. EVA\n2. EVC"), ("Document: DOC2", "EVA\nEVC"), ("Document: DOC3", "- EVB\n- EVC")]


def script(general: str = GENERAL, summary: str = "S") -> Any:
    return routed(*EXTRACTING, ("Rewrite the events", general), ("Write the summary", summary))


def bench_of(folder: Path, replies: Any, **settings: Any) -> Bench:
    return Bench(folder, replies, "text", **{"prompt": PROMPT, **settings})


async def ask(bench: Bench, documents: Any = DOCUMENTS, *, decide: Any = "generate", **parameters: Any) -> Any:
    step = bench.step(values={"documents": documents}, decide=decide)
    return await perform({"chain_of_event": parameters}, step)


async def test_only_events_of_several_documents_are_summarized_without_the_documents(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    answer = await ask(bench)

    last = bench.texts[-1]
    assert (answer.value, len(bench.texts)) == ("S", 5)
    assert in_order(last, ["EVA", "EVC"])
    assert not any(word in last for word in ("EVB", "DOC1", "DOC2", "DOC3"))
    assert answer.extra["summarized"] == ["EVA", "EVC"]
    assert answer.extra["events"][1] == {"event": "EVB", "docs": [3]}
    assert answer.extra["common"] is True


async def test_each_document_is_read_alone_and_all_at_once(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    await ask(bench)

    assert [[name in text for name in ("DOC1", "DOC2", "DOC3")] for text in bench.texts] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
        [False, False, False],
        [False, False, False],
    ]
    assert bench.levels == [("extract", 1)] * 3 + [("generalise", 2), ("summary", 3)]
    assert in_order(bench.texts[3], ["Document 1:", "EVA", "Document 2:", "EVA", "Document 3:", "EVB", "EVC"])


@pytest.mark.parametrize(("threshold", "kept"), [(1, ["EVA", "EVB", "EVC"]), (2, ["EVA", "EVC"]), (3, ["EVC"])])
async def test_the_threshold_counts_documents_and_not_mentions(tmp_path: Path, threshold: int, kept: list[str]) -> None:
    bench = bench_of(tmp_path, script())

    answer = await ask(bench, threshold=threshold)

    assert answer.extra["summarized"] == kept


async def test_half_of_the_documents_are_enough_where_nothing_is_said(tmp_path: Path) -> None:
    five = [f"DOC{number} text." for number in range(1, 6)]
    general = json.dumps([{"event": "TWO", "docs": [1, 2]}, {"event": "THREE", "docs": [1, 2, 5]}])
    replies = routed(("List the specific events", "EV"), ("Rewrite", general), ("Write the summary", "S"))
    bench = bench_of(tmp_path, replies)

    answer = await ask(bench, five)

    assert answer.extra["summarized"] == ["THREE"]
    assert len(bench.texts) == 7


async def test_where_no_event_is_shared_all_are_summarized_and_that_is_said(tmp_path: Path) -> None:
    general = json.dumps([{"event": "EVA", "docs": [1]}, {"event": "EVB", "docs": [7, "x"]}])
    bench = bench_of(tmp_path, script(general))

    answer = await ask(bench)

    assert answer.extra["common"] is False
    assert answer.extra["summarized"] == ["EVA", "EVB"]
    assert answer.extra["events"][1]["docs"] == []
    assert bench.warned == ["nothing_filtered"]


async def test_general_events_are_held_to_a_schema_where_the_runtime_can(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    await ask(bench, decide="constrain")

    assert [record.call for record in bench.records if record.request.constrained] == ["extract"] * 3 + ["generalise"]


@pytest.mark.parametrize("docs", ["1, 2", ["Document 1", "Document 2"], "documents 1 and 2"])
async def test_documents_that_are_named_in_another_way_count_too(tmp_path: Path, docs: Any) -> None:
    general = json.dumps([{"event": "EVA", "docs": docs}, {"event": "EVB", "docs": "3"}])
    bench = bench_of(tmp_path, script(general))

    answer = await ask(bench)

    assert (answer.extra["summarized"], answer.extra["common"]) == (["EVA"], True)


@pytest.mark.parametrize("general", ["No JSON here.", "[1, 2]", "{}", '"EVA"'])
async def test_general_events_that_cannot_be_read_leave_the_specific_ones(tmp_path: Path, general: str) -> None:
    bench = bench_of(tmp_path, script(general))

    answer = await ask(bench)

    assert (answer.value, answer.extra["common"]) == ("S", False)
    assert answer.extra["summarized"] == ["EVA", "EVC", "EVB"]
    assert bench.records[3].notes
    assert bench.warned == ["unread_call", "nothing_filtered"]


async def test_general_events_are_read_out_of_an_object_and_with_one_number_alone(tmp_path: Path) -> None:
    general = 'Here: {"events": [{"event": "EVA", "docs": ["1", "3"]}, {"event": "EVB", "docs": 2}]}'
    bench = bench_of(tmp_path, script(general))

    answer = await ask(bench)

    assert answer.extra["events"] == [{"event": "EVA", "docs": [1, 3]}, {"event": "EVB", "docs": [2]}]


async def test_without_any_event_there_is_no_answer(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [" "] * 3)

    answer = await ask(bench)

    assert (answer.value, answer.flag, len(bench.texts)) == (None, "unparsed", 3)


async def test_of_one_document_at_most_so_many_events_are_taken(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    await ask(bench, events=1)

    assert "at most 1." in bench.texts[0]
    assert "EVC" not in bench.texts[3]


async def test_single_asks_for_all_four_steps_in_one_reply(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["1. EVA. EVB.\n4. Kept: EVA.\nSummary: S"])

    answer = await ask(bench, variant="single")

    (text,) = bench.texts
    assert answer.value == "S"
    assert in_order(
        text, ["1. List", "2. Rewrite", "3. State", "4. Write", '"Summary:"', "Document 1: DOC1", "Document 3:"]
    )
    assert [text.count(document) for document in DOCUMENTS] == [1, 1, 1]


async def test_single_without_the_heading_is_no_answer(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, ["1. EVA. EVB.\n4. Kept: EVA."])

    answer = await ask(bench, variant="single")

    assert (answer.value, answer.flag) == (None, "unparsed")


async def test_documents_may_be_mappings_with_a_text(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    await ask(bench, [{"title": "one", "text": text} for text in DOCUMENTS])

    assert "Document: DOC1 text." in bench.texts[0]


@pytest.mark.parametrize("documents", [[], ["DOC1 text."], "DOC1 text."])
async def test_fewer_than_two_documents_are_an_error_before_the_first_call(tmp_path: Path, documents: Any) -> None:
    bench = bench_of(tmp_path, [])

    with pytest.raises(InputError, match="several documents"):
        await ask(bench, documents)


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    prompt = MARKED.replace("{question: {type: text}}", "{documents: {type: list}, question: {type: text}}")
    bench = bench_of(tmp_path, script(), prompt=prompt)

    values = {"question": "QUESTION-MARK", "documents": DOCUMENTS}
    await perform("chain_of_event", bench.step(values=values, examples=(marked_example("two"),)))

    answering = "persona instructions constraints context output_format examples input recap cue"
    knowing = "persona instructions constraints output_format"
    assert bench.shown == [("extract", knowing)] * 3 + [("generalise", knowing), ("summary", answering)]


@pytest.mark.parametrize(
    ("variant", "decide", "calls", "requests", "depth"),
    [
        ("chained", "generate", 5, 5, 3),
        ("chained", "constrain", 5, 5, 3),
        ("single", "generate", 1, 1, 1),
        ("single", "constrain", 1, 2, 2),
    ],
)
async def test_it_costs_what_its_formulas_say(
    tmp_path: Path, variant: str, decide: Any, calls: int, requests: int, depth: int
) -> None:
    replies = script() if variant == "chained" else ["1. EVA.\nSummary: S", "S"]
    bench = bench_of(tmp_path, replies)

    await ask(bench, variant=variant, decide=decide)
    found = cost(configure({"chain_of_event": {"variant": variant}}, bench.project), bench.project, decide=decide)

    assert (found.calls, found.requests, found.depth) == (calls, requests, depth)
    assert len(bench.texts) == requests


def test_its_cost_grows_with_the_documents(tmp_path: Path) -> None:
    project = Bench(tmp_path, []).project

    assert cost(configure("chain_of_event", project), project, documents=7).requests == 9


async def test_the_heading_of_a_list_is_no_event(tmp_path: Path) -> None:
    lists = [(words, f"Events:\n{events}") for words, events in EXTRACTING]
    replies = routed(*lists, ("Rewrite the events", f"General events: {GENERAL}"), ("Write the summary", "S"))
    bench = bench_of(tmp_path, replies, capabilities=without("continue"))

    answer = await ask(bench)

    assert [text.rstrip().rpartition("\n")[2] for text in bench.texts[:4]] == ["Events:"] * 3 + ["General events:"]
    assert "- Events:" not in bench.texts[3]
    assert answer.extra["summarized"] == ["EVA", "EVC"]


async def test_what_is_said_around_a_list_is_no_event(tmp_path: Path) -> None:
    said = "Here are the events in order:\n1. EVC\nNothing else happened."
    bench = bench_of(tmp_path, routed(("Document: DOC", said), ("Rewrite the events", GENERAL), ("", "S")))

    await ask(bench)

    assert "- EVC" in bench.texts[3]
    assert "Here are" not in bench.texts[3] and "Nothing else" not in bench.texts[3]
