"""Whatever comes out of a model or stands in data, a metric scores it or says plainly that it cannot."""

import asyncio
from math import isfinite
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from promptkit.answers.base import AnswerType
from promptkit.answers.build import build_answer_type
from promptkit.evaluation.metrics.base import Metric, MetricInput
from promptkit.evaluation.metrics.score import Score
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Given as Models
from tests.evaluation.metrics.given import given, metric, sample

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("exact", {}),
    ("normalized", {}),
    ("regex", {}),
    ("regex", {"pattern": "a+"}),
    ("contains", {}),
    ("contains", {"any": ["a", "1"]}),
    ("number", {"tolerance": 0.5, "relative": 0.1}),
    ("label", {}),
    ("balanced_accuracy", {}),
    ("f1", {}),
    ("f1", {"average": "micro"}),
    ("set_f1", {}),
    ("set_f1", {"by": "micro", "duplicates": True}),
    ("json", {}),
    ("json", {"fields": ["a", "b.0"], "tolerance": 1}),
    ("schema", {"schema": {"type": "object", "properties": {"a": {"type": ["number", "null"]}}}}),
    ("edit", {}),
    ("table", {}),
    ("length", {}),
    ("length", {"max": 2, "unit": "characters"}),
    ("tokens", {}),
    ("latency", {}),
    ("format", {}),
    ("rouge", {}),
    ("agreement", {}),
    ("pass_at", {"k": 1}),
]
ANSWERS = [
    None,
    *map(build_answer_type, ("text", "number", "boolean", "code", {"json": {}})),
    build_answer_type({"label": ["a", "b"]}),
    build_answer_type({"labels": ["a", "b"]}),
    build_answer_type({"choice": ["a", "b"]}),
    build_answer_type({"list": {"of": "number"}}),
    build_answer_type({"list": {"of": "text", "separator": ";"}}),
    build_answer_type({"spans": {"classes": ["a"], "text": "a text"}}),
]

texts = st.text(max_size=8) | st.sampled_from(
    ["a", "b", "a, b", "1", "1e999", "none", "(", "[3]", "2004-xx-01", "\ud800"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def deep(depth: int = 900) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


EXTREMES = ["x" * 200_000, "*" * 50_000, "( (" * 20_000, list(range(20_000)), 10**4000, deep(), [deep()], {"a": deep()}]


def measured(of: Metric, cell: MetricInput) -> Score:
    """Return the score of a metric that asks no model."""
    return asyncio.run(of.measure_async(cell, Models(Scripted([])))) if of.asks else of.measure(cell)


def check(of: Metric, cell: MetricInput) -> None:
    """Score a cell and, where there is a score, say something of a sample of it."""
    try:
        score = of.unanswered(cell) if cell.cell.flag else measured(of, cell)
    except ValueError as error:
        assert str(error) and (of.needs_expected or "nested" in str(error))
        return
    assert score.value is not None and isfinite(score.value)
    if of.bounds:
        assert of.bounds[0] <= score.value <= of.bounds[1]
    numbers = list(of.numbers(score))
    assert len(numbers) == len(of.columns) and all(map(isfinite, numbers))
    of.estimate(sample([numbers] * 3))


@pytest.mark.parametrize(("word", "parameters"), KINDS, ids=[f"{word} {parameters}" for word, parameters in KINDS])
@settings(max_examples=60)
@drawn(values, values, st.sampled_from(ANSWERS), st.sampled_from(["", "unparsed", "truncated"]))
def test_any_json_is_scored_or_plainly_refused(
    word: str, parameters: dict[str, Any], got: Any, expected: Any, answer: AnswerType | None, flag: Any
) -> None:
    of = metric(word, parameters, answer=answer)
    check(of, given(got, expected, answer=answer, flag=flag))
    if expected is not None:
        check(of, given(got, got, answer=answer, flag=flag))
    problem = of.wrong_expected(expected)
    assert problem is None or problem


@pytest.mark.attack("number")
@pytest.mark.parametrize(("word", "parameters"), KINDS, ids=[f"{word} {parameters}" for word, parameters in KINDS])
@pytest.mark.parametrize("extreme", EXTREMES, ids=[str(number) for number in range(len(EXTREMES))])
def test_what_is_huge_or_deep_is_scored_or_plainly_refused(word: str, parameters: dict[str, Any], extreme: Any) -> None:
    of = metric(word, parameters)
    try:
        check(of, given(extreme, "a"))
        check(of, given("a", extreme))
    except ValueError as error:
        pytest.fail(str(error))


def test_what_the_data_may_not_expect_is_what_cannot_be_scored() -> None:
    """A row that is let in before the run is scored in it."""

    @drawn(st.sampled_from(KINDS), values, values, st.sampled_from(ANSWERS))
    def holds(kind: tuple[str, dict[str, Any]], got: Any, expected: Any, answer: AnswerType | None) -> None:
        of = metric(*kind, answer=answer)
        if expected is not None and of.wrong_expected(expected) is None:
            assert measured(of, given(got, expected, answer=answer)).value is not None

    holds()
