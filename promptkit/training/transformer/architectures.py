"""The table of architectures: the names in their GGUF files, and the points in which they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from promptkit.errors import InputError
from promptkit.runtimes.in_process.gguf_contents import GgufContents, wrong_gguf

MATRICES: Final = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
"""The matrices of a layer. An adapter may change any of them."""
BIASES: Final = ("attn_q", "attn_k", "attn_v")
MOST_LAYERS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Architecture:
    """The points in which architectures of decoders differ.

    `rotates_pairs`: RoPE turns the numbers 2i and 2i + 1 together, otherwise i and i + half. `head_norms`: each head of
    queries and keys is normalised. `post_norms`: attention and feed-forward are normalised before they are added.
    `scales_embedding`: embeddings are multiplied by the root of the width. `gelu`: the gate is GELU, otherwise SiLU.
    `window_period`: every n-th layer sees everything, the others a sliding window; 0 for no windows.
    `local_rope_base`: the RoPE base of layers with a window. `scaled_by_width_at`: the number of layers of the one
    model whose attention is scaled by width / heads.
    """

    rotates_pairs: bool = False
    head_norms: bool = False
    post_norms: bool = False
    scales_embedding: bool = False
    gelu: bool = False
    window_period: int = 0
    default_window: int = 0
    local_rope_base: float | None = None
    scaled_by_width_at: int = 0

    @property
    def norms(self) -> tuple[str, ...]:
        """The vectors that scale the norms of a layer."""
        heads = ("attn_q_norm", "attn_k_norm") if self.head_norms else ()
        post = ("post_attention_norm", "post_ffw_norm") if self.post_norms else ()
        return ("attn_norm", "ffn_norm", *heads, *post)


_GEMMA: Final = {"scales_embedding": True, "gelu": True}
ARCHITECTURES: Final = {
    "llama": Architecture(rotates_pairs=True),
    "qwen2": Architecture(),
    "qwen3": Architecture(head_norms=True),
    "gemma": Architecture(**_GEMMA),
    "gemma2": Architecture(**_GEMMA, post_norms=True, window_period=2, default_window=4096, scaled_by_width_at=46),
    "gemma3": Architecture(
        **_GEMMA, head_norms=True, post_norms=True, window_period=6, local_rope_base=10000.0, scaled_by_width_at=62
    ),
}


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """The sizes and constants of a model. Hashable, so a static argument of `jax.jit`.

    `window` is 0 without sliding windows. `local_layers` says for each layer if it has one. `rope_scale` multiplies
    positions on layers without a window. A cap of 0 is none.
    """

    name: str
    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    epsilon: float
    rope_base: float
    local_rope_base: float
    rope_scale: float
    window: int
    local_layers: tuple[bool, ...]
    attention_scale: float
    attention_cap: float
    output_cap: float

    @property
    def architecture(self) -> Architecture:
        """The row of the table."""
        return ARCHITECTURES[self.name]

    @property
    def matrix_shapes(self) -> dict[str, tuple[int, int]]:
        """The shape of each matrix of a layer: numbers out, numbers in."""
        queries, values = self.heads * self.head_size, self.kv_heads * self.head_size
        sizes = (
            (queries, self.width),
            (values, self.width),
            (values, self.width),
            (self.width, queries),
            (self.inner, self.width),
            (self.inner, self.width),
            (self.width, self.inner),
        )
        return dict(zip(MATRICES, sizes, strict=True))

    @property
    def norm_sizes(self) -> dict[str, int]:
        """The length of each vector that scales a norm of a layer."""
        return {
            name: self.head_size if name in ("attn_q_norm", "attn_k_norm") else self.width
            for name in self.architecture.norms
        }


def read_config(contents: GgufContents) -> TransformerConfig:
    """Return the sizes and constants of a model file. Raises InputError that names what cannot be trained."""
    name = contents.architecture
    if name not in ARCHITECTURES:
        raise wrong_gguf(
            contents.path,
            f"models of the architecture `{name}` cannot be trained" if name else "the file names no architecture",
            hint=f"architectures that can be: {', '.join(ARCHITECTURES)}",
        )
    if contents.text("general.type") == "adapter":
        raise wrong_gguf(contents.path, "this is an adapter, not a model")
    architecture, facts = ARCHITECTURES[name], _Facts(contents, name)
    layers, width, heads = (
        facts.count("block_count", most=MOST_LAYERS),
        facts.count("embedding_length"),
        facts.count("attention.head_count"),
    )
    head_size = facts.count("attention.key_length", width // heads)
    facts.refuse_unsupported(head_size)
    window = facts.count("attention.sliding_window", architecture.default_window, least=0)
    period = architecture.window_period if window else 0
    rope_base = facts.number("rope.freq_base", 10000.0)
    by_width = layers == architecture.scaled_by_width_at
    return TransformerConfig(
        name=name,
        layers=layers,
        width=width,
        inner=facts.count("feed_forward_length"),
        heads=heads,
        kv_heads=facts.count("attention.head_count_kv", heads),
        head_size=head_size,
        vocabulary=facts.vocabulary(),
        context=facts.count("context_length"),
        epsilon=facts.number("attention.layer_norm_rms_epsilon"),
        rope_base=rope_base,
        local_rope_base=facts.number("rope.freq_base_swa", architecture.local_rope_base or rope_base),
        rope_scale=facts.rope_scale(),
        window=window if period else 0,
        local_layers=tuple(bool(period) and layer % period < period - 1 for layer in range(layers)),
        attention_scale=1 / math.sqrt(width / heads if by_width else head_size),
        attention_cap=facts.number("attn_logit_softcapping", 50.0 if name == "gemma2" else 0.0),
        output_cap=facts.number("final_logit_softcapping", 30.0 if name == "gemma2" else 0.0),
    )


class _Facts:
    """Reads the numbers of a model's metadata. Raises InputError for one that is missing or not possible."""

    def __init__(self, contents: GgufContents, name: str) -> None:
        self._contents = contents
        self._name = name
        self.scaling = contents.text(f"{name}.rope.scaling.type") or "linear"

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number above 0; the default may be 0."""
        value = self._contents.metadata.get(f"{self._name}.{key}", default)
        if not isinstance(value, int | float) or not math.isfinite(value) or (value <= 0 and value != default):
            raise self._wrong(key, value)
        return float(value)

    def count(self, key: str, default: int | None = None, *, least: int = 1, most: int = 1 << 31) -> int:
        """Return a whole number within bounds."""
        value = self._contents.metadata.get(f"{self._name}.{key}", default)
        if not isinstance(value, int) or not least <= value <= most:
            raise self._wrong(key, value)
        return value

    def rope_scale(self) -> float:
        """Return the factor of positions. Older files have the divisor under another key."""
        divisor = self.number("rope.scaling.factor", self.number("rope.scale_linear", 1.0))
        return 1 / divisor if self.scaling == "linear" else 1.0

    def vocabulary(self) -> int:
        """Return the number of tokens: the rows of the token embedding."""
        embedding = self._contents.tensors.get("token_embd.weight")
        if embedding is None:
            raise wrong_gguf(self._contents.path, "the tensor `token_embd.weight` is missing")
        return embedding.shape[0]

    def refuse_unsupported(self, head_size: int) -> None:
        """Raise InputError for variants that only llama.cpp computes."""
        found = (
            (self.scaling not in ("none", "linear"), f"the RoPE scaling `{self.scaling}`"),
            (self.count("expert_count", 0, least=0) > 0, "a mixture of experts"),
            (self.count("attention.value_length", head_size) != head_size, "values of another size than keys"),
            (self.count("rope.dimension_count", head_size) != head_size, "RoPE on a part of a head"),
            (head_size % 2 == 1, "heads of an odd size"),
        )
        for is_there, words in found:
            if is_there:
                raise wrong_gguf(self._contents.path, f"this `{self._name}` model has {words}, which cannot be trained")

    def _wrong(self, key: str, value: Any) -> InputError:
        shown = "is missing" if value is None else f"is {str(value)[:60]}, which is not possible"
        return wrong_gguf(self._contents.path, f"the metadata `{self._name}.{key}` {shown}")
