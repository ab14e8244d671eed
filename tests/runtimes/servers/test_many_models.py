"""An Ollama server with more models than anybody has is read in time, without holding up the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from promptkit.errors import BadReply
from promptkit.runtimes.servers.http import DESCRIPTION_LIMIT
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.ollama_server import MOST_DESCRIBED, installed_models
from tests.runtimes.servers.fault_server import answers, faulty
from tests.runtimes.servers.ollama_server import FakeModel, OllamaServer

MANY = 8_000


def entry(number: int) -> dict[str, object]:
    details = {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "135M"}
    return {
        "name": f"model-{number}:latest",
        "model": f"model-{number}:latest",
        "modified_at": "2026-08-01T10:00:00.123456789+02:00",
        "size": 98_362_432,
        "digest": f"{number:064x}",
        "details": {**details, "quantization_level": "Q4_1"},
    }


@pytest.fixture
def too_many() -> bytes:
    """A list of 100,000 models, made outside of the event loop."""
    one = json.dumps(entry(1)).encode()
    return b'{"models": [' + b",".join([one] * 100_000) + b"]}"


@pytest.mark.attack("server")
async def test_a_list_of_100_000_models_is_refused_in_time(too_many: bytes) -> None:
    async with asyncio.timeout(20), faulty(answers(too_many)) as server:
        host = server.url.removesuffix("/v1")
        runtime = Ollama("model-1", host=host)
        with pytest.raises(BadReply, match="too large"):
            await runtime.model()
        assert await installed_models(host, timeout=5) is None
        await runtime.close()


@pytest.fixture
def longest() -> bytes:
    """The longest list that is read."""
    body = json.dumps({"models": [entry(number) for number in range(MANY)]}).encode()
    assert 0.9 * DESCRIPTION_LIMIT < len(body) < DESCRIPTION_LIMIT
    return body


@pytest.mark.attack("server")
async def test_the_longest_list_that_is_read_holds_nobody_up(longest: bytes) -> None:
    async with asyncio.timeout(20), faulty(answers(longest)) as server:
        runtime = Ollama(f"model-{MANY}", host=server.url.removesuffix("/v1"))
        with pytest.raises(Exception, match="has no model"):
            await runtime.model()
        await runtime.close()


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    vectors = [
        FakeModel(f"v{number}", capabilities=("embedding",), modified="2026-08-09T10:00:00Z") for number in (1, 2)
    ]
    models = [FakeModel(f"m{number}", modified="2026-08-01T10:00:00Z") for number in range(MOST_DESCRIBED + 100)]
    with OllamaServer(*vectors, *models) as running:
        yield running


def shown(server: OllamaServer) -> int:
    return [seen.path for seen in server.requests].count("/api/show")


@pytest.mark.attack("server")
async def test_where_one_model_is_looked_for_no_more_are_asked_about_than_it_takes(server: OllamaServer) -> None:
    found = await installed_models(server.url, timeout=5, one=True)

    assert [model.completes for model in found or ()] == [False, False, True]
    assert shown(server) == 3


@pytest.mark.attack("server")
async def test_of_a_long_list_the_first_are_asked_about_and_the_rest_are_listed(server: OllamaServer) -> None:
    found = await installed_models(server.url, timeout=5) or []

    assert len(found) == MOST_DESCRIBED + 102
    assert sum(model.context is not None for model in found) == shown(server) == MOST_DESCRIBED
    assert not found[-1].completes


@pytest.mark.attack("terminal")
@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "x" * 201, "\u202egpj"])
async def test_a_model_whose_name_no_person_could_type_is_not_there(name: str) -> None:
    with OllamaServer(FakeModel("tiny"), FakeModel(name)) as server:
        found = await installed_models(server.url, timeout=5) or []

    assert [model.name for model in found] == ["tiny:latest"]
