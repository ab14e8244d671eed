"""Thresholds: they hold by the end of an interval, by row, and by the difference to what was; and say what would do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import RequestRefused
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.statistics.interval import NORMAL_QUANTILE, score_interval, wilson
from promptkit.evaluation.statistics.paired import tango
from promptkit.evaluation.summary import ReportRules
from promptkit.evaluation.thresholds.texts import Measurement, needed_rows
from promptkit.runtimes.base import Reply, Request
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, Ran, echo

Row = Mapping[str, Any]


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, mixed(20, wrong=2))


def mixed(count: int, *, wrong: int) -> list[dict[str, Any]]:
    """Return rows of which the first `wrong` expect what `echo` does not say."""
    return [
        {"text": f"{'bad' if number % 2 else 'good'} {number}", "expect": _expected(number, wrong)}
        for number in range(count)
    ]


def _expected(number: int, wrong: int) -> str:
    said, other = ("bad", "good") if number % 2 else ("good", "bad")
    return other if number < wrong else said


def gated(bounds: str, *, name: str = "accuracy", more: str = "") -> str:
    return f"{SUITE}{more}thresholds: {{{name}: {{{bounds}}}}}\n"


def only(ran: Ran) -> Mapping[str, Any]:
    (threshold,) = ran.record["thresholds"]
    found: Mapping[str, Any] = threshold
    return found


def number_of(request: Request) -> int:
    line = next(each for each in request.messages[-1].content.split("\n") if each.startswith(("good ", "bad ")))
    return int(line.split()[1])


async def test_the_lower_end_and_not_the_mean_is_to_reach_at_least(bench: Bench) -> None:
    low = wilson(18, 20).low
    met, missed = [await bench.run(gated(f"at_least: {bound}")) for bound in (low - 0.001, low + 0.001)]

    assert only(met)["passed"] is True
    assert only(missed)["passed"] is False
    assert only(missed)["shown"] == pytest.approx(low)
    assert (only(missed)["metric"], only(missed)["variant"], only(missed)["kind"]) == (
        "accuracy",
        "baseline",
        "at_least",
    )
    assert missed.metric()["mean"] == 0.9 > only(missed)["wanted"]


async def test_what_falls_short_says_how_many_rows_would_do(bench: Bench) -> None:
    said = only(await bench.run(gated("at_least: 0.8")))["says"]

    assert said == (
        "accuracy: at least 0.80 is required, but 20 rows only show ≥ 0.69 (18 of 20 right);"
        " about 62 rows at this rate would be enough"
    )
    assert wilson(56, 62).low >= 0.8 > wilson(45, 50).low


async def test_a_rate_below_what_is_wanted_is_said_to_be_beyond_any_number_of_rows(bench: Bench) -> None:
    said = only(await bench.run(gated("at_least: 0.95")))["says"]

    assert said.endswith("(18 of 20 right); no number of rows would be enough: the rate itself is 0.90")


async def test_the_upper_end_is_to_stay_at_most(bench: Bench) -> None:
    high = wilson(18, 20).high
    met, missed = [await bench.run(gated(f"at_most: {bound}")) for bound in (high + 0.001, high - 0.001)]

    assert only(met)["passed"] is True
    assert only(missed)["passed"] is False


async def test_the_first_variant_alone_is_held_to_them(bench: Bench) -> None:
    variants = "variants: {plain: {}, other: {mood.layout: prefix}}\n"
    ran = await bench.run(gated("at_least: 0.5", more=variants))

    assert only(ran)["variant"] == "plain"


async def test_unparsed_counts_answers_that_do_not_parse_and_those_cut_off(bench: Bench) -> None:
    def babble(request: Request) -> Any:
        if number_of(request) == 5:
            return Reply(text="well, I think that it may", finish="length")
        return "no idea" if number_of(request) == 6 else echo(request)

    ran = await bench.run(gated("at_most: 0.25", name="unparsed"), babble)

    assert only(ran)["shown"] == pytest.approx(wilson(2, 20).high)
    assert "2 of 20 without an answer that parses" in only(ran)["says"]
    assert only(ran)["passed"] is False


async def test_tokens_and_latency_are_measured_where_a_threshold_is_on_them(bench: Bench) -> None:
    ran = await bench.run(gated("at_most: 100000", name="tokens"))

    assert ran.view.metrics == ("accuracy", "tokens")
    assert only(ran)["passed"] is True
    assert only(ran)["shown"] == ran.metric("tokens")["high"]


async def test_a_drop_in_latency_below_an_earlier_run_falls_short_since_its_time_was_another(bench: Bench) -> None:
    suite = gated("against: last, drop_at_most: 9", name="latency")
    await bench.run(suite)

    ran = await bench.run(suite, options=EvalOptions(fresh=True), cached=False)

    assert only(ran)["passed"] is False
    assert "times are compared only where one run measured both" in only(ran)["says"]


QUANTISED = "variants: {small: {mood.layout: prefix}, full: {}}\n"


def wrong_on_prefix(*numbers: int) -> Any:
    """Return a script that is wrong on some rows where the prompt has prefixes, else as `mixed` expects."""

    def answer(request: Request) -> str:
        text = "\n".join(message.content for message in request.messages)
        number = int(re.findall(r"(?:good|bad) (\d+)", text)[-1])
        said = "bad" if number % 2 else "good"
        wrong = "TASK:" in text and number in numbers
        return {"good": "bad", "bad": "good"}[said] if wrong else said

    return answer


async def test_a_variant_may_not_be_worse_than_another_by_more_than_a_margin(bench: Bench) -> None:
    bench.rows(mixed(60, wrong=0))
    limits = [gated(f"against: full, drop_at_most: {limit}", more=QUANTISED) for limit in (0.2, 0.05)]
    wide, narrow = [await bench.run(suite, wrong_on_prefix(1, 2, 3)) for suite in limits]

    assert only(wide)["passed"] is True
    assert only(narrow)["passed"] is False
    assert "at most 0.05 worse than in full is required" in only(narrow)["says"]
    assert "may be the model's" not in only(narrow)["says"]
    assert only(narrow)["rows"] == [2, 3, 4]
    assert only(narrow)["shown"] == pytest.approx(tango(0, 3, 60).low)


async def test_latency_may_not_be_above_that_of_another_variant_where_both_were_measured_together(
    bench: Bench,
) -> None:
    suite = gated("against: full, drop_at_most: 1000000000", name="latency", more=QUANTISED)
    fresh = await bench.run(suite, cached=False)
    known = await bench.run(suite, cached=False)

    assert only(fresh)["passed"] is True
    assert only(known)["passed"] is False
    assert only(known)["says"].endswith("measure with --fresh"), "a baseline file would not help"


async def test_a_threshold_on_latency_says_how_many_times_are_of_earlier_runs(bench: Bench) -> None:
    suite = gated("at_most: 100", name="latency")
    first = await bench.run(suite, cached=False)

    again = await bench.run(suite, cached=False)

    assert "earlier" not in only(first)["says"]
    assert only(again)["passed"] is True
    assert "20 of 20 times being of earlier runs or cached replies" in only(again)["says"]


async def test_a_cost_without_a_price_falls_short_and_says_where_it_stands(bench: Bench) -> None:
    ran = await bench.run(gated("at_most: 1", name="cost"))

    assert only(ran)["passed"] is False
    assert "its model has no price under `prices` in promptkit.yaml" in only(ran)["says"]


async def test_per_case_names_each_row_of_which_too_few_repeats_are_right(bench: Bench) -> None:
    def now_and_then(request: Request) -> str:
        other = "good" if echo(request) == "bad" else "bad"
        return other if number_of(request) == 9 and request.sample == "1" else echo(request)

    half = await bench.run(gated("per_case: 0.5", more="repeat: 2\n"), now_and_then)
    whole = await bench.run(gated("per_case: 1", more="repeat: 2\n"), now_and_then)

    assert (only(half)["passed"], only(half)["rows"]) == (False, [1, 2])
    assert (only(whole)["passed"], only(whole)["rows"]) == (False, [1, 2, 10])
    assert only(whole)["says"] == (
        "accuracy: in each row a share of 1 of the answers must be right, but 3 of 20 rows have less:"
        " row 1 (0 of 2), 2 (0 of 2), 10 (1 of 2)"
    )


async def test_per_case_passes_where_every_row_has_its_share(bench: Bench) -> None:
    bench.rows(mixed(20, wrong=0))

    assert only(await bench.run(gated("per_case: 1")))["passed"] is True


def refusing(*numbers: int) -> Any:
    def answer(request: Request) -> Any:
        return RequestRefused("not now") if number_of(request) in numbers else echo(request)

    return answer


@pytest.mark.parametrize("bound", ["at_least: 0.1", "at_least: 0.99", "at_most: 1", "per_case: 1", "per_case: 0"])
async def test_while_cells_are_missing_nothing_passes_or_falls_short(bench: Bench, bound: str) -> None:
    ran = await bench.run(gated(bound), refusing(7))

    assert (only(ran)["passed"], only(ran)["missing"]) == (None, 1)
    assert only(ran)["says"] == "accuracy: not judged while 1 of 20 cells are missing (--allow-missing allows 2 %)"


async def test_a_missing_cell_that_is_allowed_counts_against_what_passes(bench: Bench) -> None:
    bench.rows(mixed(60, wrong=6))
    low = wilson(53, 59).low
    against, for_it = low * 59 / 60, low * 59 / 60 + 1 / 60
    bounds = [against - 0.001, (against + for_it) / 2, for_it + 0.001]
    ran = [
        await bench.run(gated(f"at_least: {bound}"), refusing(7), rules=ReportRules(allow_missing=True))
        for bound in bounds
    ]

    assert [only(each)["passed"] for each in ran] == [True, None, False]
    assert [only(each)["missing"] for each in ran] == [0, 1, 0]
    assert only(ran[0])["shown"] == pytest.approx(against)
    assert "each of 1 missing cells counted against it" in only(ran[0])["says"]
    assert ran[0].record["missing_allowed"] is True


@pytest.mark.parametrize(
    "metric",
    [
        "balanced_accuracy",
        "f1",
        "{f1: good}",
        "{set_f1: micro}",
        "chrf",
        "{pass_all: {k: 1}}",
    ],
)
async def test_a_missing_cell_cannot_be_counted_against_what_is_no_mean_of_cells(bench: Bench, metric: str) -> None:
    """Of 60 rows one can be half of a class: it weighs more than a sixtieth."""
    bench.rows([{**row, "expect": [row["expect"]]} if "set" in metric else row for row in mixed(60, wrong=0)])
    text = SUITE.replace("accuracy: label", f"accuracy: {metric}") + "thresholds: {accuracy: {at_least: 0}}\n"
    ran = await bench.run(text, refusing(7), rules=ReportRules(allow_missing=True))

    assert ran.record["missing_allowed"] is True
    assert (only(ran)["passed"], only(ran)["missing"]) == (None, 1)


async def test_above_two_in_a_hundred_missing_nothing_is_judged_though_it_is_allowed(bench: Bench) -> None:
    ran = await bench.run(gated("at_least: 0.1"), refusing(7), rules=ReportRules(allow_missing=True))

    assert only(ran)["passed"] is None
    assert ran.record["missing_allowed"] is False


async def test_a_missing_score_is_as_a_missing_answer(bench: Bench) -> None:
    bench.folder.write("evals/mine.py", "def score(row):\n    return 1 / (0 if row['text'] == 'bad 7' else 1)\n")
    text = SUITE.replace("accuracy: label", "mine: {python: mine.py:score}")
    ran = await bench.run(f"{text}thresholds: {{mine: {{at_least: 0.1}}}}\n")

    assert ran.record["status"] == "incomplete"
    assert (only(ran)["passed"], only(ran)["missing"]) == (None, 1)


async def test_another_way_of_asking_is_told_with_the_verdict(bench: Bench) -> None:
    await bench.run()
    ran = await bench.run(gated("against: last, drop_at_most: 0.5"), options=EvalOptions(exact=True))

    assert only(ran)["passed"] is True
    assert "this run sent requests one at a time (--exact), run 1 " in only(ran)["says"]


async def test_a_graded_metric_says_what_was_observed_and_how_many_rows_would_do(bench: Bench) -> None:
    text = SUITE.replace("accuracy: label", "near: edit")
    ran = await bench.run(f"{text}thresholds: {{near: {{at_least: 0.85}}}}\n")

    assert ran.metric("near")["low"] < 0.85 < ran.metric("near")["mean"] == pytest.approx(0.925)
    assert "(0.92 observed); about" in only(ran)["says"]
    assert "rows at this value would be enough" in only(ran)["says"]


async def test_a_limit_switches_thresholds_off_and_says_so(bench: Bench) -> None:
    ran = await bench.run(gated("at_least: 0.99"), limit=5)

    assert only(ran)["passed"] is None
    assert "not judged, since --limit or --filter left rows out" in only(ran)["says"]
    assert ran.record["limited"] is True


async def test_a_drop_is_held_by_the_worse_end_of_the_difference_and_names_the_rows_that_regressed(
    bench: Bench,
) -> None:
    def worse(request: Request) -> str:
        other = "good" if echo(request) == "bad" else "bad"
        return other if number_of(request) in (0, 4, 5, 6) else echo(request)

    first = await bench.run()
    bench.folder.write("templates/prompts/mood.j2", changed(bench))
    low = tango(1, 3, 20).low
    ran = await bench.run(gated(f"against: {first.evaluated.number}, drop_at_most: 0.1"), worse)
    wide = await bench.run(gated(f"against: 1, drop_at_most: {-low + 0.001}"), worse)

    assert only(ran)["passed"] is False
    assert only(ran)["shown"] == pytest.approx(low)
    assert only(ran)["rows"] == [5, 6, 7]
    assert "but 20 rows only show at most 0.33 worse (0.10 worse: 1 better, 3 worse)" in only(ran)["says"]
    assert only(ran)["says"].endswith("right there and wrong here: row 5, 6, 7")
    assert only(wide)["passed"] is True


def changed(bench: Bench) -> str:
    text = (bench.folder.root / "templates/prompts/mood.j2").read_text()
    return text.replace("Say whether", "Tell whether")


async def test_last_is_the_newest_whole_run_of_the_suite(bench: Bench) -> None:
    none = await bench.run(gated("against: last, drop_at_most: 0.5"))
    await bench.run(limit=5)
    there = await bench.run(gated("against: last, drop_at_most: 0.5"))

    assert (only(none)["passed"], only(none)["missing"]) == (None, 0)
    assert "has no earlier run" in only(none)["says"]
    assert only(there)["passed"] is True
    assert f"than in run {none.evaluated.number} is required" in only(there)["says"]


async def test_nothing_dropped_or_not_while_cells_are_missing_though_they_are_of_new_rows(bench: Bench) -> None:
    await bench.run()
    bench.rows(mixed(21, wrong=2))
    ran = await bench.run(gated("against: last, drop_at_most: 0.5"), refusing(20))

    assert (only(ran)["passed"], only(ran)["missing"]) == (None, 1)


async def test_a_row_whose_answer_is_missing_is_not_said_to_have_regressed(bench: Bench) -> None:
    bench.rows(mixed(60, wrong=0))
    await bench.run()

    def script(request: Request) -> Any:
        return "good" if number_of(request) == 9 else refusing(7)(request)

    judging, anew = ReportRules(allow_missing=True), EvalOptions(fresh=True)
    ran = await bench.run(gated("against: last, drop_at_most: 0.5"), script, rules=judging, options=anew, cached=False)

    assert only(ran)["rows"] == [10]
    assert "right there and wrong here: row 10" in only(ran)["says"]


async def test_tokens_may_grow_by_a_share(bench: Bench) -> None:
    await bench.run(gated("at_most: 100000", name="tokens"))
    text = changed(bench).replace(
        "good or bad.", "good or bad. Take your time and say it in one single word of the two."
    )
    bench.folder.write("templates/prompts/mood.j2", text)
    ran = await bench.run(gated("against: last, drop_at_most: 0.1", name="tokens"))

    assert only(ran)["passed"] is False
    assert only(ran)["rows"] == []
    assert "at most 10 % worse than in run 1 is required" in only(ran)["says"]
    assert "no number of rows would be enough" in only(ran)["says"]


async def test_another_metric_of_the_name_is_not_compared(bench: Bench) -> None:
    await bench.run()
    text = gated("against: last, drop_at_most: 0.5").replace(
        "accuracy: label", 'accuracy: {label: {of: "{{ output }}"}}'
    )
    ran = await bench.run(text)

    assert only(ran)["passed"] is False
    assert "run 1 measured it differently" in only(ran)["says"]


@given(st.integers(2, 500), st.data())
def test_so_many_rows_as_are_said_would_do_at_the_same_rate_and_half_would_not(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(1, n - 1))
    low, rate = wilson(right, n).low, right / n
    bound = data.draw(st.floats(low + (rate - low) * 0.01, low + (rate - low) * 0.9))
    amount = Measurement(mean=rate, low=low, high=1, cells=n, rows=n, bounds=(0, 1), noun="right")
    rows = needed_rows(amount, low, bound)

    assert rows > n
    assert score_interval(rate, 1.05 * rows, NORMAL_QUANTILE).low >= bound
    if rows > 2 * n:
        assert score_interval(rate, rows / 2, NORMAL_QUANTILE).low < bound


@pytest.mark.parametrize(
    ("bounds", "name", "wrong"),
    [
        ("at_least: 80", "accuracy", "`accuracy` is never 80: it lies between 0 and 1"),
        ("at_least: -0.1", "unparsed", "`unparsed` is never -0.1: it lies between 0 and 1"),
        ("per_case: 1", "tokens", "`tokens` does not say which answers are right"),
        ("per_case: 1", "unparsed", "`unparsed` does not say which answers are right"),
        ("drop_at_most: 0.1", "accuracy", "`against` is missing"),
        ("against: last", "accuracy", "`drop_at_most` is missing"),
        ("against: last, drop_at_most: 0.1", "cost", "`cost` is not measured for each row"),
    ],
)
def test_a_bound_that_cannot_be_is_told_when_the_suite_is_read(
    bench: Bench, bounds: str, name: str, wrong: str
) -> None:
    (problem,) = bench.problems(gated(bounds, name=name))

    assert problem.message == wrong
    assert problem.line == 4


async def test_an_end_that_equals_the_bound_reaches_it(bench: Bench) -> None:
    bench.rows(mixed(20, wrong=20))
    assert only(await bench.run(gated("at_least: 0")))["passed"] is True
    bench.rows(mixed(20, wrong=0))
    assert only(await bench.run(gated("at_most: 1")))["passed"] is True


async def test_exactly_two_in_a_hundred_may_be_missing(bench: Bench) -> None:
    bench.rows(mixed(50, wrong=0))
    plain = await bench.run(gated("at_least: 0.1"), refusing(7))
    allowed = await bench.run(gated("at_least: 0.1"), refusing(7), rules=ReportRules(allow_missing=True))

    assert only(plain)["says"] == "accuracy: not judged while 1 of 50 cells are missing"
    assert only(allowed)["passed"] is True
