"""llama.cpp's own log-probabilities, against which the JAX model and written files are held."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from promptkit.runtimes.in_process.llama_cpp import LlamaServer, load_library

LETTER = 108
"""A token of one ASCII letter in a tiny vocabulary. llama.cpp reports nothing for a piece of a longer character."""


class LlamaAnswers(LlamaServer):
    """A model of a GGUF file with or without an adapter, in a small window."""

    def __init__(self, path: Path, adapter: Path | None = None) -> None:
        library = load_library()
        parameters = {
            "lora_adapters": [library.CommonAdapterLoraInfo(str(adapter), 1.0)] if adapter else [],
            # Flash attention and the cache's 16 bits would round each layer's states.
            "flash_attn_type": library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED,
            "cache_type_k": library.ggml_type.GGML_TYPE_F32,
            "cache_type_v": library.ggml_type.GGML_TYPE_F32,
        }
        super().__init__(path, context=256, slots=1, threads=1, parameters=parameters)

    def _warm_up(self) -> None:
        self._server.handle_completions({"prompt": "a", "max_tokens": 1})

    def log_probabilities(self, tokens: Sequence[int], vocabulary: int) -> np.ndarray[Any, Any]:
        """Return the log-probability of each token of the vocabulary after `tokens`."""
        query = {"prompt": list(tokens), "max_tokens": 1, "n_probs": vocabulary, "logit_bias": [[LETTER, 1000]]}
        answer = self._server.handle_completions({**query, "temperature": 0})
        values = np.full(vocabulary, np.nan)
        for entry in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            values[entry["id"]] = entry["logprob"]
        return values
