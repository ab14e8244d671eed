"""A run in its store: what it says of itself, and of the one before it."""

from __future__ import annotations

import pytest

from tests.engine.helpers import Folder
from tests.evaluation.suites import PROMPT, Bench, moods


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(6))


async def test_after_an_edit_a_run_names_the_one_before_it(bench: Bench) -> None:
    first = await bench.run()
    same = await bench.run()
    bench.folder.write("templates/prompts/mood.j2", PROMPT.replace("Say whether", "Tell whether"))
    edited = await bench.run()
    again = await bench.run()

    assert first.record["before"] is None
    assert same.record["before"] is None
    assert edited.record["before"] == same.evaluated.number
    assert again.record["before"] is None


async def test_a_run_of_some_rows_is_not_held_against_one_of_all(bench: Bench) -> None:
    await bench.run()
    bench.folder.write("templates/prompts/mood.j2", PROMPT.replace("Say whether", "Tell whether"))
    limited = await bench.run(limit=2)

    assert limited.record["before"] is None
