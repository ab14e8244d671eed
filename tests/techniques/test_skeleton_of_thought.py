"""`skeleton_of_thought` (Ning et al. 2024): the points of an answer first, then all of them concurrently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order, routed

LIST = "1. POINT-ONE\n2. POINT-TWO"
ROUTES = (
    ("Write only its skeleton", LIST),
    ("Your point: POINT-ONE", "TEXT-ONE"),
    ("Your point: POINT-TWO", "TEXT-TWO"),
)


async def ask(bench: Bench, decide: Any = "generate", **parameters: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    step = bench.step(decide=decide, warn=warned.extend)
    return await perform({"skeleton_of_thought": parameters}, step), warned


async def test_a_text_is_the_expanded_points_in_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed(*ROUTES), "text", prompt=MARKED)

    answer, warned = await ask(bench)

    assert (answer.value, warned) == ("POINT-ONE\nTEXT-ONE\n\nPOINT-TWO\nTEXT-TWO", [])
    assert bench.levels == [("skeleton", 1), ("expand", 2), ("expand", 2)]
    assert answer.extra == {"skeleton": ["POINT-ONE", "POINT-TWO"]}


async def test_each_point_is_written_with_the_task_and_the_whole_skeleton_in_view(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed(*ROUTES), "text", prompt=MARKED)

    await ask(bench)

    for text in bench.texts:
        assert in_order(text, ["INSTRUCTIONS-MARK", "CONTEXT-MARK", "QUESTION-MARK"])
        assert "RECAP-MARK" not in text
    assert in_order(bench.texts[1], ["1. POINT-ONE", "2. POINT-TWO", "Your point: POINT-ONE"])


async def test_an_answer_of_another_type_is_decided_from_the_points(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed(*ROUTES, ("TEXT-TWO", "LABEL-TWO")), {"label": ["LABEL-ONE", "LABEL-TWO"]})

    answer, _ = await ask(bench)

    assert answer.value == "LABEL-TWO"
    assert bench.levels[-1] == ("answer", 3)
    assert "LABEL-ONE" in bench.texts[0], "the skeleton is planned with the labels in view"


async def test_points_above_the_cap_are_left_out_with_a_warning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed(*ROUTES), "text")

    answer, warned = await ask(bench, points=1)

    assert (answer.value, warned) == ("POINT-ONE\nTEXT-ONE", ["capped"])


async def test_without_a_skeleton_it_answers_directly_with_warnings(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed(("Write only its skeleton", ""), ("QUESTION-MARK", "TEXT-ALL")), "text")

    answer, warned = await ask(bench)

    assert (answer.value, warned) == ("TEXT-ALL", ["unread_call", "no_step"])


async def test_a_skeleton_of_one_point_is_warned_of(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed(("Write only its skeleton", "1. POINT-ONE"), *ROUTES[1:]), "text")

    answer, warned = await ask(bench)

    assert (answer.value, warned) == ("POINT-ONE\nTEXT-ONE", ["single_step"])


async def test_it_costs_at_most_what_it_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, routed(*ROUTES, ("TEXT-TWO", "7")))

    await ask(bench, points=2)

    most = cost(configure({"skeleton_of_thought": {"points": 2}}, bench.project), bench.project, answer="number")
    assert (most.requests, most.depth) == (4, 3) == (len(bench.records), bench.records[-1].level)
