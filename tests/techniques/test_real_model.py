"""Each technique's example on the real embedded model, with tiny settings: it may answer wrongly, it may not crash.

The model's answers are recorded; `pytest -m real_model` asks the model itself.
"""

from __future__ import annotations

import pytest

from promptkit.engine.results import Result
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.replay import Replay
from tests.techniques.recorded import FOLDER, Brief, recording, run_example
from tests.techniques.test_catalog import ANSWERABLE

ALWAYS = ("chain_of_thought",)
"""Techniques whose example is run on the model in every run of the tests."""


def ends(result: Result) -> bool:
    """Tell whether an example came to its end, with what does not parse counted."""
    return result.totals.calls >= 1 and (result.error is None or result.totals.unparsed >= 1)


@pytest.mark.parametrize("name", ANSWERABLE)
async def test_the_example_ends_on_the_recorded_answers_of_the_real_model(name: str) -> None:
    assert ends(await run_example(name, Replay(recording(name))))


@pytest.mark.parametrize("name", ALWAYS)
async def test_the_example_ends_on_the_real_model(embedded: Embedded, name: str) -> None:
    assert ends(await run_example(name, Brief(embedded)))


@pytest.mark.real_model
@pytest.mark.parametrize("name", [name for name in ANSWERABLE if name not in ALWAYS])
async def test_every_other_example_ends_on_the_real_model(embedded: Embedded, name: str) -> None:
    assert ends(await run_example(name, Brief(embedded)))


def test_there_is_no_recording_of_what_is_no_technique() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(ANSWERABLE)
