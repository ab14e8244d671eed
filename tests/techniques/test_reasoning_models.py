"""A scripted reasoning model behind both protocols, through vanilla and five techniques."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Runtime
from promptkit.runtimes.client import Client
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.openai import OpenAI
from promptkit.techniques.context import Answer, Options
from promptkit.techniques.perform import perform, repair
from promptkit.techniques.thinking import Think
from tests.runtimes.conftest import no_kept_findings
from tests.runtimes.servers.reasoning_server import Mind, reasoning_ollama, reasoning_openai
from tests.techniques.steps import Bench

__all__ = ["no_kept_findings"]

THOUGHTS = "Let me see.\nOutput: 9?\n\n\n```\nQ: 3?\n" + "Wait, 3 and 4 more. " * 150 + "\nSo 7."
"""Thoughts with the stop strings of the catalog in them, longer than any answer may be."""
PROTOCOLS: dict[str, dict[str, Any]] = {
    "ollama": {},
    "openai, switched": {"switch": "template"},
    "openai, unasked": {"switch": "", "named": False},
    "openai, opened": {"switch": "template", "named": False, "opened": True},
}


def mind(text: str) -> tuple[str, str]:
    """Answer a request of any of the techniques of this test."""
    if "Say hello" in text:
        return "The user greets me. I greet them, with a word or two.", "Hello!"
    if "def solution" in text:
        return THOUGHTS, "def solution():\n    return 3 + 4\n"
    if "we need to know" in text:
        return THOUGHTS, "How many are there at first?"
    return THOUGHTS, "7"


def never_closed(text: str) -> tuple[str, str]:
    """Answer nothing but a greeting."""
    return mind(text) if "Say hello" in text else (THOUGHTS * 9, "")


def too_long(text: str) -> tuple[str, str]:
    """Think for 40 tokens, except at a greeting."""
    return mind(text) if "Say hello" in text else ("Well, " * 20, "7")


@asynccontextmanager
async def served(protocol: str, mind: Mind) -> AsyncIterator[Runtime]:
    """Run the model behind a protocol."""
    runtime: Runtime
    if protocol == "ollama":
        with reasoning_ollama(mind) as server:
            runtime = Ollama("reasoner", host=server.url)
            yield runtime
            await runtime.close()
        return
    async with reasoning_openai(mind, **PROTOCOLS[protocol]) as other:
        runtime = OpenAI("reasoner", base_url=other.url)
        yield runtime
        await runtime.close()


async def ask(bench: Bench, runtime: Runtime, technique: Any = "vanilla", think: Think = None) -> Answer:
    """Perform a technique, and repair its answer once as a step does."""
    step = replace(bench.step(options=Options(think=think)), client=Client(runtime))
    answer = await perform(technique, step)
    return await repair(step, answer, answer.problem or "") if answer.flag else answer


TECHNIQUES: list[tuple[Any, int]] = [
    ("vanilla", 1),
    ("chain_of_thought", 1),
    ("plan_and_solve", 1),
    ({"self_consistency": {"samples": 2}}, 2),
    ("pal", 1),
    ("least_to_most", 3),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("technique", "requests"), TECHNIQUES, ids=[str(row[0]) for row in TECHNIQUES])
async def test_long_thoughts_lead_to_the_right_answer(
    tmp_path: Path, protocol: str, technique: Any, requests: int
) -> None:
    bench = Bench(tmp_path, [])
    async with served(protocol, mind) as runtime:
        answer = await ask(bench, runtime, technique)

    assert (answer.value, answer.flag, len(bench.records)) == (7, None, requests)
    assert {record.reply.thoughts for record in bench.records} == {THOUGHTS}
    assert {record.warnings for record in bench.records} == {()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_thoughts_that_are_never_closed_give_no_answer(tmp_path: Path, protocol: str) -> None:
    bench = Bench(tmp_path, [])
    async with served(protocol, never_closed) as runtime:
        answer = await ask(bench, runtime, think=200)

    assert (answer.value, answer.flag) == (None, "truncated")
    assert [(record.request.thought_tokens, record.warnings) for record in bench.records] == [
        (200, ("thoughts_cut",)),
        (400, ("thoughts_cut",)),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_thoughts_that_took_more_than_their_budget_leave_an_answer_with_a_warning(
    tmp_path: Path, protocol: str
) -> None:
    bench = Bench(tmp_path, [])
    async with served(protocol, too_long) as runtime:
        answer = await ask(bench, runtime, think=30)

    assert (answer.value, answer.flag) == (7, None)
    assert [record.warnings for record in bench.records] == [("thoughts_spent",)]


@pytest.mark.parametrize("protocol", ["ollama", "openai, switched", "openai, opened"])
async def test_a_model_that_is_switched_off_answers_at_once(tmp_path: Path, protocol: str) -> None:
    bench = Bench(tmp_path, [])
    async with served(protocol, mind) as runtime:
        answer = await ask(bench, runtime, "chain_of_thought", think=False)

    assert answer.value == 7
    assert {record.reply.thoughts for record in bench.records} == {""}
    assert len(bench.records) == 2
