"""People's labels as scores: of the very answer, of those drawn at random, and of no answer without a label."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, answer_key, label_file
from promptkit.evaluation.metrics.human import HumanParameters
from promptkit.evaluation.statistics.interval import wilson
from promptkit.runtimes.base import Request
from tests.engine.helpers import Folder
from tests.evaluation.metrics.given import metric, sample
from tests.evaluation.suites import Bench, moods

SUITE = """
data: rows.jsonl
target: mood
metrics: {fine: human}
variants: {plain: {}, prefix: {mood.layout: prefix}}
"""


def shouts(request: Request) -> str:
    """Answer good to the variant with a prefix alone."""
    return "good" if "TASK" in request.messages[-1].content else "bad"


def give(bench: Bench, answer: str, level: str, rows: range, **more: Any) -> None:
    labels = AnswerLabels(label_file(bench.folder.root / "evals/test.yaml"))
    for row in rows:
        inputs = {"text": moods(row + 1)[row]["text"]}
        record = {"metric": "fine", "key": answer_key(inputs, answer), "answer": answer, "level": level}
        record |= {"drawn": "random", "inputs": inputs} | more
        labels.add(AnswerLabel.model_validate(record))


async def test_a_label_is_the_score_of_its_answer_and_no_other_variant_inherits_it(folder: Folder) -> None:
    bench = Bench(folder, moods(6))
    give(bench, "bad", "wrong", range(4), why="no")
    ran = await bench.run(SUITE, shouts)

    plain = [cell.scores["fine"] for cell in ran.view.cells("plain")]
    assert [score.value for score in plain] == [0, 0, 0, 0, None, None]
    assert plain[0].detail == {"label": "wrong", "random": True, "why": "no"}
    assert plain[-1].why.startswith("no label yet") and plain[-1].detail == {"not applicable": True}
    assert all(cell.scores["fine"].value is None for cell in ran.view.cells("prefix"))


async def test_new_labels_score_kept_answers_and_ask_no_model(folder: Folder) -> None:
    bench = Bench(folder, moods(6))
    before = await bench.run(SUITE, shouts)
    give(bench, "bad", "right", range(6))
    again = await bench.run(SUITE, shouts)

    assert before.metric("fine", "plain")["mean"] is None
    assert "no answer has a label: `promptkit label` asks for labels" in before.metric("fine", "plain")["notes"]
    found = again.metric("fine", "plain")
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((1, *wilson(6, 6)))
    assert again.runtime.requests == []


async def test_answers_that_were_chosen_are_left_out_of_the_mean_and_a_note_says_so(folder: Folder) -> None:
    bench = Bench(folder, moods(6))
    give(bench, "bad", "right", range(3))
    give(bench, "bad", "wrong", range(3, 6), drawn="chosen")
    found = (await bench.run(SUITE, shouts)).metric("fine", "plain")

    assert (found["mean"], found["n"]) == (1, 3)
    assert any("3 of 6 labelled answers were chosen: they are left out" in note for note in found["notes"])


async def test_labels_of_answers_that_stayed_the_same_do_not_pass_for_a_random_sample(folder: Folder) -> None:
    bench = Bench(folder, moods(10))
    give(bench, "bad", "right", range(7))
    give(bench, "good", "wrong", range(7, 10))
    changed = (await bench.run(SUITE, shouts)).metric("fine", "plain")
    give(bench, "bad", "right", range(7, 8))
    mended = (await bench.run(SUITE, shouts)).metric("fine", "plain")

    assert [note for note in changed["notes"] if "7 of the 10 rows drawn at random have a label" in note]
    assert not [note for note in mended["notes"] if "drawn at random" in note]


async def test_most_people_decide_and_an_old_level_does_not_count(folder: Folder) -> None:
    bench = Bench(folder, moods(2))
    for person, level in (("ann", "wrong"), ("ben", "right"), ("cay", "right")):
        give(bench, "bad", level, range(1), person=person)
    give(bench, "bad", "splendid", range(1, 2))
    first, second = [cell.scores["fine"] for cell in (await bench.run(SUITE, shouts)).view.cells("plain")]

    assert (first.value, first.detail["people"]) == (1, 3)
    assert second.value is None and "`splendid` is not one of the levels" in second.why


def test_levels_go_from_0_to_1_and_are_compared_on_answers_drawn_at_random_in_both() -> None:
    graded = metric("human", {"levels": ["poor", "fair", "good"]})
    a, b = sample([[0.5, 1], [1, 1], [1, 0]]), sample([[0, 1], [0.5, 1], [0, 1]])
    found = graded.difference(a, b)
    assert found is not None and (found.difference, found.n) == (0.5, 2)


@pytest.mark.parametrize("levels", [["one"], ["same", "Same"], ["", "good"], [str(level) for level in range(12)]])
def test_levels_are_two_to_eleven_different_words(levels: list[str]) -> None:
    with pytest.raises(ValueError, match="levels"):
        HumanParameters(levels=levels)


async def test_a_level_is_read_in_any_case_and_right_is_the_best_one(folder: Folder) -> None:
    bench = Bench(folder, moods(3))
    give(bench, "bad", "Poor", range(1))
    give(bench, "bad", "right", range(1, 3))
    ran = await bench.run(SUITE.replace("human", "{human: {levels: [poor, fair, good]}}"), shouts)
    scores = [cell.scores["fine"] for cell in ran.view.cells("plain")]
    assert [(score.value, score.detail["label"]) for score in scores] == [(0, "poor"), (1, "good"), (1, "good")]


async def test_answers_without_a_label_are_named_with_the_way_to_get_one(folder: Folder) -> None:
    bench = Bench(folder, moods(3))
    give(bench, "bad", "right", range(2))
    ran = await bench.run(SUITE, shouts)
    assert ran.metric("fine", "plain")["notes"][0] == (
        "on 2 of 3 answers; the others have no label: `promptkit label` asks for one"
    )
