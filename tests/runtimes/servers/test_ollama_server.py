"""The official client judges the stand-in: every call that promptkit or a person makes must parse there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from tests.runtimes.servers.ollama_server import Answer, FakeModel, OllamaServer, pieces

SCHEMA = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}, "score": {"type": "number"}}}


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    models = (
        FakeModel("tiny"),
        FakeModel("thinker", capabilities=("completion", "thinking", "tools")),
        FakeModel("vectors", capabilities=("embedding",), context_length=16),
    )
    with OllamaServer(*models) as running:
        yield running


@pytest.fixture
def client(server: OllamaServer) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url, timeout=10) as official:
        yield official


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_the_official_client_lists_shows_and_sees_what_is_loaded(client: ollama.Client) -> None:
    listed = client.list().models
    assert [model.model for model in listed] == ["tiny:latest", "thinker:latest", "vectors:latest"]
    assert len(listed[0].digest or "") == 64
    shown = client.show("thinker")
    assert shown.capabilities == ["completion", "thinking", "tools"]
    assert (shown.modelinfo or {})["llama.context_length"] == 8192
    assert client.ps().models == []
    client.chat("tiny", user("hello"), options={"num_ctx": 2048, "num_predict": 5})
    assert [(model.model, model.context_length) for model in client.ps().models] == [("tiny:latest", 2048)]


def test_the_official_client_chats_whole_and_streaming(client: ollama.Client) -> None:
    whole = client.chat("tiny", user("one two three"), options={"num_predict": 50})
    parts = list(client.chat("tiny", user("one two three"), options={"num_predict": 50}, stream=True))
    assert whole.message.content == "".join(part.message.content or "" for part in parts) == "one two three"
    assert (whole.done, whole.done_reason) == (True, "stop") == (parts[-1].done, parts[-1].done_reason)
    assert whole.eval_count == 5
    assert whole.prompt_eval_count == len(pieces("<|im_start|>user\none two three<|im_end|>\n<|im_start|>assistant\n"))


def test_the_official_client_generates_raw_whole_and_streaming(client: ollama.Client) -> None:
    whole = client.generate("tiny", "one two three", raw=True, options={"num_predict": 2})
    parts = list(client.generate("tiny", "one two three", raw=True, options={"stop": ["three"]}, stream=True))
    assert (whole.response, whole.done_reason) == ("one two", "length")
    assert "".join(part.response or "" for part in parts) == "one two "


def test_the_official_client_gets_schemas_thoughts_and_log_probabilities(
    server: OllamaServer, client: ollama.Client
) -> None:
    server.models["thinker:latest"].answers = [
        Answer("yes", thoughts="let me see"),
        Answer("yes", thoughts="unseen"),
    ]
    assert client.chat("tiny", user("?"), format=SCHEMA).message.content == '{"mood": "good", "score": 1.5}'
    thought = client.chat("thinker", user("?"))
    assert (thought.message.thinking, thought.message.content) == ("let me see", "yes")
    assert client.chat("thinker", user("?"), think=False).message.thinking is None
    scored = client.chat("tiny", user("good"), logprobs=True, top_logprobs=2)
    assert [[each.token for each in token.top_logprobs or ()] for token in scored.logprobs or ()] == [["good", "?"]]


def test_the_official_client_embeds_and_pulls(server: OllamaServer, client: ollama.Client) -> None:
    vectors = client.embed("vectors", ["a", "bb"])
    assert [list(vector) for vector in vectors.embeddings] == [[1.0, 0.0], [0.6, 0.8]]
    assert vectors.prompt_eval_count == 2
    progress = list(client.pull("new", stream=True))
    assert progress[1].completed is None and progress[1].total == 300 * 2**20
    weights = [each.completed for each in progress if each.completed and each.total == 300 * 2**20]
    assert weights == [part * 2**20 for part in (100, 200, 300)]
    assert progress[-1].status == client.pull("new").status == "success"
    assert "new:latest" in server.models


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("a missing model", {"model": "absent"}, 404, "model 'absent' not found"),
    ("thinking where there is none", {"think": True}, 400, "does not support thinking"),
    ("too many alternatives", {"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
    ("a duration without a unit", {"keep_alive": "300"}, 400, "missing unit"),
    ("an option of the wrong type", {"options": {"num_ctx": "many"}}, 500, "num_ctx"),
    ("a model that cannot chat", {"model": "vectors"}, 400, "does not support chat"),
]


@pytest.mark.parametrize(("what", "changed", "status", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_the_official_client_is_refused(
    client: ollama.Client, what: str, changed: dict[str, Any], status: int, text: str
) -> None:
    with pytest.raises(ollama.ResponseError, match=text) as caught:
        client.chat(**{"model": "tiny", "messages": user("?"), **changed})
    assert caught.value.status_code == status


def test_the_official_client_sees_failures_inside_a_stream(server: OllamaServer, client: ollama.Client) -> None:
    server.models["tiny:latest"].answers = [Answer("one two", fails="model runner has unexpectedly stopped")]
    with pytest.raises(ollama.ResponseError, match="unexpectedly stopped") as caught:
        list(client.chat("tiny", user("?"), stream=True))
    assert caught.value.status_code == -1
    with pytest.raises(ollama.ResponseError, match="max retries") as caught:
        list(client.pull("broken", stream=True))
    assert caught.value.status_code == -1


def test_an_over_long_prompt_is_cut_in_silence_to_half_the_window(client: ollama.Client) -> None:
    cut = client.chat("tiny", user("word " * 5000), options={"num_ctx": 4096, "num_predict": 1})
    assert cut.prompt_eval_count == 4096 // 2 + 2


def test_chat_drops_the_oldest_messages_first(client: ollama.Client) -> None:
    turns = [{"role": "system", "content": "Be brief."}, *user("word " * 400), *user("and now?")]
    cut = client.chat("tiny", turns, options={"num_ctx": 256, "num_predict": 1})
    assert (cut.prompt_eval_count or 0) < 40


def test_the_same_token_thirty_one_times_ends_the_answer_without_done(
    server: OllamaServer, client: ollama.Client
) -> None:
    server.models["tiny:latest"].answers = ["!" * 99]
    broken = client.chat("tiny", user("?"))
    assert broken.done is False
    assert broken.eval_count is None


def test_another_window_or_shift_loads_the_model_again(server: OllamaServer, client: ollama.Client) -> None:
    for window in (2048, 2048, 4096):
        client.chat("tiny", user("?"), options={"num_ctx": window})
    assert [load["num_ctx"] for load in server.loads] == [2048, 4096]
