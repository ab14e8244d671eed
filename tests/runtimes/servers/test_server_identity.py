"""The identity of a model behind a server: fingerprints, when two agree, and what the server states."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Alternative, Message, Model, Reply, Request, Token
from promptkit.runtimes.servers.openai import OpenAI
from promptkit.runtimes.servers.server_identity import (
    COMPARED,
    FINGERPRINTED,
    HOSTED,
    KEPT_FINGERPRINTS,
    PROMPTS,
    TOLERANCE,
    UNSTABLE,
    Fingerprint,
    agree,
    ask_fingerprint,
    fingerprint_digest,
)
from tests.runtimes.servers.openai_server import OpenAIServer, serving

LIKELIEST = {f"{number:02x}": -1.0 - number for number in range(COMPARED)}


def fingerprint(scores: dict[str, float] | None = None, text: str = "a") -> Fingerprint:
    return [(text, [LIKELIEST | (scores or {})])]


PAIRS: list[tuple[str, Fingerprint, bool]] = [
    ("the same", fingerprint(), True),
    ("numbers within the tolerance", fingerprint({"00": -1.0 - 0.99 * TOLERANCE}), True),
    ("a number beyond the tolerance", fingerprint({"00": -1.0 - 1.01 * TOLERANCE}), False),
    ("another text", fingerprint(text="b"), False),
    ("a further token", [("a", [LIKELIEST, LIKELIEST])], False),
    ("a further answer", [*fingerprint(), *fingerprint()], False),
    ("a further, unlikelier alternative", fingerprint({"ff": -9.0}), True),
    ("one of the likeliest missing", [("a", [dict(list(LIKELIEST.items())[1:])])], False),
    ("none at all", [], False),
]


@pytest.mark.parametrize(("what", "other", "same"), PAIRS, ids=[row[0] for row in PAIRS])
def test_fingerprints_agree_within_rounding(what: str, other: Fingerprint, same: bool) -> None:
    assert agree(fingerprint(), other) is same


def test_alternatives_beyond_the_likeliest_are_not_compared() -> None:
    assert agree(fingerprint({"ff": -9.0}), fingerprint({"ff": -7.0}))


def test_a_fingerprint_gets_the_digest_of_the_first_that_agrees() -> None:
    first = fingerprint_digest("server", fingerprint())
    assert fingerprint_digest("server", fingerprint({"00": -1.03})) == first
    # Compared with the first, not with the last that agreed, or a digest could wander.
    assert fingerprint_digest("server", fingerprint({"00": -1.06})) != first


def test_fingerprints_of_another_server_are_apart() -> None:
    first = fingerprint_digest("server", fingerprint())
    near = fingerprint({"00": -1.03})
    assert fingerprint_digest("other", near) != first
    assert fingerprint_digest("other", fingerprint()) != first


def test_a_digest_is_the_same_on_a_machine_that_has_kept_nothing(tmp_path: Path) -> None:
    first = fingerprint_digest("server", fingerprint())
    (tmp_path / "fingerprints.json").unlink()
    assert fingerprint_digest("server", fingerprint({"00": -1.0004})) == first


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"server": 1}', '{"server": {"a": [["x"]]}}', '{"server": {"a": 7}}']
)
def test_a_damaged_file_is_begun_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "fingerprints.json").write_text(content)
    first = fingerprint_digest("server", fingerprint())
    assert fingerprint_digest("server", fingerprint({"00": -1.03})) == first


def test_only_the_latest_weights_of_a_server_are_kept() -> None:
    first = fingerprint_digest("server", fingerprint(text="0"))
    for number in range(1, KEPT_FINGERPRINTS):
        fingerprint_digest("server", fingerprint(text=str(number)))
    assert fingerprint_digest("server", fingerprint({"00": -1.03}, "0")) == first
    fingerprint_digest("server", fingerprint(text="one more"))
    assert fingerprint_digest("server", fingerprint({"00": -1.03}, "0")) != first


async def test_impossible_alternatives_are_left_out() -> None:
    token = Token(b"a", -1.0, (Alternative(b"a", -1.0), Alternative(b"b", float("-inf"))))

    async def ask(request: Request) -> Reply:
        return Reply(text="a", tokens=(token,))

    found = await ask_fingerprint(ask, raw=True, logprobs=True)
    assert found is not None
    assert found[0] == ("a", [{"61": -1.0}])


LLAMA = {
    "default_generation_settings": {"n_ctx": 512, "params": {"repeat_penalty": 1.0}},
    "total_slots": 1,
    "build_info": "b1-abc",
    "model_path": "/m/model.gguf",
    "chat_template": "{{ messages }}",
}
STUDIO = {"id": "mini", "type": "llm", "arch": "llama", "quantization": "Q4_K_M", "loaded_context_length": 256}
ASKED = Request(messages=(Message("user", "Name a colour."),), max_tokens=8)


async def described(server: OpenAIServer) -> Model:
    """Describe the model of a server that has just started, on a port of its own."""
    async with serving(server):
        runtime = OpenAI("mini", base_url=server.url)
        try:
            return await runtime.model()
        finally:
            await runtime.close()


def llama_server(**properties: Any) -> OpenAIServer:
    return OpenAIServer(described={"/props": LLAMA | properties})


CHANGES: list[tuple[str, OpenAIServer, OpenAIServer]] = [
    ("other answers", OpenAIServer(), OpenAIServer(says=[{"content": "hi"}])),
    (
        "other log-probabilities",
        OpenAIServer(frozenset({"logprobs"})),
        OpenAIServer(frozenset({"logprobs"}), score=-1.0 - 2 * TOLERANCE),
    ),
    ("another root", OpenAIServer(entry={"root": "a/b"}), OpenAIServer(entry={"root": "a/c"})),
    ("another adapter's parent", OpenAIServer(entry={"parent": "a"}), OpenAIServer(entry={"parent": "b"})),
    ("another window", OpenAIServer(), OpenAIServer(entry={"max_model_len": 1024})),
    (
        "another version of vLLM",
        OpenAIServer(entry={"owned_by": "vllm"}, described={"/version": {"version": "0.12.0"}}),
        OpenAIServer(entry={"owned_by": "vllm"}, described={"/version": {"version": "0.12.1"}}),
    ),
    (
        "another quantization in LM Studio",
        OpenAIServer(described={"/api/v0/models": {"data": [STUDIO]}}),
        OpenAIServer(described={"/api/v0/models": {"data": [STUDIO | {"quantization": "Q8_0"}]}}),
    ),
    ("another version of the model", OpenAIServer(served={"model": "a-1"}), OpenAIServer(served={"model": "a-2"})),
    (
        "another system_fingerprint",
        OpenAIServer(served={"system_fingerprint": "a"}),
        OpenAIServer(served={"system_fingerprint": "b"}),
    ),
    ("another build", llama_server(), llama_server(build_info="b2-abc")),
    ("another file", llama_server(), llama_server(model_path="/m/other.gguf")),
    ("another template", llama_server(), llama_server(chat_template="{{ m }}")),
    (
        "another penalty for repeating",
        llama_server(),
        llama_server(default_generation_settings={"n_ctx": 512, "params": {"repeat_penalty": 1.1}}),
    ),
    (
        "other vectors",
        OpenAIServer(frozenset({"embeddings"}), refusal_of_chats=True),
        OpenAIServer(frozenset({"embeddings"}), refusal_of_chats=True, score=-2.0),
    ),
]


@pytest.mark.parametrize(("what", "before", "after"), CHANGES, ids=[row[0] for row in CHANGES])
async def test_a_digest_changes_with(what: str, before: OpenAIServer, after: OpenAIServer) -> None:
    assert (await described(before)).digest != (await described(after)).digest


@pytest.mark.parametrize("server", [row[1] for row in CHANGES], ids=[row[0] for row in CHANGES])
async def test_a_digest_stays_when_the_server_starts_again_on_another_port(server: OpenAIServer) -> None:
    first = await described(server)
    server.described = {
        path: value | {"media_marker": "x", "is_sleeping": True} for path, value in server.described.items()
    }
    assert (await described(server)).digest == first.digest
    assert first.notes == (FINGERPRINTED,)


async def test_a_digest_stays_where_rounding_moves_log_probabilities() -> None:
    able = frozenset({"logprobs"})
    first = await described(OpenAIServer(able, score=-1.0))
    assert (await described(OpenAIServer(able, score=-1.0 - TOLERANCE / 2))).digest == first.digest


async def test_weights_that_come_back_are_known_again() -> None:
    digests = [(await described(OpenAIServer(says=[{"content": text}]))).digest for text in ("a", "b", "a")]
    assert digests[0] == digests[2] != digests[1]


async def test_a_server_that_answers_one_prompt_in_two_ways_is_known_by_what_it_states() -> None:
    class Wavering(OpenAIServer):
        numbers: Iterator[int] = count()

        def parts(self, body: dict[str, Any]) -> list[dict[str, Any]]:
            self.says = [{"content": str(next(self.numbers))}]
            return super().parts(body)

    server, notices = Wavering(), list[str]()
    async with serving(server):
        models = []
        for _ in range(2):
            runtime = OpenAI("mini", base_url=server.url, notice=notices.append)
            models.append(await runtime.model())
            await runtime.close()
    assert models[0] == models[1]
    assert models[0].notes == (UNSTABLE,)
    assert notices == 2 * [f"{models[0].reference}: {UNSTABLE}"]


async def test_a_hosted_service_is_not_asked_for_a_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.runtimes.servers.openai.is_local", lambda url: False)
    server = OpenAIServer(served={"model": "big-2026-11-01", "system_fingerprint": "fp_1"})
    first = await described(server)
    prompts = [body["messages"][-1]["content"] for body in server.seen if "messages" in body]
    assert first.notes == (HOSTED,)
    assert not {*prompts} & {*PROMPTS}


@pytest.mark.parametrize(("served", "is_same"), [({"system_fingerprint": "fp_2"}, True), ({"model": "b-2"}, False)])
async def test_a_hosted_service_is_known_by_the_version_of_the_model_that_answers(
    monkeypatch: pytest.MonkeyPatch, served: dict[str, str], is_same: bool
) -> None:
    monkeypatch.setattr("promptkit.runtimes.servers.openai.is_local", lambda url: False)
    server = OpenAIServer(served={"model": "b-1", "system_fingerprint": "fp_1"})
    digests = []
    async with serving(server):
        for change in ({}, served):
            server.served |= change
            runtime = OpenAI("mini", base_url=server.url)
            digests.append((await runtime.model()).digest)
            await runtime.close()
    assert (digests[0] == digests[1]) is is_same


async def test_a_self_run_server_at_a_public_address_is_asked_for_a_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("promptkit.runtimes.servers.openai.is_local", lambda url: False)
    assert (await described(OpenAIServer(entry={"owned_by": "vllm"}))).notes == (FINGERPRINTED,)


async def test_the_window_of_lm_studio_is_that_of_the_loaded_model() -> None:
    assert (await described(OpenAIServer(described={"/api/v0/models": {"data": [STUDIO]}}))).context == 256


@pytest.mark.parametrize("change", [{"system_fingerprint": "fp_2"}, {"model": "other"}])
async def test_a_model_that_changes_while_it_is_asked_is_said_once(change: dict[str, str]) -> None:
    server = OpenAIServer(served={"model": "mini", "system_fingerprint": "fp_1"})
    notices: list[str] = []
    async with serving(server):
        runtime = OpenAI("mini", base_url=server.url, notice=notices.append)
        await runtime.model()
        await runtime.answer(ASKED)
        assert not notices
        server.served |= change
        for _ in range(2):
            await runtime.answer(ASKED)
        await runtime.close()
    assert len(notices) == 1
    assert "names" in notices[0] and "fp_1" in notices[0]


async def test_a_server_that_names_itself_anew_with_each_reply_gives_no_notice() -> None:
    class Restless(OpenAIServer):
        def parts(self, body: dict[str, Any]) -> list[dict[str, Any]]:
            self.served = {"system_fingerprint": str(len(self.seen))}
            return super().parts(body)

    server, notices = Restless(), list[str]()
    async with serving(server):
        digests = []
        for _ in range(2):
            runtime = OpenAI("mini", base_url=server.url, notice=notices.append)
            digests.append((await runtime.model()).digest)
            await runtime.answer(ASKED)
            await runtime.close()
    assert not notices
    assert digests[0] == digests[1]
