"""A model of ours as DSPy asks it, and what is read of its replies."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
import pytest

from promptkit.errors import ContextOverflow, ServerFailed
from promptkit.runtimes.base import Message
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import CAPABILITIES, Script, Scripted
from promptkit.tuning.dspy_bridge.model import ANSWERED, Bridge, StepAdapter, Stopped, open_lm


class Both(dspy.Signature):  # type: ignore[misc]
    """Answer twice."""

    asked: str = dspy.InputField()
    first: str = dspy.OutputField()
    second: str = dspy.OutputField()


class Numbered(dspy.Signature):  # type: ignore[misc]
    """Answer with a mapping."""

    asked: str = dspy.InputField()
    advice: dict[str, str] = dspy.OutputField()


async def asked(script: Script, call: Any, *, without: str = "", digest: str = "abc") -> Scripted:
    """Call DSPy in a thread with a model as its LM, and return the runtime that was asked."""
    able = [each for each in CAPABILITIES if each != without]
    runtime = Scripted(script, digest=digest, capabilities=able)
    client = Client(runtime, attempts=1)
    lm = open_lm(client, await client.model(), Bridge(), seed=5)

    def work() -> Any:
        with dspy.context(lm=lm, adapter=StepAdapter(), disable_history=True):
            return call(lm)

    await asyncio.to_thread(work)
    return runtime


async def test_the_name_of_the_model_holds_its_digest_and_dspy_caches_nothing() -> None:
    lms: list[dspy.LM] = []

    def twice(lm: dspy.LM) -> None:
        lms.extend([lm, lm.copy(temperature=1.0)])
        lm("a")
        lm("a")

    runtime = await asked(lambda request: "yes", twice, digest="d1" * 20)

    assert all("d1d1d1d1" in entry.model and entry.cache is False for entry in lms)
    assert len(runtime.requests) == 2
    assert "cache" not in vars(dspy)


async def test_a_request_goes_as_it_is_said_without_a_grammar() -> None:
    runtime = await asked(lambda request: "yes", lambda lm: dspy.Predict(Both)(asked="what"))

    request = runtime.requests[0]
    assert [each.role for each in request.messages] == ["system", "user"]
    assert "[[ ## asked ## ]]\nwhat" in request.messages[1].content
    assert (request.grammar, request.schema, request.temperature) == (None, None, 0.0)
    assert request.stop == ("[[ ## completed ## ]]",)


async def test_where_a_model_takes_no_system_message_the_user_says_it() -> None:
    runtime = await asked(lambda request: "yes", lambda lm: dspy.Predict(Both)(asked="what"), without="system")

    assert [each.role for each in runtime.requests[0].messages] == ["user"]
    assert "Answer twice." in runtime.requests[0].messages[0].content


async def test_several_answers_are_several_samples() -> None:
    runtime = await asked(lambda request: "yes", lambda lm: dspy.Predict(Both, n=3, temperature=1.2)(asked="what"))

    assert [(request.temperature, request.seed, request.sample) for request in runtime.requests] == [
        (1.2, 5, "0"),
        (1.2, 5, "1"),
        (1.2, 5, "2"),
    ]


async def test_a_model_that_cannot_sample_is_asked_plainly() -> None:
    runtime = await asked(lambda request: "yes", lambda lm: lm("a", temperature=1.0), without="sampling")

    request = runtime.requests[0]
    assert (request.messages, request.temperature, request.seed) == ((Message("user", "a"),), 0.0, None)


async def test_a_request_that_is_too_long_is_dspys_own_error() -> None:
    with pytest.raises(dspy.ContextWindowExceededError):
        await asked(lambda request: ContextOverflow("too long"), lambda lm: lm("a"))


async def test_a_server_that_fails_stops_dspy_past_all_that_it_catches() -> None:
    with pytest.raises(Stopped) as stopped:
        await asked(lambda request: ServerFailed("on fire"), lambda lm: dspy.Predict(Both)(asked="what"))

    assert isinstance(stopped.value.__cause__, ServerFailed)


@pytest.mark.parametrize(
    ("reply", "fields"),
    [
        ("[[ ## first ## ]]\none\n[[ ## second ## ]]\ntwo\n[[ ## completed ## ]]", ("one", "two")),
        ("[[ ## first ## ]]\none", ("one", "")),
        ("[[ ## second ## ]]\ntwo", ("", "two")),
        ("Just one.", ("Just one.", "")),
    ],
)
def test_a_reply_that_keeps_to_no_markers_is_read_all_the_same(reply: str, fields: tuple[str, str]) -> None:
    read = StepAdapter().parse(Both, reply)

    assert (read["first"], read["second"]) == fields


@pytest.mark.parametrize(("signature", "reply"), [(Both, " \n"), (Numbered, "do better")])
def test_what_holds_no_answer_is_none(signature: Any, reply: str) -> None:
    with pytest.raises(dspy.AdapterParseError):
        StepAdapter().parse(signature, reply)


def test_what_the_engine_answered_is_not_asked_again() -> None:
    assert StepAdapter()(None, {ANSWERED: {"answer": 3}}, Both, [], {}) == [{"answer": 3}]
