"""A tuning from beginning to end, on a model whose right answers are known: its verdict, its limits, its plan."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import CAPABILITIES, Scripted, request_text
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.tuning.options import Limits, TuneOptions
from promptkit.tuning.tune import Tuning
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Given
from tests.tuning.logs import stored
from tests.tuning.planted import ADVISED_SUITE, STEP_LABELS, advise, advised
from tests.tuning.test_budget import Clock
from tests.tuning.tunings import PROMPT, Ran, TuneBench, luck, right_where, row_of, rows, truth

CALLS = 400


def cue_pays(text: str) -> float:
    return 0.9 if "Mood:" in text else 0.5


answer = right_where(cue_pays)


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 100)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneBench, Ran]:
    """Return a tuning that ended, with its bench; both are read only."""
    bench = TuneBench(Folder(tmp_path_factory.mktemp("first")), 100)
    return bench, asyncio.run(bench.tune(answer, calls=CALLS))


@pytest.fixture
def tuned_bench(first: tuple[TuneBench, Ran], bench: TuneBench) -> TuneBench:
    """Return a bench on which that tuning was run before."""
    shutil.copytree(first[0].store_folder, bench.store_folder)
    return bench


class TestVerdict:
    def test_a_pick_that_is_better_is_shown_to_be_improved(self, first: tuple[TuneBench, Ran]) -> None:
        bench, ran = first

        assert (ran.record["status"], ran.record["verdict"]) == ("done", "improved")
        assert "Mood:" in str(ran.record["best"]["changes"])
        assert ran.record["difference"]["low"] > 0
        assert ran.tuned.candidate is not None
        assert ran.tuned.candidate.changes == ran.record["best"]["changes"]
        assert stored(bench, ran.tuned.number) == ran.record

    async def test_where_nothing_helps_nothing_is_shown(self, bench: TuneBench) -> None:
        ran = await bench.tune(right_where(lambda text: 0.7), calls=CALLS)

        assert ran.record["verdict"] == "not shown"

    async def test_a_start_that_is_best_stays_and_is_not_asked_on_confirm_rows(self, bench: TuneBench) -> None:
        def worsened(request: Request) -> str:
            as_written = request_text(request).endswith(f"\n<INPUT>\n{last_line(request)}\n</INPUT>")
            is_right = luck(row_of(request), 0.9 if as_written and request.grammar is None else 0.3)
            return truth(row_of(request)) if is_right else {"good": "bad", "bad": "good"}[truth(row_of(request))]

        ran = await bench.tune(worsened, calls=CALLS, only=("layout",))

        assert ran.record["best"]["changes"] == {}
        assert (ran.record["verdict"], ran.record["difference"], ran.record["ordinal"]) == ("not shown", None, 0)
        assert "confirm" not in {entry["name"] for entry in ran.record["stages"]}
        assert ran.tuned.candidate is None

    async def test_a_second_pick_on_the_same_confirm_rows_is_tested_at_half_the_level(
        self, first: tuple[TuneBench, Ran], tuned_bench: TuneBench
    ) -> None:
        second = await tuned_bench.tune(answer, calls=CALLS, only=("decide",))
        third = await tuned_bench.tune(answer, calls=CALLS)

        records = [ran.record for ran in (first[1], second, third)]
        assert records[0]["best"]["changes"] != records[1]["best"]["changes"]
        assert [record["ordinal"] for record in records] == [1, 2, 1]
        assert [record["difference"]["level"] for record in records] == [0.95, 0.975, 0.95]

    async def test_new_confirm_rows_begin_the_count_anew(self, tuned_bench: TuneBench) -> None:
        tuned_bench.rows(rows(140))
        second = await tuned_bench.tune(answer, calls=CALLS, only=("decide",))

        assert second.record["ordinal"] == 1


def last_line(request: Request) -> str:
    return request_text(request).rstrip().splitlines()[-2]


class TestLimits:
    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(calls=st.integers(110, 500), technique=st.sampled_from(["vanilla", "chain_of_thought", "self_consistency"]))
    @example(calls=329, technique="chain_of_thought")
    def test_calls_are_never_more_than_the_limit(self, calls: int, technique: str) -> None:
        with TemporaryDirectory() as folder:
            prompt = PROMPT.replace("cue: none", f"cue: none\ntechnique: {technique}")
            bench = TuneBench(Folder(Path(folder)), 40, prompt=prompt)
            for most in (calls, calls - 30):
                runtime = Scripted(answer)
                with suppress(InputError):  # It holds no search at what a row takes, and is refused.
                    ran = asyncio.run(bench.tune(runtime, calls=most))
                    assert len(runtime.requests) <= ran.record["calls"] <= most
                assert len(runtime.requests) <= most

    async def test_tokens_are_never_more_than_the_limit_and_a_pick_is_confirmed(self, bench: TuneBench) -> None:
        ran = await bench.tune(answer, limits=Limits(calls=2_000, tokens=25_000), only=("decide", "layout"))

        assert ran.record["tokens"] <= 25_000
        assert ran.record["difference"]["n"] == ran.record["confirmation"]["rows"]
        assert ran.record["verdict"] == "improved"

    async def test_minutes_are_never_more_than_the_limit_and_a_pick_is_confirmed(
        self, bench: TuneBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock(monkeypatch)
        times = []

        def slow(request: Request) -> str:
            times.append(clock.now)
            clock.now += 1.0
            return answer(request)

        ran = await bench.tune(slow, limits=Limits(calls=2_000, minutes=5))

        assert times[-1] - times[0] < 300
        assert ran.record["seconds"] <= 300 + 8
        assert ran.record["difference"]["n"] == ran.record["confirmation"]["rows"]
        assert ran.record["verdict"] == "improved"

    async def test_time_to_confirm_is_kept_where_the_start_is_known_too(self, bench: TuneBench) -> None:
        def slow(request: Request) -> Reply:
            return Reply(text=answer(request), seconds=10.0, tokens_in=10, tokens_out=1)

        await bench.tune(slow, calls=CALLS, only=("decide",))  # 60 rows twice, 8 at once, take 150 seconds.

        with pytest.raises(InputError, match="--budget minutes=2 is too small"):
            await bench.tune(slow, limits=Limits(calls=CALLS, minutes=2), only=("decide",))

    @pytest.mark.parametrize("tokens", [300, 8_700])
    async def test_a_limit_that_holds_no_search_is_refused_once_what_a_row_takes_is_known(
        self, bench: TuneBench, tokens: int
    ) -> None:
        runtime = Scripted(answer)
        with pytest.raises(InputError, match=f"--budget tokens={tokens} is too small"):
            await bench.tune(runtime, limits=Limits(calls=2_000, tokens=tokens))

        assert len(runtime.requests) <= 2 * 8  # The start is asked twice.
        kept = stored(bench, 1)
        assert kept["tokens"] <= tokens
        assert (kept["verdict"], kept["stopped_by"]) == ("not shown", "failed")

    async def test_the_least_calls_that_a_refusal_names_are_enough(self, folder: Folder) -> None:
        bench = TuneBench(folder, 30, prompt=PROMPT.replace("cue: none", "cue: none\ntechnique: self_consistency"))
        with pytest.raises(InputError, match="is too small") as raised:
            await bench.tune(answer, calls=20)

        least = int(re.findall(r"at least calls=(\d+)", str(raised.value.problems[0].hint))[0])
        ran = await bench.tune(answer, calls=least, only=("decide",))
        assert ran.record["status"] == "done"
        assert least == (2 * 18 + 2 * 9) * 5, "two candidates on the nine rows that there are to search on"


class TestPlan:
    async def plan(self, bench: TuneBench, runtime: Scripted, **options: Any) -> dict[str, Any]:
        with Store.open(bench.store_folder) as store, ReplyCache(store) as replies, frozen_files():
            tuning = Tuning(
                bench.start(SUITE),
                models=Given(runtime, replies),
                store=store,
                options=TuneOptions(**options),
            )
            return dict((await tuning.plan()).record())

    async def test_a_plan_asks_nothing_and_says_the_most_that_is_spent(
        self, bench: TuneBench, first: tuple[TuneBench, Ran]
    ) -> None:
        runtime = Scripted(answer)
        values = await self.plan(bench, runtime, limits=Limits(calls=CALLS))
        _, ran = first

        assert runtime.requests == []
        assert values["calls"] == CALLS >= ran.record["calls"]
        assert values["rows"]["confirm"] == ran.record["rows"]["confirm"]
        assert values["rows"]["search"] == ran.record["rows"]["search"]

    async def test_the_smallest_gain_that_could_be_shown_is_told_before(self, bench: TuneBench) -> None:
        values = await self.plan(bench, Scripted(answer), limits=Limits(calls=CALLS))

        assert values["smallest"] == pytest.approx(0.15, abs=0.02)


async def test_what_requests_had_to_say_is_told_of_this_time_and_is_not_in_the_record(bench: TuneBench) -> None:
    without = CAPABILITIES - {"system"}
    first = await bench.tune(Scripted(answer, capabilities=without), calls=CALLS)
    again = await bench.tune(Scripted(answer, capabilities=without), calls=CALLS)

    assert (len(first.tuned.notices), len(again.tuned.notices)) == (1, 0)
    assert "no system role" in first.tuned.notices[0]
    assert first.record["notes"] == again.record["notes"]


async def test_what_is_not_tried_of_a_step_with_labels_of_its_own_is_told_by_its_own_rows(folder: Folder) -> None:
    bench, target = advised(folder, 60)

    async def notes(text: str) -> list[str]:
        with Store.open(bench.store_folder) as store, ReplyCache(store) as replies, frozen_files():
            suite = bench.start(text, target=target)
            plan = await Tuning(suite, models=Given(Scripted(advise), replies), store=store).plan()
        return [text for text in plan.notes if text.startswith("tone: no examples are drawn")]

    assert len(await notes(ADVISED_SUITE)) == 1
    assert await notes(ADVISED_SUITE + STEP_LABELS) == []
