"""Heads that a tuning trains, from the search to the files that it writes, on a model with scripted vectors."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from promptkit.answers.head import read_head
from promptkit.engine.heads import head_fallback
from promptkit.engine.load import load_target
from promptkit.project import Project
from promptkit.runtimes.base import HiddenState, Request
from promptkit.runtimes.scripted import Scripted, request_text
from promptkit.storage.store import Store
from promptkit.tuning.output.write import draft, write, write_result
from promptkit.tuning.run import TuningResult
from promptkit.tuning.weights.trainers import open_trainers
from tests.engine.heads import Vectors
from tests.engine.helpers import Folder
from tests.tuning.tunings import Ran, TuneBench, luck, right_where, row_of, truth

CALLS = 2_500
KNOWN = 0.95
"""The share of rows whose vectors tell the label."""


def vector(request: Request) -> tuple[float, ...]:
    """Return a vector that tells a row's label after layer 3, at the last token, on most rows."""
    number = row_of(request)
    side = 2.0 if (truth(number) == "good") == luck(number, KNOWN, "vector") else -2.0
    noise = [((number * 7 + at * 3) % 11) / 11 for at in range(4)]
    return (side, *noise) if request.hidden_state == HiddenState(3, "last") else (0.0, *noise)


def answer(request: Request) -> str:
    """Answer right on most rows where the instructions stand again at the end, else on half."""
    text = request_text(request)
    recap = text.count("Say whether it is good or bad") > 1
    return right_where(lambda _: 0.75 if recap else 0.5)(request)


@dataclass
class Taught:
    """A tuning that trained a head, and its result after its files were written."""

    bench: TuneBench
    ran: Ran
    written: TuningResult

    @property
    def root(self) -> Path:
        return self.bench.folder.root


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    bench = TuneBench(Folder(tmp_path_factory.mktemp("heads")), 160)
    only = ("wording", "weights")
    model = Vectors(answer, vector)
    ran = asyncio.run(bench.tune(model, calls=CALLS, weights=True, only=only, open_trainers=open_trainers))
    with Store.open(bench.store_folder) as store:
        return Taught(bench, ran, write_result(ran.tuned, ran.tuning.suite, store))


def test_a_head_that_pays_is_shown_over_the_best_prompt(taught: Taught) -> None:
    record = taught.ran.record

    assert record["verdict"] == "improved"
    assert record["best"]["choices"]["mood.weights"] == "head"
    assert record["weights"]["shown"]
    trained, adapter = record["weights"]["trained"]
    assert (adapter["kind"], adapter["skipped"] is None) == ("adapter", False)
    assert trained["calls"] == 6 * trained["rows"]
    assert trained["validation"]["mean"] > 0.85


def test_changes_of_the_prompt_that_the_head_was_trained_for_are_not_taken_back_under_it(taught: Taught) -> None:
    skipped = {change["axis"]: change["skipped"] for change in taught.ran.record["ablation"]}

    assert skipped == {"mood.wording": "the weights are trained for the prompt with it", "mood.weights": None}


def test_its_file_lies_beside_the_tuned_pipeline_which_decides_by_it(taught: Taught) -> None:
    text = (taught.root / "pipelines/mood.tuned.yaml").read_text("utf-8")

    assert "pipelines/mood.tuned.mood.head.json" in taught.written.record.written
    assert "decide: head" in text and "otherwise: generate" in text
    assert "head:" not in text
    assert not taught.written.failure


async def test_the_written_prompt_is_the_one_that_the_head_was_trained_for(taught: Taught) -> None:
    project = taught.bench.folder.project
    call = load_target(taught.root / "pipelines/mood.tuned.yaml", project).steps["mood"].prompt_call
    assert call is not None and call.head is not None
    assert "mood.tuned.j2" in {file.name for file in call.prompt.files}

    assert head_fallback(call, await Vectors(answer, vector).model(), project) is None


async def test_the_original_may_be_replaced_by_it(taught: Taught, tmp_path: Path) -> None:
    shutil.copytree(taught.root, root := tmp_path / "copied")
    project, candidate = Project.find(root), taught.written.candidate
    assert candidate is not None

    written = write(draft(root / "pipelines/mood.yaml", candidate, project, in_place=True))

    call = load_target(root / "pipelines/mood.yaml", project).steps["mood"].prompt_call
    assert root / "pipelines/mood.mood.head.json" in written
    assert call is not None and call.head == root / "pipelines/mood.mood.head.json"
    assert head_fallback(call, await Vectors(answer, vector).model(), project) is None


def test_the_head_names_the_rows_that_trained_it_and_no_confirm_row(taught: Taught) -> None:
    head = read_head(taught.root / "pipelines/mood.tuned.mood.head.json")

    assert len(head.rows) == taught.ran.record["weights"]["trained"][0]["rows"]


def test_a_model_without_vectors_trains_no_head(folder: Folder) -> None:
    ran = asyncio.run(
        TuneBench(folder, 160).tune(
            Scripted(answer), calls=300, weights=True, only=("weights",), open_trainers=open_trainers
        )
    )

    assert ran.record["weights"]["trained"][0]["skipped"].startswith("scripted gives no vectors")
