"""The items of a list in a reply, in whatever dress: what announces them or follows them is no item."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.answers.base import Refusal, Unparsed
from promptkit.answers.build import build_answer_type

COMMAS = {"list": {"separator": ","}}
NUMBERS = {"list": {"of": "number", "separator": ","}}
COLOURS = {"list": {"of": {"label": ["red", "green", "blue"]}}}
RECORDS = {"list": {"of": {"json": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}}
CITIES = ["Paris", "Rome"]


@pytest.mark.parametrize(
    ("spec", "reply", "value"),
    [
        ("list", "Paris\nRome", CITIES),
        ("list", "Paris\n\nRome", CITIES),
        ("list", "Here are the cities:\n- Paris\n- Rome", CITIES),
        ("list", "Here are the cities:\n\nParis\nRome", CITIES),
        ("list", "Cities\n* Paris\n* Rome", CITIES),
        ("list", "1. Paris\n2. Rome.", CITIES),
        ("list", "1) Paris\n2) Rome", CITIES),
        ("list", "(1) Paris\n(2) Rome", CITIES),
        ("list", "Paris\n2. Rome", CITIES),
        ("list", "**1.** Paris\n**2.** Rome", CITIES),
        ("list", "**1. Paris**\n**2. Rome**", CITIES),
        ("list", "### 1. Paris\nIt is in France.\n\n### 2. Rome\nIt is in Italy.", CITIES),
        ("list", "- **Paris**: in France\n- **Rome** – in Italy", CITIES),
        ("list", "- `Paris`\n- “Rome”", CITIES),
        ("list", "- [ ] Paris\n- [x] Rome", CITIES),
        ("list", "* Paris\n  * in France\n* Rome\n  * in Italy", CITIES),
        ("list", "Sure! Two cities.\n\n1. Paris\n2. Rome\n\nLet me know if you need more!", CITIES),
        ("list", "Answer 1: Paris\nAnswer 2: Rome", CITIES),
        ("list", "1. 【答案】 Paris\n2. 【答案】 Rome", CITIES),
        ("list", "（1）【解析】一 \n【答案】Paris\n（2）【解析】二\n【答案】Rome", CITIES),
        ("list", '["Paris", "Rome"]', CITIES),
        ("list", "['Paris', 'Rome']", CITIES),
        ("list", '```json\n["Paris", "Rome"]\n```', CITIES),
        ("list", 'Sure:\n```json\n{"cities": ["Paris", "Rome"]}\n```', CITIES),
        ("list", "```\nParis\nRome\n```", CITIES),
        ("list", "| # | City |\n|---|---|\n| 1 | Paris |\n| 2 | Rome |", CITIES),
        ("list", "| City | Country |\n|---|---|\n| Paris | France |\n| **Rome** | Italy |", CITIES),
        ("list", "1. Mix flour\n   and water\n2. Bake it", ["Mix flour and water", "Bake it"]),
        ("list", "Paris, Rome and Oslo.", ["Paris", "Rome", "Oslo"]),
        ("list", '"Paris", "Rome"', CITIES),
        ("list", " 1. Paris 2. Rome", CITIES),
        ("list", "(1) Paris (2) Rome 4. century", ["Paris", "Rome 4. century"]),
        ("list", 'We name "Paris" and "Rome".', CITIES),
        ("list", "First “Paris”, then “Rome”", CITIES),
        ("list", 'It is named: "Paris".', ["Paris"]),
        ("list", 'Paris is a "city".', ['Paris is a "city".']),
        ("list", '"Paris" is no "town" at all', ['"Paris" is no "town" at all']),
        ("list", "The cities are Paris, Rome and Oslo.", ["Paris", "Rome", "Oslo"]),
        ("list", "Paris, Texas", ["Paris, Texas"]),
        ("list", "- Salt and pepper\n- Oil", ["Salt and pepper", "Oil"]),
        ("list", "None.", []),
        (COMMAS, "Paris, Rome.", CITIES),
        (COMMAS, "Paris and Rome", CITIES),
        (COMMAS, "Paris, Rome, and Oslo", ["Paris", "Rome", "Oslo"]),
        (COMMAS, "The cities are: Paris, Rome.", CITIES),
        (COMMAS, "- Paris\n- Rome", CITIES),
        (COMMAS, "Paris; Rome", CITIES),
        (NUMBERS, "[1, 2]", [1, 2]),
        (NUMBERS, "The numbers are 1, 2 and 3.", [1, 2, 3]),
        (COLOURS, "red and blue", ["red", "blue"]),
        (COLOURS, "I see red first, then a blue one.", ["red", "blue"]),
        (RECORDS, '{"a": 1}\n{"a": 2}', [{"a": 1}, {"a": 2}]),
        (RECORDS, '{"records": [{"a": 1}]}', [{"a": 1}]),
        (RECORDS, "Here: [{'a': 1}]", [{"a": 1}]),
    ],
)
def test_a_list_is_read(spec: Any, reply: str, value: list[Any]) -> None:
    assert build_answer_type(spec).find(reply).value == value


@pytest.mark.parametrize(
    ("spec", "reply", "cue", "value"),
    [
        (COMMAS, "We move A and B. So we get the result as C, B.", "So we get the result as", ["C", "B"]),
        ("list", "We sort them. So the answer is a b c.", "", ["a", "b", "c"]),
        ("list", "Some thoughts.\n\nAnswer:\n- Paris\n- Rome", "Answer:", CITIES),
        ("list", "Some thoughts.\n\nHere they are:\n\n1. Paris\n2. Rome\n\nHope this helps.", "", CITIES),
        ("list", "First I thought of Oslo.\n\n- Paris\n- Rome", "", CITIES),
        (COMMAS, "Some thoughts, and more.\nOutput: Paris, Rome", "Output:", CITIES),
        ("list", "Some thoughts.\n\nOutput: none", "Output:", []),
    ],
)
def test_a_list_is_found_after_thoughts(spec: Any, reply: str, cue: str, value: list[Any]) -> None:
    assert build_answer_type(spec).find(reply, cue, thinks=True).value == value


@pytest.mark.parametrize("reply", ["I'm sorry, but I can't help with that.", "I cannot determine the list."])
@pytest.mark.parametrize("thinks", [False, True])
def test_a_refusal_is_no_list(reply: str, thinks: bool) -> None:
    with pytest.raises(Refusal):
        build_answer_type(COMMAS).find(reply, thinks=thinks)


def test_an_item_of_another_type_is_named() -> None:
    with pytest.raises(Unparsed, match="grey"):
        build_answer_type(COLOURS).find("- grey")
