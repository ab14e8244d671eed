"""What a run says of its variants: on the same rows, with intervals, and nothing where cells are missing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.errors import RequestRefused
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.tally import Tally
from promptkit.evaluation.record import AskedApart
from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.statistics.paired import tango
from promptkit.evaluation.summary import APART_SECONDS, ReportRules, asked_apart
from promptkit.runtimes.base import Request
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, echo

TWO = SUITE + "variants: {plain: {}, other: {mood.layout: prefix}}\n"
HARD = re.compile(r"\b[5-9]\d\b")


@pytest.fixture
def bench(folder: Folder) -> Bench:
    rows = [{"text": f"{'good' if number % 2 else 'bad'} {number}", "expect": "good"} for number in range(10, 100)]
    return Bench(folder, [{**row, "expect": str(row["text"]).split()[0]} for row in rows])


def is_other(request: Request) -> bool:
    return "TASK:" in request.messages[-1].content


def is_hard(request: Request) -> bool:
    return HARD.search(request.messages[-1].content) is not None


def right(request: Request) -> str:
    return "good" if re.search(r"\bgood \d", request.messages[-1].content) else "bad"


def wrong(request: Request) -> str:
    return "bad" if right(request) == "good" else "good"


async def test_a_variant_is_compared_with_the_baseline_row_by_row(bench: Bench) -> None:
    def script(request: Request) -> str:
        return wrong(request) if is_hard(request) and not is_other(request) else right(request)

    ran = await bench.run(TWO, script)

    (comparison,) = ran.record["comparisons"]
    assert (comparison["a"], comparison["b"], comparison["n"]) == ("other", "plain", 90)
    assert (comparison["better"], comparison["worse"]) == (50, 0)
    assert comparison["difference"] == pytest.approx(50 / 90)
    assert (comparison["low"], comparison["high"]) == pytest.approx(tuple(tango(50, 0, 90)))


async def test_a_variant_that_answers_only_the_easy_rows_loses(bench: Bench) -> None:
    """The baseline is right on 4 hard rows of 5; the other is right on each row that it answers."""

    def script(request: Request) -> str:
        if is_other(request):
            return "that is hard to say" if is_hard(request) else right(request)
        return wrong(request) if re.search(r"\b[5-9][05]\b", request.messages[-1].content) else right(request)

    ran = await bench.run(TWO, script)

    (comparison,) = ran.record["comparisons"]
    assert ran.variant("other")["unparsed"] == 50
    assert ran.metric(variant="other")["mean"] == pytest.approx(40 / 90)
    assert comparison["high"] < 0


async def test_a_variant_whose_hard_rows_fail_on_the_server_is_not_compared_at_all(bench: Bench) -> None:
    failed = 0

    def script(request: Request) -> Any:
        nonlocal failed
        if is_other(request) and is_hard(request) and failed < 5:
            failed += 1
            return RequestRefused("too hard")
        return right(request)

    ran = await bench.run(TWO, script)
    allowed = await bench.run(TWO, script, rules=ReportRules(allow_missing=True))

    assert ran.record["status"] == "incomplete"
    assert ran.variant("other")["missing"] == 5
    assert ran.record["comparisons"] == []
    assert allowed.record["comparisons"] == [], "5 of 90 are more than 2 %"


async def test_few_missing_cells_may_be_allowed_and_then_count_against_the_difference(bench: Bench) -> None:
    def script(request: Request) -> Any:
        if "bad 10" in request.messages[-1].content and is_other(request):
            return RequestRefused("no")
        return wrong(request) if is_hard(request) and not is_other(request) else right(request)

    ran = await bench.run(TWO, script, rules=ReportRules(allow_missing=True))

    (comparison,) = ran.record["comparisons"]
    complete = tango(50, 0, 89)
    assert comparison["low"] < complete.low - 1 / 90
    assert any("counts against" in note for note in comparison["notes"])


async def test_amounts_of_missing_cells_are_left_out_and_that_is_told(bench: Bench) -> None:
    def script(request: Request) -> Any:
        return (
            RequestRefused("no") if "bad 10" in request.messages[-1].content and is_other(request) else right(request)
        )

    both = TWO.replace("accuracy: label", "size: tokens")
    (comparison,) = (await bench.run(both, script, rules=ReportRules(allow_missing=True))).record["comparisons"]

    assert comparison["n"] == 89
    assert "1 of 90 cells are missing, and left out" in comparison["notes"]


async def test_what_is_no_mean_of_cells_is_not_compared_while_a_cell_is_missing(bench: Bench) -> None:
    def script(request: Request) -> Any:
        return (
            RequestRefused("no") if "bad 10" in request.messages[-1].content and is_other(request) else right(request)
        )

    both = TWO.replace("accuracy: label", "accuracy: label, macro: f1")
    ran = await bench.run(both, script, rules=ReportRules(allow_missing=True))

    assert [each["metric"] for each in ran.record["comparisons"]] == ["accuracy"]


async def test_several_comparisons_are_drawn_wider_and_ordered_by_holm(bench: Bench) -> None:
    def script(request: Request) -> str:
        return wrong(request) if is_hard(request) and not is_other(request) else right(request)

    one = await bench.run(TWO, script)
    three = await bench.run(
        SUITE + "variants: {plain: {}, other: {mood.layout: prefix}, b: {mood.layout: json}, c: {mood.cue: M}}\n",
        script,
    )

    first = three.record["comparisons"][0]
    assert first["comparisons"] == 3
    assert first["adjusted"] == pytest.approx(min(1, 3 * first["p"]))
    assert first["low"] < one.record["comparisons"][0]["low"]


async def test_prices_give_what_a_variant_cost(bench: Bench) -> None:
    bench.folder.write("promptkit.yaml", "model: auto\nprices: {scripted:function: {in: 1000000, out: 2000000}}\n")
    ran = await bench.run(limit=2)
    variant = ran.variant()
    reference = ran.record["model"]["reference"]
    bench.folder.write("promptkit.yaml", f"prices: {{'{reference}': {{in: 1000000, out: 2000000}}}}\n")
    priced = (await bench.run(limit=2)).variant()

    assert variant["cost"] is None or reference == "scripted:function"
    assert priced["cost"] == priced["tokens_in"] + 2 * priced["tokens_out"]


@given(st.lists(st.sampled_from(["right", "wrong", "unparsed"]), min_size=1, max_size=30), st.randoms())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
async def test_the_order_of_rows_says_nothing_and_a_failed_row_never_raises_the_mean(
    folder: Folder, fates: list[str], random: Any
) -> None:
    says = {"right": "good", "wrong": "bad", "unparsed": "hm"}

    async def mean(order: list[str]) -> Any:
        bench = Bench(folder, [{"text": f"{fate} {n}", "expect": "good"} for n, fate in enumerate(order)])
        script = lambda request: says[re.findall(r"(right|wrong|unparsed) \d", request.messages[-1].content)[-1]]  # noqa: E731
        return (await bench.run(SUITE, script)).metric()

    first = await mean(fates)
    shuffled = random.sample(fates, len(fates))
    assert await mean(shuffled) == first
    assert (first["low"], first["high"]) == pytest.approx(tuple(wilson(fates.count("right"), len(fates))))
    worse = await mean([*fates, "unparsed"])
    assert worse["mean"] <= first["mean"]


async def test_a_run_that_goes_on_says_what_it_has_so_far_and_compares_nothing(bench: Bench) -> None:
    ran = await bench.run(TWO, echo, rules=ReportRules(so_far=True))

    assert ran.record["comparisons"] == []


async def test_what_the_value_is_among_answers_that_parse_stands_beside_it(bench: Bench) -> None:
    ran = await bench.run(SUITE, lambda request: "perhaps" if is_hard(request) else right(request))

    accuracy = ran.metric()
    assert accuracy["mean"] == pytest.approx(40 / 90) and ran.variant()["unparsed"] == 50
    assert accuracy["of_parsed"] == 1.0


async def test_where_all_answers_parse_there_is_no_second_value(bench: Bench) -> None:
    ran = await bench.run(SUITE, right)

    assert ran.metric()["of_parsed"] is None


THREE = SUITE + "variants: {plain: {}, other: {mood.layout: prefix}, third: {mood.layout: markdown}}\n"


@pytest.fixture
def few(bench: Bench) -> Bench:
    bench.rows([{"text": f"good {number}", "expect": "good"} for number in range(12)])
    return bench


async def test_all_pairs_are_compared_where_the_suite_asks_for_them_in_one_family(few: Bench) -> None:
    ran = await few.run(THREE + "compare: {pairs: all}\n", right)

    pairs = [(found["a"], found["b"]) for found in ran.record["comparisons"]]
    assert pairs == [("other", "plain"), ("third", "plain"), ("third", "other")]
    assert {found["comparisons"] for found in ran.record["comparisons"]} == {3}


async def test_a_margin_gives_a_verdict_and_the_rows_that_would_show_it(few: Bench) -> None:
    wide, narrow = [
        (await few.run(TWO + f"compare: {{margin: {{accuracy: {margin}}}}}\n", right)).record["comparisons"][0]
        for margin in (0.3, 0.01)
    ]

    assert (wide["low"], wide["high"]) == pytest.approx(tuple(tango(0, 0, 12)))
    assert (wide["verdict"], wide["margin"], "rows_for_margin" in wide) == ("equivalent", 0.3, False)
    assert (narrow["verdict"], narrow["rows_for_margin"] > 12) == ("not shown", True)


TIMED = TWO.replace("accuracy: label", "accuracy: label, time: latency")


async def test_times_are_compared_where_one_run_asked_both_variants(few: Bench) -> None:
    ran = await few.run(TIMED, right, cached=False)

    (time,) = [found for found in ran.record["comparisons"] if found["metric"] == "time"]
    assert time["verdict"] is not None
    assert time["notes"] == []


async def test_a_time_that_was_kept_has_no_verdict_and_says_why(few: Bench) -> None:
    """One variant's cells are known: what they took was measured while the machine did something else."""
    await few.run(SUITE.replace("accuracy: label", "accuracy: label, time: latency"), right, cached=False)

    mixed = await few.run(TIMED, right, cached=False)
    fresh = await few.run(TIMED, right, cached=False, options=EvalOptions(fresh=True))

    accuracy, time = mixed.record["comparisons"]
    assert accuracy["verdict"] == "not shown"
    assert (time["difference"], time["low"], time["p"], time["verdict"]) == (None, None, None, None)
    assert "12 of 12 cells have a time of an earlier run or of a cached reply" in time["notes"][0]
    assert "--fresh" in time["notes"][0]
    assert fresh.record["comparisons"][1]["verdict"] is not None
    assert mixed.metric("time")["mean"] is not None, "a variant's own times still stand"


async def test_a_cached_reply_is_no_measured_time(few: Bench) -> None:
    """Without a single known cell, replies of the cache have the seconds that they once took."""
    await few.run(TIMED, right)
    changed = TIMED.replace("target: mood", "target: mood\nname: renamed")

    ran = await few.run(changed, right, options=EvalOptions(fresh=True))

    assert ran.runtime.requests == []
    assert ran.record["comparisons"][1]["verdict"] is None


async def test_rows_with_equal_inputs_share_a_time_that_this_run_measured(few: Bench) -> None:
    few.rows([{"text": "good 10", "expect": "good"}] * 12)

    ran = await few.run(TIMED, right, cached=False)

    assert ran.record["comparisons"][1]["difference"] is not None


def asked(*times: float | None) -> Tally:
    tally = Tally((), 1)
    for row, at in enumerate(times):
        tally.put(row, Cell(variant="a", row=row + 1, repeat=0, fields={}, asked=at), known=False)
    return tally


def test_variants_whose_cells_are_of_different_times_say_so_with_the_first_and_last_of_each() -> None:
    found = asked_apart(asked(5_000, 5_010, 60), asked(10, 40, 50))
    assert found == AskedApart(cells=2, a=[5_000, 5_010], b=[10, 40])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([APART_SECONDS], [0.0]),
        ([None], [0.0]),
        ([0.0] * 99 + [9_000.0], [0.0] * 100),
        ([], []),
    ],
    ids=["near", "of an older promptkit", "a few asked again", "no cells"],
)
def test_cells_of_one_time_are_no_news(a: list[float | None], b: list[float | None]) -> None:
    assert asked_apart(asked(*a), asked(*b)) is None
