"""A model's size is read from its name in one way, and estimated from its weights where the name is silent."""

from __future__ import annotations

import pytest

from promptkit.runtimes.base import Model
from promptkit.runtimes.model_size import billions, named_parameters, parameter_bounds


def model(reference: str, size: int | None = None) -> Model:
    return Model(reference=reference, digest="d", capabilities=frozenset(), size=size)


@pytest.mark.parametrize(
    ("reference", "parameters"),
    [
        ("ollama/qwen3:0.6b", 0.6e9),
        ("ollama/qwen3:14B-q4", 14e9),
        ("ollama/llama3_8b", 8e9),
        ("ollama/mixtral:8x7b", 7e9),
        ("hf/owner/SmolLM2-135M-GGUF/file.gguf", 135e6),
        ("hf/owner/Qwen2.5-14B-draft-1B/file.gguf", 14e9),
        ("openai/gpt-4.1-mini@https://host/v1", None),
        ("ollama/v2beta", None),
        ("gguf:model.Q4_1.gguf", None),
        ("ollama/model:7bit", None),
    ],
)
def test_the_size_is_read_from_the_name(reference: str, parameters: float | None) -> None:
    assert named_parameters(reference) == parameters


@pytest.mark.parametrize(
    ("reference", "size", "expected"),
    [
        ("ollama/mixtral:8x7b", 26_000_000_000, 7),
        ("embedded/smollm2", 98_000_000, 0.14),
        ("embedded/qwen2.5-coder-0.5b", 491_400_064, 0.5),
        ("ollama/large", 7_000_000_000, 10),
        ("ollama/large", None, None),
    ],
)
def test_without_a_size_in_the_name_the_weights_suggest_one(
    reference: str, size: int | None, expected: float | None
) -> None:
    assert billions(model(reference, size)) == expected


def test_the_bytes_of_weights_bound_the_size_by_sixteen_and_four_bits() -> None:
    assert parameter_bounds(model("ollama/large", 4 * 10**9)) == (2e9, 8e9)
    assert parameter_bounds(model("ollama/large:7b", 4 * 10**9)) == (7e9, 7e9)
    assert parameter_bounds(model("ollama/large")) is None
