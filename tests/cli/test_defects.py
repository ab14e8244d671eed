"""A defect in a row is told with its type and place, and the other rows go on; a single run shows its traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.labels import Label
from promptkit.cli.main import fail
from promptkit.errors import UnexpectedError, catching_unexpected
from tests.cli.runs_project import Here, make_project


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    real = Label.find

    def find(self: Label, text: str, *given: Any, **named: Any) -> Any:
        if text.startswith("bad"):
            raise LookupError("odd")
        return real(self, text, *given, **named)

    monkeypatch.setattr(Label, "find", find)
    return make_project(tmp_path, {"rows.csv": "text\nSo nice\nIt is broken\nfine\n"})


@pytest.mark.attack("code")
def test_a_row_fails_with_the_place_and_the_others_are_answered(here: Here) -> None:
    done = here("run", "mood", "--input", "rows.csv")

    assert done.code == 3
    assert done.out.splitlines() == ["good", "", "good"]
    [told] = [line for line in done.err.splitlines() if line.startswith("error: row 2: ")]
    assert "unexpected LookupError at " in told and "test_defects.py:" in told
    command = told.rpartition("promptkit ")[2].removesuffix(" has the traceback").split()
    [row] = here(*command).json["rows"]
    assert "Traceback (most recent call last)" in row["traceback"] and "LookupError: odd" in row["traceback"]


@pytest.mark.attack("code")
def test_a_single_run_says_what_failed_where(here: Here) -> None:
    done = here("run", "mood", "text=It is broken")

    assert done.code == 3
    assert done.err.splitlines()[-1].startswith("error: unexpected LookupError at ")


def test_the_command_line_prints_the_traceback_of_a_defect_before_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnexpectedError) as caught, catching_unexpected():
        raise LookupError("odd")

    with pytest.raises(SystemExit) as ended:
        fail(caught.value)
    assert ended.value.code == 3
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last.startswith("error: unexpected LookupError at ") and last.endswith(": odd")


@pytest.mark.attack("code")
def test_an_evaluation_says_how_many_cells_met_which_defect_and_where_its_traceback_is(here: Here) -> None:
    done = here("eval", "mood")

    assert done.code == 3
    [told] = [line for line in done.err.splitlines() if "failed by a defect" in line]
    assert told.startswith("2 cells failed by a defect of promptkit or of the project's code: LookupError at ")
    assert "promptkit runs show 1 --json" in told
    [defect] = here("runs", "show", "1", "--json").json["defects"]
    assert defect["cells"] == 2
    assert defect["traceback"].endswith("LookupError: odd\n")
    assert "failed unexpectedly: LookupError at" in here("runs", "errors", "1").out
