"""What `--set` does to a step that says something already."""

from typing import Any

import pytest

from promptkit.engine.overrides import apply_overrides, read_set_options


@pytest.mark.parametrize(
    ("old", "text", "expected"),
    [
        (
            {"technique": {"pal": {"samples": 3}}},
            "s.technique={three_hop: {target: x}}",
            {"three_hop": {"target": "x"}},
        ),
        (
            {"technique": {"pal": {"samples": 3}}},
            "s.technique={pal: {temperature: 1}}",
            {"pal": {"samples": 3, "temperature": 1}},
        ),
        ({"technique": {"pal": {"samples": 3}}}, "s.technique.pal.samples=5", {"pal": {"samples": 5}}),
        ({"technique": {"pal": {"samples": 3}}}, "s.technique=vanilla", "vanilla"),
        (
            {"technique": {"self_consistency": {"over": {"pal": {}}}}},
            "s.technique.self_consistency.over={dater: {}}",
            {"self_consistency": {"over": {"dater": {}}}},
        ),
    ],
)
def test_another_technique_takes_the_place_of_the_old_one_and_the_same_one_is_merged(
    old: dict[str, Any], text: str, expected: Any
) -> None:
    assert apply_overrides(old, read_set_options([text])["s"])["technique"] == expected


def test_another_kind_of_answer_takes_the_place_of_the_old_one() -> None:
    old = {"answer": {"label": ["a", "b"]}}

    assert apply_overrides(old, read_set_options(["s.answer={number: {min: 0}}"])["s"])["answer"] == {
        "number": {"min": 0}
    }


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("s.cue=Value:", "Value:"),
        ("s.cue='Value:'", "Value:"),
        ("s.cue=The value is: 5", "The value is: 5"),
        ("s.cue=null", None),
    ],
)
def test_a_cue_that_ends_as_a_key_does_is_a_text(text: str, cue: str | None) -> None:
    assert read_set_options([text]) == {"s": {"cue": cue}}
