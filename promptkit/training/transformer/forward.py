"""The forward pass: embeddings, layers with an adapter, log-probabilities. Pure functions for `jit` and `grad`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from promptkit.training.transformer.architectures import TransformerConfig
from promptkit.training.transformer.weights import BLOCK, Blocks, Weights


class LoraPair(NamedTuple):
    """The factors of one matrix's change: `a` [layers, rank, in] and `b` [layers, out, rank]."""

    a: Array
    b: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lora:
    """Low-rank changes of matrices (Hu et al. 2021): W + scale · b · a, on the layers from `first` on.

    `matrices` are by name of `architectures.MATRICES`, any of them; `scale` is alpha / rank.
    """

    matrices: dict[str, LoraPair]
    scale: float = field(metadata={"static": True})
    first: int = field(default=0, metadata={"static": True})

    @property
    def layers(self) -> int:
        """The number of layers that it changes."""
        return next(iter(self.matrices.values())).a.shape[0]


class VirtualTokens(NamedTuple):
    """Vectors in place of the rows of the token embedding that belong to some tokens.

    `ids` [n] and `vectors` [n, width], which are scaled as the rows of the table are.
    """

    ids: Array
    vectors: Array


class Packing(NamedTuple):
    """Several texts in one row, after a beginning that they share and that is computed once.

    `positions` [length] are the places' positions in their texts; `texts` [length] number the texts from 1, and are 0
    in the beginning, which all of them see.
    """

    positions: Array
    texts: Array


class _Rope(NamedTuple):
    """Cosines and sines [length, head size / 2] of layers that see everything, and of those with a window."""

    cos: Array
    sin: Array
    local_cos: Array
    local_sin: Array


def embed(config: TransformerConfig, weights: Weights, tokens: Array, virtual: VirtualTokens | None = None) -> Array:
    """Return the first states [rows, length, width] of tokens [rows, length]."""
    table = weights["embedding"]
    if isinstance(table, Blocks):
        states = _dequantized(Blocks(table.numbers[tokens], table.scales[tokens]))
    else:
        states = table[tokens].astype(jnp.float32)
    if virtual is not None:
        matches = tokens[..., None] == virtual.ids
        vectors = jnp.einsum("rln,nw->rlw", matches.astype(jnp.float32), virtual.vectors)
        states = jnp.where(matches.any(axis=-1)[..., None], vectors, states)
    return states * config.width**0.5 if config.architecture.scales_embedding else states


def run_layers(
    config: TransformerConfig,
    weights: Weights,
    states: Array,
    *,
    start: int = 0,
    stop: int | None = None,
    lora: Lora | None = None,
    packing: Packing | None = None,
) -> Array:
    """Return the states [rows, length, width] after the layers `start` to `stop` - 1, of the states before them.

    `start` and `stop` are static. A `lora` changes those of these layers that it has. With a `packing` each row holds
    several texts.
    """
    stop = config.layers if stop is None else stop
    if packing is None:
        packing = Packing(jnp.arange(states.shape[1]), jnp.ones(states.shape[1], jnp.int32))
    rope, masks = _rope(config, weights, packing.positions), _masks(config, packing)
    if lora is None or lora.first >= stop or lora.first + lora.layers <= start:
        return _scan(config, weights, states, start, stop, None, rope, masks)
    first, last = max(start, lora.first), min(stop, lora.first + lora.layers)
    part = jax.tree.map(lambda pair: pair[first - lora.first : last - lora.first], lora)
    states = _scan(config, weights, states, start, first, None, rope, masks)
    states = _scan(config, weights, states, first, last, part, rope, masks)
    return _scan(config, weights, states, last, stop, None, rope, masks)


def log_probabilities(config: TransformerConfig, weights: Weights, states: Array, places: Array) -> Array:
    """Return the log-probabilities [rows, n, vocabulary] of the token after each of the places [rows, n].

    `states` are those after the last layer. Only the places are projected, since the vocabulary is large.
    """
    chosen = jnp.take_along_axis(states, places[..., None], axis=1)
    output = weights["output"] if "output" in weights else weights["embedding"]
    logits = _times(_normed(chosen, weights["output_norm"], config.epsilon), output)
    return jax.nn.log_softmax(_capped(logits, config.output_cap), axis=-1)


def _scan(
    config: TransformerConfig,
    weights: Weights,
    states: Array,
    start: int,
    stop: int,
    lora: Lora | None,
    rope: _Rope,
    masks: tuple[Array, Array],
) -> Array:
    if start >= stop:
        return states
    layers = jax.tree.map(lambda matrix: matrix[start:stop], weights["layers"])
    local = jnp.asarray(config.local_layers[start:stop])
    pairs = {} if lora is None else lora.matrices
    scale = 0.0 if lora is None else lora.scale

    # Only the states between layers are kept for the gradient; a layer's own are computed again.
    @partial(jax.checkpoint, prevent_cse=False)
    def step(states: Array, layer: tuple[Any, Any, Array]) -> tuple[Array, None]:
        weights, pairs, is_local = layer
        return _layer(config, _Matrices(weights, pairs, scale), states, is_local, rope, masks), None

    return lax.scan(step, states, (layers, pairs, local))[0]


class _Matrices:
    """Multiplies by a layer's matrices, with their biases and an adapter's changes."""

    def __init__(self, weights: Weights, pairs: dict[str, LoraPair], scale: float) -> None:
        self.weights = weights
        self._pairs = pairs
        self._scale = scale

    def times(self, states: Array, name: str) -> Array:
        product = _times(states, self.weights[name])
        if pair := self._pairs.get(name):
            product = product + self._scale * (states @ pair.a.T @ pair.b.T)
        return product + self.weights[f"{name}_bias"] if f"{name}_bias" in self.weights else product


def _layer(
    config: TransformerConfig,
    matrices: _Matrices,
    states: Array,
    is_local: Array,
    rope: _Rope,
    masks: tuple[Array, Array],
) -> Array:
    architecture, weights = config.architecture, matrices.weights
    attended = _attention(
        config, matrices, _normed(states, weights["attn_norm"], config.epsilon), is_local, rope, masks
    )
    if architecture.post_norms:
        attended = _normed(attended, weights["post_attention_norm"], config.epsilon)
    states = states + attended
    normed = _normed(states, weights["ffn_norm"], config.epsilon)
    gate = matrices.times(normed, "ffn_gate")
    gate = jax.nn.gelu(gate, approximate=True) if architecture.gelu else jax.nn.silu(gate)
    fed = matrices.times(gate * matrices.times(normed, "ffn_up"), "ffn_down")
    if architecture.post_norms:
        fed = _normed(fed, weights["post_ffw_norm"], config.epsilon)
    return states + fed


def _attention(
    config: TransformerConfig,
    matrices: _Matrices,
    normed: Array,
    is_local: Array,
    rope: _Rope,
    masks: tuple[Array, Array],
) -> Array:
    rows, length, _ = normed.shape
    queries, keys, values = (
        matrices.times(normed, name).reshape(rows, length, -1, config.head_size)
        for name in ("attn_q", "attn_k", "attn_v")
    )
    if config.architecture.head_norms:
        queries = _normed(queries, matrices.weights["attn_q_norm"], config.epsilon)
        keys = _normed(keys, matrices.weights["attn_k_norm"], config.epsilon)
    cos, sin = jnp.where(is_local, rope.local_cos, rope.cos), jnp.where(is_local, rope.local_sin, rope.sin)
    queries, keys = (_rotated(config, heads, cos, sin) for heads in (queries, keys))
    grouped = queries.reshape(rows, length, config.kv_heads, -1, config.head_size) * config.attention_scale
    scores = _capped(jnp.einsum("rqkgd,rskd->rkgqs", grouped, keys), config.attention_cap)
    mask = jnp.where(is_local, masks[1], masks[0])
    shares = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), axis=-1)
    mixed = jnp.einsum("rkgqs,rskd->rqkgd", shares, values).reshape(rows, length, -1)
    return matrices.times(mixed, "attn_output")


def _rope(config: TransformerConfig, weights: Weights, places: Array) -> _Rope:
    factors = weights.get("rope_factors", 1.0)
    exponents = -jnp.arange(0, config.head_size, 2) / config.head_size
    positions = places.astype(jnp.float32)
    angles = jnp.outer(positions * config.rope_scale, config.rope_base**exponents / factors)
    local = jnp.outer(positions, config.local_rope_base**exponents / factors)
    return _Rope(jnp.cos(angles), jnp.sin(angles), jnp.cos(local), jnp.sin(local))


def _rotated(config: TransformerConfig, heads: Array, cos: Array, sin: Array) -> Array:
    """Return heads [rows, length, heads, size] turned by their positions (Su et al. 2021)."""
    cos, sin = cos[:, None, :], sin[:, None, :]
    if config.architecture.rotates_pairs:
        even, odd = heads[..., ::2], heads[..., 1::2]
        return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(heads.shape)
    half = config.head_size // 2
    low, high = heads[..., :half], heads[..., half:]
    return jnp.concatenate([low * cos - high * sin, low * sin + high * cos], axis=-1)


def _masks(config: TransformerConfig, packing: Packing) -> tuple[Array, Array]:
    """Return the masks [query, key] of attention: places before in the text, and those within the window."""
    positions, texts = packing
    distance = positions[:, None] - positions[None, :]
    seen = (distance >= 0) & ((texts[:, None] == texts[None, :]) | (texts[None, :] == 0))
    return seen, seen & (distance < (config.window or len(positions)))


def _normed(states: Array, scale: Array, epsilon: float) -> Array:
    return states * lax.rsqrt(jnp.mean(states * states, axis=-1, keepdims=True) + epsilon) * scale


def _capped(scores: Array, cap: float) -> Array:
    return jnp.tanh(scores / cap) * cap if cap else scores


def _times(states: Array, matrix: Array | Blocks) -> Array:
    """Return states [..., in] times a matrix [out, in], in float32."""
    numbers = _dequantized(matrix) if isinstance(matrix, Blocks) else matrix.astype(jnp.float32)
    return states @ numbers.T


def _dequantized(blocks: Blocks) -> Array:
    shape = blocks.numbers.shape
    numbers = blocks.numbers.reshape(*shape[:-1], -1, BLOCK).astype(jnp.float32)
    return (numbers * blocks.scales[..., None]).reshape(shape)
