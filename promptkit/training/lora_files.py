"""Adapter files: low-rank changes of a model's matrices in a GGUF file that llama.cpp loads as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from promptkit.errors import InputError, Problem, place
from promptkit.runtimes.in_process.gguf_contents import GgufContents, Tensor, read_contents, wrong_gguf
from promptkit.runtimes.in_process.gguf_writer import NewTensor, encode_value, write_gguf
from promptkit.runtimes.in_process.weights import file_digest

TRAINING_KEY: Final = "promptkit.training"
"""The metadata that says of what and from what an adapter was made: a JSON object."""


class Factors(Protocol):
    """The factors of one matrix's change: `a` [layers, rank, in] and `b` [layers, out, rank]."""

    @property
    def a(self) -> Any: ...
    @property
    def b(self) -> Any: ...


@dataclass(frozen=True)
class LoraFile:
    """An adapter: by the name of the base's tensor the tensors of its factors, and what its file says of its making."""

    contents: GgufContents
    alpha: float
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    training: Mapping[str, Any]

    def scale(self, pair: tuple[Tensor, Tensor]) -> float:
        """Return the factor of b · a: alpha / rank, or 1 where the file names no alpha."""
        return self.alpha / pair[0].shape[0] if self.alpha else 1.0

    def check_base(self, base: GgufContents) -> None:
        """Raise InputError where the adapter was made for other weights, or its shapes are not those of the base."""
        adapter = self.contents
        if adapter.architecture != base.architecture:
            message = f"the adapter is for the architecture `{adapter.architecture}`, not `{base.architecture}`"
            raise wrong_gguf(adapter.path, message)
        if (made_for := self.training.get("base")) and made_for != file_digest(base.path):
            raise wrong_gguf(
                adapter.path,
                f"the adapter was trained on other weights than {place(base.path)}",
                hint=f"the SHA-256 of its weights is {str(made_for)[:64]}",
            )
        wrong = [misfit for name, pair in self.pairs.items() if (misfit := _misfit(base, name, pair))]
        if wrong:
            raise InputError(Problem(misfit, place(adapter.path)) for misfit in wrong[:10])


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


def read_lora(path: Path) -> LoraFile:
    """Read the table of an adapter. Raises InputError for a file that is not one, or whose factors do not fit."""
    contents = read_contents(path)
    if contents.text("general.type") != "adapter" or contents.text("adapter.type") != "lora":
        raise wrong_gguf(path, "this is not a LoRA adapter", hint="name a file that `promptkit train --adapter` wrote")
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for name, tensor in contents.tensors.items():
        stem, _, side = name.rpartition(".lora_")
        if not stem or side not in ("a", "b"):
            raise wrong_gguf(path, f"the tensor `{name}` is not a factor of a low-rank change")
        if side == "a":
            other = contents.tensors.get(f"{stem}.lora_b")
            if other is None or len(tensor.shape) != 2 or other.shape[1:] != tensor.shape[:1]:
                raise wrong_gguf(path, f"the factors of `{stem}` do not fit each other")
            pairs[stem] = (tensor, other)
        elif f"{stem}.lora_a" not in contents.tensors:
            raise wrong_gguf(path, f"the tensor `{stem}.lora_a` is missing")
    alpha = contents.metadata.get("adapter.lora.alpha", 0.0)
    if not isinstance(alpha, float) or not np.isfinite(alpha):
        raise wrong_gguf(path, "the metadata `adapter.lora.alpha` is not a number")
    return LoraFile(contents, alpha, pairs, _training(contents))


def _training(contents: GgufContents) -> Mapping[str, Any]:
    if TRAINING_KEY not in contents.metadata:
        return {}
    try:
        found = json.loads(contents.text(TRAINING_KEY))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise wrong_gguf(contents.path, f"the metadata `{TRAINING_KEY}` is not a JSON object")
    return found


def _misfit(base: GgufContents, name: str, pair: tuple[Tensor, Tensor]) -> str | None:
    shape = (pair[1].shape[0], pair[0].shape[1])
    if name not in base.tensors:
        return f"the adapter changes `{name[:80]}`, which the model does not have"
    if base.tensors[name].shape != shape:
        return (
            f"the adapter changes `{name}` of shape {list(shape)}; in the model it is {list(base.tensors[name].shape)}"
        )
    return None


def _float_tensor(name: str, values: np.ndarray[Any, Any]) -> NewTensor:
    return NewTensor(name, values.shape, 0, lambda: [values.tobytes()])
