"""A technique shows what the model itself wrote under it where that ended right, before what the technique ships."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.project import Project
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.data_split import read_data_split
from promptkit.tuning.search.steps import Objective, Objectives
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Candidate, Choice, Parameter
from promptkit.tuning.search_space.technique_traces import add_own_traces, demonstrating_call
from promptkit.tuning.trials import Estimates
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench
from tests.tuning.evaluators import Opened, open_evaluator

PROMPT = """
---
inputs: {question: {}}
answer: number
---
{% block instructions %}Solve the problem.{% endblock %}
{% block input %}{{ question }}{% endblock %}
"""
PIPELINE = "name: sums\ninputs: {question: {}}\nsteps: {sums: {prompt: sums}}"
SUITE = "data: rows.jsonl\ntarget: sums\nmetrics: {accuracy: number}"
QUESTION = re.compile(r"Ann has (\d+) nuts and gets (\d+)")


def program(request: Request) -> str:
    """Write the right program for rows with an even first number, a wrong one for others."""
    first, second = map(int, QUESTION.findall(request_text(request))[-1])
    sign = "+" if first % 2 == 0 else "-"
    return f"def solution():\n    nuts = {first} {sign} {second}\n    return nuts"


def techniques(*specs: Any) -> Parameter:
    choices = (Choice(str(spec), {"sums.technique": spec}) for spec in specs)
    return Parameter(name="sums.technique", step="sums", kind="technique", choices=(Choice(AS_WRITTEN), *choices))


@asynccontextmanager
async def opened(folder: Folder) -> AsyncIterator[tuple[Opened, Objectives]]:
    bench = Bench(folder)
    folder.write("templates/prompts/sums.j2", PROMPT)
    folder.write("pipelines/sums.yaml", PIPELINE)
    bench.rows(
        [{"question": f"Ann has {at} nuts and gets {at + 3}. How many?", "expect": 2 * at + 3} for at in range(60)]
    )
    suite = bench.suite(SUITE)
    split = read_data_split(suite)
    async with open_evaluator(bench, program, suite) as found:
        estimates = Estimates(found.evaluator, CandidateCalibration(found.evaluator, None))
        whole = Objective(estimates=estimates, split=split)
        yield found, Objectives(whole=whole, steps={})


async def test_programs_that_ended_right_on_rows_set_aside_are_shown_in_place_of_the_shipped(folder: Folder) -> None:
    async with opened(folder) as (found, objectives):
        (parameter,) = await add_own_traces(objectives, [techniques("pal")], calls=1_000)
        split = objectives.whole.split
        aside = {split.rows[place].inputs[0]["question"] for place in split.demo_pool}

    *_, own = parameter.choices
    demos = own.changes["sums.technique"]["pal"]["demos"]["program"]
    assert re.fullmatch(r"pal, [234] of its own programs", own.name)
    assert {demo["input"] for demo in demos} <= aside
    assert all(int(QUESTION.findall(demo["input"])[0][0]) % 2 == 0 and " + " in demo["output"] for demo in demos)
    call = load_target("sums", folder.project, changes=own.changes).steps["sums"].prompt_call
    assert call is not None
    assert found.budget.spent <= 100


async def test_a_row_that_belongs_to_a_scored_one_is_not_shown(folder: Folder) -> None:
    async with opened(folder) as (found, objectives):
        whole = objectives.whole
        evens = [row for row in whole.split.demo_pool if row % 2 == 0]
        of_scored = dict.fromkeys(evens[1:], f"{whole.split.search[0]}")
        clusters = tuple(of_scored.get(row, f"{row}") for row in range(60))
        apart = replace(objectives, whole=replace(whole, split=replace(whole.split, clusters=clusters)))
        given = techniques("pal")

        assert len(evens) > 1
        assert await add_own_traces(apart, [given], calls=1_000) == (given,)
        asked = [request_text(request) for request in found.runtime.requests]
        assert not any(f"Ann has {row} nuts" in text for text in asked for row in of_scored)


async def test_the_model_is_shown_them(folder: Folder) -> None:
    async with opened(folder) as (found, objectives):
        (parameter,) = await add_own_traces(objectives, [techniques("pal")], calls=1_000)
        own = parameter.choices[-1]
        await found.evaluator.evaluate([Candidate({"sums.technique": own})], objectives.whole.split.search[:1])

    asked = request_text(found.runtime.requests[-1])
    demos = own.changes["sums.technique"]["pal"]["demos"]["program"]
    assert all(demo["input"] in asked and demo["output"] in asked for demo in demos) and "pencils" not in asked


async def test_few_calls_are_not_spent_on_traces(folder: Folder) -> None:
    async with opened(folder) as (found, objectives):
        given = techniques("pal")

        assert await add_own_traces(objectives, [given], calls=150) == (given,)
        assert found.budget.spent == 0


@pytest.mark.parametrize(
    ("spec", "call"),
    [
        ("pal", "program"),
        ({"pal": {"demos": {"program": []}}}, None),
        ("chain_of_thought", None),
        ("self_consistency", None),
    ],
)
def test_a_technique_that_sends_the_steps_own_examples_needs_none(folder: Folder, spec: Any, call: str | None) -> None:
    found = demonstrating_call(spec, Project.find(folder.root))

    assert (found and found.name) == call
