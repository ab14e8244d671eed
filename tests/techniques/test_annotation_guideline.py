"""`annotation_guideline` (Hu et al. 2024): a guideline, and rules that are kept where they do not make it worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.errors import InputError
from promptkit.techniques.artifacts import Artifact, Prepared, Row
from promptkit.techniques.catalog.annotation_guideline import prepare
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform, task_for
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, flat, in_order, marked_example

TEXT = "Patient has fever and took aspirin."
FEVER = {"start": 12, "end": 17, "class": "problem"}
ASPIRIN = {"start": 27, "end": 34, "class": "treatment"}
MARKUP = 'Patient has <span class="problem">fever</span> and took <span class="treatment">aspirin</span>.'
GUIDED = MARKED.replace(
    "inputs: {question: {type: text}}",
    "inputs: {question: {type: text}, guideline: {type: text, default: GUIDELINE-MARK}}",
)
RULES = Artifact(technique="annotation_guideline", items=({"rule": "RULE7 about vital signs."}, {"rule": "RULE8."}))
LABEL = {"label": ["good", "bad", "mixed"]}


def spans(text: str) -> Any:
    return build_answer_type({"spans": {"classes": ["problem", "treatment"], "text": text}})


def bench_of(folder: Path, script: Any, answer: Any = None) -> Bench:
    answer = answer or {"spans": {"classes": ["problem", "treatment"], "text": TEXT}}
    return Bench(folder, script, answer, prompt=GUIDED)


async def ask(bench: Bench, spec: Any = "annotation_guideline", *, artifact: Any = None, **settings: Any) -> Any:
    artifacts = {"annotation_guideline": artifact} if artifact else {}
    values = {"question": TEXT, "guideline": "GUIDELINE-MARK"}
    step = bench.step(values=values, artifacts=artifacts, home="notes.mark", **settings)
    return await perform(spec, step)


async def test_the_guideline_alone_needs_no_preparation(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [MARKUP])

    answer = await ask(bench, decide="generate")

    assert answer.value == [FEVER, ASPIRIN]
    assert len(bench.texts) == 1
    assert in_order(bench.texts[0], ["INSTRUCTIONS-MARK", "GUIDELINE-MARK", TEXT])
    assert "Rules:" not in bench.texts[0]


@pytest.mark.parametrize("reply", ["I cannot do that.", "EXHAUSTED"])
async def test_a_reply_that_is_no_copy_of_the_text_is_not_the_answer_that_there_are_no_spans(
    tmp_path: Path, reply: str
) -> None:
    bench = bench_of(tmp_path, [reply])

    answer = await ask(bench, decide="generate")

    assert (answer.value, answer.flag) == (None, "unparsed")


async def test_the_rules_learnt_stand_after_the_guideline_and_before_the_input(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [MARKUP])

    await ask(bench, artifact=RULES)

    assert in_order(bench.texts[0], ["INSTRUCTIONS-MARK", "GUIDELINE-MARK", "RULE7", "RULE8", "CONTEXT-MARK", TEXT])


@pytest.mark.parametrize(
    ("spec", "guideline"), [("vanilla", False), ({"annotation_guideline": {"rules": False}}, True)]
)
async def test_each_component_can_be_left_out(tmp_path: Path, spec: Any, guideline: bool) -> None:
    bench = bench_of(tmp_path, [MARKUP])

    await ask(bench, spec, artifact=RULES)

    assert "RULE7" not in bench.texts[0]
    assert ("GUIDELINE-MARK" in bench.texts[0]) == guideline


async def test_a_span_with_words_that_the_text_does_not_hold_is_left_out_alone(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, [MARKUP.replace(">fever<", ">high fever<")])

    assert (await ask(bench, decide="generate")).value == [ASPIRIN]


@pytest.mark.parametrize(("decide", "requests"), [("generate", 2), ("constrain", 2)])
async def test_it_lies_beneath_every_call_of_another_technique(tmp_path: Path, decide: Any, requests: int) -> None:
    bench = bench_of(tmp_path, [" so.", "bad"], LABEL)
    spec = {"annotation_guideline": {"over": "chain_of_thought"}}

    answer = await ask(bench, spec, artifact=RULES, decide=decide)

    assert answer.value == "bad"
    assert [record.call for record in bench.records] == ["reason", "extract"]
    assert all(in_order(text, ["GUIDELINE-MARK", "RULE7", "RULE8"]) for text in bench.texts)
    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    assert len(bench.records) == most.requests == most.depth == requests


async def test_alone_it_costs_one_request(tmp_path: Path) -> None:
    most = cost(configure("annotation_guideline", bench_of(tmp_path, []).project), bench_of(tmp_path, []).project)

    assert (most.calls, most.requests, most.depth) == (1, 1, 1)


async def test_an_item_that_is_no_rule_is_told(tmp_path: Path) -> None:
    artifact = Artifact(technique="annotation_guideline", items=({"rule": "A."}, {"role": "B."}))

    with pytest.raises(InputError, match=r"notes\.mark\.annotation_guideline\.yaml: item 2 has no `rule`"):
        await ask(bench_of(tmp_path, []), artifact=artifact)


async def test_without_an_input_for_the_guideline_it_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [], prompt=MARKED)

    with pytest.raises(InputError, match="no input plays the role `guideline`"):
        await perform("annotation_guideline", bench.step())


REVIEWS = {"TEXT-A": "good", "TEXT-B": "bad", "TEXT-C": "mixed", "TEXT-D": "mixed"}


def annotator(by_rules: dict[str, dict[str, str]], drafts: list[str]) -> Any:
    """Return a script that says `good` but where a rule in the prompt makes it say otherwise, and drafts in order."""
    left = list(drafts)

    def script(request: Any) -> str:
        text = flat(request)
        if "An expert corrected" in text:
            return left.pop(0)
        review = next(each for each in REVIEWS if each in text)
        said = "good"
        for rule, answers in by_rules.items():
            if rule in text:
                said = answers.get(review, said)
        return said

    return script


async def prepared(bench: Bench, rows: list[Row] | None = None, **parameters: Any) -> Prepared:
    rows = rows or [Row(inputs={"question": text}, expect=label) for text, label in REVIEWS.items()]
    step = bench.step(values={}, decide="generate")
    return await prepare(task_for(configure("annotation_guideline", bench.project), step), rows, **parameters)


def calls(bench: Bench) -> list[str]:
    return [record.call for record in bench.records]


async def test_a_rule_is_kept_where_the_score_does_not_drop_and_dropped_where_it_does(tmp_path: Path) -> None:
    effects = {
        "RULE-MIXED": {"TEXT-C": "mixed", "TEXT-D": "mixed"},
        "RULE-HARM": {"TEXT-A": "bad"},
        "RULE-SAME": {},
    }
    bench = bench_of(tmp_path, annotator(effects, ["1. RULE-HARM\n2. RULE-MIXED", "RULE-SAME"]), LABEL)

    made = await prepared(bench, rounds=4)

    assert list(made.items) == [{"rule": "RULE-MIXED"}, {"rule": "RULE-SAME"}]
    assert calls(bench) == [*["annotate"] * 4, "rule", *["annotate"] * 8, "rule", *["annotate"] * 4]
    assert "RULE-HARM" not in bench.texts[-1] and in_order(bench.texts[-1], ["RULE-MIXED", "RULE-SAME"])
    assert [(each["rule"], each["kept"], each["before"], each["after"]) for each in made.uncertain[:3]] == [
        ("RULE-HARM", False, 0.25, 0.0),
        ("RULE-MIXED", True, 0.25, 0.75),
        ("RULE-SAME", True, 0.75, 0.75),
    ]
    assert made.uncertain[3] == {"said": "good", "right": "bad", "times": 1, "example": "TEXT-B"}


async def test_rules_are_drafted_from_the_most_frequent_mistakes(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, annotator({}, ["RULE-SAME"]), LABEL)

    await prepared(bench, rounds=2)

    (request,) = [text for text in bench.texts if "An expert corrected" in text]
    parts = ["the answer was good, right is mixed.", "TEXT-C", "TEXT-D", "the answer was good"]
    assert in_order(request, [*parts, "right is bad.", "TEXT-B"])
    assert "TEXT-A" not in request and "GUIDELINE-MARK" not in request


async def test_of_a_long_text_the_call_that_drafts_rules_reads_what_is_around_the_mistake(tmp_path: Path) -> None:
    text = f"{'Early on. ' * 500}{TEXT}{' Later.' * 500}"
    answer = {"spans": {"classes": ["problem", "treatment"], "text": text}}
    fever = {**FEVER, "start": 5012, "end": 5017}
    bench = bench_of(tmp_path, lambda request: "R1." if "Rules:" in request.begun else text, answer)

    await prepared(bench, [Row(inputs={"question": text}, expect=[fever], answer=build_answer_type(answer))], rounds=2)

    (request,) = [text for text in bench.texts if "An expert corrected" in text]
    assert in_order(request, ["Words: fever\n", "…", "Early on. Patient has fever and took aspirin. Later.", "…\n"])
    assert len(request) < 2_000 < len(text)


async def test_only_as_many_kinds_of_mistake_are_drafted_for_as_wanted(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, annotator({}, ["RULE-1\nRULE-2"]), LABEL)

    made = await prepared(bench, rounds=2, drafted=1)

    assert [each["rule"] for each in made.uncertain if "rule" in each] == ["RULE-1"]
    assert not any("right is bad" in text for text in bench.texts)


async def test_a_rule_is_tried_once(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, annotator({"RULE-HARM": {"TEXT-A": "bad"}}, ["RULE-HARM", "1. rule-harm"]), LABEL)

    await prepared(bench, rounds=9)

    assert calls(bench).count("annotate") == 2 * 4


async def test_without_a_mistake_no_rule_is_asked_for(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, annotator({}, []), LABEL)

    made = await prepared(bench, [Row(inputs={"question": "TEXT-A"}, expect="good")])

    assert (list(made.items), list(made.uncertain), calls(bench)) == ([], [], ["annotate"])


async def test_the_rows_of_a_round_are_annotated_at_once(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, annotator({}, ["RULE-SAME"]), LABEL)

    await prepared(bench, rounds=2)

    assert [level for _, level in bench.levels] == [1, 1, 1, 1, 2, 3, 3, 3, 3]


async def test_spans_are_scored_relaxed_with_each_rows_own_text(tmp_path: Path) -> None:
    other = "No pain, no cough."
    rows = [
        Row(inputs={"question": TEXT}, expect=[FEVER, ASPIRIN], answer=spans(TEXT)),
        Row(
            inputs={"question": other},
            expect=[{"start": 3, "end": 7, "class": "problem"}],
            answer=spans(other),
        ),
    ]
    marked = MARKUP.replace('has <span class="problem">', '<span class="problem">has ')

    def script(request: Any) -> str:
        text = flat(request)
        if "An expert corrected" in text:
            return "RULE-COUGH"
        if TEXT in text:
            return marked
        cough = "cough" if "RULE-COUGH" in text else '<span class="problem">cough</span>'
        return f'No <span class="problem">pain</span>, no {cough}.'

    bench = bench_of(tmp_path, script)

    made = await prepared(bench, rows, rounds=2)

    assert list(made.items) == [{"rule": "RULE-COUGH"}]
    (first,) = [each for each in made.uncertain if "rule" in each]
    assert (first["before"], first["after"]) == (pytest.approx(6 / 7, abs=1e-3), 1.0)
    (request,) = [text for text in bench.texts if "An expert corrected" in text]
    assert in_order(request, ["the answer was problem, right is nothing.", "Words: cough", other])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Row(inputs={"question": "TEXT-A"}), "row 1 has no expected answer"),
        (Row(inputs={"question": "TEXT-A"}, expect="lovely"), "row 1: the expected answer is none"),
    ],
)
async def test_rows_must_say_what_is_right(tmp_path: Path, row: Row, message: str) -> None:
    bench = bench_of(tmp_path, [], LABEL)

    with pytest.raises(InputError, match=message):
        await prepared(bench, [row])


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, annotator({}, ["RULE-SAME"]), LABEL)
    row = Row(inputs={"question": "QUESTION-MARK TEXT-B"}, expect="bad")
    step = bench.step(values={}, examples=(marked_example("good"),))

    await prepare(task_for(configure("annotation_guideline", bench.project), step), [row], rounds=2)

    answering = "persona instructions constraints context output_format examples input recap cue"
    assert bench.shown == [
        ("annotate", answering),
        ("rule", "persona instructions constraints output_format input"),
        ("annotate", answering),
    ]
