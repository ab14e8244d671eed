"""Vectors of texts in the process: of an embedding model, and of a model that answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from promptkit.errors import ContextOverflow, ModelLoadFailed, RequestRefused, ServerFailed, Unsupported
from promptkit.runtimes.base import HiddenState, Message, Request
from promptkit.runtimes.in_process.cut_model import cut_models_folder
from promptkit.runtimes.in_process.embedded import Embedded, open_embedded
from promptkit.runtimes.in_process.embedding_model import EmbeddingModel
from promptkit.runtimes.in_process.gguf import ModelKind, read_kind
from promptkit.runtimes.in_process.llama_cpp import Embedder
from tests.runtimes.in_process.tiny_bert import CLS, MEAN, RANK, WINDOW, write_bert


@pytest.fixture
async def bert(tmp_path: Path) -> AsyncIterator[EmbeddingModel]:
    runtime = EmbeddingModel(write_bert(tmp_path / "bert.gguf"), reference="gguf:bert.gguf", threads=1)
    yield runtime
    await runtime.close()


def length(vector: list[float]) -> float:
    return sum(number**2 for number in vector)


async def test_an_embedding_model_is_described_with_its_own_window(bert: EmbeddingModel) -> None:
    model = await bert.model()
    assert model.capabilities == {"embeddings", "tokenize"}
    assert model.embeds_well
    assert model.context == WINDOW
    assert len(model.digest.partition("+llama.cpp-")[0]) == 64


async def test_each_text_has_a_unit_vector_that_depends_on_no_other_text(bert: EmbeddingModel) -> None:
    together = await bert.embed(["a cat", "a dog ran", "a cat", ""])
    assert [length(vector) for vector in together] == pytest.approx([1, 1, 1, 1])
    assert together[0] == together[2] == (await bert.embed(["a cat"]))[0]
    assert together[0] != together[1]
    assert await bert.embed([]) == []


async def test_many_callers_embed_at_once(bert: EmbeddingModel) -> None:
    alone = await bert.embed(["a cat", "a dog"])
    assert await asyncio.gather(*(bert.embed(["a cat", "a dog"]) for _ in range(20))) == [alone] * 20


async def test_a_text_that_does_not_fit_is_an_error_with_its_length_and_the_window(bert: EmbeddingModel) -> None:
    assert len(await bert.embed(["cat " * (WINDOW - 2)])) == 1  # with the tokens at both ends of a text
    with pytest.raises(ContextOverflow, match=f"has {WINDOW + 1} tokens, the window {WINDOW}"):
        await bert.embed(["a cat", "cat " * (WINDOW - 1)])


async def test_what_is_no_text_is_refused(bert: EmbeddingModel) -> None:
    with pytest.raises(RequestRefused, match="surrogate"):
        await bert.embed(["\ud800"])


async def test_an_embedding_model_answers_nothing(bert: EmbeddingModel) -> None:
    with pytest.raises(Unsupported, match="is an embedding model"):
        await bert.answer(Request(prompt="a"))


async def test_closing_ends_the_embedding_of_many_texts(bert: EmbeddingModel) -> None:
    running = asyncio.create_task(bert.embed(["a cat"] * 100_000))
    await bert.model()
    await bert.close()
    with pytest.raises(ServerFailed, match="closed"):
        await running
    with pytest.raises(ServerFailed, match="closed"):
        await bert.embed(["a cat"])


async def test_cancelling_gives_the_thread_back(bert: EmbeddingModel) -> None:
    running = [asyncio.create_task(bert.embed(["a cat"] * 100_000)) for _ in range(2)]
    await asyncio.sleep(0)
    for task in running:
        task.cancel()
    assert len(await bert.embed(["a dog"])) == 1


def test_the_file_says_how_vectors_are_pooled(tmp_path: Path) -> None:
    files = {pooling: write_bert(tmp_path / f"{pooling}.gguf", pooling=pooling) for pooling in (MEAN, CLS, None)}
    vectors = {pooling: Embedder(file, context=2048, threads=1).embed("a cat ran") for pooling, file in files.items()}
    assert vectors[MEAN] == vectors[None]
    assert vectors[MEAN] != vectors[CLS]
    assert read_kind(files[CLS]) == ModelKind("bert", trained=WINDOW, pooling=CLS)


def test_a_reranker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match="is a reranker"):
        Embedder(write_bert(tmp_path / "rank.gguf", pooling=RANK), context=2048, threads=1)


def test_a_file_is_opened_as_what_it_is(tmp_path: Path, model_file: Path) -> None:
    assert isinstance(open_embedded(write_bert(tmp_path / "bert.gguf"), "gguf:bert.gguf"), EmbeddingModel)
    assert isinstance(open_embedded(model_file, "embedded/smollm2"), Embedded)
    assert read_kind(model_file) == ModelKind("llama", trained=8192)
    assert read_kind(write_bert(tmp_path / "none.gguf", pooling=0)).pooling is None
    (tmp_path / "no.gguf").write_bytes(b"GGUF\x03")
    assert read_kind(tmp_path / "no.gguf") == read_kind(tmp_path / "nothing.gguf") == ModelKind("")


async def test_a_model_that_answers_embeds_at_the_same_time_and_loads_for_it_only_when_asked(model_file: Path) -> None:
    runtime = Embedded(model_file, reference="both", context=256, slots=1)
    model = await runtime.model()
    assert "embeddings" in model.capabilities
    assert not model.embeds_well
    assert not runtime._embedders
    question = Request(prompt="The capital of France is", max_tokens=1)
    reply, vectors, other = await asyncio.gather(
        runtime.answer(question), runtime.embed(["a cat", "a dog"]), runtime.answer(question)
    )
    assert reply.text == other.text == " Paris"
    assert [len(vector) for vector in vectors] == [576, 576]
    assert length(vectors[0]) == pytest.approx(1)
    await runtime.close()
    assert not runtime._embedders


async def test_a_model_that_answers_gives_the_vectors_of_its_layers(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path))
    runtime = Embedded(model_file, reference="both", context=256, slots=1)
    model = await runtime.model()
    assert model.layers == 30
    assert "hidden_states" in model.capabilities
    messages = (Message("user", "A fine <|im_end|> film."),)
    states = [HiddenState(15, "last"), HiddenState(30, "last"), HiddenState(15, "mean")]
    replies = [await runtime.answer(Request(messages=messages, begun="Mood:", hidden_state=state)) for state in states]
    assert {len(reply.vector) for reply in replies} == {576}
    assert len({reply.vector for reply in replies}) == 3
    assert {reply.tokens_in for reply in replies} == {await runtime.count(messages, "Mood:")}
    assert [copy.name[-8:] for copy in cut_models_folder().iterdir()] == ["-15.gguf"]
    await runtime.forget_layers(but=None)
    assert not list(cut_models_folder().iterdir())
    await runtime.close()
