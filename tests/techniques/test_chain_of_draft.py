"""`chain_of_draft` (Xu et al. 2025): thoughts of a few words a step, then the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, marked_example

ORDER = "with at most 5 words a step."


@pytest.mark.parametrize(("decide", "replies"), [("generate", ["3+4=7\nOutput: 7"]), ("constrain", ["3+4=7", " 7"])])
async def test_it_thinks_in_drafts_and_answers(tmp_path: Path, decide: Any, replies: list[str]) -> None:
    bench = Bench(tmp_path, replies)

    answer = await perform("chain_of_draft", bench.step(decide=decide))

    assert answer.value == 7
    assert f"{ORDER}\nThen write the answer on a last line of its own" in bench.texts[0]
    assert "nothing else" not in bench.texts[0]
    most = cost(configure("chain_of_draft", bench.project), bench.project, decide=decide)
    assert most.requests == most.depth == len(bench.records)


async def test_the_number_of_words_and_the_tokens_can_be_set(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["7"])

    await perform({"chain_of_draft": {"words": 1, "max_tokens": 40}}, bench.step(decide="generate"))

    assert "with at most 1 word a step." in bench.texts[0]
    assert bench.runtime.requests[0].max_tokens == 40 + bench.answer.max_tokens


async def test_examples_with_drafts_show_the_form_and_the_order_stays(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["3+4=7\nOutput: 7"], prompt=MARKED)

    await perform("chain_of_draft", bench.step(decide="generate", examples=(marked_example(2),)))

    assert bench.shown == [("draft", ALL)]
    assert ORDER in bench.texts[0] and "on a last line" not in bench.texts[0]
