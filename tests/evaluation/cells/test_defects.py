"""An exception that nothing foresaw fails one cell or one score, with its type and place, and the run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from promptkit.answers.labels import Label
from promptkit.engine.inputs import fill_inputs
from promptkit.errors import StoreFailed, catching_unexpected
from promptkit.evaluation.cells.failures import MOST_FAILURES
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.scoring import missing_score
from promptkit.evaluation.error_analysis.groups import find_errors
from promptkit.evaluation.metrics.registry import kind_named
from promptkit.evaluation.suite import binding
from promptkit.runtimes.base import Reply, Request
from tests.engine.helpers import Folder
from tests.evaluation.suites import PIPELINE, SUITE, Bench, echo, moods, number_of

PLACE = "test_defects.py:"
"""The tests stand for code of the project: they raise, and are named."""

RAISED: list[BaseException] = [
    RuntimeError("odd"),
    TypeError(),
    KeyError("odd"),
    AssertionError("odd"),
    ZeroDivisionError("odd"),
    OverflowError("int too large to convert to float"),
    RecursionError("maximum recursion depth exceeded"),
    MemoryError(),
    SystemExit(3),
    StopIteration(),
    ExceptionGroup("several", [LookupError("first"), TypeError("second")]),
]
TWO_STEPS = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}
  again: {prompt: mood, with: {text: "{{ text }}"}}
output: "{{ mood }}"
"""
EACH = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood, for_each: "{{ [text, text] }}", as: part, with: {text: "{{ part }}"}, on_error: {default: good}}
output: "{{ mood[0] }}"
"""
TOOL = """
name: mood
inputs: {text: {example: fine}}
tools: {deep: "deep.py:deep"}
steps:
  mood: {prompt: mood}
  deep: {tool: deep, with: {text: "{{ text }}"}}
output: "{{ mood }}"
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(4))


def on_row_3(real: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """Return a function that raises where what it is given holds the row `bad 2`, and else does what `real` does."""

    def failing(*given: Any, **named: Any) -> Any:
        if "bad 2" in str((given, named)):
            raise error
        return real(*given, **named)

    return failing


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    ("pipeline", "error"),
    [*((PIPELINE, error) for error in RAISED), *((each, error) for each in (TWO_STEPS, EACH) for error in RAISED[-4:])],
    ids=lambda given: type(given).__name__ if isinstance(given, BaseException) else f"{len(given)} characters",
)
async def test_an_answer_parser_that_fails_fails_one_cell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, pipeline: str, error: BaseException
) -> None:
    bench.folder.write("pipelines/mood.yaml", pipeline)
    monkeypatch.setattr(Label, "find", on_row_3(Label.find, error))

    ran = await bench.run(SUITE, echo)

    cells = list(ran.view.cells())
    assert [cell.flag for cell in cells] == ["", "", "error", ""]
    assert PLACE in cells[2].defect
    assert cells[2].defect in cells[2].problem
    assert ran.evaluated.status == "incomplete"
    assert ran.metric()["n"] == 3
    [told] = ran.record["defects"]
    assert (told["defect"], told["cells"]) == (cells[2].defect, 1)
    assert "on_row_3" in told["traceback"] or "failing" in told["traceback"]
    groups = {group.kind: group for group in find_errors(ran.view, ran.evaluated.record).groups}
    assert (groups["defect"].defect, groups["defect"].count) == (cells[2].defect, 1)


@pytest.mark.attack("code")
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_metric_that_fails_leaves_one_score_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    kind = kind_named("label")
    monkeypatch.setattr(kind, "measure", on_row_3(kind.measure, error))

    ran = await bench.run(SUITE, echo)

    scores = [cell.scores["accuracy"] for cell in ran.view.cells()]
    assert [score.value is None for score in scores] == [False, False, True, False]
    assert PLACE in scores[2].why
    assert ran.evaluated.status == "incomplete"
    assert [each["cells"] for each in ran.record["defects"]] == [1]
    groups = {group.kind: group for group in find_errors(ran.view, ran.evaluated.record).groups}
    assert PLACE in groups["defect"].defect


@pytest.mark.attack("code")
@pytest.mark.parametrize("kind", ["judge", "pairwise", "embedding"])
@pytest.mark.parametrize("error", [RuntimeError("odd"), SystemExit(3)], ids=lambda error: type(error).__name__)
async def test_a_slow_metric_that_fails_leaves_one_score_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str, error: BaseException
) -> None:
    metric = kind_named(kind)
    asked = {"judge": "measure_async", "pairwise": "measure_pair", "embedding": "measure_async"}[kind]
    real = getattr(metric, asked)

    async def failing(self: Any, given: Any, *others: Any) -> Any:
        if "bad 2" in str(given.cell.fields):
            raise error
        return await real(self, given, *others)

    monkeypatch.setattr(metric, asked, failing)
    parameters = {
        "judge": "{rubric: Is it right?, levels: [no, yes]}",
        "pairwise": "{rubric: Which is better?}",
        "embedding": "{}",
    }
    suite = f"""
data: rows.jsonl
target: mood
metrics: {{accuracy: label, slow: {{{kind}: {parameters[kind]}}}}}
variants: {{plain: {{}}, prefix: {{mood.layout: prefix}}}}
"""

    ran = await bench.run(suite, echo)

    missing = [cell.row for cell in ran.view.cells("plain") if PLACE in cell.scores["slow"].why]
    assert missing == [3]
    assert ran.metric("accuracy")["n"] == 4


@pytest.mark.attack("code")
@pytest.mark.parametrize("depth", [700, 100_000])
async def test_a_tools_result_that_nothing_can_hold_fails_one_cell(bench: Bench, depth: int) -> None:
    bench.folder.write("pipelines/mood.yaml", TOOL)
    program = f"""
def deep(text):
    value = []
    for _ in range({depth} if "bad 2" in text else 1):
        value = [value]
    return value
"""
    bench.folder.write("pipelines/deep.py", program)

    ran = await bench.run(SUITE, echo)

    assert ran.flags == ["", "", "error", ""]


@pytest.mark.attack("code")
async def test_a_row_that_cannot_be_bound_is_missing_with_the_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "fill_inputs", on_row_3(fill_inputs, RecursionError("too deep")))

    ran = await bench.run(SUITE, echo)

    assert ran.flags == ["", "", "error", ""]
    assert "unexpected RecursionError at " in ran.evaluated.failure


@pytest.mark.attack("code")
async def test_a_defect_on_every_cell_ends_the_run_early_and_the_same_command_goes_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(folder, moods(200))
    with monkeypatch.context() as patch:
        patch.setattr(Label, "find", on_every_row)
        ran = await bench.run(SUITE, echo, concurrency=1)
    assert ran.evaluated.gave_up
    assert PLACE in ran.evaluated.failure
    assert MOST_FAILURES <= len(ran.flags) < 100

    again = await bench.run(SUITE, echo, options=EvalOptions(retry_errors=True))
    assert again.evaluated.status == "done"


def on_every_row(*given: Any, **named: Any) -> Any:
    raise RuntimeError("odd")


@pytest.mark.attack("code")
async def test_one_defect_in_many_cells_does_not_end_a_run(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(folder, moods(60))
    count = 0

    def every_tenth(*given: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count % 10 == 0:
            raise RuntimeError("odd")
        return find(*given, **named)

    find = Label.find
    monkeypatch.setattr(Label, "find", every_tenth)
    ran = await bench.run(SUITE, echo)

    assert not ran.evaluated.gave_up
    assert ran.flags.count("error") == 6
    assert [each["cells"] for each in ran.record["defects"]] == [6]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), asyncio.CancelledError(), BaseExceptionGroup("several", [KeyboardInterrupt()])]
)
def test_ctrl_c_and_a_cancelled_task_are_not_defects(error: BaseException) -> None:
    with pytest.raises(type(error)), catching_unexpected():
        raise error
    with pytest.raises(type(error)):
        missing_score(error)


def test_a_group_is_its_first_error() -> None:
    with pytest.raises(StoreFailed), catching_unexpected():
        raise ExceptionGroup("several", [StoreFailed("full"), TypeError("odd")])


@pytest.mark.attack("number")
@pytest.mark.parametrize(
    ("tokens_in", "tokens_out"),
    [(int("9" * 400), 1), (1, int("9" * 400)), (-4, 1), (1, -4), (10**13, 1)],
)
async def test_a_cell_whose_counts_cannot_be_true_is_missing_and_in_no_total(
    bench: Bench, tokens_in: int, tokens_out: int
) -> None:
    def script(request: Request) -> Reply:
        reply = Reply(text=echo(request), tokens_in=10, tokens_out=1)
        return replace(reply, tokens_in=tokens_in, tokens_out=tokens_out) if number_of(request) == 2 else reply

    suite = SUITE.replace("accuracy: label", "accuracy: label, tokens: tokens, latency: latency")
    for _ in range(2):
        ran = await bench.run(suite, script)

        assert ran.flags == ["", "", "error", ""]
        assert "cannot be true" in ran.evaluated.failure
        assert (ran.variant()["tokens_in"], ran.variant()["tokens_out"]) == (30, 3)
        assert (ran.metric("tokens")["mean"], ran.metric("tokens")["n"]) == (11, 3)
