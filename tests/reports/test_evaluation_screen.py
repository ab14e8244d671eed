"""What is seen of an evaluation while it goes on."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from promptkit.errors import ConnectionFailed, ServerFailed
from promptkit.evaluation.evaluate import Evaluation, live_estimates
from promptkit.reports.evaluation import screen
from promptkit.reports.evaluation.screen import EvaluationScreen
from promptkit.reports.progress import Progress
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench, Given, echo, moods

TWO = """
data: rows.jsonl
target: mood
metrics: {accuracy: label, size: tokens}
variants: {plain: {}, prefix: {mood.layout: prefix}}
"""


class Shown:
    """Evaluations as they are seen on a terminal, or where there is none."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.bench = Bench(Folder(folder), moods(60))
        self._capsys = capsys

    async def seen(self, script: Scripted, *, stop_after: float | None = None) -> str:
        """Return what is written to stderr while a suite runs; stopped after some seconds, also what is said then."""
        with Store.open(self.bench.store_folder) as store:
            evaluation = Evaluation(self.bench.suite(TWO), models=Given(script, concurrency=4), store=store)
            await evaluation.open()
            shown = EvaluationScreen(evaluation, Progress())
            try:
                async with asyncio.timeout(stop_after):
                    with shown.showing():
                        await evaluation.run()
            except TimeoutError:
                shown.interrupted()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait([task], timeout=1)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._capsys.readouterr().err)


@pytest.fixture
def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setattr(screen, "TICK", 0.01)
    monkeypatch.setattr(screen, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(screen, "LOOK_SHARE", 1.0)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return Shown(tmp_path, capsys)


@pytest.fixture
def terminal(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("terminal")
class TestOnATerminal:
    async def test_it_shows_how_far_the_run_is_what_it_took_and_the_running_means(self, shown: Shown) -> None:
        said = await shown.seen(Scripted(echo, delay=0.03))
        assert re.search(r"test ━+ \d+ of 120 · \d+/s · .* left", said)
        assert re.search(r"\d+ calls · \d+\+\d+ tokens", said)
        assert re.search(r"so far +accuracy +size \(median\)", said)
        assert re.search(r"prefix +\d+ % \[\d+, \d+\]", said)

    async def test_the_first_failure_is_told_once_as_it_comes(self, shown: Shown) -> None:
        asked = 0

        def fails(request: Request) -> str:
            nonlocal asked
            asked += 1
            if asked % 7 == 0:
                raise ServerFailed("the server returned 500")
            return echo(request)

        said = await shown.seen(Scripted(fails))
        assert said.count("the first failure: step `mood`: the server returned 500") == 1

    async def test_it_says_that_the_model_does_not_answer(self, shown: Shown) -> None:
        def gone(request: Request) -> str:
            raise ConnectionFailed("nobody listens")

        said = await shown.seen(Scripted(gone))
        assert said.count("the model does not answer: no further requests are sent") == 1

    async def test_what_is_finished_is_told_when_it_is_stopped(self, shown: Shown) -> None:
        said = await shown.seen(Scripted(echo, delay=0.05), stop_after=0.5)
        last = said[said.rindex("interrupted") :]
        assert "so far" in last and re.search(r"plain +\d+ of 60", last)


class TestWithoutATerminal:
    async def test_one_line_says_what_begins(self, shown: Shown) -> None:
        assert await shown.seen(Scripted(echo)) == "test: 120 cells (60 rows, 2 variants)\n"

    async def test_a_line_now_and_then_says_how_far_it_is(self, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(screen, "PLAIN_SECONDS", 0.1)
        lines = (await shown.seen(Scripted(echo, delay=0.03))).splitlines()
        assert len(lines) > 2 and any(re.match(r"test: \d+ of 120 · .* left · \d+ calls", line) for line in lines)

    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    async def test_a_terminal_that_is_not_to_be_redrawn_is_none(
        self, shown: Shown, terminal: None, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        assert await shown.seen(Scripted(echo)) == "test: 120 cells (60 rows, 2 variants)\n"


async def test_running_means_are_those_of_the_cells_that_are_there(tmp_path: Path) -> None:
    bench = Bench(Folder(tmp_path))
    with Store.open(bench.store_folder) as store:
        evaluation = Evaluation(bench.suite(TWO), models=Given(Scripted(echo)), store=store)
        ended = await evaluation.run()
        found = {(each.variant, each.metric): each.estimate async for each in live_estimates(evaluation)}
    told = {
        (variant.name, name): metric.model_dump(include=found[variant.name, name].model_fields_set)
        for variant in ended.record.variants
        for name, metric in variant.metrics.items()
    }
    assert {key: estimate.to_json() for key, estimate in found.items()} == told
