"""`serving:` of a suite, `--serving`, and the thresholds on its figures: what is taken, and what is refused."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.serving.spec import ServingSpec, typed_serving
from promptkit.evaluation.thresholds.serving import BoundFigure, bound_figure
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder)


@pytest.mark.parametrize("text", ["4", "[4]", "{concurrency: [4]}"])
def test_a_number_or_a_list_are_the_concurrencies(bench: Bench, text: str) -> None:
    assert bench.suite(f"{SUITE}serving: {text}\n").serving == ServingSpec(concurrency=[4], rows=50, warmup=2)


def test_a_suite_measures_no_serving_unless_it_says_so(bench: Bench) -> None:
    assert bench.suite().serving is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{concurrency: [0]}", "0 is not a number of concurrent requests"),
        ("[1, 2000]", "2000 is not a number of concurrent requests"),
        ("[2, 2]", "stands there twice"),
        ("[]", "must not be empty"),
        ("{rows: 0}", "`rows`"),
        ("{concurency: [1]}", "unknown key `concurency`"),
        ("often", ""),
    ],
)
def test_a_wrong_section_is_reported_at_its_place(bench: Bench, text: str, message: str) -> None:
    problems = bench.problems(f"{SUITE}serving: {text}\n")
    assert problems and message in problems[0].message
    assert problems[0].line == len(SUITE.strip().splitlines()) + 1


def test_the_command_line_names_concurrencies_or_none() -> None:
    assert typed_serving("1,4,16") == [1, 4, 16] and typed_serving([2]) == [2] and typed_serving("none") == []
    for wrong in ("", "0", "1,1", "many", "1.5"):
        with pytest.raises(InputError, match="does not name numbers of concurrent requests"):
            typed_serving(wrong)


def test_a_threshold_names_a_figure_its_95th_percentile_and_a_concurrency() -> None:
    assert bound_figure("serving.latency") == BoundFigure("latency", False, None)
    assert bound_figure("serving.first_token_p95@16") == BoundFigure("first_token", True, 16)
    for wrong in ("serving.speed", "serving.throughput_p95", "serving.latency@0", "serving.latency@x", "latency"):
        assert bound_figure(wrong) is None


@pytest.mark.parametrize(
    ("bound", "more", "message"),
    [
        ("serving.latncy: {at_most: 1}", "serving: 1\n", "`serving.latncy` is not a figure of serving"),
        ("serving.latency: {per_case: 1}", "serving: 1\n", "`per_case` cannot be on serving"),
        ("serving.latency: {at_most: 1}", "", "the suite has no `serving:`"),
        ("serving.latency@8: {at_most: 1}", "serving: [1, 4]\n", "`serving` has 1, 4 concurrent requests"),
        ("serving.throughput_p95: {at_least: 1}", "serving: 1\n", "is not a figure of serving"),
    ],
)
def test_a_threshold_on_what_is_not_measured_is_refused(bench: Bench, bound: str, more: str, message: str) -> None:
    problems = bench.problems(f"{SUITE}{more}thresholds: {{{bound}}}\n")
    assert any(message in problem.message for problem in problems)
