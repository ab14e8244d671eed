"""Bad input: a clear message before any request, or a safe result."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.errors import InputError, PromptkitError, RequestRefused, ServerFailed
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.runtimes.base import Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from promptkit.storage.store import Store
from promptkit.tuning.options import Limits, TuneOptions
from promptkit.tuning.tune import Tuning
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Given
from tests.tuning.logs import sides
from tests.tuning.planted import ADVISED_SUITE, STEP_LABELS, advise, advised
from tests.tuning.tunings import PROMPT, TuneBench, right_where, row_of, rows, truth


def cue_pays(text: str) -> float:
    return 0.9 if "Mood:" in text else 0.5


answer = right_where(cue_pays)


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 60)


async def refused(bench: TuneBench, text: str | None = None, **options: Any) -> InputError:
    """Return why a tuning is refused, without a request."""
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return answer(request)

    options = {"calls": 300, **options}
    with pytest.raises(InputError) as raised:
        await bench.tune(script, text=text, **options)
    assert not asked
    return raised.value


async def test_rows_without_labels_are_refused(bench: TuneBench) -> None:
    bench.rows([{"text": entry["text"]} for entry in rows(60)])

    assert "expect" in str(await refused(bench))


async def test_rows_of_one_label_are_refused_for_a_prompt_that_always_says_so_would_win(bench: TuneBench) -> None:
    bench.rows([{**entry, "expect": "good"} for entry in rows(60)])

    error = await refused(bench)
    assert "all 60 rows of `test` expect `good`: a prompt that always says so would win" in str(error)


async def test_rows_that_are_all_alike_are_refused(bench: TuneBench) -> None:
    bench.rows([{"text": "row 1 was bad", "expect": ["good", "bad"][number % 2]} for number in range(40)])

    assert "has 40 rows, 1 without repeats: too few to search on some" in str(await refused(bench))


async def test_a_budget_that_holds_no_block_says_how_much_does(bench: TuneBench) -> None:
    error = await refused(bench, calls=40)

    assert "--budget calls=40 is too small" in str(error)
    assert "at least calls=" in str(error.problems[0].hint)


async def test_an_unknown_metric_is_refused_with_the_nearest(bench: TuneBench) -> None:
    error = await refused(bench, metric="acuracy")

    assert "no metric `acuracy`" in str(error)
    assert "accuracy" in str(error.problems[0].hint)


async def test_a_metric_without_bounds_is_no_aim(bench: TuneBench) -> None:
    text = SUITE.replace("{accuracy: label}", "{length: tokens, accuracy: label}")
    error = await refused(bench, text)

    assert "`length` cannot be optimized: it has no bounds" in str(error)
    assert error.problems[0].hint == "--metric accuracy"


async def test_a_metric_that_compares_with_another_answer_is_no_aim(bench: TuneBench) -> None:
    text = SUITE.replace("{accuracy: label}", "{better: {pairwise: {rubric: Which is better?}}, accuracy: label}")
    error = await refused(bench, text)

    assert "`better` cannot be optimized" in str(error)


async def test_peoples_labels_are_no_aim_since_no_new_answer_has_one(bench: TuneBench) -> None:
    error = await refused(bench, SUITE.replace("{accuracy: label}", "{seen: human, accuracy: label}"))

    assert "`seen` cannot be optimized: it reads people's labels" in str(error)


@pytest.mark.parametrize("only", ["exmaples", "mood.nothing", "other"])
async def test_what_is_not_there_cannot_be_tuned(bench: TuneBench, only: str) -> None:
    assert f"nothing to tune called `{only}`" in str(await refused(bench, only=(only,)))


async def test_a_target_in_which_nothing_may_vary_is_refused(bench: TuneBench) -> None:
    pipeline = bench.target.read_text(encoding="utf-8")
    bench.folder.write("pipelines/mood.yaml", pipeline + "tune: {mood.layout: [xml]}\n")

    assert "there is nothing to tune in `mood`" in str(await refused(bench))


async def test_a_target_that_only_runs_another_is_refused_with_that_ones_name(bench: TuneBench) -> None:
    outer = "name: outer\ninputs: {text: {example: fine}}\nsteps:\n  inner: {pipeline: mood}\n"
    bench.folder.write("pipelines/outer.yaml", outer)
    error = await refused(bench, target=bench.folder.root / "pipelines/outer.yaml")

    assert "there is nothing to tune in `outer`" in str(error)
    assert "it runs the pipeline `mood`, which is tuned by itself" in str(error.problems[0].hint)


async def test_ten_rows_may_be_tuned_on_but_show_nothing(bench: TuneBench) -> None:
    bench.rows(rows(10))
    ran = await bench.tune(answer, calls=200)

    assert ran.record["status"] == "done"
    assert ran.record["verdict"] == "not shown"
    assert ran.record["smallest_shown"] is None


async def test_under_thirty_rows_nothing_is_shown_however_large_the_gain(bench: TuneBench) -> None:
    bench.rows(rows(29))
    ran = await bench.tune(right_where(lambda text: 1.0 if "Mood:" in text else 0.0), calls=300)

    assert ran.record["difference"]["low"] > 0
    assert (ran.record["verdict"], ran.record["status"]) == ("not shown", "done")
    assert "fewer than 30 rows" in ran.record["why"]


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_a_metric_that_is_the_same_for_every_answer_picks_nothing(bench: TuneBench, share: float) -> None:
    runtime = Scripted(right_where(lambda text: share), capabilities=CAPABILITIES - {"logprobs"})
    ran = await bench.tune(runtime, calls=300, only=("decide", "examples", "layout", "wording"))

    assert ran.record["best"]["changes"] == {}
    assert ran.record["verdict"] == "not shown"
    assert any(f"`accuracy` is {share:g} for every answer" in entry for entry in ran.record["notes"])
    assert ran.tuned.candidate is None
    assert [entry["name"] for entry in ran.record["stages"]][-2:] == ["screen", "smoke"]
    assert any(entry.startswith("the search ended early: all ") for entry in ran.record["notes"])
    assert ran.record["calls"] <= 150


async def test_a_search_goes_on_where_one_further_answer_of_the_start_has_another_score(bench: TuneBench) -> None:
    late = sides(bench).order[-1]

    def seldom_right(request: Request) -> str:
        return truth(row_of(request) + (row_of(request) != late))

    ran = await bench.tune(seldom_right, calls=300, only=("layout",))

    assert "race" in [entry["name"] for entry in ran.record["stages"]]


async def test_rows_that_are_wrong_are_left_out_and_told(bench: TuneBench) -> None:
    bench.rows([entry if number % 6 else {"text": entry["text"]} for number, entry in enumerate(rows(60))])
    ran = await bench.tune(answer, calls=300)

    assert ran.record["rows"]["wrong"] == 10
    counted = ran.record["rows"]
    assert counted["search"] + counted["pool"] + counted["confirm"] == 50


@pytest.mark.parametrize("labelled", [0, 3])
async def test_a_step_that_few_rows_have_labels_of_is_searched_by_the_final_metric(
    folder: Folder, labelled: int
) -> None:
    bench, target = advised(folder, 60)
    text = (ADVISED_SUITE + STEP_LABELS).replace('expect: "{{ row.expect }}"', 'expect: "{{ row.tone }}"')
    seen = [{**entry, "advice": {"good": "keep", "bad": "drop"}[entry["expect"]]} for entry in rows(60)]
    bench.rows([{**entry, "tone": entry["expect"] if at < labelled else None} for at, entry in enumerate(seen)])
    ran = await bench.tune(advise, text=text, target=target, calls=500, mode="stepwise", only=("layout",))

    assert ran.record["status"] == "done"
    assert any("tone: " in entry and "the final metric is used" in entry for entry in ran.record["notes"])
    assert all(entry["rows"] >= 8 for entry in ran.record["stages"] if entry["name"] == "smoke")


async def test_rows_that_repeat_others_are_on_one_side(bench: TuneBench) -> None:
    kept = rows(60)
    bench.rows(
        [*kept, *[{**entry, "text": f"  {entry['text'].replace(' was', ' was  ').upper()}"} for entry in kept[:20]]]
    )
    ran = await bench.tune(answer, calls=400)
    split = sides(bench)

    assert ran.record["rows"]["duplicates"] == 20
    assert not split.confirm & {*split.order, *split.pool}


async def test_a_model_that_disappears_leaves_what_it_answered_and_the_tuning_goes_on_from_there(
    bench: TuneBench,
) -> None:
    asked = 0

    def leaving(request: Request) -> str | Exception:
        nonlocal asked
        asked += 1
        return answer(request) if asked <= 120 else ServerFailed("the server is on fire")

    gone = await bench.tune(leaving, calls=300)
    assert (gone.tuned.status, gone.record["verdict"], gone.record["stopped_by"]) == (
        "incomplete",
        "not shown",
        "failed",
    )
    assert "on fire" in str(gone.tuned.failure)
    assert gone.record["candidates"]

    again = await bench.tune(answer, calls=300)
    assert again.tuned.status == "done"
    assert again.record["cached"] >= 110
    assert len(again.runtime.requests) == again.record["calls"] - again.record["cached"]


async def test_a_model_that_disappears_in_the_confirmation_leaves_the_pick_unconfirmed(bench: TuneBench) -> None:
    split = sides(bench)
    confirmed = 0

    def leaving(request: Request) -> str | Exception:
        nonlocal confirmed
        confirmed += row_of(request) in split.confirm
        return answer(request) if confirmed <= 20 else ServerFailed("the server is on fire")

    gone = await bench.tune(leaving, calls=300)
    assert (gone.tuned.status, gone.record["verdict"]) == ("incomplete", "not shown")
    assert gone.record["best"]["changes"]
    assert gone.record["best"]["confirm"] is None

    again = await bench.tune(answer, calls=300)
    assert again.record["best"]["changes"] == gone.record["best"]["changes"]
    assert again.record["ordinal"] == 1


async def test_a_row_that_fails_alone_is_missing_and_counted_against_a_verdict(bench: TuneBench) -> None:
    confirmed = min(sides(bench).confirm)

    def refusing(request: Request) -> str | Exception:
        return RequestRefused("too long") if row_of(request) == confirmed else answer(request)

    ran = await bench.tune(refusing, calls=300)

    assert ran.record["status"] == "done"
    assert ran.record["best"]["confirm"]["n"] == ran.record["rows"]["confirm"] - 1
    assert ran.record["verdict"] == "not shown"
    assert ran.record["why"] == "too many confirm rows have no answer"


async def test_a_start_that_answers_no_row_says_what_is_wrong_with_it_and_asks_no_more(
    bench: TuneBench, folder: Folder
) -> None:
    folder.write(
        "templates/prompts/mood.j2",
        PROMPT.replace("{text: {}}", "{text: {}, more: {default: null}}").replace("{{ text }}", "{{ text }}{{ more }}"),
    )
    ran = await bench.tune(right_where(lambda text: 1.0), calls=600)

    assert (ran.tuned.status, ran.runtime.requests) == ("incomplete", [])
    assert "answers none of the first 8 rows" in str(ran.tuned.failure)
    assert "null is printed here" in str(ran.tuned.failure)


async def test_a_model_that_a_level_names_and_that_is_not_there_is_told_before_a_call(
    bench: TuneBench, folder: Folder
) -> None:
    file = folder.root / "pipelines/mood.yaml"
    file.write_text(file.read_text() + "tune: {mood.model: ['scripted:gone.yaml']}\n")
    suite = bench.start()
    runtime = Scripted(["never asked"])
    with Store.open(bench.store_folder) as store, ReplyCache(store) as replies:
        models = Named(runtime, replies)
        with pytest.raises(PromptkitError, match="gone"):
            await Tuning(suite, models=models, store=store, options=TuneOptions(limits=Limits(calls=600))).run()

    assert runtime.requests == []


class Named(Given):
    """A scripted model for the default, and what is named as it is."""

    async def get(self, reference: str | None = None) -> Client:
        return await (super().get() if reference is None else Models.get(self, reference))
