"""The eight mistakes that implementations of these techniques make: each is looked for here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.render import example_file
from promptkit.engine.run import run
from promptkit.engine.session import RunSettings
from promptkit.errors import InputError, PromptkitError, Unsupported
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import sample_seed
from promptkit.runtimes.client import Client
from promptkit.runtimes.references import open_runtime
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from promptkit.techniques.context import Options
from promptkit.techniques.perform import perform
from promptkit.techniques.registry import find_technique
from promptkit.techniques.spec import check_spec
from tests.pipelines.asking import Given
from tests.techniques.steps import Bench
from tests.techniques.test_catalog import CATALOG, PROJECT, abilities

EXAMPLES = (Example({"question": "FIRST?"}, 4, "R-ONE"),)
ABILITIES = ("sampling", "logprobs", "stop", "continue")


def needing(need: str) -> list[str]:
    """Return the techniques that need something."""
    return [name for name in CATALOG if (found := find_technique(name, PROJECT)) and need in found.needs]


def chains(*answers: str) -> list[str]:
    return [f"so it is\nOutput: {answer}" for answer in answers]


async def test_a_cache_keeps_samples_apart(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chains("1", "2", "3", "2", "2"))
    with Store.open(tmp_path / ".promptkit") as store:
        client = Client(bench.runtime, store=store)
        step = bench.step(decide="generate", examples=EXAMPLES)

        for _ in range(2):  # The second time all five are known, and still five.
            answer = await perform("self_consistency", replace(step, client=client))
            assert [vote["weight"] for vote in answer.extra["votes"]] == [1, 3, 1]

    assert len(bench.runtime.requests) == 5


async def test_one_seed_is_another_for_each_sample(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chains(*"11111"))

    await perform("self_consistency", bench.step(decide="generate", examples=EXAMPLES, options=Options(seed=7)))

    assert all(request.seed == 7 for request in bench.runtime.requests)
    assert len({sample_seed(request) for request in bench.runtime.requests}) == 5


@pytest.mark.parametrize("temperature", [0, 0.0, -1])
def test_sampling_at_temperature_0_is_told_by_check(temperature: float) -> None:
    (problem,) = check_spec({"self_consistency": {"temperature": temperature}}, PROJECT)

    assert "`temperature` of technique `self_consistency`" in problem.message


async def test_several_samples_of_what_may_be_greedy_need_a_temperature(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="temperature > 0"):
        await perform({"pal": {"samples": 3}}, bench.step())

    assert bench.runtime.requests == []


@pytest.mark.parametrize("name", needing("stop"))
async def test_a_technique_that_needs_a_stop_sends_one(name: str) -> None:
    runtime = await _example_on(name, None)

    assert any(request.stop for request in runtime.requests)


async def test_votes_are_on_values_and_not_on_how_they_are_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chains("18", "$26", "26.0", "18", "26 dollars"))

    answer = await perform("self_consistency", bench.step(decide="generate", examples=EXAMPLES))

    assert answer.value == 26


@pytest.mark.parametrize(
    ("answer_type", "replies", "expected"),
    [
        ("number", ["1.5", "15", "15", "-15"], 15),
        ("text", ["Paris", "Paris, Texas", "Rome", "Paris, Texas"], "Paris, Texas"),
        ({"label": ["positive", "not positive"]}, ["positive", "not positive", "not positive"], "not positive"),
        ({"list": {"separator": ";"}}, ["a; b", "b; a", "a; b", "b; a", "b; a"], ["b", "a"]),
    ],
)
async def test_answers_that_differ_are_not_merged(
    tmp_path: Path, answer_type: Any, replies: list[str], expected: Any
) -> None:
    bench = Bench(tmp_path, ["so it is"] * len(replies) + [f" {reply}" for reply in replies], answer_type)

    answer = await perform({"self_consistency": {"samples": len(replies)}}, bench.step())

    assert answer.value == expected


async def test_what_goes_on_from_a_text_is_no_new_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [" 3 and 4.", " 7"])

    await perform("chain_of_thought", bench.step())

    first, second = bench.runtime.requests
    assert second.messages == first.messages
    assert second.begun.startswith(first.begun + " 3 and 4.")


@pytest.mark.parametrize(("name", "ability"), [(name, ability) for ability in ABILITIES for name in needing(ability)])
async def test_what_the_runtime_lacks_is_an_error_before_the_first_call(name: str, ability: str) -> None:
    runtime = await _example_on(name, ability)

    assert runtime.requests == []


async def test_tools_that_the_step_lacks_are_an_error_before_the_first_call(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(Unsupported, match="needs tools"):
        await perform("react", bench.step())

    assert bench.runtime.requests == []


@pytest.mark.parametrize("name", needing("rows"))
async def test_rows_that_nobody_prepared_are_an_error_before_the_first_call(tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(PromptkitError, match="prepared"):
        await perform(name, bench.step(home="pipeline.step"))

    assert bench.runtime.requests == []


@pytest.mark.parametrize("name", needing("sampling"))
def test_no_technique_samples_nothing(name: str) -> None:
    technique = find_technique(name, PROJECT)
    assert technique is not None

    if "samples" in technique.parameters:
        (problem,) = check_spec({name: {"samples": 0}}, PROJECT)
        assert "`samples`" in problem.message


async def _example_on(name: str, lacking: str | None) -> Scripted:
    """Run a technique's example on its replies, on a runtime that lacks an ability; return the runtime."""
    file = example_file(name, PROJECT)
    assert file is not None
    pipeline = load_target(file, PROJECT)
    folder = PROJECT.find_template("techniques", name)
    assert folder is not None
    replies = await open_runtime(f"scripted:{folder / 'replies.yaml'}", base=folder)
    assert isinstance(replies, Scripted)
    runtime = Scripted(replies.script, capabilities=abilities(name) - {lacking})
    work = run(pipeline, fill_inputs(pipeline).values, models=Given(runtime), settings=RunSettings(repairs=0))
    if lacking is None:
        assert (await work).error is None
    else:
        with pytest.raises(Unsupported, match=lacking):
            await work
    return runtime
