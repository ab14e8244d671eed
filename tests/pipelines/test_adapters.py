"""A pipeline whose steps have an adapter each, in one process, on the real small model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.adapters import add_adapters
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.run import run
from promptkit.engine.session import RunSettings, Session
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.references import EMBEDDED
from tests.adapters import write_adapter
from tests.engine.helpers import Folder, Given

BEGIN = "inputs: {review: {example: fine}}\nsteps:\n"
STEP = '  NAME: {prompt: {input: "{{ review }}", cue: "Mood:"}, answer: {label: [bad, good]}, decide: score}\n'
REVIEWS = ("I loved every minute of it.", "Dull.")
NEAR = 0.3
"""How near log-probabilities of 4-bit weights are in batches of other sizes."""


@pytest.fixture
async def runtime(model_file: Path) -> AsyncIterator[Embedded]:
    opened = Embedded(model_file, reference=EMBEDDED, context=256, slots=4)
    yield opened
    await opened.close()


async def test_each_of_two_steps_gets_its_adapter_when_rows_run_at_once(
    runtime: Embedded, model_file: Path, tmp_path: Path
) -> None:
    folder, models = Folder(tmp_path), Given(runtime)
    steps = {}
    for seed, name in enumerate(("sort", "reason")):
        file = f"test.{name}.lora.gguf"
        folder.write(f"pipelines/{file}", "")
        write_adapter(tmp_path / "pipelines" / file, model_file, seed=seed, strength=3.0)
        steps[name] = STEP.replace("{prompt", f"{{adapter: {file}, prompt").replace("NAME", name)

    async def scores(review: str, *names: str) -> dict[str, Mapping[str, Any]]:
        pipeline = folder.load(BEGIN + "".join(steps[name] for name in names))
        result = await run(pipeline, fill_inputs(pipeline, {"review": review}).values, models=models)
        return {step.name: step.extra["scores"] for step in result.trace.children}

    session = Session(folder.project, models, RunSettings(), None)
    await add_adapters(folder.load(BEGIN + "".join(steps.values())), session, None)
    together = await asyncio.gather(*(scores(review, *steps) for review in REVIEWS))
    for review, found in zip(REVIEWS, together, strict=True):
        alone = [(await scores(review, name))[name] for name in steps]
        for name, expected in zip(steps, alone, strict=True):
            assert found[name] == pytest.approx(expected, abs=NEAR)
        one, other = alone
        assert max(abs(one[label] - other[label]) for label in one) > 3 * NEAR
