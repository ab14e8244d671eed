"""Copies of a model's file with other numbers: an adapter merged, quantised, or rows of the embedding replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from promptkit.errors import place
from promptkit.runtimes.in_process.adapter_file import AdapterFile, LowRankPair, check_fits, read_adapter
from promptkit.runtimes.in_process.gguf import CONTROL, TOKEN_TYPES_KEY, TOKENS_KEY
from promptkit.runtimes.in_process.gguf_contents import EMBEDDING, GgufContents, Tensor, read_contents, wrong_gguf
from promptkit.runtimes.in_process.gguf_writer import NewTensor, check_other_file, copied, copy_metadata, write_gguf
from promptkit.training.tensor_numbers import (
    QUANTIZATIONS,
    Numbers,
    fine_type,
    fitting_type,
    read_numbers,
    read_rows,
    to_bytes,
)

_KEPT_FINER: Final = (EMBEDDING, "output.weight")
"""Matrices of the vocabulary, which are written as Q8_0 at least: coarser ones cost the most quality."""
_FILE_TYPES: Final = {"f32": 0, "f16": 1, "bf16": 32, "q4_0": 2, "q4_1": 3, "q5_0": 8, "q5_1": 9, "q8_0": 7}
"""llama.cpp's number of a file whose matrices are mostly of a type."""


def write_copy(path: Path, to: Path, *, adapter: Path | None = None, quantization: str | None = None) -> None:
    """Write a copy of a model with an adapter merged into its matrices, or quantised, or both.

    `quantization` is a name of `QUANTIZATIONS`; left out, each matrix keeps its type, but those that the adapter
    changes become Q8_0 where they have fewer bits. Raises InputError for files that do not fit, MissingExtra without
    the package `gguf`, StoreFailed where the copy cannot be written.
    """
    check_other_file(path, to)
    contents = read_contents(path)
    if contents.text("general.type") == "adapter":
        raise wrong_gguf(path, "this is an adapter, not a model", hint="name the model, and this file by --adapter")
    lora = read_adapter(adapter) if adapter is not None else None
    if lora is not None:
        check_fits(lora, path, str(place(path)))
    tensors = [_converted(contents, tensor, lora, quantization) for tensor in contents.tensors.values()]
    changes: dict[str, str | int] = {"general.quantization_version": 2}
    if quantization is not None:
        changes["general.file_type"] = _FILE_TYPES[quantization]
    done = [*(["adapter merged"] if lora else []), *([f"quantized as {quantization}"] if quantization else [])]
    write_gguf(to, copy_metadata(contents, changes, ", ".join(done)), tensors)


def write_embedding_rows(path: Path, rows: Mapping[int, Any], to: Path, *, facts: Mapping[str, str]) -> None:
    """Write a copy of a model with other rows of its token embedding: vectors [width] by token id.

    `facts` are texts for its metadata. Raises InputError for ids and vectors that do not fit, MissingExtra without the
    package `gguf`, StoreFailed where the copy cannot be written.
    """
    check_other_file(path, to)
    contents = read_contents(path)
    embedding = contents.tensors.get(EMBEDDING)
    if embedding is None:
        raise wrong_gguf(path, f"the tensor `{EMBEDDING}` is missing")
    vectors = {token: np.asarray(vector, np.float32) for token, vector in rows.items()}
    for token, vector in vectors.items():
        if not 0 <= token < embedding.shape[0] or vector.shape != embedding.shape[1:]:
            raise wrong_gguf(path, f"the token {token} with a vector of shape {list(vector.shape)} does not fit it")

    def replaced(numbers: Numbers, first: int) -> Numbers:
        changed = numbers.copy()
        for token, vector in vectors.items():
            if first <= token < first + len(numbers):
                changed[token - first] = vector
        return changed

    other = _changed(contents, embedding, fitting_type(fine_type(embedding.kind), embedding.shape[-1]), replaced)
    tensors = [other if tensor is embedding else copied(contents, tensor) for tensor in contents.tensors.values()]
    write_gguf(to, copy_metadata(contents, facts, "rows of the token embedding replaced"), tensors)


def unused_control_tokens(contents: GgufContents) -> dict[int, str]:
    """Return the control tokens that chats never use, by id: not in the chat template, and named by no role.

    They stand for themselves in a prompt, so that they can be the places of a soft prompt.
    """
    texts, kinds = contents.metadata.get(TOKENS_KEY), contents.metadata.get(TOKEN_TYPES_KEY)
    if not isinstance(texts, list) or not isinstance(kinds, tuple) or len(texts) != len(kinds):
        raise wrong_gguf(contents.path, "the file has no vocabulary with types of tokens")
    roles = {
        value
        for key, value in contents.metadata.items()
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id")
    }
    templates = "".join(contents.text(key) for key in contents.metadata if key.startswith("tokenizer.chat_template"))
    found = {}
    for token, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
        decoded = text.decode("utf-8", "replace")
        if kind == CONTROL and token not in roles and decoded and decoded not in templates:
            found[token] = decoded
    return found


def _converted(contents: GgufContents, tensor: Tensor, lora: AdapterFile | None, quantization: str | None) -> NewTensor:
    pair = lora.matrices.get(tensor.name) if lora is not None else None
    is_matrix = len(tensor.shape) > 1
    kind = tensor.kind
    if is_matrix and quantization is not None:
        kind = QUANTIZATIONS[quantization]
        kind = fitting_type(fine_type(kind) if tensor.name in _KEPT_FINER else kind, tensor.shape[-1])
    elif pair is not None:
        kind = fitting_type(fine_type(kind), tensor.shape[-1])
    if pair is None and kind == tensor.kind:
        return copied(contents, tensor)
    if lora is None or pair is None:
        return _changed(contents, tensor, kind, lambda rows, _: rows)
    return _changed(contents, tensor, kind, _merge(lora, tensor.name, pair))


def _merge(lora: AdapterFile, matrix: str, pair: LowRankPair) -> Callable[[Numbers, int], Numbers]:
    scale = lora.scale(pair)

    def merged(rows: Numbers, first: int) -> Numbers:
        a, b = (read_numbers(lora.contents, tensor) for tensor in (pair.a, pair.b))
        left, right = (a, b.T) if matrix == EMBEDDING else (b, a)
        return np.asarray(rows + scale * (left[first : first + len(rows)] @ right), np.float32)

    return merged


def _changed(contents: GgufContents, tensor: Tensor, kind: int, change: Callable[[Numbers, int], Numbers]) -> NewTensor:
    """Return a tensor of another type, or with `change` made to its rows, given with the number of the first."""

    def parts() -> Iterator[bytes]:
        first = 0
        for rows in read_rows(contents, tensor):
            yield to_bytes(change(rows, first), kind)
            first += len(rows)

    return NewTensor(tensor.name, tensor.shape, kind, parts)
