"""Adapters that a tuning trains, from the search to the files that it writes, on a tiny model in the process."""

from __future__ import annotations

import asyncio
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import Interrupted
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.runtimes.base import Model
from promptkit.runtimes.in_process.adapter_file import read_adapter
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.models import Models
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from promptkit.training import step_training
from promptkit.tuning.data_split import read_data_split
from promptkit.tuning.options import Limits, TuneOptions
from promptkit.tuning.output.write import write_result
from promptkit.tuning.run import TuningResult
from promptkit.tuning.tune import Tuning
from promptkit.tuning.weights import trainers
from promptkit.tuning.weights.tasks import planned_notes
from promptkit.tuning.weights.trainer import TrainingRow, TrainingTask
from promptkit.tuning.weights.trainers import AdapterTrainer
from tests.engine.helpers import Folder
from tests.evaluation.suites import Given
from tests.training.tiny_gguf import TinyShape, write_tiny
from tests.tuning.tunings import TuneBench

PROMPT = """
---
inputs: {text: {}}
answer: {label: [a, b]}
layout: prefix
cue: "It:"
---
{% block input %}{{ text }}{% endblock %}
"""
WORDS = ("am", "bi", "ce", "de", "em", "fj", "gr", "he")
COUNT, CALLS = 190, 900


def rows(common: str, rare: str) -> list[dict[str, Any]]:
    """Return rows of which nine of ten have one answer: an adapter learns that at once."""
    return [
        {"text": f"{WORDS[at % 8]} {at * 37}", "expect": rare if at % 10 == 3 else common, "number": at}
        for at in range(COUNT)
    ]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = TinyShape(layers=2, width=32, inner=32, heads=2, kv_heads=1, head_size=16)
    return write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", shape=shape)


@dataclass
class Trained:
    """A tuning that trained an adapter, and its result after its files were written."""

    bench: TuneBench
    result: TuningResult

    @property
    def root(self) -> Path:
        return self.bench.folder.root

    @property
    def record(self) -> Any:
        return self.result.record.to_json()


async def tuned(bench: TuneBench, weights: Path, *, in_place: bool = False) -> Trained:
    """Tune on the tiny model, with adapters alone, and write the files."""
    runtime = Embedded(weights, reference=f"gguf:{weights}")
    try:
        with Store.open(bench.store_folder) as store, ReplyCache(store) as replies:
            options = TuneOptions(weights=True, only=("weights",), limits=Limits(calls=CALLS))
            with frozen_files():
                tuning = Tuning(
                    bench.start(),
                    models=Given(runtime, replies),
                    store=store,
                    options=options,
                    open_trainers=lambda models: (AdapterTrainer(models),),
                )
                found = await tuning.run()
            return Trained(bench, write_result(found, tuning.suite, store, in_place=in_place))
    finally:
        await runtime.close()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Trained:
    bench = TuneBench(Folder(tmp_path_factory.mktemp("adapters")), prompt=PROMPT)
    bench.rows(rows("b", "a"))
    return asyncio.run(tuned(bench, weights))


def test_an_adapter_that_pays_is_shown_over_the_best_prompt(trained: Trained) -> None:
    record = trained.record
    [training] = record["weights"]["trained"]

    assert (record["verdict"], record["best"]["choices"]) == ("improved", {"mood.weights": "adapter"})
    assert record["weights"]["shown"]
    assert training["skipped"] is None
    assert training["validation"]["mean"] > 0.7
    assert (training["calls"], training["seconds"] > 0) == (0, True)


def test_its_file_lies_beside_the_tuned_pipeline_which_names_it(trained: Trained) -> None:
    folder = trained.root / "pipelines"
    call = load_target(folder / "mood.tuned.yaml", trained.bench.folder.project).steps["mood"].prompt_call

    assert "pipelines/mood.tuned.mood.lora.gguf" in trained.record["written"]
    assert "adapter: mood.tuned.mood.lora.gguf" in (folder / "mood.tuned.yaml").read_text("utf-8")
    assert call is not None and call.adapter == (folder / "mood.tuned.mood.lora.gguf").resolve()


def test_the_adapter_names_the_rows_that_trained_it(trained: Trained) -> None:
    training = read_adapter(trained.root / "pipelines/mood.tuned.mood.lora.gguf").training

    assert training is not None
    assert len(training.rows) == trained.record["weights"]["trained"][0]["rows"]


async def test_a_tuning_that_resumes_trains_nothing_again_and_may_replace_the_original(
    trained: Trained, weights: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(trained.root, copied)
    bench = TuneBench(Folder(copied), prompt=PROMPT)
    bench.rows(rows("b", "a"))

    with patch.object(trainers, "train_in_thread", side_effect=AssertionError("it is trained already")):
        again = await tuned(bench, weights, in_place=True)

    assert again.record["weights"]["trained"][0]["kept"]
    assert again.record["applied"]
    assert "adapter: mood.mood.lora.gguf" in (copied / "pipelines/mood.yaml").read_text("utf-8")
    assert (copied / "pipelines/mood.mood.lora.gguf").is_file()
    assert load_target(copied / "pipelines/mood.yaml", bench.folder.project).steps["mood"].prompt_call is not None


class TestATraining:
    """A training of an adapter, without a model."""

    @pytest.fixture
    def pipeline(self, folder: Folder) -> Pipeline:
        return TuneBench(folder, 40, prompt=PROMPT).start().baseline.pipeline

    def task(self, pipeline: Pipeline, count: int = 40, reference: str = "gguf:tiny.gguf") -> TrainingTask:
        labelled = [{"text": f"{WORDS[at % 8]} {at}"} for at in range(count)]
        return TrainingTask(
            pipeline=pipeline,
            step="mood",
            model=Model(reference=reference, digest="d", capabilities=frozenset({"adapters"})),
            rows=tuple(
                TrainingRow(scope=row, inputs=row, given=row, answer="ab"[at % 2]) for at, row in enumerate(labelled)
            ),
        )

    def test_needs_weights_in_the_process(self, pipeline: Pipeline) -> None:
        trainer = AdapterTrainer(Models("auto"))

        assert trainer.problem(self.task(pipeline)) is None
        assert trainer.problem(self.task(pipeline, reference="ollama/llama3")) == (
            "the weights of ollama/llama3 are not in this process"
        )

    def test_needs_40_rows(self, pipeline: Pipeline) -> None:
        problem = AdapterTrainer(Models("auto")).problem(self.task(pipeline, 39))

        assert problem is not None and problem.startswith("39 labelled rows of the step `mood` are too few")

    def test_without_the_extra_it_says_once_how_to_install_it(self, pipeline: Pipeline, folder: Folder) -> None:
        bench = TuneBench(folder, prompt=PROMPT)
        bench.rows(rows("b", "a"))
        split = read_data_split(bench.start())
        model = self.task(pipeline).model
        with patch.object(step_training, "find_spec", return_value=None):
            notes = list(
                planned_notes(
                    split,
                    {"mood": split},
                    {"mood": model},
                    ["mood", "mood"],
                    [AdapterTrainer(Models("auto"))],
                )
            )

        assert notes == [
            "mood.weights, mood.weights: adapter is not trained: training a model needs an optional package: "
            "pip install 'promptkit[train]'"
        ]

    @pytest.mark.parametrize(("size", "least"), [(None, 40.0), ("7b", 40.0 * 7 / 0.135)])
    def test_takes_longer_the_larger_the_model_is(self, pipeline: Pipeline, size: str | None, least: float) -> None:
        task = self.task(pipeline, reference=f"gguf:tiny-{size}.gguf" if size else "gguf:tiny.gguf")
        cost = AdapterTrainer(Models("auto")).cost(task)

        assert cost.calls == 0
        assert cost.seconds == pytest.approx(least)

    @pytest.mark.parametrize("ending", ["a record", "none"])
    async def test_ends_when_the_tuning_is_cancelled(self, pipeline: Pipeline, ending: str) -> None:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def work(stop: threading.Event, show: Any) -> Any:
            loop.call_soon_threadsafe(begun.set)
            assert stop.wait(10)
            if ending == "none":
                raise Interrupted("interrupted before the training began")
            return "the best so far"

        async def train(*_: Any, **__: Any) -> Any:
            return await step_training._in_thread(work, lambda progress: None, lambda: None)

        examples = AsyncMock(return_value=StepExamplesLike())
        with (
            patch.object(trainers, "read_examples", examples),
            patch.object(trainers, "plan_memory", return_value=("float16", 1)),
            patch.object(trainers, "train_in_thread", train),
        ):
            task = self.task(pipeline)
            training = asyncio.create_task(AdapterTrainer(Models("auto")).train(task, Path("x"), seconds=60))
            await begun.wait()
            training.cancel()
            with pytest.raises(asyncio.CancelledError):
                await training


@dataclass
class StepExamplesLike:
    """The part of a step's examples that the trainer changes."""

    file: Path = Path("here")
