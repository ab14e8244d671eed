"""The model that JAX computes against llama.cpp, on the same tokens, with and without an adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from promptkit.runtimes.in_process.weights import file_digest
from promptkit.training.gguf_copies import write_copy, write_embedding_rows
from promptkit.training.lora_files import write_lora
from promptkit.training.transformer.architectures import TransformerConfig
from promptkit.training.transformer.forward import Lora, LoraPair, VirtualTokens, embed, log_probabilities, run_layers
from promptkit.training.transformer.weights import Stored, Transformer, Weights
from tests.training.llama_answers import LlamaAnswers
from tests.training.tiny_gguf import ARCHITECTURES, TinyShape, vocabulary, write_tiny

SIZE = len(vocabulary())
TOKENS = np.random.default_rng(1).integers(7, SIZE, 32).tolist()
LENGTHS = (2, 13, 32)
"""Beginnings of the tokens that are compared: within a window of 8 tokens, and beyond it."""
PLACES = np.array([[length - 1 for length in LENGTHS]])
VARIANTS: dict[str, dict[str, Any]] = {
    "llama": {"rope_factors": True},
    "qwen2": {},
    "qwen3": {"tied": False},
    "gemma": {},
    "gemma2": {},
    "gemma3": {"shape": TinyShape(layers=7)},  # the sixth layer sees everything
}


def changed(lora: Lora, change: Callable[[Any], Any]) -> Lora:
    pairs = {name: LoraPair(change(pair.a), change(pair.b)) for name, pair in lora.matrices.items()}
    return Lora(pairs, lora.scale, lora.first)


@dataclass
class Case:
    """A tiny model with an adapter, in the folder where copies of it may be written."""

    path: Path
    adapter: Path
    model: Transformer
    lora: Lora
    compute: Callable[[Lora], np.ndarray[Any, Any]]

    @property
    def unchanged(self) -> Lora:
        """The adapter with zeros, which compiles to the same program."""
        return changed(self.lora, np.zeros_like)


def random_lora(model: Transformer, *, layers: int, first: int, rank: int = 4) -> Lora:
    random = np.random.default_rng(3)

    def factor(*shape: int) -> Any:
        return random.normal(size=shape, scale=0.15).astype(np.float32)

    shapes = model.config.matrix_shapes.items()
    pairs = {name: LoraPair(factor(layers, rank, size), factor(layers, out, rank)) for name, (out, size) in shapes}
    return Lora(pairs, scale=2.0, first=first)


def quickly(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})


def computed(
    model: Transformer, lora: Lora | None = None, virtual: VirtualTokens | None = None
) -> np.ndarray[Any, Any]:
    """Return the log-probabilities after each of the beginnings [lengths, vocabulary]."""
    return np.asarray(program(model.config)(model.weights, lora, virtual))


def program(config: TransformerConfig) -> Callable[..., jax.Array]:
    def log_probabilities_of(weights: Weights, lora: Lora | None, virtual: VirtualTokens | None = None) -> jax.Array:
        states = run_layers(config, weights, embed(config, weights, jnp.array([TOKENS]), virtual), lora=lora)
        return log_probabilities(config, weights, states, jnp.asarray(PLACES))[0]

    return quickly(log_probabilities_of)


def answered(path: Path, adapter: Path | None = None) -> np.ndarray[Any, Any]:
    llama = LlamaAnswers(path, adapter)
    return np.stack([llama.log_probabilities(TOKENS[:length], SIZE) for length in LENGTHS])


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp(request.param)
    path = write_tiny(folder / "tiny.gguf", request.param, **VARIANTS[request.param])
    model = Transformer.read(path, dtype="float32")
    # One architecture has an adapter on some layers alone: compiling takes a scan more.
    first = 1 if request.param == "llama" else 0
    lora = random_lora(model, layers=model.config.layers - first, first=first)
    adapter = folder / "step.lora.gguf"
    write_lora(
        adapter, request.param, lora.matrices, scale=lora.scale, first=lora.first, training={"base": file_digest(path)}
    )
    compute = program(model.config)
    return Case(path, adapter, model, lora, lambda lora: np.asarray(compute(model.weights, lora)))


def test_log_probabilities_are_those_of_llama_cpp(case: Case) -> None:
    # ggml takes GELU from a table of 16-bit numbers.
    tolerance = 5e-3 if case.model.config.architecture.gelu else 1e-4
    assert case.compute(case.unchanged) == pytest.approx(answered(case.path), abs=tolerance)


def test_an_adapter_changes_both_alike_and_so_does_its_merged_copy(case: Case) -> None:
    adapted = case.compute(case.lora)
    assert np.abs(adapted - case.compute(case.unchanged)).max() > 0.5
    tolerance = 2e-2 if case.model.config.architecture.gelu else 1e-3
    assert adapted == pytest.approx(answered(case.path, case.adapter), abs=tolerance)
    merged = case.path.with_name("merged.gguf")
    write_copy(case.path, merged, adapter=case.adapter)
    assert adapted == pytest.approx(answered(merged), abs=tolerance)


def test_stored_weights_give_what_the_file_gives_within_their_rounding(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", quantized="Q8_0")
    stores: tuple[Stored, ...] = ("float16", "int8")
    halves, blocks = (computed(Transformer.read(path, dtype=dtype)) for dtype in stores)
    assert 1e-4 < np.abs(halves - blocks).max() < 0.02  # the blocks are those of the file


def test_virtual_tokens_are_what_a_copy_with_their_rows_computes(tmp_path: Path) -> None:
    path, copy = write_tiny(tmp_path / "tiny.gguf", "gemma3", tied=False), tmp_path / "soft.gguf"
    model = Transformer.read(path, dtype="float32")
    ids, vectors = TOKENS[1:3], np.random.default_rng(2).normal(size=(2, 64)).astype(np.float32)
    virtual = VirtualTokens(jnp.asarray(ids), jnp.asarray(vectors))
    write_embedding_rows(path, dict(zip(ids, vectors, strict=True)), copy, facts={})
    soft = computed(model, virtual=virtual)
    assert np.abs(soft - answered(path)).max() > 0.1
    assert soft == pytest.approx(answered(copy), abs=5e-3)


def test_training_goes_on_from_the_states_of_the_lower_layers(tmp_path: Path) -> None:
    model = Transformer.read(write_tiny(tmp_path / "tiny.gguf", shape=TinyShape(layers=2)), dtype="float32")
    config, lora = model.config, random_lora(model, layers=1, first=1)

    def lower(weights: Weights) -> jax.Array:
        return run_layers(config, weights, embed(config, weights, jnp.array([TOKENS])), stop=1)

    def loss(lora: Lora, weights: Weights, kept: jax.Array) -> jax.Array:
        states = run_layers(config, weights, kept, start=1, lora=lora)
        return log_probabilities(config, weights, states, jnp.asarray(PLACES))[0, 2, 9]

    kept, descend = quickly(lower)(model.weights), quickly(jax.value_and_grad(loss))
    value, gradient = descend(lora, model.weights, kept)
    assert float(value) == pytest.approx(computed(model, lora)[2, 9], abs=1e-5)
    leaves = zip(*map(jax.tree.leaves, (lora, gradient)), strict=True)
    slope = sum(float(np.vdot(factor, by)) for factor, by in leaves)
    moved, _ = descend(changed(lora, lambda factor: factor * np.float32(1.001)), model.weights, kept)
    assert float(moved - value) == pytest.approx(slope * 0.001, rel=0.1)


def test_padding_at_the_right_changes_nothing(tmp_path: Path) -> None:
    model = Transformer.read(write_tiny(tmp_path / "tiny.gguf"), dtype="float32")
    tokens = jnp.array([TOKENS, [*TOKENS[:13], *[0] * 19]])
    states = quickly(lambda weights: run_layers(model.config, weights, embed(model.config, weights, tokens)))
    whole, padded = np.asarray(states(model.weights))
    assert padded[:13] == pytest.approx(whole[:13], abs=1e-5)
    assert np.abs(padded[13:] - whole[13:]).max() > 0.1
