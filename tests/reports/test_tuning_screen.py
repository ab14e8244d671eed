"""What is seen of a tuning while it goes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from promptkit.reports.progress import Progress
from promptkit.reports.tuning import screen
from promptkit.reports.tuning.screen import TuningScreen
from promptkit.runtimes.budget import Budget
from promptkit.tuning.progress import Incumbent, TuningProgress
from promptkit.tuning.tune_record import ObjectiveRecord
from tests.reports.demo_tuning import demo_tuning

Step = Callable[[TuningProgress], None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "TICK", 0.01)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def standing() -> TuningProgress:
    found = TuningProgress(budget=Budget(600, seconds=300))
    found.begin_stage("race", 12, "mood")
    found.drop("layout: json", "2.9 standard errors behind")
    found.best = Incumbent("decide: score", 0.74, 0.62, 0.86, rows=40)
    assert found.budget is not None
    found.budget.charge(128, 9000)
    return found


async def seen(capsys: pytest.CaptureFixture[str], search: TuningProgress, *steps: Step) -> str:
    """Return what is written to stderr while a search takes some steps."""
    shown = TuningScreen(search, Progress(), ObjectiveRecord(**demo_tuning()["metric"]))
    with shown.showing():
        await asyncio.sleep(0.15)
        for step in steps:
            step(search)
            await asyncio.sleep(0.15)
        await asyncio.sleep(0.4)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)


async def test_without_a_terminal_each_stage_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    said = await seen(capsys, standing(), lambda each: each.begin_stage("confirm", 2))
    (race,) = [line for line in said.splitlines() if line.startswith("mood, race")]
    assert "11 of 12 candidates alive · 128 of 600 calls · 9,000 tokens" in race
    assert "left)" in race and race.endswith("leading with 74 % [62, 86] on 40 search rows: decide: score")
    assert len([line for line in said.splitlines() if line.startswith("confirm")]) == 1


@pytest.mark.parametrize(
    ("rows", "shown"), [(19, "leading after 19 rows: decide: score"), (20, "leading with 100 % [83, 100] on 20 search")]
)
async def test_a_leader_on_fewer_than_20_rows_has_no_score(
    capsys: pytest.CaptureFixture[str], rows: int, shown: str
) -> None:
    search = standing()
    search.best = Incumbent("decide: score", 1.0, 0.83, 1.0, rows=rows)
    assert shown in await seen(capsys, search, lambda each: each.begin_stage("confirm", 2))


async def test_what_was_dropped_and_noted_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    def noted(search: TuningProgress) -> None:
        search.note("three rows are alike")
        search.note("three rows are alike")
        search.drop("examples: 2", "2.9 standard errors behind")

    said = await seen(capsys, standing(), noted)
    assert said.count("three rows are alike") == 1
    assert said.count("dropped: layout: json (2.9 standard errors behind)") == 1
    assert said.count("examples: 2 (2.9 standard errors behind)") == 1


async def test_a_terminal_shows_where_the_search_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    said = await seen(capsys, standing())
    for told in ("128 of 600 calls", "11 of 12 candidates alive", "leading with 74 %", "dropped layout: json: 2.9"):
        assert told in said


@pytest.mark.attack("terminal")
async def test_what_a_candidate_is_called_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def evil(search: TuningProgress) -> None:
        search.drop("\x1b]0;x\x07", "\x1b[2J")
        search.best = Incumbent("\x1b]0;x\x07", 0.5, 0.4, 0.6)

    said = await seen(capsys, standing(), evil)
    assert "\x1b" not in said and "\x07" not in said


def test_a_search_without_limits_tells_none() -> None:
    free = TuningProgress()
    assert (free.calls, free.tokens) == (0, 0)
    free.begin_stage("race", 3)
    free.drop("a", "b")
    assert (free.alive, free.entered, free.dropped) == (2, 3, [("a", "b")])
