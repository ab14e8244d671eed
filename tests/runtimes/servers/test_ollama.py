"""What a client of Ollama must get right, a line of the facts a test, against the stand-in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from time import time
from typing import Any
from unittest.mock import Mock

import pytest

from promptkit.errors import (
    AccessDenied,
    BadReply,
    ConnectionFailed,
    ContextOverflow,
    ModelMissing,
    PromptkitError,
    RequestRefused,
    ServerBusy,
    ServerFailed,
    Unsupported,
)
from promptkit.runtimes.base import Alternative, Message, Request, Thought
from promptkit.runtimes.client import Client
from promptkit.runtimes.servers.context_window import LARGEST_WINDOW, ContextWindow
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.ollama_server import base_url_of_host, installed_models, pull_ollama
from promptkit.runtimes.servers.ollama_slots import COUNTING, MOST_SLOTS
from tests.runtimes.servers.ollama_server import Answer, FakeModel, Fault, OllamaServer

BARE_TEMPLATE = "{{ .Prompt }}"


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    models = (
        FakeModel("tiny", modified="2026-08-03T10:00:00Z"),
        FakeModel("plain:1b", template=BARE_TEMPLATE, leaves_open=False, modified="2026-08-02T10:00:00Z"),
        FakeModel("thinker", capabilities=("completion", "thinking"), modified="2026-08-01T10:00:00Z"),
        FakeModel("vectors", capabilities=("embedding",), context_length=16, modified="2026-08-04T10:00:00Z"),
    )
    with OllamaServer(*models) as running:
        yield running


@asynccontextmanager
async def opened(server: OllamaServer, name: str = "tiny", **settings: Any) -> AsyncIterator[Ollama]:
    """Open the adapter with its model described, and forget the requests which that took."""
    runtime = Ollama(name, host=server.url, **settings)
    try:
        await runtime.model()
        server.requests.clear()
        yield runtime
    finally:
        await runtime.close()


def asking(text: str = "hello", **settings: Any) -> Request:
    return Request(messages=(Message("user", text),), **settings)


def words(count: int) -> str:
    """Return a text of so many words, each one token; one repeated would make the server break off."""
    return " ".join(islice(cycle(("ab", "cd")), count))


# the host

HOSTS = [
    (None, "http://127.0.0.1:11434"),
    ("", "http://127.0.0.1:11434"),
    ("1.2.3.4", "http://1.2.3.4:11434"),
    (":5000", "http://127.0.0.1:5000"),
    ("1.2.3.4:1234", "http://1.2.3.4:1234"),
    ("example.com", "http://example.com:11434"),
    ("example.com:1234", "http://example.com:1234"),
    (" 1.2.3.4 ", "http://1.2.3.4:11434"),
    ('"1.2.3.4"', "http://1.2.3.4:11434"),
    (" ' 1.2.3.4 ' ", "http://1.2.3.4:11434"),
    ("http://1.2.3.4", "http://1.2.3.4:80"),
    ("https://1.2.3.4", "https://1.2.3.4:443"),
    ("https://1.2.3.4:4321", "https://1.2.3.4:4321"),
    ("https://example.com/ollama", "https://example.com:443/ollama"),
    ("http://example.com/", "http://example.com:80"),
    ("[::1]", "http://[::1]:11434"),
    ("::1", "http://[::1]:11434"),
    ("[::1]:1337", "http://[::1]:1337"),
    ("ollama.com", "https://ollama.com:443"),
    ("0.0.0.0", "http://127.0.0.1:11434"),
    ("0.0.0.0:5000", "http://127.0.0.1:5000"),
    ("http://0.0.0.0:5000", "http://127.0.0.1:5000"),
    ("::", "http://[::1]:11434"),
    ("[::]:5000", "http://[::1]:5000"),
    (":66000", "http://127.0.0.1:11434"),
    (":-1", "http://127.0.0.1:11434"),
]


@pytest.mark.parametrize(("text", "url"), HOSTS)
def test_the_host_is_read_as_ollamas_own_client_reads_it(text: str | None, url: str) -> None:
    assert base_url_of_host(text) == url


async def test_the_host_comes_from_the_environment(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url.replace("127.0.0.1", "0.0.0.0"))
    assert [model.name for model in await installed_models() or ()] == [
        "vectors:latest",
        "tiny:latest",
        "plain:1b",
        "thinker:latest",
    ]


# the model

CAPABLE = {"chat", "complete", "schema", "sampling", "stop", "seed"}
CAPABILITIES = [
    ("tiny", "0.33.0", CAPABLE | {"system", "logprobs", "continue", "template"}),
    ("tiny:latest", "0.0.0", CAPABLE | {"system", "logprobs", "continue"}),
    ("tiny", "0.12.10", CAPABLE | {"system", "continue", "template"}),
    ("tiny", "0.11.4", CAPABLE | {"system", "continue"}),
    ("plain:1b", "0.33.0", CAPABLE | {"logprobs", "continue", "template"}),
    ("plain:1b", "0.11.4", CAPABLE),
    (
        "thinker",
        "0.33.0",
        CAPABLE | {"system", "logprobs", "continue", "template", "think", "thinks", "after_thoughts"},
    ),
    ("vectors", "0.33.0", {"embeddings"}),
]


@pytest.mark.parametrize(("name", "version", "capabilities"), CAPABILITIES)
async def test_a_model_says_what_it_can_do(
    server: OllamaServer, name: str, version: str, capabilities: set[str]
) -> None:
    server.version = version
    async with opened(server, name) as runtime:
        model = await runtime.model()
    assert model.capabilities == capabilities
    assert (model.reference, model.size) == (f"ollama/{name}", 98_362_432)
    assert server.models[name if ":" in name else f"{name}:latest"].digest in model.digest


async def test_weights_version_and_capabilities_all_change_the_digest(server: OllamaServer) -> None:
    digests = set()
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: setattr(server, "version", "0.34.0"),
        lambda: setattr(server.models["tiny:latest"], "leaves_open", False),
        lambda: setattr(server.models["tiny:latest"], "template", BARE_TEMPLATE),
    ]
    for change in changes:
        change()
        async with opened(server) as runtime:
            digests.add((await runtime.model()).digest)
    assert len(digests) == len(changes)


async def test_a_model_is_described_once_however_many_ask(server: OllamaServer) -> None:
    runtime = Ollama("tiny", host=server.url)
    await asyncio.gather(*(runtime.model() for _ in range(5)))
    await runtime.close()
    assert [seen.path for seen in server.requests].count("/api/tags") == 1


async def test_a_missing_model_gives_the_line_that_fetches_it(server: OllamaServer) -> None:
    runtime = Ollama("absent:7b", host=server.url)
    with pytest.raises(ModelMissing) as caught:
        await runtime.model()
    assert caught.value.hint == "promptkit models pull ollama/absent:7b"
    await runtime.close()


async def test_a_model_that_goes_missing_gives_the_line_too(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        del server.models["tiny:latest"]
        with pytest.raises(ModelMissing) as caught:
            await runtime.answer(asking())
    assert caught.value.hint == "promptkit models pull ollama/tiny"


# what is sent

SENT: list[tuple[str, Request, dict[str, Any]]] = [
    ("a chat", asking("mood?"), {"messages": [{"role": "user", "content": "mood?"}], "prompt": None}),
    (
        "a turn to go on from, rendered",
        asking("mood?", begun="Mood:"),
        {"raw": True, "prompt": "<|im_start|>user\nmood?<|im_end|>\n<|im_start|>assistant\nMood:", "messages": None},
    ),
    ("raw text", Request(prompt="a b", begun=" c"), {"raw": True, "prompt": "a b c"}),
    (
        "a schema, rendered",
        asking("mood?", schema={"type": "object"}),
        {
            "format": {"type": "object"},
            "raw": True,
            "prompt": "<|im_start|>user\nmood?<|im_end|>\n<|im_start|>assistant\n",
        },
    ),
    ("alternatives, of which 20 are the most", asking(alternatives=200), {"logprobs": True, "top_logprobs": 20}),
]


@pytest.mark.parametrize(("what", "request_", "expected"), SENT, ids=[row[0] for row in SENT])
async def test_a_request_is_sent_as(
    server: OllamaServer, what: str, request_: Request, expected: dict[str, Any]
) -> None:
    async with opened(server) as runtime:
        await runtime.answer(request_)
    body = server.requests[-1].body
    assert {name: body.get(name) for name in expected} == expected
    assert (body["truncate"], body["shift"], body["stream"]) == (False, False, True)
    assert body["options"].keys() >= {"temperature", "num_predict", "num_ctx"}


async def test_seed_temperature_and_stop_go_inside_the_options(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        await runtime.answer(asking(seed=7, temperature=0.5, stop=("\n",), top_p=0.9, max_tokens=11))
    body = server.requests[-1].body
    assert body["options"] | {"num_ctx": 0} == {
        "seed": 7,
        "temperature": 0.5,
        "stop": ["\n"],
        "top_p": 0.9,
        "num_predict": 11,
        "num_ctx": 0,
    }
    assert not {"seed", "temperature", "stop", "top_p"} & body.keys()


KEPT: list[tuple[str | float | None, Any]] = [
    (None, None),
    ("300", 300),
    ("-1", -1),
    (0, 0),
    ("5m", "5m"),
    ("-1m", "-1m"),
]


@pytest.mark.parametrize(("given", "sent"), KEPT)
async def test_a_number_in_a_text_is_kept_alive_as_a_number(
    server: OllamaServer, given: str | float | None, sent: Any
) -> None:
    async with opened(server, keep_alive=given) as runtime:
        await runtime.answer(asking())
    assert server.requests[-1].body.get("keep_alive") == sent


THINKING = [("thinker", None, False), ("thinker", True, True), ("thinker", "low", "low"), ("tiny", None, None)]


@pytest.mark.parametrize(("name", "asked", "sent"), THINKING)
async def test_a_reasoning_model_thinks_only_when_it_is_asked_to(
    server: OllamaServer, name: str, asked: bool | str | None, sent: bool | str | None
) -> None:
    async with opened(server, name) as runtime:
        await runtime.answer(asking(think=asked))
    assert server.requests[-1].body.get("think") == sent


ROOM = [
    ("thinker", None, True),
    ("thinker", "minimal", "low"),
    ("thinker", "xhigh", "max"),
    ("thinker", "max", "max"),
]


@pytest.mark.parametrize(("name", "asked", "sent"), ROOM)
async def test_a_request_with_room_for_thoughts_asks_for_them(
    server: OllamaServer, name: str, asked: bool | str | None, sent: bool | str
) -> None:
    async with opened(server, name) as runtime:
        server.models["thinker:latest"].answers = [Answer("\n7\nThat is all.", thoughts="Let me see.\n3 and 4.")]
        reply = await runtime.answer(asking(think=asked, thought_tokens=100, max_tokens=8, stop=("\n",)))

    body = server.requests[-1].body
    assert body["think"] == sent
    assert (body["options"]["num_predict"], body["options"].get("stop")) == (108, None)
    assert (reply.text, reply.thoughts, reply.finish) == ("7", "Let me see.\n3 and 4.", "stop")
    assert server.cancelled or reply.tokens_out


async def test_the_window_holds_thoughts_and_answer(server: OllamaServer) -> None:
    async with opened(server, "thinker") as runtime:
        await runtime.answer(asking(thought_tokens=5000, max_tokens=8))
    assert server.requests[-1].body["options"]["num_ctx"] == 8192


async def test_thoughts_that_fill_the_largest_window_are_a_reply_that_was_cut(server: OllamaServer) -> None:
    server.models["thinker:latest"].context_length = 4096
    async with opened(server, "thinker") as runtime:
        server.models["thinker:latest"].answers = [Answer("7", thoughts="a b " * 3000)]
        reply = await runtime.answer(asking(thought_tokens=8192, max_tokens=8))
    assert (reply.text, reply.finish) == ("", "length")


async def test_a_family_that_always_thinks_cannot_be_switched(server: OllamaServer) -> None:
    server.models["thinker:latest"].family = "gptoss"
    async with opened(server, "thinker") as runtime:
        assert {"think", "thinks"} & (await runtime.model()).capabilities == {"thinks"}
        await runtime.answer(asking(thought_tokens=100))
        await runtime.answer(asking(think="low", thought_tokens=100))
    assert [seen.body.get("think") for seen in server.asked] == [None, "low"]


async def test_a_grammar_is_refused_before_anything_is_sent(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        with pytest.raises(Unsupported):
            await runtime.answer(asking(grammar='root ::= "yes"'))
    assert server.requests == []


BOOL_IN_ORDER = {
    "type": "object",
    "properties": {"why": {"type": "string"}, "answer": {"type": "boolean"}},
    "required": ["why", "answer"],
}


@pytest.mark.parametrize("native", [True, False], ids=["llama-server's template", "Ollama's template"])
async def test_a_begun_turn_a_schema_and_its_order_hold_together_whatever_renders_a_chat(
    server: OllamaServer, native: bool
) -> None:
    server.models["plain:1b"].native = native
    async with opened(server, "plain:1b") as runtime:
        reply = await runtime.answer(asking("good?", begun="Answer:", schema=BOOL_IN_ORDER, alternatives=2))
    assert reply.text == '{"why": "text", "answer": true}'
    assert reply.tokens[0].piece == b"{"


async def test_a_thinking_model_is_asked_in_a_chat_which_splits_its_thoughts_off(server: OllamaServer) -> None:
    async with opened(server, "thinker") as runtime:
        await runtime.answer(asking("mood?", begun="Mood:", schema={"enum": ["good"]}))
    assert [turn["role"] for turn in server.requests[-1].body["messages"]] == ["user", "assistant"]


async def test_the_text_after_the_template_is_shown(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        text = await runtime.template((Message("user", "mood?"),), "Mood:")
    assert text == "<|im_start|>user\nmood?<|im_end|>\n<|im_start|>assistant\nMood:"
    server.version = "0.11.4"
    async with opened(server) as runtime:
        assert await runtime.template((Message("user", "mood?"),)) is None


# slots and loading


@pytest.mark.parametrize(("parallel", "in_flight"), [(1, 2), (2, 3), (4, 5), (8, 9), (16, 9)])
async def test_slots_are_found_by_requests_that_the_server_answers_together(parallel: int, in_flight: int) -> None:

    with OllamaServer(FakeModel("tiny"), parallel=parallel) as server:
        server.probe_pause = 0.005
        async with opened(server) as runtime:
            assert (await runtime.model()).parallel == in_flight


async def test_slots_are_found_once_a_day(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for today in ("2026-12-01", "2026-12-01", "2026-12-02"):
        monkeypatch.setattr("promptkit.runtimes.servers.ollama_slots.date", Mock(today=lambda today=today: today))
        before = len(server.requests)
        runtime = Ollama("tiny", host=server.url)
        await runtime.model()
        await runtime.close()
        counts.append(sum(seen.body.get("prompt") == COUNTING for seen in server.requests[before:]))
    assert counts == [MOST_SLOTS, 0, MOST_SLOTS]


async def test_a_server_that_refuses_the_probe_for_slots_counts_as_one_slot(server: OllamaServer) -> None:
    runtime = Ollama("tiny", host=server.url)
    server.faults = [Fault("/api/generate", 500, "out of memory", prompt=COUNTING)] * MOST_SLOTS
    assert (await runtime.model()).parallel == 2
    await runtime.close()


async def test_the_model_is_loaded_before_the_first_timed_request_and_once_a_window(server: OllamaServer) -> None:
    server.models["tiny:latest"].context_length = 32768
    async with opened(server, keep_alive="5m") as runtime:
        await asyncio.gather(*(runtime.answer(asking(text)) for text in ("one", "two")))
        await runtime.answer(asking(words(5000)))
    loads = [seen.body for seen in server.requests if seen not in server.asked]
    empty = {"model": "tiny", "stream": False, "shift": False, "keep_alive": "5m"}
    assert loads == [{**empty, "options": {"num_ctx": window}} for window in (4096, 8192)]


async def test_the_window_is_in_the_reply_and_reported_where_it_is_not_the_first(server: OllamaServer) -> None:
    server.models["tiny:latest"].context_length = 32768
    notices: list[str] = []
    cases: list[tuple[dict[str, Any], list[int]]] = [({}, [4096, 8192]), ({"context": 16384}, [16384, 16384])]
    for settings, windows in cases:
        async with opened(server, notice=notices.append, **settings) as runtime:
            replies = [await runtime.answer(asking(words(length))) for length in (10, 5000)]
        assert [reply.context for reply in replies] == windows
    assert notices == ["ollama/tiny: context window of 8192 tokens, for the length of the prompts"]


# what comes back


async def test_a_reply_has_its_text_counts_and_pieces_as_they_arrive(server: OllamaServer) -> None:
    heard: list[str] = []
    async with opened(server) as runtime:
        reply = await runtime.answer(asking("one two three"), heard.append)
    assert reply.text == "".join(heard) == "one two three"
    # The first word may stand before thoughts, and comes with the second; the token that ends the answer counts.
    assert (len(heard), reply.tokens_out) == (3, 5)
    assert (reply.finish, reply.tokens_in) == ("stop", 14)


@pytest.mark.parametrize(
    "text", ["ein\u0085zwei", "un\u2028deux", "один\u2029два", "\u000b\u000c\u001c", "🙂" * 20, "", " x"]
)
async def test_any_text_comes_back_as_it_was_said(server: OllamaServer, text: str) -> None:
    server.models["tiny:latest"].leaves_open = False
    async with opened(server) as runtime:
        server.models["tiny:latest"].answers = [text]
        assert (await runtime.answer(asking())).text == text


async def test_an_answer_cut_at_its_limit_says_so(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        reply = await runtime.answer(asking("one two three", max_tokens=2))
    assert (reply.text, reply.finish, reply.tokens_out) == ("one two", "length", 2)


SPLIT = [
    ("named apart by the server", Answer("yes", thoughts="let me see"), True),
    ("inside the text", Answer("<think>\nlet me see\n</think>\n\nyes"), None),
]


@pytest.mark.parametrize(("what", "answer", "think"), SPLIT, ids=[row[0] for row in SPLIT])
async def test_thoughts_are_split_off_and_counted_apart(
    server: OllamaServer, what: str, answer: Answer, think: bool | None
) -> None:
    heard: list[str] = []
    async with opened(server, "thinker") as runtime:
        server.models["thinker:latest"].answers = [answer]
        reply = await runtime.answer(asking(think=think), heard.append)
    assert (reply.text, reply.thoughts) == ("yes", "let me see")
    thoughts = [piece for piece in heard if isinstance(piece, Thought)]
    assert ("".join(thoughts).strip(), "".join(heard[len(thoughts) :])) == ("let me see", "yes")
    assert reply.tokens_out is not None
    assert 0 < reply.tokens_thought < reply.tokens_out


async def test_log_probabilities_come_as_bytes(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        server.models["tiny:latest"].answers = [Answer("good", alternatives=((" good", -0.2), (" schön", -1.5)))]
        reply = await runtime.answer(asking(alternatives=5))
    assert [token.piece for token in reply.tokens] == [b"good"]
    assert reply.tokens[0].alternatives == (Alternative(b" good", -0.2), Alternative(" schön".encode(), -1.5))


async def test_log_probabilities_that_do_not_come_are_not_supported(server: OllamaServer) -> None:
    server.version = "0.12.10"
    async with opened(server) as runtime:
        with pytest.raises(Unsupported, match="no log-probabilities"):
            await runtime.answer(asking(alternatives=5))


FAILED_ANSWERS: list[tuple[str, Answer | str, type[PromptkitError], bool]] = [
    ("ends without done", Answer("half an ans", breaks_off=True), BadReply, False),
    ("repeats one token", "!" * 99, BadReply, False),
    ("an error line", Answer("one two", fails="something odd"), ServerFailed, False),
    (
        "an error line of the runner",
        Answer("one two", fails="model runner has unexpectedly stopped"),
        ServerFailed,
        True,
    ),
    ("an error line of the window", Answer("one two", fails="context shift is not possible"), ContextOverflow, False),
]


@pytest.mark.parametrize(("what", "answer", "error", "retry"), FAILED_ANSWERS, ids=[row[0] for row in FAILED_ANSWERS])
async def test_an_answer_that_breaks_off_fails(
    server: OllamaServer, what: str, answer: Answer | str, error: type[PromptkitError], retry: bool
) -> None:
    async with opened(server, context=4096) as runtime:
        server.models["tiny:latest"].answers = [answer]
        with pytest.raises(error) as caught:
            await runtime.answer(asking())
    assert caught.value.retry is retry


STATUSES: list[tuple[int, str, type[PromptkitError], bool]] = [
    (400, "invalid JSON", RequestRefused, False),
    (400, "missing request body", RequestRefused, False),
    (400, '"x" does not support chat', Unsupported, False),
    (400, "request (9000 tokens) exceeds the available context size (4096 tokens)", ContextOverflow, False),
    (401, "unauthorized", AccessDenied, False),
    (403, "cloud disabled", AccessDenied, False),
    (404, "model 'tiny' not found", ModelMissing, False),
    (404, 'model "tiny" not found, try pulling it first', ModelMissing, False),
    (404, "404 page not found", RequestRefused, False),
    (500, "out of memory", ServerFailed, False),
    (500, "model runner has unexpectedly stopped, this may be due to resource limitations", ServerFailed, True),
    (502, "cloud model cannot be reached", ServerFailed, True),
    (503, "server busy, please try again.  maximum pending requests exceeded", ServerBusy, True),
]


@pytest.mark.parametrize(("status", "text", "error", "retry"), STATUSES)
async def test_each_status_is_its_own_error_with_the_servers_words(
    server: OllamaServer, status: int, text: str, error: type[PromptkitError], retry: bool
) -> None:
    async with opened(server, context=4096) as runtime:
        server.faults = [Fault("/api/chat", status, text)]
        with pytest.raises(error) as caught:
            await runtime.answer(asking())
    assert caught.value.retry is retry
    assert text in caught.value.message or caught.value.hint == "promptkit models pull ollama/tiny"


async def test_a_request_that_stops_the_runner_twice_is_not_tried_a_third_time(server: OllamaServer) -> None:
    retries = []
    async with opened(server) as runtime:
        server.faults = [Fault("/api/chat", 500, "model runner has unexpectedly stopped")] * 3
        for text in ("one", "one", "two"):
            with pytest.raises(ServerFailed) as caught:
                await runtime.answer(asking(text))
            retries.append(caught.value.retry)
    assert retries == [True, False, True]


# the window


async def test_the_window_follows_the_prompt_only_grows_and_stays(server: OllamaServer) -> None:
    server.models["tiny:latest"].context_length = 32768
    windows = []
    async with opened(server) as runtime:
        for length in (10, 100, 5000, 10, 5000):
            await runtime.answer(asking(words(length), max_tokens=100))
            windows.append(server.requests[-1].body["options"]["num_ctx"])
    assert windows == [4096, 4096, 8192, 8192, 8192]
    assert [load["num_ctx"] for load in server.loads] == [4096, 8192]


async def test_a_prompt_that_was_longer_than_it_looked_is_asked_again_in_a_larger_window(server: OllamaServer) -> None:
    server.models["tiny:latest"].context_length = 32768
    async with opened(server) as runtime:
        reply = await runtime.answer(asking("!? " * 3500, max_tokens=1))
    assert [seen.body["options"]["num_ctx"] for seen in server.asked] == [4096, 8192]
    assert (reply.tokens_in or 0) > 7000


@pytest.mark.parametrize("settings", [{"context": 256}, {}], ids=["a fixed window", "the model's own"])
async def test_a_prompt_that_fits_no_window_says_so(server: OllamaServer, settings: dict[str, Any]) -> None:
    async with opened(server, **settings) as runtime:
        with pytest.raises(ContextOverflow, match=f"window of {settings.get('context', 8192)} tokens"):
            await runtime.answer(asking(words(20000)))


OLD_SERVERS: list[tuple[str, Request]] = [
    ("one long message", asking("extraordinary " * 6000)),
    ("many messages, the oldest dropped", Request(messages=(Message("user", "extraordinary " * 300),) * 20)),
    ("raw text", Request(prompt="extraordinary " * 6000)),
]


@pytest.mark.parametrize(("what", "request_"), OLD_SERVERS, ids=[row[0] for row in OLD_SERVERS])
async def test_an_old_server_that_would_cut_in_silence_is_not_believed(
    server: OllamaServer, what: str, request_: Request
) -> None:
    server.version = "0.12.3"
    async with opened(server) as runtime:
        with pytest.raises(ContextOverflow):
            await runtime.answer(request_)


async def test_a_cut_is_found_out_by_the_servers_count(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OllamaServer, "knows", lambda self, *version: False)
    async with opened(server, context=4096) as runtime:
        with pytest.raises(ContextOverflow, match="cut the prompt to 2050 tokens"):
            await runtime.answer(asking(words(5000)))


async def test_an_answer_that_the_window_ends_is_asked_again_in_a_larger_one(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        server.models["tiny:latest"].answers = [words(3000)] * 2
        told: list[str] = []
        reply = await runtime.answer(asking("!? " * 800, max_tokens=2500), told.append)
    assert "".join(told) == reply.text
    assert [seen.body["options"]["num_ctx"] for seen in server.asked] == [4096, 8192]
    assert (reply.finish, reply.tokens_out) == ("length", 2500)


# embeddings


async def test_texts_are_embedded_and_never_cut(server: OllamaServer) -> None:
    async with opened(server, "vectors") as runtime:
        assert await runtime.embed(["a", "bb"]) == [[1.0, 0.0], [0.6, 0.8]]
        assert server.requests[-1].body["truncate"] is False
        with pytest.raises(ContextOverflow):
            await runtime.embed([words(100)])
    async with opened(server) as runtime:
        with pytest.raises(Unsupported):
            await runtime.embed(["a"])


# connections


async def test_cancelling_closes_the_connection_and_ends_the_generation(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        server.models["tiny:latest"].answers = [Answer(words(1000), pause=0.02), "next"]
        arrived = asyncio.Event()
        task = asyncio.create_task(runtime.answer(asking(), lambda piece: arrived.set()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await runtime.answer(asking())).text == "next"
    assert server.cancelled == 1


async def test_a_request_that_waits_in_the_servers_queue_is_cancelled_too(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        server.models["tiny:latest"].answers = [Answer(words(1000), pause=0.02)]
        arrived = asyncio.Event()
        first = asyncio.create_task(runtime.answer(asking(), lambda piece: arrived.set()))
        await arrived.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await runtime.answer(asking("second"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await runtime.answer(asking("third"))).text == "third"


async def test_a_server_that_is_down_is_noticed_at_once_with_what_to_do(unused_tcp_port: int) -> None:
    runtime = Ollama("tiny", host=f"127.0.0.1:{unused_tcp_port}")
    for action in (runtime.model, lambda: pull_ollama("tiny", host=f"127.0.0.1:{unused_tcp_port}")):
        with pytest.raises(ConnectionFailed) as caught:
            await action()
        assert "ollama serve" in (caught.value.hint or "")
    await runtime.close()


@pytest.mark.attack("key")
async def test_a_key_goes_to_the_server_and_into_no_text(server: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "planted-key")
    async with opened(server) as runtime:
        await runtime.answer(asking())
        assert server.requests[-1].authorization == "Bearer planted-key"
        server.faults = [Fault("/api/chat", 401, "unauthorized")]
        with pytest.raises(AccessDenied) as caught:
            await runtime.answer(asking())
        assert "planted-key" not in f"{caught.value!r} {caught.value} {runtime!r} {await runtime.model()!r}"


@pytest.mark.attack("server")
async def test_a_server_whose_window_is_always_full_is_asked_a_few_times_only(
    server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptkit.runtimes.servers.ollama.ContextWindow", lambda limit: ContextWindow(None))
    async with opened(server) as runtime:
        server.faults = [Fault("/api/chat", 400, "the context is full")] * 13
        with pytest.raises(ContextOverflow):
            await runtime.answer(asking())
    assert server.requests[-1].body["options"]["num_ctx"] == LARGEST_WINDOW
    assert len(server.asked) == 13


# probing and fetching


async def test_the_probe_puts_what_is_loaded_first_and_says_what_can_complete(server: OllamaServer) -> None:
    async with opened(server, "thinker"):
        found = await installed_models(server.url) or []
    assert [model.name for model in found] == ["thinker:latest", "vectors:latest", "tiny:latest", "plain:1b"]
    assert [model.completes for model in found] == [True, False, True, True]
    assert (found[0].context, found[0].size, found[0].parameters) == (8192, 98_362_432, "134.52M")
    assert (found[0].quantization, found[0].reported) == ("Q4_1", ("completion", "thinking"))
    assert [model.loaded and model.loaded.context for model in found] == [4096, None, None, None]
    assert found[0].loaded is not None
    assert found[0].loaded.until == pytest.approx(time() + 300, abs=60)


async def test_the_probe_of_a_server_that_is_down_or_silent_gives_nothing(unused_tcp_port: int) -> None:
    assert await installed_models(f"127.0.0.1:{unused_tcp_port}") is None
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with asyncio.timeout(3):
            assert await installed_models(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.05) is None


async def test_fetching_shows_progress_in_bytes(server: OllamaServer) -> None:
    told: list[tuple[str, int, int | None]] = []
    await pull_ollama("new", lambda what, done, total: told.append((what, done, total)), host=server.url)
    layer, total = "new, b179c9523d0e", 300 * 2**20
    assert told == [
        ("pulling manifest", 0, None),
        *((layer, done * 2**20, total) for done in (0, 100, 200, 300)),
        ("verifying sha256 digest", 0, None),
        ("writing manifest", 0, None),
    ]
    assert "new:latest" in server.models


async def test_a_cancelled_fetching_ends_on_the_server(server: OllamaServer) -> None:
    server.pull_pause = 30.0
    begun = asyncio.Event()
    task = asyncio.create_task(pull_ollama("new", lambda *_: begun.set(), host=server.url))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while not server.cancelled:
        await asyncio.sleep(0)
    assert "new:latest" not in server.models


@pytest.mark.parametrize("name", ["nowhere", "broken"], ids=["before the first line", "after it"])
async def test_fetching_that_fails_says_why(server: OllamaServer, name: str) -> None:
    with pytest.raises(ServerFailed, match=r"does not exist|max retries"):
        await pull_ollama(name, host=server.url)


async def test_each_sample_has_a_seed_of_its_own_and_keeps_it(server: OllamaServer) -> None:
    async with opened(server) as runtime:
        for sample in ("0", "0/1", "0/2", "0/1"):
            await runtime.answer(asking(seed=7, temperature=0.7, sample=sample))
    first, second, third, again = (seen.body["options"]["seed"] for seen in server.asked)
    assert first == 7
    assert second == again
    assert len({first, second, third}) == 3


async def test_whether_a_model_goes_on_from_a_begun_turn_is_found_out_once_and_kept(server: OllamaServer) -> None:
    for asked in (2, 0):
        before = len(server.requests)
        runtime = Ollama("tiny", host=server.url)
        model = await runtime.model()
        await runtime.close()

        chats = [seen for seen in server.requests[before:] if seen.path == "/api/chat"]
        assert "continue" in model.capabilities
        assert len(chats) == asked


async def test_500_requests_are_in_flight_at_once() -> None:
    asked, full = 0, asyncio.Event()

    async def respond(prompt: str, body: dict[str, Any]) -> Answer:
        nonlocal asked
        asked += "number" in prompt
        if asked >= 500:
            full.set()
        if "number" in prompt:  # the model is tried out before
            await full.wait()
        return Answer("yes")

    with OllamaServer(FakeModel("crowd", respond=respond), parallel=500) as server:
        runtime = Ollama("crowd", host=server.url)
        client = Client(runtime, concurrency=500)
        requests = [Request(messages=(Message("user", f"number {number}"),)) for number in range(500)]
        try:
            await runtime.model()
            async with asyncio.timeout(60):
                replies = await asyncio.gather(*(client.ask(request) for request in requests))
        finally:
            await runtime.close()
    assert [reply.text for reply in replies] == ["yes"] * 500
