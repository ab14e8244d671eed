"""BLEU, chrF and ROUGE: what the packages say, from counts, with intervals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from pytest import approx

from promptkit.errors import InputError, MissingExtra
from promptkit.evaluation.metrics.base import MetricInput
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.similarity import LONGEST_TEXT, distance
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder
from tests.engine.helpers import Given as Models
from tests.evaluation.metrics.given import between, given, metric, sample, scored, told

GOT = ["The cat sat on the mat.", "A dog barks.", "It rains in the north today.", "Nobody answers the phone."]
WANTED = ["The cat is on the mat.", "A dog was barking.", "It rains in the north.", "Nobody picks up the phone."]


texts = st.text(max_size=30)


def cells(got: list[str], wanted: list[Any]) -> list[MetricInput]:
    return [given(each, expected) for each, expected in zip(got, wanted, strict=True)]


@pytest.mark.parametrize("parameters", [{}, {"lowercase": True}, {"tokenize": "char"}])
def test_bleu_is_sacrebleus_of_the_whole_corpus(parameters: dict[str, Any]) -> None:
    from sacrebleu.metrics.bleu import BLEU

    theirs = BLEU(**parameters).corpus_score(GOT, [WANTED]).score
    found = told(metric("bleu", parameters), cells(GOT * 3, WANTED * 3))
    assert found.mean == pytest.approx(theirs)
    assert found.low is not None and found.high is not None and 0 <= found.low <= theirs <= found.high <= 100


@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_is_sacrebleus_of_the_whole_corpus(word_order: int) -> None:
    from sacrebleu.metrics.chrf import CHRF

    of = metric("chrf", {"word_order": word_order})
    theirs = CHRF(word_order=word_order).corpus_score(GOT, [WANTED]).score
    assert told(of, cells(GOT, WANTED)).mean == pytest.approx(theirs)
    assert len(list(of.numbers(of.measure(given("a", "b"))))) == len(of.columns)


def test_the_score_of_a_cell_is_the_sentences() -> None:
    from sacrebleu.metrics.bleu import BLEU

    score = metric("bleu").measure(given(GOT[0], WANTED[0]))
    assert score.value == pytest.approx(BLEU(effective_order=True).sentence_score(GOT[0], [WANTED[0]]).score)


@pytest.mark.parametrize("word", ["bleu", "chrf"])
def test_a_corpus_score_is_no_mean_of_its_sentences(word: str) -> None:
    found = told(metric(word), cells([*GOT, "a"], [*WANTED, "a"]))
    assert found.mean != pytest.approx(found.parts["mean of sentences"])


@pytest.mark.parametrize("word", ["bleu", "chrf"])
def test_of_several_expected_texts_any_may_be_met(word: str) -> None:
    of = metric(word)
    several = of.measure(given("a small dog barks loudly", ["a cat", "a small dog barks loudly"])).value
    assert several == pytest.approx(100)


@pytest.mark.parametrize("word", ["bleu", "chrf"])
def test_an_answer_that_is_none_is_an_empty_text_of_the_corpus(word: str) -> None:
    of = metric(word)
    unparsed = [*cells(GOT, WANTED), given(None, WANTED[0], flag="unparsed")]
    empty = [*cells(GOT, WANTED), given("", WANTED[0])]
    assert of.unanswered(unparsed[-1]).value == 0
    assert told(of, unparsed).mean == told(of, empty).mean
    # The corpus is longer by what was not said.
    with_it, without = told(of, unparsed).mean, told(of, cells(GOT, WANTED)).mean
    assert with_it is not None and without is not None and with_it < without


@pytest.mark.parametrize("word", ["bleu", "chrf"])
def test_a_variant_that_is_nearer_everywhere_is_better_and_a_variant_is_not_better_than_itself(word: str) -> None:
    rows = 12
    near = [given(f"The line of customer {n} drops every evening", f"The line of customer {n} drops every evening now")
            for n in range(rows)]  # fmt: skip
    far = [given(f"Something is wrong with {n}", f"The line of customer {n} drops every evening now")
           for n in range(rows)]  # fmt: skip
    found = between(metric(word), near, far)
    assert found.low is not None and found.low > 0 and found.p is not None and found.p < 0.01
    assert (found.better, found.worse, found.n) == (rows, 0, rows)
    turned = between(metric(word), far, near)
    assert turned.difference == pytest.approx(-(found.difference or 0))
    same = between(metric(word), near, near)
    assert (same.difference, same.p) == (0, 1)


@pytest.mark.parametrize("word", ["bleu", "chrf"])
@settings(max_examples=40)
@drawn(
    st.text(max_size=30) | st.none() | st.integers() | st.lists(st.text()), st.text(max_size=30) | st.lists(st.text())
)
def test_any_answer_has_a_score_within_the_bounds_and_its_counts(word: str, got: Any, expected: Any) -> None:
    of = metric(word)
    numbers = list(of.numbers(of.measure(given(got, expected))))
    assert 0 <= numbers[0] <= 100 and len(numbers) == len(of.columns)
    assert all(number >= 0 and number == int(number) for number in numbers[1:])


@pytest.mark.parametrize("word", ["bleu", "chrf"])
def test_equal_texts_have_the_best_score_and_no_more(word: str) -> None:
    found = told(metric(word), cells(WANTED * 3, WANTED * 3))
    assert (found.mean, found.low, found.high) == (100, 100, 100)


def test_few_rows_are_said_to_be_few() -> None:
    assert any("100" in note for note in told(metric("chrf"), cells(GOT * 3, WANTED * 3)).notes)


@pytest.mark.parametrize("word", ["bleu", "chrf"])
def test_of_a_handful_of_rows_there_is_no_interval_and_so_no_verdict(word: str) -> None:
    """All resamples of three rows that are nearer are nearer: a quarter of all pairs of equal systems shows that."""
    near, far = cells(WANTED[:3], WANTED[:3]), cells(GOT[:3], WANTED[:3])
    one, apart = told(metric(word), near), between(metric(word), near, far)
    assert (one.low, one.high, apart.low, apart.high, apart.spread) == (None,) * 5
    assert one.notes == apart.notes == ("fewer than 10 rows are too few for a bootstrap interval",)
    assert apart.difference is not None and apart.difference > 0 and apart.p == 0.25


def test_repeats_of_a_row_are_one_row_of_the_bootstrap() -> None:
    of = metric("chrf")
    twice = of.estimate(scored(of, cells(GOT * 2, WANTED * 2), [0, 1, 2, 3] * 2))
    once = told(of, cells(GOT, WANTED))
    assert (twice.mean, twice.low, twice.high) == (once.mean, once.low, once.high)
    assert (twice.n, twice.clusters) == (8, 4)


@pytest.mark.parametrize(("variant", "value"), [("rouge1", 1.0), ("rouge2", 0.5), ("rougeL", 2 / 3)])
def test_rouge_counts_shared_words(variant: str, value: float) -> None:
    score = metric("rouge", {"variant": variant}).measure(given("sat the cat", "the cat sat"))
    assert score.value == pytest.approx(value)


def test_rouge_of_several_expected_texts_is_that_of_the_nearest() -> None:
    assert metric("rouge").measure(given("a dog", ["a cat sat", "a dog"])).value == 1


def test_rouge_says_that_it_cannot_read_a_script() -> None:
    assert metric("rouge").wrong_expected("кошка") and not metric("rouge").wrong_expected("a cat")
    with pytest.raises(ValueError, match="a-z"):
        metric("rouge").measure(given("кошка", "кошка"))


@pytest.mark.parametrize("word", ["bleu", "chrf", "rouge"])
def test_without_its_package_a_metric_says_what_to_install(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("sacrebleu", "rouge_score"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"promptkit\[text\]"):
        metric(word)


def by_table(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        above, row = row, [i]
        for j, right in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (left != right)))
    return row[-1]


@drawn(st.text("abcé", max_size=90), st.text("abcé", max_size=90))
def test_the_distance_is_that_of_the_table(a: str, b: str) -> None:
    assert distance(a, b) == by_table(a, b)


@pytest.mark.parametrize(
    ("got", "expected", "similarity"),
    [("kitten", "sitting", 1 - 3 / 7), ("", "", 1.0), ("", "abc", 0.0), (26, "26", 1.0), (None, "ab", 0.0)],
)
def test_similarity_is_what_need_not_be_edited(got: Any, expected: Any, similarity: float) -> None:
    assert metric("edit").measure(given(got, expected)).value == approx(similarity)


def test_the_nearest_of_several_expected_texts_counts() -> None:
    of = metric("edit")
    assert of.wrong_expected(["abc", "kitten"]) is None
    assert of.measure(given("kitten", ["abc", "sitten"])).value == approx(1 - 1 / 6)


def test_a_text_beyond_measure_is_nothing_like_it() -> None:
    score = metric("edit").measure(given("a" * (LONGEST_TEXT + 1), "a"))
    assert score.value == 0 and "more than" in score.detail["problem"]
    assert "more than" in str(metric("edit").wrong_expected("a" * (LONGEST_TEXT + 1)))


@pytest.mark.parametrize("expected", [None, ["a", 1], [], {"a": 1}])
def test_what_is_expected_must_be_a_text(expected: Any) -> None:
    assert metric("edit").wrong_expected(expected)


PLACES = {"cat": [1.0, 0.0], "kitten": [0.8, 0.6], "car": [0.0, 1.0], "anti-cat": [-1.0, 0.0], "": [0.0, 0.0]}


def embedding(**named: list[float]) -> Scripted:
    places: Callable[[str], list[float]] = {**PLACES, **named}.__getitem__
    return Scripted([], embedder=places, reference="scripted/embeddings")


async def score(got: object, expected: object, runtime: Scripted) -> Score:
    return await metric("embedding").measure_async(given(got, expected), Models(runtime))


@pytest.mark.parametrize(
    ("got", "expected", "value"), [("cat", "cat", 1), ("kitten", "cat", 0.8), ("car", "cat", 0), ("", "cat", 0)]
)
async def test_the_score_is_the_cosine_of_the_embeddings(got: str, expected: str, value: float) -> None:
    found = await score(got, expected, embedding())
    assert found.value == pytest.approx(value)
    assert found.detail["by"] == "scripted/embeddings"


@pytest.mark.parametrize("runtime", [embedding(), Scripted([])])
async def test_the_nearest_of_several_texts_counts(runtime: Scripted) -> None:
    assert (await score("cat", ["car", "cat"], runtime)).value == pytest.approx(1)


async def test_what_points_away_is_no_better_than_nothing() -> None:
    found = await score("anti-cat", "cat", embedding())
    assert (found.value, found.detail["cosine"]) == (0, -1)


async def test_a_model_without_embeddings_leaves_the_words_and_the_estimate_says_so() -> None:
    of = metric("embedding")
    models = Models(Scripted([]))
    same, other, none = [
        await of.measure_async(given(text, "the line drops"), models)
        for text in ("The line drops", "the line", "a bill")
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
    assert (await of.measure_async(given("cat", "cat"), models)).detail["by"] == "scripted/embeddings"


def test_a_model_that_is_no_reference_is_told(folder: Folder) -> None:
    with pytest.raises(InputError):
        metric("embedding", {"model": "nonsense"}, folder=folder.root)


@drawn(st.text(max_size=30), st.text(max_size=30))
async def test_any_two_texts_have_a_score_within_the_bounds(got: str, expected: str) -> None:
    found = await score(got, expected, Scripted([]))
    assert found.value is not None and 0 <= found.value <= 1
