"""The memory that a training takes, estimated before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from promptkit.training.fitting.batches import Layout, Shape
from promptkit.training.transformer.architectures import TransformerConfig

LIBRARIES: Final = 700 << 20
"""Bytes that Python, JAX, its compiler and llama.cpp's library take, measured."""
FLOAT: Final = 4
LAYER_COPIES: Final = 3
"""The copies of one layer's activations that are held at once, measured: values, gradients and buffers."""


def estimate_memory(
    config: TransformerConfig,
    layout: Layout,
    *,
    first_layer: int,
    parameters: int,
    tokens: int,
    weight_bytes: float,
) -> int:
    """Return the peak memory of a training in bytes, an upper estimate.

    `parameters` are the numbers that are fitted, `tokens` those of all examples, and `weight_bytes` the bytes in which
    a number of the frozen weights is stored.
    """
    matrices = sum(out * into for out, into in config.matrix_shapes.values())
    vocabulary = config.vocabulary * config.width
    weights = weight_bytes * (config.layers * matrices + 2 * vocabulary)
    # Within a layer, and at the output, matrices are float32, and so are their transposes.
    unpacked = 2 * FLOAT * max(matrices, vocabulary)
    kept = FLOAT * tokens * config.width if first_layer else 0
    fitted = 8 * FLOAT * parameters
    largest = max(_activations(config, layout, shape, first_layer) for shape in layout.shapes)
    return int(LIBRARIES + weights + unpacked + kept + fitted + largest)


def _activations(config: TransformerConfig, layout: Layout, shape: Shape, first_layer: int) -> int:
    rows, length = layout.tokens(shape)
    between = rows * length * config.width * (config.layers - first_layer + 1)
    attention = rows * config.heads * length**2
    inside = LAYER_COPIES * (attention + rows * length * (6 * config.width + 4 * config.inner))
    output = LAYER_COPIES * layout.size * shape.replies * config.vocabulary
    return FLOAT * (between + inside + output)


def available_memory() -> int | None:
    """Return the memory in bytes that a process can take here without swapping, None where the system does not say."""
    found = [size for size in (_of_machine(), _of_group()) if size is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return None


def _of_group() -> int | None:
    """Return the bytes left to a container's control group (version 2)."""
    try:
        folder = Path("/sys/fs/cgroup")
        most = (folder / "memory.max").read_text().strip()
        return None if most == "max" else max(0, int(most) - int((folder / "memory.current").read_text()))
    except (OSError, ValueError):
        return None
