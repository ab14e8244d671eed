"""Main effects of a matrix: averaged over the other keys row by row, and told where they depend on these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.statistics.paired import paired_graded
from promptkit.runtimes.base import Request
from tests.engine.helpers import Folder
from tests.evaluation.suites import PROMPT, SUITE, Bench, number_of

MATRIX = SUITE + "matrix: {mood.prompt: [mood, curt], mood.layout: [markdown, prefix]}\n"
ROWS = 40


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("templates/prompts/curt.j2", PROMPT.replace("Say whether", "CURT Say whether"))
    return Bench(folder, [{"text": f"good {number}", "expect": "good"} for number in range(ROWS)])


def right_below(limits: Mapping[tuple[bool, bool], int]) -> Any:
    """Return a script that is right on the rows below a limit, by whether the prompt is curt and has prefixes."""

    def answer(request: Request) -> str:
        text = "\n".join(message.content for message in request.messages)
        return "good" if number_of(request) < limits["CURT" in text, "TASK:" in text] else "bad"

    return answer


ADDITIVE = {(False, False): 20, (True, False): 24, (False, True): 30, (True, True): 34}
CROSSED = {(False, False): 20, (True, False): 10, (False, True): 20, (True, True): 30}


async def test_an_effect_is_the_difference_of_row_means_over_the_other_key(bench: Bench) -> None:
    record = (await bench.run(MATRIX, right_below(ADDITIVE))).record

    prompt, layout = record["main_effects"]
    assert (prompt["key"], prompt["value"], prompt["first"]) == ("mood.prompt", "curt", "mood")
    assert prompt["difference"] == pytest.approx(4 / ROWS)
    assert layout["difference"] == pytest.approx(10 / ROWS)
    assert (prompt["variants"], prompt["n"], prompt["better"], prompt["worse"]) == (2, ROWS, 8, 0)
    means = [
        [sum(row < ADDITIVE[curt, prefix] for prefix in (False, True)) / 2 for row in range(ROWS)]
        for curt in (True, False)
    ]
    expected = paired_graded(means[0], means[1], range(ROWS), level=0.975)
    assert (prompt["low"], prompt["high"]) == pytest.approx((expected.low, expected.high))
    assert prompt["comparisons"] == 2
    assert prompt["adjusted"] >= prompt["p"]


async def test_an_effect_that_turns_with_the_other_key_is_told_with_the_setting_where_it_differs_most(
    bench: Bench,
) -> None:
    record = (await bench.run(MATRIX, right_below(CROSSED))).record

    prompt = record["main_effects"][0]
    assert prompt["difference"] == 0
    assert prompt["interaction"]["adjusted"] < 0.05
    assert abs(prompt["interaction"]["difference"]) == pytest.approx(10 / ROWS)
    assert prompt["interaction"]["settings"] in ({"layout": "markdown"}, {"layout": "prefix"})


async def test_an_effect_that_is_the_same_under_all_settings_has_no_clear_deviation(bench: Bench) -> None:
    record = (await bench.run(MATRIX, right_below(ADDITIVE))).record

    assert record["main_effects"][0]["interaction"]["adjusted"] > 0.05


async def test_rows_that_a_metric_is_not_for_are_not_missing_from_its_effects(bench: Bench) -> None:
    some = MATRIX.replace("label", "{label: {when: \"row.text != 'good 39'\"}}")
    record = (await bench.run(some, right_below(ADDITIVE))).record

    assert [effect["n"] for effect in record["main_effects"]] == [ROWS - 1, ROWS - 1]


async def test_a_matrix_of_one_key_has_no_effects_beside_its_comparisons(bench: Bench) -> None:
    record = (await bench.run(SUITE + "matrix: {mood.layout: [markdown, prefix]}\n", right_below(ADDITIVE))).record

    assert "main_effects" not in record
    assert len(record["comparisons"]) == 1


async def test_named_variants_are_averaged_over_too(bench: Bench) -> None:
    suite = SUITE + "variants: {plain: {}, curt: {mood.prompt: curt}}\nmatrix: {mood.layout: [markdown, prefix]}\n"

    (layout,) = (await bench.run(suite, right_below(ADDITIVE))).record["main_effects"]

    assert layout["difference"] == pytest.approx(10 / ROWS)
    assert layout["variants"] == 2


async def test_amounts_have_the_ratio_of_their_geometric_means(bench: Bench) -> None:
    suite = MATRIX.replace("accuracy: label", "tokens: tokens, time: latency")
    told = {"curt": 2, "plain": 1}

    def counted(request: Request) -> Any:
        from promptkit.runtimes.base import Reply

        text = "\n".join(message.content for message in request.messages)
        size = 100 * told["curt" if "CURT" in text else "plain"] * (3 if "TASK:" in text else 1)
        return Reply(text="good", tokens_in=size - 1, tokens_out=1, seconds=1.0)

    effects = (await bench.run(suite, counted)).record["main_effects"]

    assert [found["difference"] for found in effects if found["metric"] == "tokens"] == pytest.approx([2, 3])
    assert all(found["is_ratio"] for found in effects)
    again = await bench.run(suite, counted, options=EvalOptions())
    of_time = [found for found in again.record["main_effects"] if found["metric"] == "time"]
    assert [found["difference"] for found in of_time] == [None, None]
    assert "40 of 40 cells have a time of an earlier run" in of_time[0]["notes"][0]


async def test_while_cells_are_missing_there_are_no_effects(bench: Bench) -> None:
    def failing(request: Request) -> Any:
        from promptkit.errors import RequestRefused

        return RequestRefused("no") if number_of(request) < 3 else "good"

    record = (await bench.run(MATRIX, failing)).record

    assert record["status"] == "incomplete"
    assert "main_effects" not in record
