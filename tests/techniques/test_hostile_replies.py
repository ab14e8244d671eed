"""Whatever a model replies, a technique over tables or tools ends in an answer, or in none and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.techniques import perform
from tests.techniques.steps import Bench

TABLES = [
    [{"name": "Paris", "pop": "2.1 million"}, {"name": "Lyon", "pop": "5"}, {"name": "Ulm", "pop": None}],
    [{"a": 1}, {"b": [1, 2]}, {"c": {"x": "y"}}],
    [{"na\nme": "\ud800", "NA ME": "x\0y", "": 1.5, "row_id": True}],
    [],
]
PIECES = [
    *('QA("map@x"; ', 'QA("ans@y"; ', 'QA("', "SELECT ", "name", " FROM w", " WHERE ", "= 'yes'", "DROP TABLE w", ";"),
    *(
        "row 1 : yes",
        "\nrow 2 : no\nrow 3 : x",
        "f_row([",
        "f_col([",
        "f_add_column(",
        "f_select_row",
        "f_sort_column(",
    ),
    *(
        "f_group_column(",
        "Derived from: x\n",
        "fact {}",
        "Action 1: ",
        "Thought 2: ",
        "search[",
        "finish[",
        '{"word": ',
    ),
    *("First, ", "Second, ", "The answer is ", ")", "(", "[", "]", "'", '"', "`", "\n", "*", "1", "999999999999", "\0"),
]
REPLY = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
PROMPT = """\
---
inputs: {table: {type: table}, question: {type: text}, texts: {type: list, default: []}}
---
{% block input %}{{ table | length }} rows, {{ texts | length }} texts. {{ question }}{% endblock %}
"""
TECHNIQUES = {
    "binder": {},
    "dater": {"samples": 1},
    "chain_of_table": {},
    "react": {"documents": "texts", "steps": 3},
    "chain_of_knowledge": {"documents": "texts", "samples": 2},
}


class Search:
    def __init__(self) -> None:
        self.takes = {"word": True}

    def __call__(self, arguments: Any) -> str:
        return f"found {arguments['word']}"


def endless(replies: list[str]) -> Iterator[str]:
    while True:
        yield from replies or [""]


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize("name", TECHNIQUES)
@given(
    replies=st.lists(REPLY, max_size=6),
    table=st.sampled_from(TABLES),
    decide=st.sampled_from(["generate", "constrain"]),
    answer=st.sampled_from(["text", "number", "list", "boolean"]),
)
def test_no_reply_raises(
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    replies: list[str],
    table: list[Any],
    decide: Any,
    answer: str,
) -> None:
    bench = Bench(tmp_path_factory.mktemp("bench"), endless(replies), answer, prompt=PROMPT)
    values = {"table": table, "question": "Which?", "texts": ["A name is found.", "First, the second."]}
    step = bench.step(values=values, decide=decide, tools={"search": Search()})

    found = asyncio.run(perform({name: TECHNIQUES[name]}, step))

    assert (found.value is None) == (found.flag == "unparsed") or found.flag == "truncated"
    assert found.flag is None or found.problem
