"""Function calling by Ollama, against the stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from promptkit.errors import BadReply, Unsupported
from promptkit.runtimes.base import FunctionCall, Message, Request, Thought
from promptkit.runtimes.client import Client
from promptkit.runtimes.servers.context_window import SMALLEST_WINDOW
from tests.runtimes.servers.ollama_server import Answer, FakeModel, OllamaServer
from tests.runtimes.servers.test_ollama import opened
from tests.runtimes.servers.test_openai_calls import ASKED, WEATHER

ROME = '{"city":"Rome"}'
CALL = FunctionCall(id="call00001", name="weather", arguments=ROME)
TURNS = (
    *ASKED.messages,
    Message("assistant", "", (CALL,)),
    Message("tool", "sunny", (), CALL.id, "weather"),
)


def called(city: Any = "Rome", **more: Any) -> dict[str, Any]:
    return {"function": {"name": "weather", "arguments": {"city": city}}, **more}


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    models = (
        FakeModel("tiny"),
        FakeModel("caller", capabilities=("completion", "tools")),
        FakeModel("thinker", capabilities=("completion", "tools", "thinking")),
    )
    with OllamaServer(*models) as running:
        yield running


async def asked(server: OllamaServer, answer: Answer, name: str = "caller", request: Request = ASKED) -> Any:
    server.models[f"{name}:latest"].answers = []
    async with opened(server, name) as runtime:
        server.models[f"{name}:latest"].answers.append(answer)
        return await runtime.answer(request)


async def test_a_model_calls_functions_where_ollama_says_that_it_takes_tools(server: OllamaServer) -> None:
    found = {}
    for name in ("tiny", "caller"):
        async with opened(server, name) as runtime:
            found[name] = await runtime.model()
    assert "function_calls" in found["caller"].capabilities
    assert "function_calls" not in found["tiny"].capabilities


async def test_the_digest_stays_as_it_was_before_tools_were_known(server: OllamaServer) -> None:
    async with opened(server, "caller") as runtime:
        model = await runtime.model()
    assert model.digest.endswith(" ".join(sorted(model.capabilities - {"function_calls"})))


CALLS: list[tuple[str, Answer, tuple[FunctionCall, ...]]] = [
    (
        "without ids",
        Answer("", calls=(called(), called("Oslo"))),
        (CALL, FunctionCall(id="call00002", name="weather", arguments='{"city":"Oslo"}')),
    ),
    ("with an id", Answer("", calls=(called(id="call_x"),)), (replace(CALL, id="call_x"),)),
    (
        "with one index for all",
        Answer("", calls=({"function": {"index": 0, **called()["function"]}},) * 2),
        (CALL, replace(CALL, id="call00002")),
    ),
    ("as text", Answer(f'{{"name": "weather", "arguments": {ROME}}}'), (CALL,)),
]


@pytest.mark.parametrize(("what", "answer", "calls"), CALLS, ids=[row[0] for row in CALLS])
async def test_calls_are_read(server: OllamaServer, what: str, answer: Answer, calls: tuple[FunctionCall, ...]) -> None:
    reply = await asked(server, answer)
    assert (reply.calls, reply.text, reply.finish) == (calls, "", "stop")


async def test_a_thinking_model_thinks_speaks_and_calls(server: OllamaServer) -> None:
    heard: list[str] = []
    async with opened(server, "thinker") as runtime:
        server.models["thinker:latest"].answers = [Answer("I look.", thoughts="Hm.", calls=(called(),))]
        reply = await runtime.answer(replace(ASKED, thought_tokens=20), heard.append)
    assert (reply.thoughts, reply.text, reply.calls) == ("Hm.", "I look.", (CALL,))
    assert "".join(piece for piece in heard if not isinstance(piece, Thought)) == "I look."


async def test_tools_calls_and_results_are_sent_in_ollamas_words(server: OllamaServer) -> None:
    await asked(server, Answer("It is sunny."), request=replace(ASKED, messages=TURNS, tool_choice="required"))
    sent = server.asked[-1].body
    assert server.asked[-1].path == "/api/chat"
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["weather"]
    assert "tool_choice" not in sent  # Ollama has none
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": CALL.id, "function": {"name": "weather", "arguments": {"city": "Rome"}}}],
        },
        {"role": "tool", "content": "sunny", "tool_name": "weather", "tool_call_id": CALL.id},
    ]


async def test_a_last_answer_under_a_schema_is_rendered_with_the_turns_of_the_tools(server: OllamaServer) -> None:
    request = replace(ASKED, messages=TURNS, tools=(), schema={"enum": ["sunny"]})
    await asked(server, Answer('"sunny"'), request=request)
    sent = server.asked[-1].body
    assert sent["raw"] is True
    assert "<|im_start|>tool\nsunny<|im_end|>" in sent["prompt"] and '"weather"' in sent["prompt"]


async def test_the_text_of_tools_counts_for_the_window(server: OllamaServer) -> None:
    large = replace(WEATHER, description="x" * 3 * SMALLEST_WINDOW)
    await asked(server, Answer("It is sunny."), request=replace(ASKED, tools=(large,)))
    assert server.asked[-1].body["options"]["num_ctx"] > SMALLEST_WINDOW


async def test_a_model_that_takes_no_tools_is_sent_none(server: OllamaServer) -> None:
    async with opened(server, "tiny") as runtime:
        client = Client(runtime)
        with pytest.raises(Unsupported, match="cannot call functions"):
            await client.ask(ASKED)
        assert not server.asked
        with pytest.raises(Unsupported, match="does not support tools"):
            await runtime.answer(ASKED)


HOSTILE: list[tuple[str, Any]] = [
    ("that is a text", "weather"),
    ("of a function that is a list", {"function": ["weather"]}),
    ("whose name is a number", {"function": {"name": 1, "arguments": {}}}),
    ("without a name", {"function": {"arguments": {}}}),
    ("whose arguments are a list", {"function": {"name": "weather", "arguments": ["Rome"]}}),
]


@pytest.mark.attack("server")
@pytest.mark.parametrize(("what", "call"), HOSTILE, ids=[row[0] for row in HOSTILE])
async def test_a_call_of_another_shape_is_the_servers_fault(server: OllamaServer, what: str, call: Any) -> None:
    with pytest.raises(BadReply, match="not an Ollama server"):
        await asked(server, Answer("", calls=(call,)))
