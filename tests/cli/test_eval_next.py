"""What `promptkit eval` says to type next: with what was typed, so that it does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.runs_project import SUITE, Here, make_project
from tests.command import Done


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return make_project(tmp_path, {"evals/my moods.yaml": SUITE})


def next_of(done: Done) -> dict[str, str]:
    """Return the lines that come next by what they are for."""
    lines = done.err.partition("next:\n")[2].splitlines()
    told = (line.strip().partition("  # ") for line in lines if "  # " in line)
    return {what: line for line, _, what in told}


def test_what_decides_the_cells_is_typed_again(here: Here) -> None:
    model = ("--model", "scripted:failing.yaml")
    done = here("eval", "mood", *model, "--repeat", "2", "--exact", "--limit", "4", "--filter", "expect=good")
    typed = "promptkit eval mood --model scripted:failing.yaml --repeat 2 --exact"
    assert done.code == 3
    assert next_of(done) == {
        "asks only cells without an answer": f"{typed} --limit 4 --filter expect=good --retry-errors",
        "the failing rows, with their messages": "promptkit runs show 1 --failures",
        "all rows; these are not asked again": typed,
    }


def test_a_name_with_blanks_is_quoted_wherever_it_stands(here: Here) -> None:
    done = here("eval", "my moods")
    assert next_of(done)["as one page"] == "promptkit eval 'my moods' --html 'my moods.html'"


def test_a_baseline_that_is_judged_against_itself_does_not_fail(tmp_path: Path) -> None:
    suite = SUITE.replace("{accuracy: label, tokens: tokens}", "{preferred: {pairwise: {rubric: Which is right?}}}")
    here = make_project(tmp_path, {"evals/mood.yaml": suite, "script.yaml": "otherwise: good\n"})
    done = here("eval", "mood")
    assert done.code == 0 and "failing rows" not in done.out
    assert "the failing rows, with their messages" not in next_of(done)
    assert ' failures="0"' in here("runs", "export", "1", "--junit", "-").out
    assert "no answer fails" in here("runs", "errors", "1").out
