"""Similarity of meaning, by embeddings where a model has them, else by words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.evaluation.metrics import Score
from promptkit.runtimes import Scripted
from tests.engine.helpers import Folder
from tests.engine.helpers import Given as Models
from tests.evaluation.metrics.given import given, metric, sample

PLACES = {"cat": [1.0, 0.0], "kitten": [0.8, 0.6], "car": [0.0, 1.0], "anti-cat": [-1.0, 0.0], "": [0.0, 0.0]}


def embedding(**named: list[float]) -> Scripted:
    places: Callable[[str], list[float]] = {**PLACES, **named}.__getitem__
    return Scripted([], embedder=places, reference="scripted/embeddings")


async def score(got: object, expected: object, runtime: Scripted) -> Score:
    return await metric("embedding").judge(given(got, expected), Models(runtime))


@pytest.mark.parametrize(
    ("got", "expected", "value"), [("cat", "cat", 1), ("kitten", "cat", 0.8), ("car", "cat", 0), ("", "cat", 0)]
)
async def test_the_score_is_the_cosine_of_the_embeddings(got: str, expected: str, value: float) -> None:
    found = await score(got, expected, embedding())
    assert found.value == pytest.approx(value)
    assert found.detail["by"] == "scripted/embeddings"


async def test_what_points_away_is_no_better_than_nothing() -> None:
    found = await score("anti-cat", "cat", embedding())
    assert (found.value, found.detail["cosine"]) == (0, -1)


async def test_a_model_without_embeddings_leaves_the_words_and_the_estimate_says_so() -> None:
    of = metric("embedding")
    models = Models(Scripted([]))
    same, other, none = [
        await of.judge(given(text, "the line drops"), models) for text in ("The line drops", "the line", "a bill")
    ]
    assert same.value == pytest.approx(1) and none.value == 0
    assert other.value is not None and 0 < other.value < 1
    found = of.estimate(sample([of.numbers(each) for each in (same, other, none)]))
    assert any("TF-IDF" in note for note in found.notes)


async def test_embeddings_leave_no_such_note() -> None:
    of = metric("embedding")
    found = of.estimate(sample([of.numbers(await score("kitten", "cat", embedding()))]))
    assert not any("TF-IDF" in note for note in found.notes)


async def test_the_model_that_is_named_is_the_one_that_is_asked(folder: Folder) -> None:
    of = metric("embedding", {"model": "ollama/nomic-embed-text"}, folder=folder.root)
    models = Models(Scripted([]), **{"ollama/nomic-embed-text": embedding()})
    assert of.model == "ollama/nomic-embed-text"
    assert (await of.judge(given("cat", "cat"), models)).detail["by"] == "scripted/embeddings"


def test_a_model_that_is_no_reference_is_told(folder: Folder) -> None:
    with pytest.raises(InputError):
        metric("embedding", {"model": "nonsense"}, folder=folder.root)


@drawn(st.text(max_size=30), st.text(max_size=30))
async def test_any_two_texts_have_a_score_within_the_bounds(got: str, expected: str) -> None:
    found = await score(got, expected, Scripted([]))
    assert found.value is not None and 0 <= found.value <= 1
