"""A tuning with weights on a model whose right answers are known, and a trainer of known effect."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted, request_text
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.tuning.options import Limits, TuneOptions
from promptkit.tuning.tune import Tuning
from promptkit.tuning.weights.trainer import TrainingCost
from tests.engine.helpers import Folder
from tests.evaluation.suites import Given
from tests.tuning.tunings import Ran, TuneBench, right_where
from tests.tuning.weights.trainers import CueTrainers

CALLS = 700


def asked(taught: float) -> Any:
    """Return a script in which trained weights are right on this share of rows, a good cue on 70 %, the start on 50."""

    def share(text: str) -> float:
        return taught if "Taught:" in text else 0.7 if "Mood:" in text else 0.5

    answer = right_where(share)

    def script(request: Request) -> str:
        return "read" if "train: " in request_text(request) else answer(request)

    return script


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 160)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneBench, Ran, CueTrainers]:
    """Return a tuning whose weights pay, with its bench and its trainers; all are read only."""
    bench, trainers = TuneBench(Folder(tmp_path_factory.mktemp("taught")), 160), CueTrainers()
    ran = asyncio.run(
        bench.tune(asked(0.98), calls=CALLS, weights=True, only=("decide", "weights"), open_trainers=trainers)
    )
    return bench, ran, trainers


class TestWeightsThatPay:
    def test_they_are_the_incumbent_and_shown_over_the_start_and_over_the_best_prompt(
        self, taught: tuple[TuneBench, Ran, CueTrainers]
    ) -> None:
        record = taught[1].record

        assert (record["status"], record["verdict"]) == ("done", "improved")
        assert record["best"]["choices"]["mood.weights"] == "head"
        assert "Mood:" in str(record["weights"]["prompt"]["changes"])
        assert "mood.weights" not in record["weights"]["prompt"]["choices"]
        assert record["weights"]["shown"]
        assert record["weights"]["difference"]["low"] > 0
        assert record["weights"]["difference"]["mean"] < record["difference"]["mean"]

    def test_they_are_trained_once_for_the_chosen_prompt(self, taught: tuple[TuneBench, Ran, CueTrainers]) -> None:
        [task] = taught[2].tasks

        assert task.step == "mood"
        call = task.pipeline.steps["mood"].prompt_call
        assert call is not None
        assert call.cue == taught[1].record["weights"]["prompt"]["changes"].get("mood.cue")

    def test_rows_that_train_neither_compare_nor_confirm(self, taught: tuple[TuneBench, Ran, CueTrainers]) -> None:
        trained = {row.inputs["text"] for row in taught[2].tasks[0].rows}
        texts = [request_text(request) for request in taught[1].runtime.requests]
        answered_by_weights = [text for text in texts if "Taught:" in text]

        assert len(trained) > 20
        assert answered_by_weights
        assert not any(f"{row}\n" in text for row in trained for text in answered_by_weights)

    def test_the_training_counts_in_the_calls(self, taught: tuple[TuneBench, Ran, CueTrainers]) -> None:
        record = taught[1].record
        [trained] = record["weights"]["trained"]

        assert trained["calls"] == trained["rows"] == len(taught[2].tasks[0].rows)
        assert {stage["name"]: stage["calls"] for stage in record["stages"]}["weights"] >= trained["calls"]
        assert record["calls"] <= CALLS

    async def test_the_same_tuning_trains_nothing_again_and_ends_the_same(
        self, taught: tuple[TuneBench, Ran, CueTrainers]
    ) -> None:
        bench, first, _ = taught
        trainers = CueTrainers()

        again = await bench.tune(
            asked(0.98), calls=CALLS, weights=True, only=("decide", "weights"), open_trainers=trainers
        )

        assert not trainers.tasks
        assert not again.runtime.requests
        assert again.record["weights"]["trained"][0]["kept"]
        for key in ("calls", "difference", "verdict"):
            assert again.record[key] == first.record[key]


async def test_weights_that_bring_nothing_are_taken_back(bench: TuneBench) -> None:
    ran = await bench.tune(
        asked(0.7), calls=CALLS, weights=True, only=("decide", "weights"), open_trainers=CueTrainers()
    )

    assert "mood.weights" not in ran.record["best"]["choices"]
    assert ran.record["weights"].get("difference") is None
    assert ran.record["verdict"] == "improved"


async def test_weights_alone_may_be_searched(bench: TuneBench) -> None:
    ran = await bench.tune(asked(0.95), calls=CALLS, weights=True, only=("weights",), open_trainers=CueTrainers())

    assert ran.record["best"]["choices"] == {"mood.weights": "head"}
    assert ran.record["weights"]["prompt"]["choices"] == {}
    assert ran.record["weights"]["difference"] == ran.record["difference"]


async def test_of_two_kinds_the_better_one_wins(bench: TuneBench) -> None:
    trainers = CueTrainers({"cue": "Head:"}, {"kind": "adapter"})

    ran = await bench.tune(asked(0.95), calls=CALLS, weights=True, only=("weights",), open_trainers=trainers)

    assert [trained["kind"] for trained in ran.record["weights"]["trained"]] == ["head", "adapter"]
    assert ran.record["best"]["choices"] == {"mood.weights": "adapter"}


@pytest.mark.parametrize(
    ("limits", "needs", "why"),
    [
        (Limits(calls=CALLS), TrainingCost(calls=2_000), "its 2000 requests do not fit"),
        (Limits(calls=CALLS, tokens=100_000), TrainingCost(tokens=90_000), "its 90,000 tokens do not fit"),
        (Limits(calls=CALLS, minutes=5), TrainingCost(seconds=300.0), "its 300 seconds do not fit"),
    ],
)
async def test_a_training_that_does_not_fit_is_not_begun_and_the_report_says_so(
    bench: TuneBench, limits: Limits, needs: TrainingCost, why: str
) -> None:
    trainers = CueTrainers({"needs": needs})

    ran = await bench.tune(asked(0.95), limits=limits, weights=True, only=("decide", "weights"), open_trainers=trainers)

    assert not trainers.tasks
    assert why in ran.record["weights"]["trained"][0]["skipped"]
    assert ran.record["verdict"] == "improved"


async def test_the_plan_says_what_is_trained_and_what_is_not(bench: TuneBench) -> None:
    trainers = CueTrainers({"refused": "the model embeds nothing"}, {"kind": "adapter"})
    with Store.open(bench.store_folder) as store, frozen_files():
        options = TuneOptions(weights=True, only=("decide", "weights"))
        tuning = Tuning(
            bench.start(), models=Given(Scripted(asked(0.9))), store=store, options=options, open_trainers=trainers
        )
        notes = (await tuning.plan()).notes

    assert "mood.weights: head is not trained: the model embeds nothing" in notes
    [adapter] = [note for note in notes if note.startswith("mood.weights: adapter")]
    assert "is trained for the chosen prompt on about 43 search rows, compared with the prompt on 20 others" in adapter


async def test_a_task_that_a_trainer_refuses_is_in_the_record(bench: TuneBench) -> None:
    trainers = CueTrainers({"refused": "the model embeds nothing"})

    ran = await bench.tune(asked(0.9), calls=CALLS, weights=True, only=("decide", "weights"), open_trainers=trainers)

    assert ran.record["weights"]["trained"][0]["skipped"] == "the model embeds nothing"


async def test_too_few_rows_train_nothing(folder: Folder) -> None:
    ran = await TuneBench(folder, 60).tune(
        asked(0.9), calls=200, weights=True, only=("weights",), open_trainers=CueTrainers()
    )

    assert "at least 20 are needed" in ran.record["weights"]["trained"][0]["skipped"]


async def test_the_budget_holds_the_prompt_without_weights_on_all_confirm_rows(bench: TuneBench) -> None:
    ran = await bench.tune(
        asked(0.75), calls=500, weights=True, only=("decide", "weights"), open_trainers=CueTrainers()
    )

    assert ran.record["calls"] <= 500
    gain = ran.record["weights"].get("difference")
    assert gain is None or gain["n"] >= ran.record["difference"]["n"]


def test_a_trained_file_lies_in_the_store_and_is_none_of_the_projects(
    taught: tuple[TuneBench, Ran, CueTrainers],
) -> None:
    root: Path = taught[0].folder.root

    assert [file.suffixes[-2:] for file in sorted(root.glob(".promptkit/tuning/weights/*.head.json"))] == [
        [".head", ".json"]
    ]
    assert not list(root.glob("pipelines/*.json"))
