"""Language models of random weights in GGUF files of some 200 kB, one for each architecture that can be trained.

llama.cpp loads them at once, tokenizes each byte as a token, and answers with whatever the weights say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3")
CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<repo_name>",
    "<reponame>",
    "<file_sep>",
    "<filename>",
)
"""The control tokens; chats use the first three."""
END, TURN_START, TURN_END = range(3)
MERGED = ("Ġt", "he", "in")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class TinyShape:
    """The sizes of a tiny model."""

    layers: int = 3
    width: int = 64
    inner: int = 128
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 16
    window: int = 512


def vocabulary() -> list[str]:
    """Return the tokens: control tokens, one for each byte (in GPT-2's letters), and a few merged pairs."""
    return [*CONTROL_TOKENS, *_byte_letters(), *MERGED]


def write_tiny(
    path: Path,
    architecture: str = "llama",
    *,
    seed: int = 0,
    shape: TinyShape | None = None,
    quantized: str = "F32",
    tied: bool = True,
    rope_factors: bool = False,
    without: frozenset[str] = frozenset(),
) -> Path:
    """Write a model of random weights and return its path.

    `quantized` names the type of the matrices ("F32", "F16", "Q8_0", …), `tied` leaves the output matrix to the token
    embedding, `rope_factors` divide the frequencies of RoPE as in Llama 3, `without` names tensors to leave out.
    Gemma 3 has windows on five layers of six, so a shape of three layers has nothing but windows.
    """
    shape = shape or TinyShape()
    writer = gguf.GGUFWriter(path, architecture)
    _add_facts(writer, architecture, shape)
    _add_tokenizer(writer)
    kind = gguf.GGMLQuantizationType[quantized]
    tensors = _tensors(architecture, shape, seed, tied)
    if rope_factors:
        tensors["rope_freqs.weight"] = np.linspace(1, 8, shape.head_size // 2, dtype=np.float32)
    for name, values in tensors.items():
        if name in without:
            continue
        if values.ndim == 1:
            writer.add_tensor(name, values)
        else:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_facts(writer: Any, architecture: str, shape: TinyShape) -> None:
    writer.add_name(f"tiny {architecture}")
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.window)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-6)
    if architecture not in ("llama", "qwen2"):
        writer.add_key_length(shape.head_size)
        writer.add_value_length(shape.head_size)
    if not architecture.startswith("gemma"):
        writer.add_rope_freq_base(10000.0)
    if architecture in ("gemma2", "gemma3"):
        writer.add_sliding_window(8)
    if architecture == "gemma2":
        # Far lower than in real models, so that they matter for small scores.
        writer.add_attn_logit_softcapping(1.0)
        writer.add_final_logit_softcapping(2.0)
    if architecture == "gemma3":
        writer.add_rope_freq_base(1000000.0)
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(8.0)


def _add_tokenizer(writer: Any) -> None:
    tokens = vocabulary()
    normal = len(tokens) - len(CONTROL_TOKENS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([int(gguf.TokenType.CONTROL)] * len(CONTROL_TOKENS) + [int(gguf.TokenType.NORMAL)] * normal)
    writer.add_token_merges([f"{pair[0]} {pair[1]}" for pair in MERGED])
    writer.add_bos_token_id(TURN_START)
    writer.add_eos_token_id(TURN_END)
    writer.add_pad_token_id(TURN_END)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _tensors(architecture: str, shape: TinyShape, seed: int, tied: bool) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int, scale: float = 1.0) -> np.ndarray[Any, Any]:
        return np.asarray(random.normal(size=(rows, columns)) * scale / np.sqrt(columns), np.float32)

    def norm(size: int) -> np.ndarray[Any, Any]:
        return random.uniform(0.6, 1.4, size).astype(np.float32)

    queries, values = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    sizes = {
        "attn_q": (queries, shape.width),
        "attn_k": (values, shape.width),
        "attn_v": (values, shape.width),
        "attn_output": (shape.width, queries),
        "ffn_gate": (shape.inner, shape.width),
        "ffn_up": (shape.inner, shape.width),
        "ffn_down": (shape.width, shape.inner),
    }
    norms = {"attn_norm": shape.width, "ffn_norm": shape.width}
    if architecture in ("qwen3", "gemma3"):
        norms |= {"attn_q_norm": shape.head_size, "attn_k_norm": shape.head_size}
    if architecture in ("gemma2", "gemma3"):
        norms |= {"post_attention_norm": shape.width, "post_ffw_norm": shape.width}
    # Small enough that a token's own embedding does not decide the next token.
    scale = 1.0 if architecture.startswith("gemma") else 2.0
    tensors = {
        "token_embd.weight": matrix(len(vocabulary()), shape.width, scale),
        "output_norm.weight": norm(shape.width),
    }
    if not tied:
        tensors["output.weight"] = matrix(len(vocabulary()), shape.width, scale)
    for layer in range(shape.layers):
        tensors |= {f"blk.{layer}.{name}.weight": matrix(*size) for name, size in sizes.items()}
        tensors |= {f"blk.{layer}.{name}.weight": norm(size) for name, size in norms.items()}
        if architecture == "qwen2":
            biases = {"attn_q": queries, "attn_k": values, "attn_v": values}
            tensors |= {f"blk.{layer}.{name}.bias": norm(size) - 1 for name, size in biases.items()}
    return tensors


def _byte_letters() -> list[str]:
    """Return the letter that stands for each byte in GPT-2's byte-level vocabularies."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown} | {byte: chr(256 + at) for at, byte in enumerate(hidden)}
    return [letters[byte] for byte in range(256)]
