"""Exchanges: a reply without the words that its turn was to begin with, and its likelihood."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Reply, Request, Token
from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench, without

HEADED = """\
---
begin: "Because of this, note:"
---
{% extends prompt %}
"""
MODULE = '''
from promptkit.techniques import Answer, Task, technique


@technique()
async def headed(task: Task) -> Answer:
    """Write what comes after a head."""
    return task.parse((await task.ask("note")).said)
'''
THINKING = "---\nproduces: answer\nthinks: true\n---\n{% extends prompt %}\n"
CONFIDENT = '''
from promptkit.techniques import Answer, Task, technique


@technique()
async def headed(task: Task) -> Answer:
    """Think, and say how sure."""
    thoughts = await task.ask("reason", logprobs=True)
    return (await task.decide(thoughts)).with_extra(confidence=thoughts.confidence)
'''


@pytest.mark.parametrize(
    ("reply", "lacking", "said"),
    [
        (" it rains.", (), "it rains."),
        ("Because of this, note: it rains.", (), "it rains."),
        ("because of this, NOTE: it rains.", ("continue",), "it rains."),
        ("it rains.", ("continue",), "it rains."),
        ("Because of this it rains.", ("continue",), "Because of this it rains."),
    ],
)
async def test_a_repeated_head_is_no_part_of_what_is_said(
    tmp_path: Path, reply: str, lacking: tuple[str, ...], said: str
) -> None:
    own(tmp_path, MODULE)
    bench = Bench(tmp_path, [reply], "text", capabilities=without(*lacking))

    assert (await perform("headed", bench.step())).value == said


@pytest.mark.parametrize(
    ("lacking", "asked", "confidence"), [((), (1, 0), pytest.approx(-1.5)), (("logprobs",), (0, 0), None)]
)
async def test_the_confidence_in_thoughts_is_the_mean_over_their_tokens_and_is_not_asked_of_the_answer(
    tmp_path: Path, lacking: tuple[str, ...], asked: tuple[int, int], confidence: Any
) -> None:
    own(tmp_path, CONFIDENT)
    tokens = (Token(b"so", -1.0), Token(b" so", -2.0))

    def script(request: Request) -> Reply:
        return Reply(text="so so" if not request.grammar else " 7", tokens=tokens if request.alternatives else ())

    bench = Bench(tmp_path, script, capabilities=without(*lacking))

    answer = await perform("headed", bench.step())

    assert answer.extra["confidence"] == confidence
    assert tuple(request.alternatives for request in bench.runtime.requests) == asked


def own(folder: Path, module: str) -> None:
    """Give a project a technique `headed`."""
    (folder / "techniques").mkdir()
    (folder / "techniques" / "headed.py").write_text(module)
    (folder / "templates" / "techniques" / "headed").mkdir(parents=True)
    (folder / "templates" / "techniques" / "headed" / "note.j2").write_text(HEADED)
    (folder / "templates" / "techniques" / "headed" / "reason.j2").write_text(THINKING)
