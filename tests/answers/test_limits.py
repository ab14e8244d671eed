"""The numbers that decide in answers: each limit from both sides, so that a changed one is noticed."""

from __future__ import annotations

import math
from string import ascii_uppercase
from typing import Any

import pytest

from promptkit.answers.base import Unparsed
from promptkit.answers.build import build_answer_type, check_answer_type
from promptkit.answers.calibration import labelled_offsets, mean_offsets, quantile_offsets
from promptkit.answers.decide import MAX_OUTSIDE_SHARE, score_answer
from promptkit.answers.labels import Label
from promptkit.answers.spans import aligned
from promptkit.errors import InputError
from promptkit.runtimes.base import Alternative, Message, Reply, Request, Token
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted


@pytest.mark.parametrize(
    ("spec", "tokens"),
    [
        ("text", 512),
        ("boolean", 8),
        ({"choice": ["one", "two"]}, 8),
        ({"label": ["a", "b"]}, 32),
        ({"label": ["a", "b" * 40]}, 40),
        ({"labels": ["a", "b"]}, 64),
        ({"labels": [f"{number:05}" for number in range(30)]}, 30 * 7),
        ("number", 24),
        ("code", 1_024),
        ({"spans": {"classes": ["a"], "text": "ten signs."}}, 74),
        ("json", 512),
    ],
)
def test_an_answer_may_have_so_many_tokens(spec: Any, tokens: int) -> None:
    assert build_answer_type(spec).max_tokens == tokens


def read(spec: Any, text: str) -> Any:
    return build_answer_type(spec).parse(text)


def refused(spec: Any, text: str) -> bool:
    try:
        read(spec, text)
    except Unparsed:
        return True
    return False


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("spec", "longest", "too_long"),
    [
        ("text", "x" * 1_000_000, "x" * 1_000_001),
        ("json", nested(100), nested(101)),
        ({"spans": {"classes": ["a"], "text": "ten signs."}}, "ten signs. " + "x" * 209, "ten signs. " + "x" * 210),
        ({"list": {"max": 2}}, "a\nb", "a\nb\nc"),
        ({"json": {"type": "boolean"}}, "[ " * 63 + "true", "[ " * 64 + "true"),
    ],
    ids=["reply", "JSON depth", "copy of a text", "list", "starts"],
)
def test_a_reply_is_read_up_to_a_limit(spec: Any, longest: str, too_long: str) -> None:
    assert refused(spec, longest) == (spec == {"json": {"type": "boolean"}})
    assert refused(spec, too_long)


def test_json_is_looked_for_at_64_places() -> None:
    broken = "[ x " * 63
    assert read("json", broken + "[1]") == [1]
    assert refused("json", f"[ x {broken}[1]")


def test_an_answer_without_a_marker_stands_in_the_last_40_sentences() -> None:
    answer = build_answer_type({"label": ["red", "blue"]})
    assert answer.find("It is red.\n" + "hm\n" * 39, thinks=True).value == "red"
    with pytest.raises(Unparsed):
        answer.find("It is red.\n" + "hm\n" * 40, thinks=True)


def test_decimals_beyond_the_400th_are_not_read() -> None:
    assert refused({"number": {"max": 0}}, "0." + "0" * 399 + "1")
    assert read({"number": {"max": 0}}, "0." + "0" * 400 + "1") == 0


@pytest.mark.parametrize(
    ("accepted", "wrong"),
    [
        ({"number": {"decimals": 20}}, {"number": {"decimals": 21}}),
        ({"choice": list(ascii_uppercase)}, {"choice": [*ascii_uppercase, "more"]}),
        ({"list": {"max": 1}}, {"list": {"max": 0}}),
    ],
)
def test_a_type_takes_options_up_to_a_limit(accepted: Any, wrong: Any) -> None:
    build_answer_type(accepted)
    with pytest.raises(InputError):
        build_answer_type(wrong)


@pytest.mark.parametrize(
    ("spec", "repeated"),
    [({"list": {"max": 3}}, "{0,2}"), ({"labels": ["a", "b", "c", "d"]}, "{0,3}")],
)
def test_a_grammar_ends_a_list_at_its_longest(spec: Any, repeated: str) -> None:
    grammar = build_answer_type(spec).grammar()
    assert grammar is not None and repeated in grammar


def test_the_number_before_an_item_has_up_to_three_digits() -> None:
    assert read("list", "9. a\n10. b\n100. c\n1000. d") == ["a", "b", "c", "1000. d"]


def test_words_are_compared_up_to_90000_pairs() -> None:
    twice = [str(number) for number in range(149)] * 2
    left, right = ["x", *twice, "y"], ["p", *twice, "q"]
    assert len(left) * len(right) == 90_000
    assert len(aligned(left, right)) == 298
    assert aligned([*left, "z"], right) == {}


async def test_scoring_asks_for_200_alternatives_at_each_place() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Reply:
        asked.append(request)
        shown = (Alternative(b"a", math.log(0.75)), Alternative(b"b", math.log(0.25)))
        return Reply(text="a", tokens=(Token(shown[0].piece, shown[0].logprob, shown),))

    request = Request(messages=(Message("user", "?"),), begun="Mood:")
    await score_answer(Client(Scripted(answer)), request, Label(["a", "b"]), lead="")

    assert [request.alternatives for request in asked] == [200]


def test_scores_are_no_evidence_where_labels_are_outside_in_more_than_a_twentieth_of_the_rows() -> None:
    assert MAX_OUTSIDE_SHARE == 0.05


def test_a_label_that_is_never_given_counts_as_a_trillionth() -> None:
    offsets = mean_offsets([{"a": 0.0, "b": -2_000.0}])
    assert offsets["b"] - offsets["a"] == pytest.approx(math.log(1e12), abs=1e-5)


@pytest.mark.parametrize(("share", "first"), [(1.0, 0.5), (0.0, -0.5)])
def test_a_threshold_beyond_all_rows_is_one_away_from_the_last(share: float, first: float) -> None:
    assert quantile_offsets([{"a": 0.0, "b": 0.0}], share) == {"a": first, "b": -first}


def test_gaps_wider_than_two_count_the_same_and_the_first_wins() -> None:
    rows = [{"a": margin, "b": 0.0} for margin in (0.0, 3.0, 4.0)]
    offsets = labelled_offsets(rows, ["b", "a", "b"])
    assert offsets["b"] - offsets["a"] == pytest.approx(1.5)


def test_offsets_of_labels_are_tried_three_times_over() -> None:
    rows = [(-5, -2, 0), (0, 0, -6), (-4, -6, -3), (0, -3, -3), (-1, -3, 0), (-5, -6, -3)]
    scores = [dict(zip("abc", map(float, row), strict=True)) for row in rows]
    assert labelled_offsets(scores, list("abbcac")) == {"a": -2.9375, "b": -0.0625, "c": 3.0}


def test_a_number_has_up_to_308_digits() -> None:
    assert read("number", "1e307") == 10**307
    assert refused("number", "1e308")
    assert read("json", "-" + "1" * 308) == -int("1" * 308)
    assert refused("json", "1" * 309)


def test_a_span_holds_at_least_one_character() -> None:
    spec = {"spans": {"classes": ["a"], "text": "ten signs."}}
    assert read(spec, 'ten <span class="a"></span>signs.') == []
    with pytest.raises(ValueError, match="is empty"):
        build_answer_type(spec).write([{"start": 4, "end": 4, "class": "a"}])


def test_the_class_of_a_span_may_have_200_characters() -> None:
    name = "a" * 200
    assert len(read({"spans": {"classes": [name], "text": "ten."}}, f'<span class="{name}">ten</span>.')) == 1


@pytest.mark.parametrize("inner", [{"labels": ["a", "b"]}, {"choice": ["a", "b"]}, "code"])
def test_a_list_has_items_of_simple_types_only(inner: Any) -> None:
    (problem,) = check_answer_type({"list": {"of": inner, "max": "{{ most }}"}})
    assert "known: text, label, number, boolean, json" in problem


def test_blank_lines_before_an_answer_are_skipped() -> None:
    assert build_answer_type({"list": {"separator": ";"}}).find("Answer:\n \na; b", "Answer:").value == ["a", "b"]
