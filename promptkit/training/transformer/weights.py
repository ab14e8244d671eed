"""The weights of a GGUF file as JAX arrays, one array a matrix for all layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from promptkit.errors import InputError, Problem, place
from promptkit.runtimes.in_process.gguf_contents import GgufContents, read_contents
from promptkit.training.tensor_numbers import Numbers, read_numbers, read_rows
from promptkit.training.transformer.architectures import BIASES, TransformerConfig, read_config

Stored = Literal["float32", "float16", "bfloat16", "int8"]
BLOCK = 32
"""Numbers that share a scale where weights are kept as int8."""

Weights = dict[str, Any]
"""`embedding`, `output` unless it is tied, `output_norm`, `rope_factors` of some models, and `layers`: by tensor name
an array or `Blocks` with the layers as first dimension."""


class Blocks(NamedTuple):
    """A matrix as int8 numbers with one scale for each 32 of a row: [..., out, in] and [..., out, in / 32]."""

    numbers: Array
    scales: Array


@dataclass(frozen=True)
class Transformer:
    """A model that was read: its configuration, and its weights as a pytree."""

    config: TransformerConfig
    weights: Weights

    @classmethod
    def read(cls, path: Path, *, dtype: Stored = "float16") -> Transformer:
        """Read a GGUF file. Matrices are stored as `dtype`; computing is in float32 whatever they are.

        "int8" takes half the memory of "float16" and keeps the quality of Q8_0. Raises InputError for an architecture
        that is not in the table, a cut file, and tensors that are missing, unknown or of a wrong shape.
        """
        contents = read_contents(path)
        config = read_config(contents)
        return cls(config, _Reader(contents, config, dtype).weights())


class _Reader:
    """Reads the tensors of a model, after all of them were checked."""

    def __init__(self, contents: GgufContents, config: TransformerConfig, dtype: Stored) -> None:
        self._contents = contents
        self._config = config
        self._dtype = dtype
        self._biases = tuple(name for name in BIASES if f"blk.0.{name}.bias" in contents.tensors)
        self._check()

    def weights(self) -> Weights:
        config, there = self._config, self._contents.tensors
        vectors = {name: f"{name}.weight" for name in config.norm_sizes}
        vectors |= {f"{name}_bias": f"{name}.bias" for name in self._biases}
        weights: Weights = {
            "embedding": self._stored(lambda _: "token_embd.weight", (1, config.vocabulary, config.width), single=True),
            "output_norm": jnp.asarray(self._numbers("output_norm.weight")),
            "layers": {
                **{name: self._layers(f"{name}.weight", shape) for name, shape in config.matrix_shapes.items()},
                **{key: self._vectors(name) for key, name in vectors.items()},
            },
        }
        if "output.weight" in there:
            shape = (1, config.vocabulary, config.width)
            weights["output"] = self._stored(lambda _: "output.weight", shape, single=True)
        if "rope_freqs.weight" in there:
            weights["rope_factors"] = jnp.asarray(self._numbers("rope_freqs.weight"))
        return weights

    def _check(self) -> None:
        """Raise InputError with every tensor that is missing, unknown or of a wrong shape."""
        config, there = self._config, self._contents.tensors
        wanted: dict[str, tuple[int, ...]] = {"token_embd.weight": (config.vocabulary, config.width)}
        wanted["output_norm.weight"] = (config.width,)
        for layer in range(config.layers):
            wanted |= {f"blk.{layer}.{name}.weight": shape for name, shape in config.matrix_shapes.items()}
            wanted |= {f"blk.{layer}.{name}.weight": (size,) for name, size in config.norm_sizes.items()}
            wanted |= {f"blk.{layer}.{name}.bias": config.matrix_shapes[name][:1] for name in self._biases}
        optional = {"output.weight": (config.vocabulary, config.width), "rope_freqs.weight": (config.head_size // 2,)}
        wanted |= {name: shape for name, shape in optional.items() if name in there}
        wrong = [f"the tensor `{name}` is missing" for name in wanted if name not in there]
        wrong += [
            f"the tensor `{name}` has the shape {list(there[name].shape)}, not {list(shape)}"
            for name, shape in wanted.items()
            if name in there and there[name].shape != shape
        ]
        wrong += [f"the tensor `{name}` is not one of a `{config.name}` model" for name in there if name not in wanted]
        if config.heads % config.kv_heads:
            wrong.append(f"{config.heads} heads cannot share {config.kv_heads} heads of keys and values")
        if wrong:
            shown = [*wrong[:10], *([f"and {len(wrong) - 10} more"] if len(wrong) > 10 else [])]
            raise InputError(Problem(message, place(self._contents.path)) for message in shown)

    def _numbers(self, name: str) -> Numbers:
        return read_numbers(self._contents, self._contents.tensors[name])

    def _vectors(self, name: str) -> Array:
        return jnp.asarray(np.stack([self._numbers(f"blk.{layer}.{name}") for layer in range(self._config.layers)]))

    def _layers(self, name: str, shape: tuple[int, int]) -> Array | Blocks:
        return self._stored(lambda layer: f"blk.{layer}.{name}", (self._config.layers, *shape))

    def _stored(self, name: Callable[[int], str], shape: tuple[int, ...], *, single: bool = False) -> Array | Blocks:
        """Return matrices of one shape, the layers as first dimension; a `single` one without that dimension.

        They are converted some rows at a time, so that no whole matrix lies in memory in float32.
        """
        if self._dtype == "int8" and shape[-1] % BLOCK == 0:
            numbers, scales = np.empty(shape, np.int8), np.empty((*shape[:-1], shape[-1] // BLOCK), np.float32)
            for layer, at, rows in self._rows(name, shape[0]):
                numbers[layer, at], scales[layer, at] = to_blocks(rows)
            return Blocks(jnp.asarray(numbers[0] if single else numbers), jnp.asarray(scales[0] if single else scales))
        stored = np.empty(shape, jnp.dtype("float16" if self._dtype == "int8" else self._dtype))
        for layer, at, rows in self._rows(name, shape[0]):
            stored[layer, at] = rows
        return jnp.asarray(stored[0] if single else stored)

    def _rows(self, name: Callable[[int], str], layers: int) -> Iterator[tuple[int, slice, Numbers]]:
        """Yield the rows of the matrices in groups, each with its layer and its place there."""
        for layer in range(layers):
            first = 0
            for rows in read_rows(self._contents, self._contents.tensors[name(layer)]):
                yield layer, slice(first, first + len(rows)), rows
                first += len(rows)


def to_blocks(matrix: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return a matrix [out, in] as int8 numbers and their scales, as Q8_0 rounds them."""
    blocks = matrix.reshape(*matrix.shape[:-1], -1, BLOCK)
    scales = np.abs(blocks).max(axis=-1) / 127
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    return np.rint(blocks * inverse[..., None]).astype(np.int8).reshape(matrix.shape), scales
