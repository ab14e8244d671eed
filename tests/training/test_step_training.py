"""The plan of a training: memory before it starts, in the type and size that fits, and what decides the result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.training.fitting import memory
from promptkit.training.fitting.settings import FitProgress, FitSettings
from promptkit.training.kinds import AdapterKind
from promptkit.training.labelled_rows import read_labelled_file
from promptkit.training.step_requests import TrainingExample
from promptkit.training.step_training import StepExamples, _estimate, _in_thread, _training_key, choose_storage
from promptkit.training.transformer.architectures import TransformerConfig, read_config
from tests.engine.helpers import Folder
from tests.training.tiny_gguf import TinyShape, write_tiny

PIPELINE = """
    name: mails
    inputs: {mail: {type: text}}
    steps: {sort: {prompt: {input: "{{ mail }}"}, answer: {label: [a, b]}}}
    output: "{{ sort }}"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TransformerConfig:
    path: Path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    return read_config(read_contents(write_tiny(path, shape=TinyShape(inner=4096, width=256))))


@pytest.fixture
def examples(folder: Folder) -> StepExamples:
    data = folder.write("rows.jsonl", '{"mail": "x", "kind": "a"}\n')
    labelled = read_labelled_file(folder.load(PIPELINE), (), data, expect="kind", limit=None)
    found = tuple(TrainingExample(0, tuple(range(at, 100 + at)), (1, 2)) for at in range(20))
    return StepExamples(
        labelled=labelled,
        kind=AdapterKind(),
        file=folder.root / "mails.sort.lora.gguf",
        model="gguf:tiny.gguf",
        weights=folder.root / "tiny.gguf",
        training=found,
        validation=found[:2],
    )


def test_the_weights_are_kept_as_int8_where_float16_does_not_fit(
    examples: StepExamples, config: TransformerConfig
) -> None:
    settings = FitSettings()
    large, small = (_estimate(examples, config, settings, kind) for kind in ("float16", "int8"))

    assert large > small
    assert choose_storage(examples, config, settings, None) == ("float16", large)
    assert choose_storage(examples, config, settings, large) == ("float16", large)
    assert choose_storage(examples, config, settings, large - 1) == ("int8", small)


def test_a_smaller_batch_that_would_fit_is_named(examples: StepExamples, config: TransformerConfig) -> None:
    settings = FitSettings(batch=32)
    fits = _estimate(examples, config, replace(settings, batch=8), "int8")
    with pytest.raises(InputError, match=r"--batch 8 would do; the longest row has 102 tokens"):
        choose_storage(examples, config, settings, fits)


def test_where_nothing_fits_the_rows_or_the_model_are_too_large(
    examples: StepExamples, config: TransformerConfig
) -> None:
    with pytest.raises(InputError, match="take a smaller model, or shorter rows"):
        choose_storage(examples, config, FitSettings(), memory.LIBRARIES)


def test_a_checkpoint_belongs_to_all_that_decides_the_result(examples: StepExamples) -> None:
    first = examples.training[0]
    others = [
        _training_key(examples, "other", [1]),
        _training_key(examples, "digest", [2]),
        _training_key(replace(examples, training=examples.training[1:]), "digest", [1]),
        _training_key(replace(examples, validation=examples.validation[1:]), "digest", [1]),
        _training_key(
            replace(examples, training=(replace(first, reply=(9, 2)), *examples.training[1:])), "digest", [1]
        ),
    ]
    key = _training_key(examples, "digest", [1])

    assert key == _training_key(examples, "digest", [1])
    assert len({key, *others}) == 6


async def test_a_cancelled_training_ends_itself_and_its_record_is_returned() -> None:
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    shown: list[Any] = []

    def work(stop: threading.Event, show: Callable[[FitProgress], None]) -> Any:
        show(FitProgress("training", 1, 8))
        loop.call_soon_threadsafe(begun.set)
        assert stop.wait(10)
        return "the best so far"

    training = asyncio.create_task(_in_thread(work, shown.append, lambda: shown.append("stopped")))
    await begun.wait()
    training.cancel()

    assert str(await training) == "the best so far"
    assert shown == [FitProgress("training", 1, 8), "stopped"]
