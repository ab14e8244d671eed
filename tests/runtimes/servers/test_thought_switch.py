"""How it is found out that a model behind OpenAI's protocol thinks, and how its thoughts are switched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promptkit.runtimes.base import Message, Reply, Request
from promptkit.runtimes.servers.openai import OpenAI
from promptkit.runtimes.servers.thought_switch import switch_fields
from tests.runtimes.servers.ollama_server import pieces
from tests.runtimes.servers.reasoning_server import ReasoningServer, reasoning_openai

THOUGHTS = "Let me see.\nOutput: 9?\n" + "3 and 4 more. " * 40
ASKED = Request(messages=(Message("user", "3 + 4?"),), max_tokens=8, stop=("\n",), thought_tokens=4000)
OF_THOUGHTS = {"think", "thinks", "after_thoughts", "schema", "continue"}


def mind(text: str) -> tuple[str, str]:
    return THOUGHTS, "\n7\nThat is all."


async def ask(request: Request, **settings: Any) -> tuple[Reply, ReasoningServer, set[str]]:
    """Return the reply, the server and what the model can do of what is about thoughts."""
    async with reasoning_openai(mind, **settings) as server:
        runtime = OpenAI("reasoner", base_url=server.url)
        able = (await runtime.model()).capabilities
        reply = await runtime.answer(request)
        await runtime.close()
    return reply, server, OF_THOUGHTS & able


FOUND: list[tuple[dict[str, Any], set[str]]] = [
    ({"switch": "template"}, {"think", "thinks", "after_thoughts", "schema"}),
    ({"switch": "effort"}, {"think", "thinks", "after_thoughts", "schema"}),
    ({"switch": "type"}, {"think", "thinks", "after_thoughts", "schema"}),
    ({"switch": "", "named": False}, {"thinks", "schema"}),
    ({"switch": "effort", "hidden": True}, {"think", "thinks", "after_thoughts", "schema"}),
    ({"switch": "", "hidden": True}, {"thinks", "after_thoughts", "schema"}),
    ({"switch": "template", "thinks": False}, {"think", "after_thoughts", "schema"}),
    ({"switch": "", "thinks": False}, {"schema"}),
    ({"switch": "template", "named": False}, {"think", "thinks", "schema"}),
    ({"switch": "template", "named": False, "opened": True}, {"think", "thinks", "schema"}),
    ({"switch": "", "named": False, "opened": True}, {"thinks", "schema"}),
]


@pytest.mark.parametrize(("settings", "able"), FOUND, ids=[str(row[0]) for row in FOUND])
async def test_a_probe_finds_out_whether_a_model_thinks(settings: dict[str, Any], able: set[str]) -> None:
    _, _, found = await ask(ASKED, **settings)
    assert found == able


@pytest.mark.parametrize("settings", [row[0] for row in FOUND[:4] + FOUND[-2:]], ids=str)
async def test_stop_strings_and_limit_hold_for_the_answer_after_thoughts(settings: dict[str, Any]) -> None:
    reply, server, _ = await ask(ASKED, **settings)

    assert (reply.text, reply.thoughts, reply.finish) == ("7", THOUGHTS.strip(), "stop")
    assert "stop" not in server.seen[-1]
    assert server.seen[-1]["max_tokens"] == 4008
    assert reply.tokens_out is not None
    assert reply.tokens_thought <= reply.tokens_out <= len(pieces(THOUGHTS)) + 20


@pytest.mark.parametrize("switch", ["template", "effort", "type"])
async def test_thoughts_are_switched_off(switch: str) -> None:
    reply, server, _ = await ask(replace(ASKED, think=False, thought_tokens=0, stop=()), switch=switch)

    assert (reply.thoughts, reply.text) == ("", "\n7\nThat is all.")
    assert server.seen[-1]["max_tokens"] == 8


async def test_without_room_for_thoughts_the_server_stops() -> None:
    reply, server, _ = await ask(replace(ASKED, think=False, thought_tokens=0), switch="template")
    assert (reply.text, server.seen[-1]["stop"]) == ("", ["\n"])


async def test_llama_server_gets_the_budget_and_applies_a_grammar_to_thoughts_too() -> None:
    _, server, found = await ask(ASKED, llama=True)

    assert found == {"think", "thinks", "schema"}
    assert (server.seen[-1]["thinking_budget_tokens"], server.seen[-1]["max_tokens"]) == (4000, 4008)
    assert not [body for body in server.seen[:-1] if "thinking_budget_tokens" in body]


async def test_thoughts_that_take_all_are_cut_before_an_answer() -> None:
    reply, _, _ = await ask(replace(ASKED, thought_tokens=30))
    assert (reply.text, reply.finish, reply.tokens_out) == ("", "length", 38)
    assert reply.thoughts


async def test_an_answer_longer_than_its_limit_is_cut_though_thoughts_took_little() -> None:
    reply, server, _ = await ask(replace(ASKED, max_tokens=4, stop=()))
    assert (reply.text, reply.finish) == ("7\nThat is", "length")
    assert len(server.seen) > 1


async def test_a_server_that_wants_openais_own_limit_gets_it() -> None:
    reply, server, _ = await ask(ASKED, switch="", wants_modern_limit=True)

    assert reply.text == "7"
    assert (server.seen[-1].get("max_tokens"), server.seen[-1]["max_completion_tokens"]) == (None, 4008)
    assert sum("max_tokens" in body for body in server.seen) == 1


FIELDS: list[tuple[Any, Any, dict[str, Any]]] = [
    ("template", None, {}),
    ("template", False, {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
    (
        "template",
        "low",
        {
            "chat_template_kwargs": {"enable_thinking": True, "thinking": True, "reasoning_effort": "low"},
            "reasoning_effort": "low",
        },
    ),
    ("effort", False, {"reasoning_effort": "none"}),
    ("effort", True, {"reasoning_effort": "medium"}),
    ("effort", "high", {"reasoning_effort": "high"}),
    ("type", False, {"thinking": {"type": "disabled"}}),
    ("type", "high", {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
    (None, True, {}),
    (None, "high", {"reasoning_effort": "high"}),
]


@pytest.mark.parametrize(("switch", "think", "fields"), FIELDS)
def test_each_switch_has_its_fields(switch: Any, think: Any, fields: dict[str, Any]) -> None:
    assert switch_fields(switch, think) == fields
