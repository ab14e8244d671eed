"""The two ways to change a model for a step: a low-rank adapter, and a soft prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from promptkit.runtimes.in_process.gguf import SOFT_PROMPT_KEY
from promptkit.runtimes.in_process.gguf_contents import GgufContents, read_contents, wrong_gguf

if TYPE_CHECKING:
    from promptkit.training.fitting.objective import Method
    from promptkit.training.transformer.architectures import TransformerConfig

RANK: Final = 8
ALPHA: Final = 16.0
VECTORS: Final = 8
BOS_TOKENIZERS: Final = ("llama",)
"""Tokenizers that begin each text with a token of their own unless the file says otherwise."""


class Kind(Protocol):
    """A way to change a model. `suffix` ends its file's name, `rate` is the peak learning rate."""

    @property
    def name(self) -> Literal["adapter", "soft prompt"]: ...
    @property
    def suffix(self) -> str: ...
    @property
    def rate(self) -> float: ...

    def first_layer(self, config: TransformerConfig) -> int:
        """Return the first layer that it reaches; 0 where it changes the embeddings."""

    def count(self, config: TransformerConfig) -> int:
        """Return the number of fitted numbers."""

    def tokens(self, weights: Path) -> tuple[int, ...]:
        """Return the tokens that begin each prompt under it. Raises InputError for weights that cannot have it."""

    def method(self, config: TransformerConfig, weights: Path) -> Method:
        """Return the method of the fit."""

    def write(
        self, file: Path, weights: Path, config: TransformerConfig, parameters: Any, description: Mapping[str, Any]
    ) -> None:
        """Write its file. Raises StoreFailed."""


@dataclass(frozen=True, slots=True)
class AdapterKind:
    """Low-rank changes of all matrices of the upper half of the layers; the lower half's states are computed once."""

    name: Literal["adapter"] = "adapter"
    suffix: str = ".lora.gguf"
    rate: float = 1e-3

    def first_layer(self, config: TransformerConfig) -> int:
        return config.layers // 2

    def count(self, config: TransformerConfig) -> int:
        sizes = sum(sum(shape) for shape in config.matrix_shapes.values())
        return RANK * sizes * (config.layers - self.first_layer(config))

    def tokens(self, weights: Path) -> tuple[int, ...]:
        return ()

    def method(self, config: TransformerConfig, weights: Path) -> Method:
        from promptkit.training.fitting.objective import AdapterMethod
        from promptkit.training.transformer.architectures import MATRICES

        return AdapterMethod(self.first_layer(config), RANK, ALPHA, MATRICES)

    def write(
        self, file: Path, weights: Path, config: TransformerConfig, parameters: Any, description: Mapping[str, Any]
    ) -> None:
        from promptkit.training.lora_files import write_lora

        write_lora(
            file,
            config.name,
            parameters.matrices,
            scale=parameters.scale,
            first=parameters.first,
            training=description,
        )


@dataclass(frozen=True, slots=True)
class SoftPromptKind:
    """Vectors in the places of control tokens that chats never use, at the beginning of each prompt.

    Its file is a copy of the model with these rows of the token embedding.
    """

    name: Literal["soft prompt"] = "soft prompt"
    suffix: str = ".soft.gguf"
    rate: float = 1e-2

    def first_layer(self, config: TransformerConfig) -> int:
        return 0

    def count(self, config: TransformerConfig) -> int:
        return VECTORS * config.width

    def tokens(self, weights: Path) -> tuple[int, ...]:
        from promptkit.training.gguf_copies import unused_control_tokens

        contents = read_contents(weights)
        if SOFT_PROMPT_KEY in contents.metadata:
            raise wrong_gguf(weights, "this model has a soft prompt already", hint="name the model it was made from")
        # Not those that end a text, which a model must be able to write.
        unused = [token for token, text in unused_control_tokens(contents).items() if "end" not in text]
        found = tuple(sorted(unused)[-VECTORS:])
        if not found:
            message = "the vocabulary has no control tokens that chats never use, so no place for a soft prompt"
            raise wrong_gguf(weights, message, hint="--adapter needs none")
        return found

    def method(self, config: TransformerConfig, weights: Path) -> Method:
        from promptkit.training.fitting.objective import SoftPromptMethod

        tokens = self.tokens(weights)
        # Rows of frequent tokens, which stand first in vocabularies made by merging.
        like = tuple((300 + 97 * at) % config.vocabulary for at in range(len(tokens)))
        return SoftPromptMethod(tokens, like)

    def write(
        self, file: Path, weights: Path, config: TransformerConfig, parameters: Any, description: Mapping[str, Any]
    ) -> None:
        from promptkit.runtimes.in_process.adapter_file import TRAINING_KEY
        from promptkit.training.gguf_copies import write_embedding_rows

        tokens = self.tokens(weights)
        facts = {
            SOFT_PROMPT_KEY: json.dumps(list(tokens)),
            TRAINING_KEY: json.dumps(description, ensure_ascii=False),
        }
        write_embedding_rows(weights, dict(zip(tokens, parameters, strict=True)), file, facts=facts)


def begins_texts(contents: GgufContents) -> bool:
    """Tell whether llama.cpp puts a token of the model's own before each text."""
    usual = contents.text("tokenizer.ggml.model") in BOS_TOKENIZERS
    return bool(contents.metadata.get("tokenizer.ggml.add_bos_token", usual))
