"""The metric `assert`: a row's own checks, in promptkit's words and in promptfoo's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from promptkit.answers.number import Number
from promptkit.errors import InputError
from promptkit.evaluation.metrics.assertions import assertion_items, kind_of, read_assertion
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.suite.binding import row_problems
from promptkit.runtimes.base import Request
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from tests.engine.helpers import Folder
from tests.evaluation.metrics.given import given, metric
from tests.evaluation.suites import SUITE, Bench, echo

ASSERTED = SUITE.replace("{accuracy: label}", "{checks: assert}")


async def checked(assertions: Any, got: Any, **parameters: Any) -> Score:
    of = metric("assert", parameters, name="checks")
    assert of.wrong_expected(assertions) is None
    return await of.measure_async(given(got, assertions), Models("scripted:x.py"))


@pytest.mark.parametrize(
    ("assertion", "right", "wrong"),
    [
        ({"contains": "Paris"}, "It is Paris.", "It is paris."),
        ({"contains": ["a", "b"]}, "a b", "a"),
        ({"contains": {"any": ["a", "b"], "ignore_case": True}}, "B", "c"),
        ({"not-contains": "sorry"}, "fine", "so sorry"),
        ({"exact": "yes"}, "yes", "Yes"),
        ({"normalized": "yes"}, "Yes!", "no"),
        ({"regex": "^[0-9]+$"}, "12", "a12"),
        ({"number": 18}, "18", "19"),
        ({"number": {"expect": 18, "tolerance": 1}}, "19", "20"),
        ({"length": {"max": 2}}, "two words", "now three words"),
        ({"length": {"threshold": 2}}, "two words", "now three words"),
        ({"edit": {"expect": "kitten", "threshold": 0.5}}, "sitten", "dog"),
        ({"set_f1": ["a", "b"]}, ["b", "a"], ["a"]),
        ({"schema": {"schema": {"type": "object"}}}, {}, []),
        ("format", "x", None),
        ({"type": "equals", "value": "yes"}, "yes", "Yes"),
        ({"type": "contains", "value": "Paris"}, "Paris", "paris"),
        ({"type": "icontains", "value": "Paris"}, "PARIS", "London"),
        ({"type": "not-icontains", "value": "Paris"}, "London", "PARIS"),
        ({"type": "contains-any", "value": ["a", "b"]}, "b", "c"),
        ({"type": "contains-all", "value": "a, b"}, "a b", "b"),
        ({"type": "icontains-all", "value": ["a", "b"]}, "A B", "B"),
        ({"type": "icontains-any", "value": ["a", "b"]}, "B", "c"),
        ({"type": "starts-with", "value": "a.b"}, "a.bc", "axbc"),
        ({"type": "regex", "value": "[0-9]"}, "a1", "a"),
        ({"type": "is-json"}, '{"a": 1}', "{a"),
        ({"type": "is-json", "value": {"properties": {"a": {}}, "required": ["a"]}}, '{"a": 1, "b": 2}', "{}"),
    ],
)
async def test_an_assertion_holds_or_fails(assertion: Any, right: Any, wrong: Any) -> None:
    assert (await checked([assertion], right)).value == 1
    if wrong is not None:
        assert (await checked([assertion], wrong)).value == 0


async def test_all_must_hold_and_the_detail_says_which_do_not() -> None:
    score = await checked([{"contains": "a"}, {"contains": "b"}, {"not-contains": "c"}], "a c")

    assert score.value == 0
    assert score.detail["share"] == pytest.approx(1 / 3)
    assert score.detail["holds"] == ['contains "a"']
    assert score.detail["fails"] == ['contains "b"', 'not contains "c"']
    assert score.detail["expected"] == 'contains "b"; not contains "c"'


@pytest.mark.parametrize(("threshold", "value"), [(0.75, 1), (0.76, 0)])
async def test_a_threshold_is_on_the_share_by_weight(threshold: float, value: float) -> None:
    assertions = [{"contains": {"expect": "a", "weight": 3}}, {"type": "contains", "value": "b"}]

    assert (await checked(assertions, "a", threshold=threshold)).value == value


def test_values_compare_as_the_answers_type_does() -> None:
    of = metric("assert", answer=Number())

    assert of.wrong_expected([{"exact": "many"}]) is not None
    assert of.wrong_expected([{"exact": "4.0"}]) is None


@pytest.mark.parametrize(
    ("assertions", "message"),
    [
        ("a: b", "is not JSON"),
        ({"contains": "a"}, "assertions are a list"),
        ([{"contains": "a", "regex": "b"}], "assertion 1: must be"),
        ([{"contain": "a"}], "there is no assertion `contain`; did you mean `contains`"),
        ([{"contains": {"txt": "a"}}], "unknown key `txt`"),
        ([{"contains": ""}], "neither a text nor"),
        ([{"regex": "("}], "assertion 1"),
        ([{"exact": None}], "needs an expected answer"),
        (["tokens"], "needs a `threshold`"),
        ([{"judge": {"rubric": "kind?"}}], "asks a model: make it a metric"),
        ([{"python": "own.py:f"}], "does not allow rows to name `own.py:f`"),
        ([{"type": "contains", "value": "a", "transform": "x"}], "unknown key `transform`"),
        ([{"type": "contains", "value": "{{ a }}"}], "is a template"),
        ([{"type": "javascript", "value": "true"}], "write the function in Python"),
        ([{"type": "llm-rubric", "value": "kind"}], "asks a model: make it a metric"),
        ([{"type": "icontain", "value": "a"}], "there is no assertion `icontain`"),
        ([{"type": "contains"}], "must be a text"),
        ([{"contains": {"expect": "a", "weight": -1}}], "`weight` must be a number"),
    ],
)
def test_a_wrong_assertion_is_an_error_of_the_data(assertions: Any, message: str) -> None:
    fault = metric("assert", name="checks").wrong_expected(assertions)

    assert fault is not None and message in fault


def test_every_problem_of_a_row_is_named_with_its_file_and_line(folder: Folder) -> None:
    bench = Bench(folder, [{"text": "good"}, {"text": "bad", "assert": [{"contain": "a"}, {"regex": "("}]}])

    (problem,) = row_problems(bench.suite(ASSERTED))

    assert problem.file is not None and problem.file.endswith("rows.jsonl") and problem.line == 2
    assert "assertion 1: there is no assertion `contain`" in problem.message and "assertion 2: " in problem.message


async def test_rows_without_assertions_are_left_out_and_the_failures_name_the_assertion(folder: Folder) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "good 0", "assert": [{"contains": "good"}]},
        {"text": "bad 1", "assert": [{"type": "icontains", "value": "GOOD"}]},
        {"text": "bad 2"},
        {"text": "bad 3", "assert": []},
        {"text": "bad 4", "assert": '[{"contains": "bad"}]'},
    ]
    ran = await Bench(folder, rows).run(ASSERTED)

    found = ran.metric("checks")
    assert (found["mean"], found["n"], found["exempt"]) == (pytest.approx(2 / 3), 3, 2)
    assert [cell.scores["checks"].detail.get("expected") for cell in ran.view.cells()][1] == 'icontains "GOOD"'


async def test_an_answer_that_does_not_parse_meets_no_assertion(folder: Folder) -> None:
    ran = await Bench(folder, [{"text": "x", "assert": [{"not-contains": "a"}]}]).run(ASSERTED, lambda _: "neither")

    assert ran.metric("checks")["mean"] == 0


async def test_a_function_that_the_suite_allows_may_be_named_and_its_edit_scores_again(folder: Folder) -> None:
    bench = Bench(folder, [{"text": "good 0", "assert": [{"python": "own.py:short"}]}])
    suite = ASSERTED.replace("assert}", "{assert: {python: ['own.py:short']}}}")
    folder.write("evals/own.py", "def short(output):\n    return len(output) < 9\n")
    first = await bench.run(suite)
    folder.write("evals/own.py", "def short(output):\n    return len(output) < 2\n")
    second = await bench.run(suite)

    (code,) = bench.suite(suite).measures[0].metric.code
    assert code.shown.endswith("evals/own.py:short")
    assert (first.metric("checks")["mean"], second.metric("checks")["mean"]) == (1, 0)


async def test_the_tests_of_a_promptfoo_config_are_rows(folder: Folder) -> None:
    config = """
prompts: ["Say {{word}}"]
tests:
  - vars: {word: good night}
    assert: [{type: contains, value: good}]
  - vars: {word: bad day}
    assert: [{type: icontains, value: BAD}, {type: not-contains, value: good, metric: tone, weight: 2}]
  - vars: {word: bad luck}
"""
    folder.write("evals/promptfooconfig.yaml", config)
    suite = """
data: {file: promptfooconfig.yaml, select: tests}
target: mood
inputs: {text: "{{ row.vars.word }}"}
metrics: {checks: assert}
"""
    asked: list[str] = []

    def reply(request: Request) -> str:
        asked.append(request.messages[-1].content)
        return echo(request)

    ran = await Bench(folder).run(suite, reply)

    assert (ran.metric("checks")["mean"], ran.metric("checks")["n"], len(asked)) == (1, 2, 3)


RAG = """
tests:
  - vars: {question: What may I spend without asking?, context: Up to 500 need no approval.}
    assert:
      - {type: contains, value: "500"}
      - {type: factuality, value: the manager approves what is more}
      - {type: context-faithfulness, threshold: 0.9}
  - vars: {question: How long is the leave?, context: The leave is four months.}
    assert:
      - {type: factuality, value: it is four months}
"""
RAG_SUITE = """
data: {file: promptfooconfig.yaml, select: tests}
target: ask
inputs: {question: "{{ row.vars.question }}", context: "{{ row.vars.context }}"}
metrics:
  checks: {assert: {skip: [factuality, context-faithfulness]}}
  facts:
    judge:
      rubric: Does the answer say this?
      levels: [wrong, right]
      question: "{{ row.vars.question }}"
      expect: "{{ row.assert | selectattr('type', 'equalto', 'factuality') | map(attribute='value') | first }}"
      when: "{{ 'factuality' in row.assert | map(attribute='type') }}"
  faithful:
    judge:
      rubric: Does the answer follow from the context?
      levels: [wrong, right]
      question: "{{ row.vars.context }}"
      when: "{{ 'context-faithfulness' in row.assert | map(attribute='type') }}"
"""


async def test_tests_with_checks_by_a_model_are_one_suite_with_metrics_for_some_rows(folder: Folder) -> None:
    prompt = "---\ninputs: {question: , context: }\n---\n{% block input %}{{ question }} {{ context }}{% endblock %}"
    folder.write("evals/promptfooconfig.yaml", RAG)
    folder.write("templates/prompts/ask.j2", prompt)

    def reply(request: Request) -> str:
        return "right" if "Does the answer" in request.messages[-1].content else "Up to 500."

    plain = Scripted(reply, capabilities=CAPABILITIES - {"logprobs", "grammar", "schema"})
    ran = await Bench(folder).run(RAG_SUITE, plain)

    counts = {name: (ran.metric(name)["mean"], ran.metric(name)["n"]) for name in ("checks", "facts", "faithful")}
    assert counts == {"checks": (1, 1), "facts": (1, 2), "faithful": (1, 1)}


def test_a_metric_by_its_own_expect_reads_that_in_place_of_the_field(folder: Folder) -> None:
    bench = Bench(folder, [{"text": "good", "rules": {"all": [{"contain": "x"}]}}])
    suite = ASSERTED.replace("assert}", "{assert: {expect: '{{ row.rules.all }}'}}}")

    assert "there is no assertion `contain`" in row_problems(bench.suite(suite))[0].message
    with pytest.raises(InputError):
        bench.suite(ASSERTED.replace("assert}", "{assert: {fields: x}}}"))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda part: st.lists(part) | st.dictionaries(st.sampled_from(["type", "value", "contains", "weight", "x"]), part),
)


@drawn(ANY)
def test_whatever_a_row_has_is_read_or_refused(value: Any) -> None:
    try:
        for item in assertion_items(value):
            assert isinstance(kind_of(item), str)
            read_assertion(item)
    except ValueError:
        return


async def test_assertions_none_of_which_applies_leave_the_row_out(folder: Folder) -> None:
    folder.write("evals/own.py", "def score(output):\n    return None\n")
    bench = Bench(folder, [{"text": "good 1", "assert": [{"python": {"function": "own.py:score"}}]}])
    ran = await bench.run(ASSERTED.replace("{checks: assert}", "{checks: {assert: {python: ['own.py:score']}}}"))
    assert (ran.metric("checks")["exempt"], ran.metric("checks")["mean"]) == (1, None)
