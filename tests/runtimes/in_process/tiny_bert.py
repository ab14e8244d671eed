"""A BERT of random weights in a GGUF file of a few kilobytes: an embedding model that loads at once."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

WINDOW = 32
SIZE, INNER = 32, 64
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"\u2581{word}" for word in ("a", "cat", "dog", "ran"))]
CONTROL, NORMAL = 3, 1
UINT32, FLOAT32, BOOL, TEXT, LIST, INT32 = 4, 6, 7, 8, 9, 5
MEAN, CLS, RANK = 1, 2, 4
ALIGNMENT = 32


def write_bert(path: Path, *, pooling: int | None = MEAN) -> Path:
    """Write the model; `pooling` is how it says that it pools, in llama.cpp's numbers."""
    facts: dict[str, Any] = {
        "general.architecture": "bert",
        "bert.context_length": WINDOW,
        "bert.embedding_length": SIZE,
        "bert.feed_forward_length": INNER,
        "bert.block_count": 1,
        "bert.attention.head_count": 2,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        **({} if pooling is None else {"bert.pooling_type": pooling}),
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": VOCABULARY,
        "tokenizer.ggml.token_type": [CONTROL] * 5 + [NORMAL] * (len(VOCABULARY) - 5),
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.mask_token_id": 4,
    }
    tensors = _tensors()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts))
    head += b"".join(_text(key) + _value(value) for key, value in facts.items())
    offset = 0
    for name, values in tensors.items():
        shape = values.shape[::-1]
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        offset += _padded(values.nbytes)
    data = head.ljust(_padded(len(head)), b"\0")
    path.write_bytes(
        data + b"".join(values.tobytes().ljust(_padded(values.nbytes), b"\0") for values in tensors.values())
    )
    return path


def _tensors() -> Mapping[str, Any]:
    random = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return random.normal(size=shape, scale=0.3).astype(np.float32)

    norms = {
        name: np.ones(SIZE, np.float32)
        for name in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm")
    }
    layers = {name: (SIZE, SIZE) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    layers |= {"ffn_up": (INNER, SIZE), "ffn_down": (SIZE, INNER)}
    return {
        "token_embd.weight": weights(len(VOCABULARY), SIZE),
        "position_embd.weight": weights(WINDOW, SIZE),
        "token_types.weight": weights(2, SIZE),
        **{f"{name}.weight": ones for name, ones in norms.items()},
        **{f"{name}.bias": np.zeros(SIZE, np.float32) for name in norms},
        **{f"blk.0.{name}.weight": weights(*shape) for name, shape in layers.items()},
        **{f"blk.0.{name}.bias": np.zeros(shape[0], np.float32) for name, shape in layers.items()},
    }


def _padded(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    """Return a value of the metadata after the number of its type."""
    match value:
        case bool():
            return struct.pack("<I?", BOOL, value)
        case int():
            return struct.pack("<II", UINT32, value)
        case float():
            return struct.pack("<If", FLOAT32, value)
        case str():
            return struct.pack("<I", TEXT) + _text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", LIST, TEXT, len(value)) + b"".join(map(_text, value))
        case _:
            return struct.pack(f"<IIQ{len(value)}i", LIST, INT32, len(value), *value)
