"""Rows that nearly repeat each other: which are found, and which are only alike."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.evaluation.suite import row_clusters
from promptkit.evaluation.suite.row_clusters import LEAST_SIMILARITY, repeated_rows
from promptkit.tuning.confirmation.verdict import paired_gain
from tests.tuning.tunings import rows as numbered_rows

VOCABULARY = [
    a + b + c for a in ("ba", "do", "ki", "lu", "me") for b in ("ra", "so", "ti", "vu") for c in "bdgklmnprst"
]


def texts(count: int, seed: int = 0, *, length: int = 20) -> list[str]:
    """Return sentences of words by Zipf's law."""
    chance = random.Random(seed)
    weights = [1 / (5 + number) for number in range(len(VOCABULARY))]
    return [" ".join(chance.choices(VOCABULARY, weights, k=length)) for _ in range(count)]


def reworded(text: str, share: float, seed: int = 0) -> str:
    """Return a text with a share of its words replaced."""
    chance = random.Random(f"{seed}{text}")
    replaced = chance.sample(range(len(text.split())), round(share * len(text.split())))
    return " ".join(chance.choice(VOCABULARY) if at in replaced else word for at, word in enumerate(text.split()))


def originals(rows: list[str], answers: list[str] | None = None) -> list[int]:
    return repeated_rows([{"text": text} for text in rows], answers or ["same"] * len(rows))


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (str.upper, 100),
        (lambda text: f"Hello! {text} Thank you.", 100),
        (lambda text: " ".join(reversed(text.split())), 100),
        (lambda text: reworded(text, 0.1), 95),
        (lambda text: reworded(text, 0.2), 80),
        (lambda text: " ".join(text.split()[:15]), 90),
    ],
)
def test_a_row_in_nearly_the_same_words_repeats_the_earlier_one(change: object, least: int) -> None:
    assert callable(change)
    rows = texts(100)
    found = originals([*rows, *map(change, rows)])

    assert sum(found[100 + at] == at for at in range(100)) >= least


def test_rows_of_other_words_repeat_none() -> None:
    rows = texts(400)

    assert originals(rows) == list(range(400))


def test_a_row_with_half_of_the_words_replaced_repeats_none() -> None:
    rows = texts(100)

    assert sum(found != at for at, found in enumerate(originals([*rows, *(reworded(text, 0.5) for text in rows)]))) <= 2


def test_rows_of_one_template_differ_where_most_of_what_is_rare_in_them_differs() -> None:
    assert originals([row["text"] for row in numbered_rows(60)]) == list(range(60))


def test_rows_of_other_answers_or_of_another_input_repeat_none() -> None:
    text = texts(1)[0]
    others = texts(20, 1)
    documents = [{"document": text, "question": other} for other in others]

    assert originals([text, text.upper()], ["good", "bad"]) == [0, 1]
    assert repeated_rows(documents, [""] * 20) == list(range(20))


def test_rows_without_words_repeat_none() -> None:
    assert originals(["?", "!", ""]) == [0, 1, 2]
    assert repeated_rows([], []) == []


def test_a_row_repeats_the_first_of_its_like_and_no_chain_is_made() -> None:
    first = texts(1)[0]
    steps = [first]
    for seed in range(4):
        steps.append(reworded(steps[-1], 0.2, seed))
    found = originals([*steps, *texts(40, 1)])

    assert found[1] == 0
    assert found[4] != found[0]
    assert all(found[at] == at for at in set(found))


def test_rows_of_a_script_without_blanks_are_compared_too() -> None:
    rows = [
        "荷物がまだ届いていません。いつ届きますか。",
        "荷物がまだ届いていません。いつ届きますか?",
        "代金を二回請求されました。",
    ]

    assert originals([*rows, *texts(20)])[:3] == [0, 0, 2]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(VOCABULARY[:12]), min_size=1, max_size=6), min_size=2, max_size=14))
def test_no_similar_pair_is_missed(rows: list[list[str]]) -> None:
    values = [" ".join(row) for row in rows]
    field = row_clusters._Field(values)
    places = np.arange(len(rows))
    pairs = row_clusters._Prefixes([field]).likely_pairs(places, places)
    similar = {
        (row, other)
        for row in places.tolist()
        for other in range(row)
        if field.similarity(np.array([row]), np.array([other]))[0] >= LEAST_SIMILARITY
    }

    assert similar <= set(zip(*(found.tolist() for found in pairs), strict=True))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = texts(60)
    rows += [reworded(text, 0.1) for text in rows]
    whole = originals(rows)
    monkeypatch.setattr(row_clusters, "BLOCK", 7)

    assert originals(rows) == whole


def test_clusters_keep_rows_in_other_words_from_making_chance_significant() -> None:
    chance = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), 4)
    false = {"rows": 0, "clusters": 0}
    for _ in range(60):
        first, second = (np.repeat(chance.random(30) < 0.7, 4).astype(float) for _ in range(2))
        false["rows"] += paired_gain(first, second).low > 0
        false["clusters"] += paired_gain(first, second, clusters=clusters).low > 0

    assert false["rows"] >= 8
    assert false["clusters"] <= 2
