"""Two runs beside each other: paired by what their rows hold, and never two things mixed unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.comparison.compare import Comparison, compare_runs
from promptkit.evaluation.comparison.compare import compare as compare_rows
from promptkit.evaluation.comparison.records import compare_record
from promptkit.evaluation.comparison.run_rows import RunRows, ScoredRow, run_rows
from promptkit.evaluation.metrics.base import Difference
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import AnsweringModel
from promptkit.runtimes.base import Request
from tests.engine.helpers import Folder
from tests.evaluation.metrics.given import metric
from tests.evaluation.suites import PROMPT, SUITE, Bench, Ran, echo

VARIANTS = f"{SUITE}variants: {{plain: {{}}, prefix: {{mood.layout: prefix}}}}\n"


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, labelled(10))


def labelled(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Return rows of which `echo` gets all right."""
    words = ["good" if number % 2 else "bad" for number in range(start, start + count)]
    return [{"text": f"{word} {start + at}", "expect": word} for at, word in enumerate(words)]


def wrong_on(*texts: str) -> Any:
    """Return a script that is right but on the rows with these texts."""

    def answer(request: Request) -> str:
        right, asked = echo(request), request.messages[-1].content
        return {"good": "bad", "bad": "good"}[right] if any(f"\n{text}\n" in asked for text in texts) else right

    return answer


def failing_on(*texts: str) -> Any:
    """Return a script of a server that fails on the rows with these texts."""
    from promptkit.errors import ServerFailed

    def answer(request: Request) -> str:
        if any(f"\n{text}\n" in request.messages[-1].content for text in texts):
            raise ServerFailed("tired")
        return echo(request)

    return answer


def side(ran: Ran, variant: str | None = None) -> RunRows:
    return run_rows(ran.view, variant or ran.view.variants[0], f"run {ran.view.number}")


def compare(bench: Bench, a: Ran, b: Ran, **how: Any) -> Comparison:
    return compare_runs(side(a), side(b), bench.folder.project, **how)


def differences(found: Comparison) -> dict[str, Difference]:
    """Return the differences by the metrics that have one."""
    return {name: each.difference for name, each in found.metrics.items() if each.difference is not None}


ANEW: Mapping[str, Any] = {"options": EvalOptions(fresh=True), "cached": False}
"""Ask everything again."""


async def test_rows_are_paired_by_what_they_hold_and_not_by_their_number(bench: Bench) -> None:
    before = await bench.run(script=wrong_on("good 3"))
    bench.rows([*labelled(3, start=100), *reversed(labelled(9))])
    after = await bench.run(script=wrong_on("bad 8"), **ANEW)
    found = compare(bench, after, before)

    assert (found.rows.both, found.rows.only_a, found.rows.only_b) == (9, 3, 1)
    flips = {row.change: (row.row, row.row_b) for row in found.changed}
    assert flips == {"better": (9, 4), "worse": (4, 9)}
    assert (differences(found)["accuracy"].better, differences(found)["accuracy"].worse) == (1, 1)


async def test_equal_rows_are_told_apart(bench: Bench) -> None:
    bench.rows([{"text": "good", "expect": "good"}] * 3)
    one = await bench.run()
    bench.rows([{"text": "good", "expect": "good"}] * 4)
    found = compare(bench, await bench.run(**ANEW), one)

    assert (found.rows.both, found.rows.only_a, found.rows.only_b) == (3, 1, 0)


async def test_two_variants_of_a_run_differ_as_the_run_itself_says(bench: Bench) -> None:
    def script(request: Request) -> str:
        asked = request.messages[-1].content
        return "bad" if "TASK:" in asked else echo(request)

    ran = await bench.run(VARIANTS, script)
    found = compare_runs(side(ran, variant="prefix"), side(ran, variant="plain"), bench.folder.project)
    (said,) = ran.record["comparisons"]
    (shown,) = compare_record(found, smallest=0.05).model_dump()["comparisons"]

    for key in ("difference", "low", "high", "p", "n", "better", "worse", "method", "rows_needed"):
        assert shown[key] == said[key], key
    assert [each.what for each in found.differs] == ["sets"]


TIMED = VARIANTS.replace("accuracy: label", "accuracy: label, time: latency")


async def test_times_of_two_runs_are_not_compared_and_those_of_one_are(bench: Bench) -> None:
    first, second = [await bench.run(TIMED, **ANEW) for _ in range(2)]
    known = await bench.run(TIMED, cached=False)

    of_two = compare(bench, second, first)
    of_one, of_known = [compare_runs(side(ran, "prefix"), side(ran), bench.folder.project) for ran in (second, known)]

    assert compare(bench, second, first, metric="time").changed == []
    assert "times are compared only where one run measured both" in of_two.not_compared["time"]
    assert "time" in differences(of_one)
    assert "time" not in differences(of_known)


async def test_margins_are_those_of_the_suite_unless_others_are_named(bench: Bench) -> None:
    ran = await bench.run(f"{VARIANTS}compare: {{margin: {{accuracy: 0.4}}}}\n", lambda request: "good")
    found = compare_runs(side(ran, "prefix"), side(ran), bench.folder.project)

    own, named = [
        compare_record(found, smallest=0.05, margins=margins).comparisons[0] for margins in ({}, {"accuracy": 0.01})
    ]

    assert (own.verdict, own.margin) == ("equivalent", 0.4)
    assert (named.verdict, named.margin) == ("not shown", 0.01)


async def test_the_other_way_round_everything_is_mirrored(bench: Bench) -> None:
    one = await bench.run(script=wrong_on("good 3", "good 5", "bad 4"))
    other = await bench.run(script=wrong_on("bad 8"), **ANEW)
    there, back = compare(bench, other, one), compare(bench, one, other)
    a, b = differences(there)["accuracy"], differences(back)["accuracy"]

    assert a.low is not None and a.high is not None
    assert (a.difference, a.p, a.better, a.worse) == (-(b.difference or 0), b.p, b.worse, b.better)
    assert (b.low, b.high) == pytest.approx((-a.high, -a.low))
    assert {row.row: row.change for row in there.changed} == {4: "better", 5: "better", 6: "better", 9: "worse"}
    assert {row.row: row.change for row in back.changed} == {4: "worse", 5: "worse", 6: "worse", 9: "better"}


async def test_answers_that_are_one_and_the_same_are_counted(bench: Bench) -> None:
    found = compare(bench, await bench.run(), await bench.run())
    assert (found.same_answer, found.cells, found.changed) == (10, 10, [])
    assert compare(bench, await bench.run(**ANEW), await bench.run(**ANEW)).same_answer == 0


async def test_of_more_than_two_in_a_hundred_missing_cells_nothing_is_said(bench: Bench) -> None:
    whole = await bench.run()
    lacking = await bench.run(script=failing_on("good 3"), **ANEW)
    found = compare(bench, lacking, whole)

    assert differences(found) == {}
    assert found.not_compared["accuracy"].startswith("1 of 10 cells have no score in one of the two")
    assert [each.what for each in found.differs] == ["status"]


async def test_up_to_two_in_a_hundred_count_against_the_difference(bench: Bench) -> None:
    bench.rows(labelled(60))
    whole = await bench.run()
    lacking = await bench.run(script=failing_on("good 3"), **ANEW)
    less, full = differences(compare(bench, lacking, whole))["accuracy"], compare(bench, whole, whole)

    assert any("1 of 60 cells are missing" in note for note in less.notes)
    known = differences(full)["accuracy"]
    assert less.low is not None and known.low is not None and less.low < known.low
    assert less.high is not None and known.high is not None and less.high > known.high


async def test_of_what_is_no_mean_of_cells_nothing_is_said_while_one_is_missing(bench: Bench) -> None:
    bench.rows(labelled(50))
    suite = SUITE.replace("{accuracy: label}", "{accuracy: label, balanced: balanced_accuracy}")
    one = await bench.run(suite)
    found = compare(bench, await bench.run(suite, failing_on("good 3"), **ANEW), one)

    assert differences(found).keys() == {"accuracy"}
    assert found.not_compared["balanced"].startswith("1 of 50 cells have no score in one of the two")


async def test_rows_that_a_run_did_not_come_to_are_missing_and_not_left_out(bench: Bench) -> None:
    whole, part = await bench.run(), await bench.run(**ANEW)
    kept = list(part.view.cells())[:6]
    part.view.cells = lambda variant=None, *, first=0: iter(kept)  # type: ignore[method-assign]
    found = compare(bench, part, whole)

    assert found.rows.both == 6
    assert found.cells == 10
    assert differences(found) == {}


async def test_what_differs_beside_the_prompt_is_told(bench: Bench) -> None:
    one = await bench.run(options=EvalOptions(in_flight=4))
    bench.rows(labelled(9))
    other = await bench.run(f"{SUITE}repeat: 2\n", options=EvalOptions(exact=True))
    says = {difference.what: difference.says for difference in compare(bench, other, one).differs}

    assert says.keys() == {"data", "asked", "repeat"}
    assert says["asked"].startswith("run 2 sent requests one at a time (--exact), run 1 4 at a time")
    assert says["repeat"] == "repeats per row: 2 in run 2, 1 in run 1; the first 1 are compared"


async def test_settings_of_the_command_line_are_told(bench: Bench) -> None:
    one = await bench.run()
    other = await bench.run(sets=["mood.layout=prefix"])
    (difference,) = compare(bench, other, one).differs

    assert (difference.what, difference.says) == (
        "set",
        "run 2 was made with --set mood.layout=prefix, run 1 with no --set",
    )


async def test_an_edit_of_a_prompt_is_told(bench: Bench) -> None:
    one = await bench.run()
    bench.folder.write("templates/prompts/mood.j2", PROMPT.replace("Say whether", "Tell whether"))
    (difference,) = compare(bench, await bench.run(), one).differs

    assert difference.what == "files" and "was edited" in difference.says


async def test_a_model_that_a_variant_sets_is_its_model(bench: Bench) -> None:
    ran = await bench.run(f"{SUITE}variants: {{plain: {{}}, other: {{model: 'scripted:given.yaml'}}}}\n")
    one, other = side(ran, variant="other"), side(ran, variant="plain")

    assert one.model == {"reference": "scripted:given.yaml", "digest": None}
    assert {each.what for each in compare_runs(one, other, bench.folder.project).differs} <= {"sets", "model"}


async def test_another_model_is_told(bench: Bench) -> None:
    one, other = await bench.run(), await bench.run(**ANEW)
    assert other.view.record is not None
    model = AnsweringModel(reference="scripted:other.yaml", digest="another")
    other.view.record = other.view.record.model_copy(update={"model": model})
    (difference,) = compare(bench, other, one).differs

    assert difference.what == "model"
    assert difference.says.startswith("run 2 used scripted:other.yaml, run 1 used scripted:")


async def test_of_repeats_those_that_both_have_are_compared_and_a_row_flips_by_their_mean(bench: Bench) -> None:
    one = await bench.run(f"{SUITE}repeat: 3\n")
    other = await bench.run(f"{SUITE}repeat: 2\n", wrong_on("good 3"), **ANEW)
    found = compare(bench, other, one)

    assert (found.rows.both, found.cells) == (10, 20)
    assert [(row.row, row.change, row.a_minus_b) for row in found.changed] == [(4, "worse", -1.0)]
    mine, theirs = found.cells_of(found.changed[0])
    assert (mine.output, theirs.output, mine.repeat) == ("bad", "good", 0)


async def test_a_metric_that_measured_otherwise_or_is_of_one_side_is_not_compared(bench: Bench) -> None:
    one = await bench.run(
        f"{SUITE}".replace("{accuracy: label}", "{accuracy: label, size: {length: {unit: characters}}}")
    )
    other = await bench.run(f"{SUITE}".replace("{accuracy: label}", "{accuracy: label, size: length, right: exact}"))
    found = compare(bench, other, one)

    assert differences(found).keys() == {"accuracy"}
    assert found.not_compared["size"] == "run 1 measured it differently"
    assert found.not_compared["right"] == "run 1 does not have this metric"


async def test_a_metric_whose_function_is_gone_is_told_and_the_others_compared(bench: Bench) -> None:
    own = bench.folder.write("evals/own.py", "def half(output, expected):\n    return 0.5\n")
    suite = SUITE.replace("{accuracy: label}", "{accuracy: label, half: {python: 'own.py:half'}}")
    one, other = await bench.run(suite), await bench.run(suite, **ANEW)
    assert differences(compare(bench, other, one)).keys() == {"accuracy", "half"}
    own.unlink()
    found = compare(bench, other, one)

    assert differences(found).keys() == {"accuracy"}
    assert found.not_compared["half"].startswith("it can no longer be measured: ")


async def test_a_metric_that_compares_nothing_is_not_said_to_lack_cells(bench: Bench) -> None:
    suite = SUITE.replace("{accuracy: label}", "{accuracy: label, agree: agreement}") + "repeat: 2\n"
    one = await bench.run(suite)
    found = compare(bench, await bench.run(suite, **ANEW), one)

    assert found.not_compared == {"agree": "it has no paired difference"}


async def test_the_aim_stays_the_first_metric_where_nothing_is_said_of_it(bench: Bench) -> None:
    own = "def odd(row, expected):\n    return 'none' if row['text'] == 'bad 0' else 1\n"
    bench.folder.write("evals/own.py", own)
    suite = SUITE.replace("{accuracy: label}", "{odd: {python: 'own.py:odd'}, accuracy: label}")
    one, other = await bench.run(suite), await bench.run(suite, **ANEW)
    found = compare(bench, other, one)

    assert (found.primary, list(differences(found)), list(found.not_compared)) == ("odd", ["accuracy"], ["odd"])


async def test_a_judge_of_pairs_is_not_compared_between_runs(bench: Bench) -> None:
    suite = f"{SUITE}variants: {{plain: {{}}, prefix: {{mood.layout: prefix}}}}\n".replace(
        "{accuracy: label}", "{accuracy: label, better: {pairwise: {rubric: Is it kinder?}}}"
    )
    one, other = await bench.run(suite), await bench.run(suite, **ANEW)
    assert compare(bench, other, one).not_compared == {"better": "it compares variants of one run"}


async def test_a_metric_alone_is_compared_and_rows_flip_by_it(bench: Bench) -> None:
    suite = SUITE.replace("{accuracy: label}", "{accuracy: label, size: {length: {unit: characters}}}")
    one, other = await bench.run(suite), await bench.run(suite, wrong_on("good 3"), **ANEW)
    found = compare(bench, other, one, metric="size")

    assert differences(found).keys() == {"size"}
    assert [row.row for row in found.changed] == [4]
    with pytest.raises(InputError, match="no metric `sise`"):
        compare(bench, other, one, metric="sise")


async def test_runs_without_a_row_in_common_cannot_be_compared(bench: Bench) -> None:
    one = await bench.run()
    bench.rows(labelled(4, start=50))
    other = await bench.run()
    with pytest.raises(InputError, match="run 2 and run 1 have no row in common"):
        compare(bench, other, one)


def in_memory(name: str, rows: Sequence[Sequence[float | None]], *, repeat: int) -> RunRows:
    """Return a run whose rows have these scores by the metric `exact`, one for each repeat; None is missing."""
    found = [
        ScoredRow(
            key=bytes([at]),
            number=at + 1,
            scores={repeat: {"exact": Score(score)} for repeat, score in enumerate(scores) if score is not None},
            cells={},
            fields={},
        )
        for at, scores in enumerate(rows)
    ]
    return RunRows(
        name=name,
        suite="test",
        variant="baseline",
        model={"reference": "m", "digest": "d"},
        exact=False,
        in_flight=None,
        repeat=repeat,
        rows=len(rows),
        made="2026-01-01",
        keys={"exact": "exact"},
        read=lambda: found,
    )


def exact(a: RunRows, b: RunRows) -> Comparison:
    return compare_rows(a, b, {"exact": metric("exact")}, allow_missing=True)


SAME = [[1.0] * 4] * 100


@pytest.mark.parametrize(
    ("there", "here", "regressed"),
    [
        ([1, 1, 1, 0], [1, 1, 0, 0], True),
        ([1, 1, 1, 0], [0, 0, 0, 0], True),
        ([1, 1, 1, 0], [1, 1, 1, 0], False),
        ([1, 1, 0, 0], [0, 0, 0, 0], False),
        ([1, 1, 1, 0], [1, None, 0, 0], True),
        ([1, 1, 1, 0], [1, 1, None, 0], False),
        ([1, 1, None, 0], [0, 0, 0, 0], False),
    ],
)
def test_a_row_regresses_that_was_mostly_right_and_no_longer_can_be(
    there: list[float | None], here: list[float | None], regressed: bool
) -> None:
    """Half right is not mostly right; a missing answer may have been right."""
    found = exact(in_memory("a", [*SAME, here], repeat=4), in_memory("b", [*SAME, there], repeat=4))
    assert found.metrics["exact"].regressions == ((101,) if regressed else ())


def test_a_row_changes_by_the_mean_of_the_repeats_that_both_have() -> None:
    here, there = [0.0, None, 1.0, None], [1.0, None, None, 1.0]
    found = exact(in_memory("a", [*SAME, here], repeat=4), in_memory("b", [*SAME, there], repeat=4))
    assert [(row.row, row.change, row.a_minus_b) for row in found.changed] == [(101, "worse", -1.0)]


def test_further_repeats_of_a_run_are_not_taken_for_those_of_another_row() -> None:
    first = [[1.0], [0.0], [1.0]]
    more = in_memory("b", [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]], repeat=2)
    turned = replace(more, read=lambda: reversed(list(more.read())))
    found = exact(in_memory("a", first, repeat=1), turned)
    assert (found.rows.both, found.changed) == (3, [])
