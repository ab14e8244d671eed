"""Low-rank adapters of random numbers for any model, in GGUF files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from promptkit.runtimes.in_process.gguf_contents import read_contents


def write_adapter(
    path: Path,
    model: Path,
    *,
    seed: int = 0,
    rank: int = 1,
    strength: float = 1.0,
    matrix: str = "ffn_down.weight",
    training: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write an adapter that changes one matrix of each layer of a model, and return its path.

    A `strength` of 0 changes nothing. `training` is the note of what it was trained on; `changes` are other values of
    `architecture`, `kind` (of GGUF file) and `shape` (of the matrices).
    """
    contents = read_contents(model)
    writer = gguf.GGUFWriter(path, changes.get("architecture", contents.architecture))
    writer.add_type(changes.get("kind", "adapter"))
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    if training is not None:
        writer.add_string("promptkit.training", json.dumps(training))
    random = np.random.default_rng(seed)
    for name, tensor in contents.tensors.items():
        if name.startswith("blk.") and name.endswith(matrix):
            rows, columns = changes.get("shape", tensor.shape)
            first = random.normal(size=(rank, columns)) / np.sqrt(columns)
            second = random.normal(size=(rows, rank)) * strength
            writer.add_tensor(f"{name}.lora_a", first.astype(np.float32))
            writer.add_tensor(f"{name}.lora_b", second.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
