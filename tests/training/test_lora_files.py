"""Adapter files that training writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from promptkit.runtimes.in_process.adapter_file import check_fits, read_adapter
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.training.lora_files import write_lora
from tests.training.tiny_gguf import write_tiny


class Pair(NamedTuple):
    a: Any
    b: Any


def test_an_adapter_keeps_its_factors_its_scale_and_the_facts_of_its_training(tmp_path: Path) -> None:
    base = write_tiny(tmp_path / "base.gguf")
    pair = Pair(np.full((2, 4, 64), 0.1, np.float32), np.full((2, 64, 4), 0.2, np.float32))
    facts = {"step": "sört", "base": file_digest(base), "rows": ["a"], "seed": 3}
    write_lora(path := tmp_path / "sort.lora.gguf", "llama", {"attn_q": pair}, scale=2.0, first=1, training=facts)
    adapter = read_adapter(path)
    assert set(adapter.matrices) == {"blk.1.attn_q.weight", "blk.2.attn_q.weight"}
    assert adapter.alpha == 8  # scale times rank
    assert adapter.scale(adapter.matrices["blk.1.attn_q.weight"]) == 2
    assert adapter.training is not None
    assert adapter.training.model_dump() == {**facts, "architecture": "", "rows": ("a",)}
    check_fits(adapter, base, "base.gguf")
