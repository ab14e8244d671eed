"""The search over several steps: each alone, the last first, then together with what is in question."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from promptkit.errors import ServerFailed
from promptkit.runtimes.base import Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.search.effects import Effects
from promptkit.tuning.search.search import Search
from promptkit.tuning.search.steps import CHOICES_IN_QUESTION, _in_question, _of_step, _without_step
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from promptkit.tuning.trials import Estimates
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.planted import ADVISED_SUITE, STEP_LABELS, advise, advised, noted
from tests.tuning.tunings import Ran, right_where

SUITE = "data: rows.jsonl\ntarget: noted\nmetrics: {accuracy: label}\n"
LAYOUTS = "{note.layout: [xml, markdown], mood.layout: [xml, markdown, json]}"
ROWS, CALLS = 80, 700
KINDS = ("examples", "layout", "wording")


def cells_of(name: str) -> Choice:
    return Choice(name, {"note.layout": name})


AXIS = Parameter(
    name="note.layout",
    step="note",
    kind="layout",
    choices=(Choice("as written"), *map(cells_of, ("markdown", "json", "prefix", "raw"))),
)


def answer(request: Request) -> str:
    text = request_text(request)
    if "Note what is said" in text:
        return f"{'long' if '##' in text else 'short'} note"
    return right_where(lambda text: 0.5 + 0.2 * ("long note" in text) + 0.2 * ("##" in text))(request)


async def tune(folder: Folder, **options: Any) -> Ran:
    bench, target = noted(folder, ROWS, LAYOUTS)
    return await bench.tune(answer, text=SUITE, target=target, calls=CALLS, **options)


def steps(ran: Ran) -> list[str | None]:
    """Return the steps that were searched, in their order; None is all together."""
    records = [entry["step"] for entry in ran.record["stages"] if entry["name"] == "race"]
    return list(dict.fromkeys(records))


@pytest.fixture(scope="module")
def stepwise(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Return a tuning of one step after the other, to be read."""
    return asyncio.run(tune(Folder(tmp_path_factory.mktemp("stepwise")), mode="stepwise"))


def is_found(ran: Ran) -> bool:
    """Tell whether the pick is the best there is, and its calls are within the limit."""
    best = {"note.layout": "markdown", "mood.layout": "markdown"}
    return bool(ran.record["best"]["changes"] == best and ran.record["calls"] <= CALLS)


def test_steps_are_searched_alone_the_last_first(stepwise: Ran) -> None:
    assert steps(stepwise) == ["mood", "note"]
    assert is_found(stepwise)


@pytest.mark.parametrize(("mode", "searched"), [("joint", [None]), ("both", ["mood", "note", None])])
async def test_steps_are_searched_together_or_both(folder: Folder, mode: str, searched: list[str | None]) -> None:
    ran = await tune(folder, mode=mode)

    assert steps(ran) == searched
    assert is_found(ran)


def test_a_step_before_others_is_searched_with_what_was_chosen_for_those(stepwise: Ran) -> None:
    notes = [entry for entry in stepwise.record["candidates"] if "note.layout" in entry["choices"]]

    assert notes
    assert all(entry["choices"].get("mood.layout") == "markdown" for entry in notes)


def test_rows_of_the_last_step_take_what_comes_before_from_the_store(stepwise: Ran) -> None:
    asked = [(request_text(request), request.sample) for request in stepwise.runtime.requests]

    assert len(set(asked)) == len(asked)
    assert stepwise.record["cached"] > 0


async def test_one_step_alone_is_searched_as_it_is_whatever_the_mode(folder: Folder) -> None:
    ran = await tune(folder, mode="both", only=("mood",))

    assert steps(ran) == ["mood"]


async def test_what_was_tuned_on_the_inputs_of_the_data_is_checked_on_what_the_steps_before_give(
    folder: Folder,
) -> None:
    bench, target = advised(folder, 60)
    ran = await bench.tune(
        advise, text=ADVISED_SUITE + STEP_LABELS, target=target, calls=400, mode="stepwise", only=("layout", "wording")
    )

    assert any("with the outputs of the chosen earlier steps" in entry for entry in ran.record["notes"])


async def test_a_step_is_not_said_to_be_worse_on_earlier_steps_that_were_mended_since(folder: Folder) -> None:
    bench, target = advised(folder, 60)
    ran = await bench.tune(
        advise, text=ADVISED_SUITE + STEP_LABELS, target=target, calls=900, mode="stepwise", only=KINDS
    )

    assert {"tone.layout", "tone.examples"} & ran.record["best"]["choices"].keys()
    assert ran.record["best"]["confirm"]["mean"] > 0.8
    assert not any("outputs of the chosen earlier steps" in entry for entry in ran.record["notes"])


async def test_a_tuning_with_labels_of_steps_is_the_same_again_and_asks_nothing(folder: Folder) -> None:
    ran = []
    for _ in range(2):
        bench, target = advised(folder, 60)
        ran.append(await bench.tune(advise, text=ADVISED_SUITE + STEP_LABELS, target=target, calls=600, only=KINDS))

    first, second = ({key: each.record[key] for key in ("stages", "best", "calls", "ordinal")} for each in ran)
    assert first == second
    assert ran[1].runtime.requests == []


async def test_what_ends_a_search_in_a_step_with_labels_leaves_the_best_so_far_of_that_step(folder: Folder) -> None:
    bench, target = advised(folder, 60)
    asked = 0

    def gone(request: Request) -> str:
        nonlocal asked
        asked += 1
        if asked > 200:
            raise ServerFailed("the server is gone")
        return advise(request)

    ran = await bench.tune(gone, text=ADVISED_SUITE + STEP_LABELS, target=target, calls=600, only=("layout", "wording"))

    assert ran.record["status"] == "incomplete"
    assert [entry["name"] for entry in ran.record["stages"]][-1] != "confirm"
    assert ran.record["best"]["choices"]


async def test_what_the_steps_chose_is_the_pick_until_a_race_together_says_more(folder: Folder) -> None:
    bench, target = noted(folder, ROWS, LAYOUTS)
    async with open_evaluator(bench, answer, bench.start(SUITE, target=target), budget=Budget(3)) as opened:
        estimates = Estimates(opened.evaluator, CandidateCalibration(opened.evaluator, None))
        winner = Candidate({"mood.layout": Choice("markdown", {"mood.layout": "markdown"})})
        search = Search(estimates, range(ROWS), (AXIS,), progress=TuningProgress(), entrants=[winner])
        result = await search.run(3)

    assert result.incumbent == winner


def test_in_question_are_the_start_the_chosen_and_the_next_best() -> None:
    effects = Effects(
        mean=0.5,
        added={"note.layout": {"as written": 0.0, "markdown": -0.3, "json": 0.2, "prefix": 0.1, "raw": -0.1}},
        parameters=(AXIS,),
        rows=5.0,
    )
    winner = Candidate({"note.layout": cells_of("json")})

    names = [choice.name for choice in _in_question(AXIS, [winner], effects).choices]
    assert names == ["as written", "json", "prefix"]
    assert len(names) == CHOICES_IN_QUESTION


def test_all_that_was_chosen_is_in_question() -> None:
    chosen = [Candidate({"note.layout": cells_of(name)}) for name in ("raw", "json", "prefix")]

    assert [choice.name for choice in _in_question(AXIS, chosen, None).choices] == [
        "as written",
        "raw",
        "json",
        "prefix",
    ]


def test_a_small_axis_is_in_question_as_a_whole() -> None:
    small = Parameter(name="note.layout", step="note", kind="layout", choices=AXIS.choices[:3])

    assert _in_question(small, [Candidate()], None) == small


def test_a_step_of_a_candidate_is_what_it_changes_there() -> None:
    both = Candidate({"note.layout": cells_of("json"), "mood.cue": Choice("cue", {"mood.cue": "Mood:"})})

    assert _of_step(both, "note").changes == {"note.layout": "json"}
    assert _without_step(both, "note").changes == {"mood.cue": "Mood:"}
