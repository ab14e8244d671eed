"""Shipped demonstrations are shown on steps whose answers are of their kind, one's own on every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.techniques.calls import read_call
from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench

LABELS = {"label": ["positive", "negative"]}
OWN: dict[str, dict[str, Any]] = {
    "contrastive_cot": {
        "reason": {"input": "OWN?", "thoughts": "T", "output": "negative", "wrong_thoughts": "F", "wrong_output": "no"}
    },
    "least_to_most": {"reduce": {"input": "OWN?", "questions": ["What?"]}},
    "chain_of_symbol": {"reason": {"input": "OWN?", "thoughts": "A | B", "output": "negative"}},
    "tree_of_thoughts": {"propose": {"question": "OWN?", "path": [], "steps": ["A"], "confidences": ["high"]}},
    "pal": {"program": {"input": "OWN?", "output": "def solution():\n    return 1"}},
}
SHIPPED = {
    "contrastive_cot": (LABELS, "number", "A bus has 30 seats."),
    "least_to_most": (LABELS, "number", "Nora has 6 stamps."),
    "chain_of_symbol": ("number", "list", "Brick C lies on the floor."),
    "tree_of_thoughts": (LABELS, "text", "Use 2, 3 and 5 once each"),
    "program_of_thoughts": (LABELS, "number", "A bakery sells 24 loaves"),
    "pal": (LABELS, "number", "Mia had 12 pencils."),
}
"""Techniques, with a kind of answer that their demonstrations do not suit, one that they suit, and words of them."""


async def first_request(folder: Path, technique: Any, answer: Any) -> str:
    bench = Bench(folder, lambda request: "negative", answer)
    await perform(technique, bench.step(decide="generate"))
    return bench.texts[0]


@pytest.mark.parametrize("name", SHIPPED)
async def test_shipped_demonstrations_are_shown_where_they_suit_the_answer(tmp_path: Path, name: str) -> None:
    _, suiting, words = SHIPPED[name]

    assert words in await first_request(tmp_path, name, suiting)


@pytest.mark.parametrize("name", SHIPPED)
async def test_elsewhere_neither_they_nor_a_heading_for_them_are_shown(tmp_path: Path, name: str) -> None:
    other, _, words = SHIPPED[name]

    text = await first_request(tmp_path, name, other)

    assert words not in text
    assert "FEW_SHOT_EXAMPLES" not in text


@pytest.mark.parametrize("name", OWN)
async def test_ones_own_demonstrations_are_shown_whatever_the_answer(tmp_path: Path, name: str) -> None:
    demos = {call: [demo] for call, demo in OWN[name].items()}

    assert "OWN?" in await first_request(tmp_path, {name: {"demos": demos}}, LABELS)


def test_an_unknown_answer_type_is_an_error_of_the_front_matter(tmp_path: Path) -> None:
    file = tmp_path / "ask.j2"
    file.write_text("---\ndemos_for: [nummer]\n---\n{% extends prompt %}\n")

    with pytest.raises(InputError, match="no answer type `nummer`"):
        read_call(file)
