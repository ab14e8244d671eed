"""Scores that are slow to make are made once for an answer to a row, and never taken for another's."""

from __future__ import annotations

import pytest

from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, Ran, moods

TEXT = SUITE.replace("accuracy: label", "mine: {python: mine.py:score}")
METRIC = """\
from pathlib import Path

def score(output, expected):
    with Path(__file__).with_name("scored.txt").open("a") as file:
        file.write("x")
    return float(output == expected)
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    bench = Bench(folder, moods(10))
    folder.write("evals/mine.py", METRIC)
    return bench


def scored(bench: Bench) -> int:
    return len((bench.folder.root / "evals/scored.txt").read_text())


def scores(ran: Ran) -> list[float | None]:
    return [cell.scores["mine"].value for cell in ran.view.cells()]


async def test_a_score_is_made_once(bench: Bench) -> None:
    first, second = [await bench.run(TEXT) for _ in range(2)]

    assert scores(first) == scores(second) == [1.0, 0.0] * 5
    assert scored(bench) == 10


async def test_a_changed_label_is_scored_anew_without_asking(bench: Bench) -> None:
    await bench.run(TEXT)
    bench.rows([{**row, "expect": "good"} for row in moods(10)])
    ran = await bench.run(TEXT)

    assert ran.runtime.requests == []
    assert scores(ran) == [0.0, 1.0] * 5


async def test_what_is_compared_is_part_of_the_measure(bench: Bench) -> None:
    await bench.run(TEXT)
    ran = await bench.run(TEXT + "expect: good\n")

    assert ran.runtime.requests == []
    assert scores(ran) == [0.0, 1.0] * 5


async def test_equal_rows_with_labels_of_their_own_have_scores_of_their_own(bench: Bench) -> None:
    bench.rows([{"text": "good one", "expect": label} for label in ("good", "bad", "good")])
    ran = await bench.run(TEXT)

    assert len(ran.runtime.requests) == 1
    assert scores(ran) == [1.0, 0.0, 1.0]
    assert scores(await bench.run(TEXT)) == [1.0, 0.0, 1.0]


async def test_an_edit_of_a_file_that_the_metric_imports_scores_anew_without_asking(bench: Bench) -> None:
    bench.folder.write("wanted_words/words.py", "WANTED = 'bad'\n")
    bench.folder.write("evals/mine.py", METRIC.replace("output == expected", "output == WANTED"))
    file = bench.folder.root / "evals/mine.py"
    file.write_text("from wanted_words.words import WANTED\n" + file.read_text())
    before = (await bench.run(TEXT)).evaluated
    bench.folder.write("wanted_words/words.py", "WANTED = 'good'\n")
    ran = await bench.run(TEXT)
    again = await bench.run(TEXT)

    assert ran.runtime.requests == again.runtime.requests == []
    assert scored(bench) == 20
    assert before.record.to_json()["variants"][0]["metrics"]["mine"]["n"] == ran.metric("mine")["n"] == 10


async def test_a_score_that_is_missing_is_tried_again_by_the_same_command(bench: Bench) -> None:
    bench.folder.write(
        "evals/mine.py",
        """
        from pathlib import Path

        def score(output):
            if not Path(__file__).with_name("there.txt").exists():
                raise OSError("no disk")
            return 1
        """,
    )
    first = await bench.run(TEXT)
    bench.folder.write("evals/there.txt", "")
    second = await bench.run(TEXT)

    assert (first.record["status"], second.record["status"]) == ("incomplete", "done")
    assert "no disk" in first.evaluated.failure
    assert second.runtime.requests == []
    assert scores(second) == [1.0] * 10


async def test_a_new_column_scores_again_only_where_the_metric_takes_the_row(bench: Bench) -> None:
    await bench.run(TEXT)
    bench.rows([{**row, "note": "new"} for row in moods(10)])
    await bench.run(TEXT)
    assert scored(bench) == 10

    bench.folder.write("evals/mine.py", METRIC.replace("expected)", "expected, row)", 1))
    await bench.run(TEXT)
    bench.rows([{**row, "note": "newer"} for row in moods(10)])
    await bench.run(TEXT)
    assert scored(bench) == 30
