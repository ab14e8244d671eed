"""The loss of replies, and the gradient step of a low-rank adapter or of a soft prompt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import Array

from promptkit.training.transformer.architectures import TransformerConfig
from promptkit.training.transformer.forward import (
    Lora,
    LoraPair,
    Packing,
    VirtualTokens,
    embed,
    log_probabilities,
    run_layers,
)
from promptkit.training.transformer.weights import Weights

Parameters = Any
"""The pytree that is fitted."""


class Texts(NamedTuple):
    """The input of a method: tokens [rows, length], or the states before its first layer, and their packing."""

    given: Array
    packing: Packing | None


class Replies(NamedTuple):
    """The parts of a batch that the loss reads, as `Batch` has them."""

    places: Array
    targets: Array
    weights: Array
    allowed: Array


class Method(Protocol):
    """A way to change a model: its parameters, and the model's last states under them. Hashable."""

    @property
    def first_layer(self) -> int:
        """The first layer that the change reaches: the states before it never change. 0 if the embeddings do."""

    def initial(self, config: TransformerConfig, weights: Weights, seed: int) -> Parameters:
        """Return parameters that change nothing yet, or as little as possible."""

    def states(self, config: TransformerConfig, weights: Weights, parameters: Parameters, texts: Texts) -> Array:
        """Return the states after the last layer [rows, length, width]."""


@dataclass(frozen=True)
class AdapterMethod:
    """Low-rank changes of `matrices` on the layers from `first_layer` on (Hu et al. 2021)."""

    first_layer: int
    rank: int
    alpha: float
    matrices: tuple[str, ...]

    def initial(self, config: TransformerConfig, weights: Weights, seed: int) -> Lora:
        """Return factors whose product is 0: `a` random as in the paper's code, `b` zero."""
        keys = jax.random.split(jax.random.key(seed), len(self.matrices))
        layers = config.layers - self.first_layer
        pairs: dict[str, LoraPair] = {}
        for key, name in zip(keys, self.matrices, strict=True):
            out, into = config.matrix_shapes[name]
            bound = into**-0.5
            a = jax.random.uniform(key, (layers, self.rank, into), jnp.float32, -bound, bound)
            pairs[name] = LoraPair(a, jnp.zeros((layers, out, self.rank), jnp.float32))
        return Lora(pairs, self.alpha / self.rank, self.first_layer)

    def states(self, config: TransformerConfig, weights: Weights, parameters: Lora, texts: Texts) -> Array:
        """Return the last states under the adapter."""
        states = texts.given if self.first_layer else embed(config, weights, texts.given)
        return run_layers(config, weights, states, start=self.first_layer, lora=parameters, packing=texts.packing)


@dataclass(frozen=True)
class SoftPromptMethod:
    """Vectors in place of the embeddings of some tokens (Lester et al. 2021). `like` are the tokens they begin as."""

    tokens: tuple[int, ...]
    like: tuple[int, ...]
    first_layer: int = 0

    def initial(self, config: TransformerConfig, weights: Weights, seed: int) -> Array:
        """Return the embeddings of the tokens `like`."""
        rows = embed(config, weights, jnp.asarray([self.like]))[0]
        return rows / config.width**0.5 if config.architecture.scales_embedding else rows

    def states(self, config: TransformerConfig, weights: Weights, parameters: Array, texts: Texts) -> Array:
        """Return the last states with the vectors in their places."""
        virtual = VirtualTokens(jnp.asarray(self.tokens), parameters)
        return run_layers(config, weights, embed(config, weights, texts.given, virtual), packing=texts.packing)


@partial(jax.jit, static_argnums=(0, 1))
def lower_states(config: TransformerConfig, stop: int, weights: Weights, texts: Texts) -> Array:
    """Return the states [rows, length, width] before the layer `stop`, of tokens."""
    return run_layers(config, weights, embed(config, weights, texts.given), stop=stop, packing=texts.packing)


def _reply_logprobs(
    config: TransformerConfig, method: Method, weights: Weights, parameters: Parameters, texts: Texts, replies: Replies
) -> tuple[Array, Array]:
    """Return the log-probabilities of all tokens at the replies' places, and those of the replies' tokens."""
    states = method.states(config, weights, parameters, texts)
    logprobs = log_probabilities(config, weights, states, replies.places)
    logprobs = logprobs.reshape(*replies.targets.shape, -1)
    return logprobs, jnp.take_along_axis(logprobs, replies.targets[..., None], axis=-1)[..., 0]


@partial(jax.jit, static_argnums=(0, 1))
def measure(
    config: TransformerConfig, method: Method, weights: Weights, parameters: Parameters, texts: Texts, replies: Replies
) -> tuple[Array, Array]:
    """Return for each example [size] its loss, summed over the reply's tokens, and if greedy decoding gives the reply.

    Among the allowed tokens where there are any: that is the answer of a model that is held to the set.
    """
    logprobs, right = _reply_logprobs(config, method, weights, parameters, texts, replies)
    if replies.allowed.shape[-1]:
        others = jnp.take_along_axis(logprobs, replies.allowed, axis=-1).max(axis=-1)
    else:
        others = logprobs.max(axis=-1)
    is_right = (right >= others) | (replies.weights == 0)
    return -(right * replies.weights).sum(axis=-1), is_right.all(axis=-1)


@partial(jax.jit, static_argnums=(0, 1, 2))
def train_step(
    config: TransformerConfig,
    method: Method,
    optimizer: optax.GradientTransformation,
    weights: Weights,
    parameters: Parameters,
    state: optax.OptState,
    texts: Texts,
    replies: Replies,
) -> tuple[Parameters, optax.OptState, Array]:
    """Return the parameters and the optimizer's state after one step, and the mean loss of the replies' tokens."""

    def loss(parameters: Parameters) -> Array:
        _, right = _reply_logprobs(config, method, weights, parameters, texts, replies)
        return -(right * replies.weights).sum() / jnp.maximum(replies.weights.sum(), 1.0)

    value, gradient = jax.value_and_grad(loss)(parameters)
    updates, state = optimizer.update(gradient, state, parameters)
    return optax.apply_updates(parameters, updates), state, value
