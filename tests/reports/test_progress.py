"""What a run shows on stderr while it goes on."""

from __future__ import annotations

import pytest

from promptkit.engine import StepFinished, StepResult
from promptkit.reports import Progress


def test_a_file_that_is_fetched_is_announced_once_however_often_its_progress_begins_anew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress()
    for done in (0, 50, 93_000_000, 20, 93_000_000, 0):
        progress.fetching("a.gguf", done, 93_000_000)
    assert capsys.readouterr().err == "fetching a.gguf (93 MB, once)\nfetched a.gguf\n"


def test_files_that_are_fetched_in_turns_are_announced_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for what, done in (("a", 0), ("b", 0), ("a", 1_000), ("b", 2_000), ("b", 5_000), ("a", 5_000)):
        progress.fetching(what, done, 5_000)
    said = ["fetching a (5 kB, once)", "fetching b (5 kB, once)", "fetched b", "fetched a"]
    assert capsys.readouterr().err.splitlines() == said


def test_the_hint_of_what_failed_stands_in_brackets_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    failed = StepResult(status="failed", problem="item 1: fill in `output`\n  hint: it is about: 3 + 4")

    Progress().listener()(StepFinished(step="solve", result=failed))

    assert capsys.readouterr().err.splitlines()[1] == "    item 1: fill in `output` (it is about: 3 + 4)"
