"""Expressions in YAML: types that stay, text that prints, names that are free, and errors at their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.prompts.expressions import Expression
from promptkit.prompts.sandbox import GLOBALS
from tests.prompts.conftest import problems_of


class Pairs(list[Any]):
    @property
    def pairs(self) -> list[list[Any]]:
        return [[place, item] for place, item in enumerate(self)]


SCOPE = {
    "text": "1e5",
    "number": 3,
    "rows": [{"id": 1, "keys": "k"}, {"id": 2, "keys": "l"}],
    "issues": ["slow", "dear", "rude"],
    "categories": Pairs(["network", "price", "network"]),
    "result": 5,
    "nothing": None,
    "flag": True,
}


def evaluate(text: str, scope: Mapping[str, Any]) -> Any:
    return Expression.parse(text).evaluate(scope)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ text }}", "1e5"),
        ("  {{ number }}\n", 3),
        ("{{ nothing }}", None),
        ("{{ flag }}", True),
        ("{{ rows[0].keys }}", "k"),
        ("{{ {'a': [number]} }}", {"a": [3]}),
        ("{{ issues | map('upper') }}", ["SLOW", "DEAR", "RUDE"]),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ rows[0].items() }}", [("id", 1), ("keys", "k")]),
        ("{{ categories | unique }}", ["network", "price"]),
        ("{{ ['a', 'A', 'a'] | unique }}", ["a", "A"]),
        ("{{ [[1], [1], {'a': 1}] | unique }}", [[1], {"a": 1}]),
        ("{{ issues | where(categories, 'network') }}", ["slow", "rude"]),
        ("{{ categories.pairs | as_map }}", {"0": "network", "1": "price", "2": "network"}),
        ("{{ zip(issues, categories) }}", [("slow", "network"), ("dear", "price"), ("rude", "network")]),
        ("{{ 'a }} {{ b' }}", "a }} {{ b"),
        ("{{ number }}{{ number }}", "33"),
        ("a {{ flag }} {{ issues }} {{ rows[1] }}", 'a true ["slow", "dear", "rude"] {"id": 2, "keys": "l"}'),
        ("{{ number > 2 and not flag }}", False),
        ("no braces", "no braces"),
        ("{{ '' }}", ""),
    ],
)
def test_a_lone_expression_keeps_its_type_and_all_else_is_text(text: str, value: Any) -> None:
    found = evaluate(text, SCOPE)
    assert found == value and type(found) is type(value)


@given(st.text())
def test_a_value_passes_through_an_expression_unchanged(value: str) -> None:
    assert evaluate("{{ value }}", {"value": value}) == value


KEPT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just(Pairs([1])),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.sampled_from(["a", "items", "_b"]), inner),
)


@given(st.dictionaries(st.sampled_from(["a", "items", "_b"]), KEPT), st.sampled_from(["a", "items", "_b", "a.a"]))
def test_a_key_of_a_mapping_gives_what_it_gives_within_a_larger_expression(row: dict[str, Any], keys: str) -> None:
    def found(text: str) -> Any:
        try:
            return "value", evaluate(text, {"row": row})
        except InputError as error:
            return "error", [problem.message for problem in error.problems]

    assert found(f"{{{{ row.{keys} }}}}") == found(f"{{{{ row.{keys} if true else 0 }}}}")


def test_generators_and_other_things_read_once_become_lists() -> None:
    def numbers() -> Iterator[int]:
        yield from (1, 2)

    assert evaluate("{{ numbers }}", {"numbers": numbers()}) == [1, 2]


@pytest.mark.parametrize(
    ("text", "value"), [("result > 3", True), ("{{ result > 3 }}", True), ("issues", SCOPE["issues"])]
)
def test_a_bare_expression_may_leave_out_its_braces(text: str, value: Any) -> None:
    expression = Expression.parse(text, bare=True)
    assert expression.evaluate(SCOPE) == value
    assert len(expression.names) == 1


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("{{ a.b[c] | where(d, 1) }}", {"a", "c", "d"}),
        ("{{ zip(a, range(3)) }}", {"a"}),
        ("{% for x in a %}{{ x }}{{ loop.index }}{% endfor %}", {"a"}),
        ("plain", set()),
    ],
)
def test_names_are_the_free_variables(text: str, free: set[str]) -> None:
    assert Expression.parse(text).names == free


def test_a_bare_name_counts_where_braces_may_be_left_out() -> None:
    assert Expression.parse("a and b", bare=True).names == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{{ isues }}", "`isues` is undefined", "did you mean `issues`?"),
        ("{{ rows[0].idd }}", "no `idd` in this mapping", "did you mean `id`?"),
        ("{{ nothing.x }}", "no `x` in this null", None),
        ("text {{ nothing }}", "null", None),
        ("{{ zip([1], [1, 2]) }}", "zip()", None),
        ("{{ issues | where([1], 1) }}", "zip()", None),
        ("{{ [['a', 1], ['a', 2]] | as_map }}", "comes twice", None),
        ("{{ range }}", "not a value", None),
        ("{{ namespace(a=1) }}", "not a value", None),
        ("{{ 1 / 0 }}", "division by zero", None),
    ],
)
def test_what_cannot_be_evaluated_says_why(text: str, message: str, hint: str | None) -> None:
    (problem,) = problems_of(lambda: evaluate(text, SCOPE))
    assert message in problem.message and (hint is None or problem.hint == hint)
    assert (problem.file, problem.line) == (None, None)


@pytest.mark.parametrize(
    ("text", "bare", "hint"),
    [
        ("{{ x | uper }}", False, "did you mean `upper`?"),
        ("{{ y", False, "an expression ends in `}}`"),
        ('{% include "x" %}', False, None),
        ("a b", True, None),
    ],
)
def test_a_broken_expression_is_refused_when_it_is_read(text: str, bare: bool, hint: str | None) -> None:
    (problem,) = problems_of(lambda: Expression.parse(text, bare=bare))
    assert (problem.file, problem.hint) == (None, hint)


def test_names_with_a_meaning_of_their_own_are_known() -> None:
    assert {"range", "dict", "namespace", "zip", "unique", "where", "as_map"} == GLOBALS
