"""When a run gives up on its model, and which failures become cells: the numbers are written out here."""

from __future__ import annotations

from typing import cast

import pytest

from promptkit.errors import ConnectionFailed, RequestRefused, RuntimeFailure, ServerFailed, UnexpectedError
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.cells.failures import FailurePolicy, JudgeModels
from promptkit.evaluation.cells.progress import EvalProgress
from promptkit.evaluation.cells.saver import CellSaver
from promptkit.evaluation.metrics.base import Clients
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.summary import SMALLEST_DIFFERENCE, family_level, may_miss
from tests.evaluation.metrics.given import metric


class Saved:
    """A saver that keeps the rows that it is given."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def add(self, cell: Cell) -> None:
        self.rows.append(cell.row)


class Run:
    """A policy with what it saves."""

    def __init__(self, *, gives_up_on_defects: bool = True) -> None:
        self.progress, self.saved = EvalProgress(total=1_000), Saved()
        saver = cast(CellSaver, self.saved)
        self.policy = FailurePolicy(self.progress, saver, gives_up_on_defects=gives_up_on_defects)
        self.row = 0

    def take(self, failure: Exception | None, times: int = 1) -> list[bool]:
        """Return for each of so many cells whether it is to be saved at once."""
        taken = []
        for _ in range(times):
            self.row += 1
            cell = Cell(variant="plain", row=self.row, repeat=0, fields={})
            taken.append(self.policy.take(cell, failure))  # type: ignore[arg-type]
        return taken


def test_ten_failures_in_a_row_end_a_run_and_nine_do_not() -> None:
    run = Run()

    assert run.take(ServerFailed("over"), 9) == [False] * 9
    assert not run.progress.gave_up
    run.take(ServerFailed("over"))
    assert run.progress.gave_up


def test_failures_are_saved_once_another_cell_is_answered_but_for_those_to_connect() -> None:
    run = Run()

    run.take(ServerFailed("over"), 2)
    run.take(ConnectionFailed("gone"))
    assert run.saved.rows == []
    run.take(None)
    assert run.saved.rows == [1, 2]


def test_a_hundred_refusals_end_a_run_in_which_nothing_was_answered_and_99_do_not() -> None:
    run = Run()

    assert run.take(RequestRefused("no"), 99) == [True] * 99
    assert not run.progress.gave_up
    run.take(RequestRefused("no"))
    assert run.progress.gave_up


def test_refusals_end_no_run_in_which_something_was_answered() -> None:
    run = Run()

    run.take(None)
    run.take(RequestRefused("no"), 500)
    assert not run.progress.gave_up


@pytest.mark.parametrize("gives_up", [True, False])
def test_ten_defects_in_a_row_end_a_run_where_they_may(gives_up: bool) -> None:
    run = Run(gives_up_on_defects=gives_up)
    defect = UnexpectedError(ZeroDivisionError())

    run.take(defect, 9)
    run.take(None)
    run.take(defect, 9)
    assert not run.progress.gave_up
    run.take(defect)
    assert run.progress.gave_up is gives_up


async def test_a_judge_is_not_asked_again_after_ten_failures_in_a_row() -> None:
    class Models:
        async def get(self, reference: str | None = None) -> None:
            asked.append(reference)

    async def failing(models: Clients) -> Score:
        await models.get("judge")
        raise RuntimeFailure("gone")

    asked: list[str | None] = []
    judges = JudgeModels(cast(Clients, Models()))

    scores = [await judges.score(failing) for _ in range(12)]

    assert len(asked) == 10
    assert scores[9].why == "gone"
    assert "10 times in a row" in scores[10].why


def test_two_missing_cells_in_a_hundred_may_be_left_out_and_three_may_not() -> None:
    accuracy = metric("label", answer=None)

    assert may_miss(accuracy, 2, 100)
    assert not may_miss(accuracy, 3, 100)
    assert may_miss(accuracy, 0, 0)


def test_the_smallest_difference_is_five_points_and_each_of_several_intervals_is_wider() -> None:
    assert SMALLEST_DIFFERENCE == 0.05
    assert [round(family_level(family), 4) for family in (0, 1, 2, 5)] == [0.95, 0.95, 0.975, 0.99]
