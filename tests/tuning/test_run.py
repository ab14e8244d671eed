"""One tuning at work: what is preferred is what is confirmed, and whatever ends it leaves a record."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.errors import PromptkitError
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted, request_text
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.tuning.confirmation.looks import detectable_gain
from promptkit.tuning.options import Limits, TuneOptions
from promptkit.tuning.tune import Tuning
from tests.engine.helpers import Folder
from tests.evaluation.suites import Given
from tests.tuning.logs import stored
from tests.tuning.scoring import REFERENCE, model
from tests.tuning.tunings import PROMPT, Ran, TuneBench, luck, right_where, row_of, rows, truth

CALLS = 350


def longer_is_better(request: Request) -> str:
    """Without tags it is better, and a little more so in JSON, which takes more than headings or a prefix."""
    text = request_text(request)
    share = 0.95 if '"input"' in text else 0.5 if "<INPUT>" in text else 0.85
    return truth(row_of(request) + (not luck(row_of(request), share)))


def tokens(ran: Ran) -> float:
    """Return the calls that a row of the pick takes."""
    return float(next(entry["tokens"] for entry in ran.record["candidates"] if entry["pick"]))


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 80)


async def test_what_is_preferred_is_picked_and_confirmed(bench: TuneBench) -> None:
    best, cheap, by_formula = [
        await bench.tune(longer_is_better, calls=CALLS, only=("layout",), prefer=prefer)
        for prefer in ("best", "cheap", "score - 0.01 * tokens")
    ]

    assert best.record["best"]["changes"] == {"mood.layout": "json"}
    assert cheap.record["best"]["changes"] == {"mood.layout": "markdown"}
    assert tokens(by_formula) <= tokens(cheap) < tokens(best)
    for ran in (best, cheap):
        assert ran.record["verdict"] == "improved"
        assert ran.tuned.candidate is not None
        assert ran.tuned.candidate.changes == ran.record["best"]["changes"]
    assert cheap.record["prefer"] == "cheap"


async def test_what_is_preferred_is_confirmed_with_its_own_offsets(folder: Folder) -> None:
    bench = TuneBench(folder, 120, prompt=PROMPT.replace("decide: generate\ncue: none", "decide: score\ncue: Mood"))
    ran = await bench.tune(model(), calls=CALLS, prefer="-tokens", only=("layout",))
    pick = next(entry for entry in ran.record["candidates"] if entry["pick"])
    furthest = max(entry["rows"] for entry in ran.record["candidates"])

    far = [entry for entry in ran.record["candidates"] if 2 * entry["rows"] >= furthest]
    assert pick["tokens"] == min(entry["tokens"] for entry in far)
    assert ran.record["best"]["changes"]["mood.calibrate"]["model"] == REFERENCE


async def test_another_aim_on_the_same_rows_is_another_verdict_and_the_same_again_is_not(bench: TuneBench) -> None:
    text = "data: rows.jsonl\ntarget: mood\nmetrics: {accuracy: label, same: exact}\n"
    ordinals = [
        (await bench.tune(longer_is_better, text=text, calls=CALLS, only=("layout",), metric=metric)).record["ordinal"]
        for metric in ("accuracy", "same", "accuracy")
    ]

    assert ordinals == [1, 2, 1]


async def test_another_model_under_the_same_name_is_another_verdict(bench: TuneBench) -> None:
    ordinals = []
    for digest in ("one", "two", "one"):
        runtime = Scripted(longer_is_better, digest=digest)
        ordinals.append((await bench.tune(runtime, calls=CALLS, only=("layout",))).record["ordinal"])

    assert ordinals == [1, 2, 1]


async def test_the_gain_that_could_be_shown_is_that_of_the_clusters_and_so_is_the_verdict(bench: TuneBench) -> None:
    bench.rows([{**row, "document": number // 4} for number, row in enumerate(rows(240))])
    text = "data: {file: rows.jsonl, cluster: document}\ntarget: mood\nmetrics: {accuracy: label}\n"
    ran = await bench.tune(longer_is_better, text=text, calls=1_000, only=("layout",))
    confirmed, found = ran.record["rows"]["confirm"], ran.record["difference"]

    assert found["unit"] == "cluster"
    assert (4 * found["n"], 4 * ran.record["confirmation"]["units"]) == (ran.record["confirmation"]["rows"], confirmed)
    assert ran.record["smallest_shown"] == detectable_gain(confirmed // 4)


async def test_the_search_never_uses_what_is_kept_for_the_confirmation(bench: TuneBench) -> None:
    ran = await bench.tune(longer_is_better, calls=300)
    stages = {entry["name"]: entry["calls"] for entry in ran.record["stages"]}

    assert ran.record["confirmation"]["units"] == ran.record["rows"]["confirm"]
    assert stages["confirm"] == 2 * ran.record["confirmation"]["rows"]
    assert ran.record["calls"] <= 300


async def test_of_a_teacher_is_told_where_wording_may_vary_or_one_is_named(bench: TuneBench) -> None:
    seen = [
        [entry for entry in ran.record["notes"] if "teacher" in entry]
        for ran in [
            await bench.tune(longer_is_better, calls=300, only=("wording",)),
            await bench.tune(longer_is_better, calls=300, only=("layout",)),
            await bench.tune(longer_is_better, calls=300, only=("layout",), teacher="other"),
        ]
    ]

    assert seen[0][0].startswith("no teacher: ")
    assert seen[1:] == [[], ["the teacher is not asked: wording may not vary here"]]


async def test_a_tuning_under_way_says_where_it_stands(bench: TuneBench) -> None:
    seen: list[tuple[str, int]] = []

    def watching(request: Request) -> str:
        seen.append((tuning.progress.stage, tuning.progress.calls))
        return longer_is_better(request)

    runtime = Scripted(watching)
    with Store.open(bench.store_folder) as store, ReplyCache(store) as replies, frozen_files():
        tuning = Tuning(
            bench.start(),
            models=Given(runtime, replies),
            store=store,
            options=TuneOptions(limits=Limits(calls=CALLS), only=("layout",)),
        )
        await tuning.run()

    stages = list(dict.fromkeys(stage for stage, _ in seen))
    assert [text for text in stages if text in ("screen", "race", "confirm")] == ["screen", "race", "confirm"]
    assert [calls for _, calls in seen] == sorted(calls for _, calls in seen)
    assert tuning.progress.best is not None


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyError("x")])
async def test_an_error_of_the_program_itself_leaves_a_record_and_is_raised(
    bench: TuneBench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **how: Any) -> None:
        raise error

    monkeypatch.setattr("promptkit.tuning.run.preferred_candidate", broken)
    with pytest.raises(type(error)):
        await bench.tune(longer_is_better, calls=CALLS, only=("layout",))

    record = stored(bench, 1)
    assert (record["status"], record["stopped_by"], record["verdict"]) == ("failed", "failed", "not shown")
    assert not isinstance(error, PromptkitError)


async def test_a_repeated_row_is_asked_as_often_and_means_are_over_rows(bench: TuneBench) -> None:
    text = "data: rows.jsonl\ntarget: mood\nmetrics: {accuracy: label}\nrepeat: 2\n"
    ran = await bench.tune(
        right_where(lambda text: 0.9 if "Mood:" in text else 0.5), text=text, calls=400, only=("decide",)
    )

    confirmed = ran.record["confirmation"]["rows"]
    assert ran.record["status"] == "done"
    assert ran.record["difference"]["n"] == confirmed
    assert next(entry for entry in ran.record["stages"] if entry["name"] == "confirm")["calls"] == 4 * confirmed
