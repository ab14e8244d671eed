"""A run in its store: what it says of itself, and of the one before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.suite.binding import row_problems
from promptkit.runtimes.base import Model
from promptkit.runtimes.scripted import Scripted
from promptkit.runtimes.servers.server_identity import FINGERPRINTED, HOSTED, UNSTABLE
from tests.engine.helpers import Folder
from tests.evaluation.suites import PROMPT, SUITE, Bench, echo, moods


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


async def test_a_suite_that_can_take_none_of_its_rows_is_wrong_and_nothing_is_asked(bench: Bench) -> None:
    with pytest.raises(InputError) as raised:
        await bench.run(SUITE + "inputs: {text: '{{ row.texts }}'}\n")

    (problem,) = raised.value.problems
    assert "texts" in problem.message and "and so in 5 more rows" in problem.message


async def test_rows_are_checked_without_asking_and_one_mistake_of_many_is_told_once(bench: Bench) -> None:
    bench.rows([*moods(3), {"text": "x", "expect": "meh"}, {"expect": "bad"}, {"expect": "good"}])

    told = [problem.message for problem in row_problems(bench.suite())]

    assert len(told) == 2
    assert "row 4" in told[0] and "meh" in told[0]
    assert "row 5" in told[1] and told[1].endswith("and so in 1 more row")


@pytest.mark.parametrize(("note", "is_told"), [(HOSTED, True), (UNSTABLE, True), (FINGERPRINTED, False)])
async def test_cached_answers_of_weights_that_nobody_states_are_noted(bench: Bench, note: str, is_told: bool) -> None:
    class Hosted(Scripted):
        async def model(self) -> Model:
            return replace(await super().model(), reference="openai/big@example.org", notes=(note,))

    first, again = await bench.run(script=Hosted(echo)), await bench.run(script=Hosted(echo))

    assert first.record["notes"] == []
    assert ["does not say which weights answer" in line for line in again.record["notes"]] == [True] * is_told
