"""A question's numbers as variables: each its own, in digits or words, and nothing else."""

from typing import Any

import pytest

from promptkit.techniques.methods.math_templates import read_template, to_template


@pytest.mark.parametrize(
    ("question", "text", "values"),
    [
        ("5 of 15 pay 8.", "A of B pay C.", {"A": 5, "B": 15, "C": 8}),
        ("2 and 2", "A and B", {"A": 2, "B": 2}),
        ("It costs $1,234.50 or 20%.", "It costs $A or B%.", {"A": 1234.5, "B": 20}),
        ("twelve men, Twenty-five boys, forty one", "A men, B boys, C", {"A": 12, "B": 25, "C": 41}),
        ("half of it, twice, one of them", "half of it, twice, one of them", {}),
        ("the 2nd of 3 and 22nd", "the 2nd of A and 22nd", {"A": 3}),
        ("A man had 4 and B 5kg", "A man had C and B D kg", {"C": 4, "D": 5}),
        ("x2 and v1.5", "x2 and v1.5", {}),
        ("weigh often tension", "weigh often tension", {}),
    ],
)
def test_each_number_becomes_a_variable_of_its_own(question: str, text: str, values: dict[str, Any]) -> None:
    template = to_template(question)

    assert (template.text, template.values) == (text, values)


def test_there_is_a_variable_for_the_27th_number() -> None:
    template = to_template(" ".join(map(str, range(100, 128))))

    assert len(template.values) == 28
    assert list(template.values)[25:] == ["Z", "A1", "B1"]


def test_draws_are_random_and_the_same_each_time() -> None:
    template = to_template("5 of 15 pay 8.")

    draws = template.draws(5)

    assert draws == to_template("7 of 15 pay 9.").draws(5)
    assert len({tuple(draw.items()) for draw in draws}) == 5
    assert all(draw.keys() == template.values.keys() and 1 <= min(draw.values()) <= 99 for draw in draws)


@pytest.mark.parametrize(
    "value",
    [
        {"template": "A of B", "values": {"A": 5, "C": 15}},
        {"template": "A of 15", "values": {"A": 5}},
        {"template": "A of B", "values": {"A": 5, "B": "many"}},
        {"template": "A of B"},
        ["A of B"],
    ],
)
def test_a_models_template_that_is_none_is_told_apart(value: Any) -> None:
    assert read_template(value) is None


def test_a_models_template_is_taken_as_it_is() -> None:
    template = read_template({"template": "half of A for B", "values": {"A": 5, "B": 1}})

    assert template is not None
    assert (template.text, template.values) == ("half of A for B", {"A": 5, "B": 1})
