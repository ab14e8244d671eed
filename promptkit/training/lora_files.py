"""Writing adapter files: low-rank changes of a model's matrices in a GGUF file that llama.cpp loads as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from promptkit.runtimes.in_process.adapter_file import TRAINING_KEY
from promptkit.runtimes.in_process.gguf_writer import NewTensor, encode_value, write_gguf


class Factors(Protocol):
    """The factors of one matrix's change: `a` [layers, rank, in] and `b` [layers, out, rank]."""

    @property
    def a(self) -> Any: ...
    @property
    def b(self) -> Any: ...


def write_lora(
    path: Path,
    architecture: str,
    matrices: Mapping[str, Factors],
    *,
    scale: float,
    first: int = 0,
    training: Mapping[str, Any],
) -> None:
    """Write an adapter of consecutive layers, from `first` on.

    `matrices` are by name of `architectures.MATRICES`, all of one rank; `training` is what the file says of its making,
    with the digest of the weights under `base`. Raises StoreFailed where it cannot be written.
    """
    tensors, rank = [], 0
    for name, pair in matrices.items():
        a, b = np.asarray(pair.a, np.float32), np.asarray(pair.b, np.float32)
        rank = a.shape[1]
        for at in range(len(a)):
            stem = f"blk.{first + at}.{name}.weight"
            tensors += [_float_tensor(f"{stem}.lora_a", a[at]), _float_tensor(f"{stem}.lora_b", b[at])]
    metadata: dict[str, str | float] = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": float(scale * rank),
        TRAINING_KEY: json.dumps(training, ensure_ascii=False),
    }
    write_gguf(path, {key: encode_value(value) for key, value in metadata.items()}, tensors)


def _float_tensor(name: str, values: np.ndarray[Any, Any]) -> NewTensor:
    return NewTensor(name, values.shape, 0, lambda: [values.tobytes()])
