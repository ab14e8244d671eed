"""Whatever a model replies, a technique over tables or tools ends in an answer, or in none and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.answers.reader.json_reader import read_json
from promptkit.techniques.catalog.chain_of_knowledge import _FIRST, _SECOND
from promptkit.techniques.catalog.tree_of_thoughts import read_step
from promptkit.techniques.methods.table_chain import _ROW
from promptkit.techniques.methods.tables import _RANGE
from promptkit.techniques.methods.tool_calls import ToolSignature
from promptkit.techniques.perform import perform
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
@settings(max_examples=40)
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


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize("name", TECHNIQUES)
@pytest.mark.parametrize(
    "unit", [" ", "\n", "“", "[", "(", "row 1 : x\n", "First, ", "Action 1: a[b]\n", "fact {}\n", "```\n"]
)
async def test_a_long_reply_of_one_sign_is_read_without_holding_up_others(name: str, unit: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, endless([unit * (20_000 // len(unit))]), "text", prompt=PROMPT)
    values = {"table": TABLES[0], "question": "Which?", "texts": ["A name."]}
    step = bench.step(values=values, decide="generate", tools={"search": Search()})

    found = await perform({name: TECHNIQUES[name]}, step)

    assert (found.value is None) == (found.flag == "unparsed") or found.flag == "truncated"


ARGUMENTS = ToolSignature("calc", "", {"a": True, "b": True}, {}).arguments


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize(
    "read", [ARGUMENTS, read_step, read_json, _SECOND.split, _FIRST.search, _ROW.search, _RANGE.findall]
)
@pytest.mark.parametrize("sign", [" ", "\t", "[", "("])
async def test_a_line_that_is_long_and_blank_is_read_in_one_pass(read: Callable[[str], Any], sign: str) -> None:
    await asyncio.sleep(0)
    with suppress(ValueError):
        read(f"x{sign * 20_000}x")
