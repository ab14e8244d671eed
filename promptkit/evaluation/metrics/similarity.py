"""Similarity of a text to the expected one: BLEU, chrF, ROUGE, edit distance and embeddings.

BLEU and chrF are scores of a corpus, not means of rows. A cell's numbers are counts, and a corpus has their sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from math import hypot
from statistics import NormalDist
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from promptkit.engine.spec import ClosedModel
from promptkit.engine.step_settings import resolve_model
from promptkit.errors import MissingExtra
from promptkit.evaluation.metrics.base import Clients, Difference, Estimate, Metric, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import FEW_CLUSTERS, NO_BOOTSTRAP, NOTHING_SCORED, Graded, finite
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import scalar_text, shown_value, text_of
from promptkit.evaluation.statistics.bootstrap import percentile_interval, swap_test
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.prompts.tfidf import word_vectors

ENOUGH_ROWS = 100
_UNSEEN = "ROUGE reads only the letters a-z and digits, and the expected text has none; use `chrf`"
_ROUGH = f"fewer than {ENOUGH_ROWS} rows: the interval of a corpus score is rough"


class _Sacrebleu(Protocol):
    """The methods that are used of a sacrebleu metric; its bootstrap goes from counts to a corpus score by them too."""

    def _extract_corpus_statistics(self, texts: Sequence[str], references: Any) -> list[list[int]]: ...
    def _compute_score_from_stats(self, counts: Any) -> Any: ...


class Corpus(Metric):
    """A corpus score from 0 to 100, by sacrebleu. The score of a cell is that of its sentence, for people only.

    Interval: percentile bootstrap over rows, 2,000 resamples (Koehn 2004, EMNLP). Difference: the bootstrap of both
    on the same rows, and p by swapping the outputs of a row (Riezler & Maxwell 2005).
    """

    bounds = (0.0, 100.0)
    is_mean = False

    def __init__(self, name: str, parameters: Any, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        _require("sacrebleu", self.kind)

    def measure(self, given: MetricInput) -> Score:
        return self._scored(text_of(given.got), given)

    def unanswered(self, given: MetricInput) -> Score:
        """Score an unparsed answer as an empty text, which shares nothing."""
        return self._scored("", given, flag=given.cell.flag)

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        return (score.value, *score.detail["counts"])

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        counts = _by_cluster(sample)
        rows = len(counts)
        low = high = None
        if rows >= FEW_CLUSTERS:
            low, high = percentile_interval(lambda chosen: self._corpus(_drawn(counts, chosen)), rows, seed=0)
        return Estimate(
            mean=self._corpus(counts.sum(axis=0)),
            low=finite(low),
            high=finite(high),
            n=len(sample),
            clusters=rows,
            parts={"mean of sentences": float(sample.scores.mean()), "by": f"sacrebleu {version('sacrebleu')}"},
            notes=_notes(rows),
        )

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        if not len(a):
            return None
        of_a, of_b = _by_cluster(a), _by_cluster(b)
        all_a, all_b, apart = of_a.sum(axis=0), of_b.sum(axis=0), of_b - of_a
        rows = len(of_a)
        rows_apart = _summed(a.scores - b.scores, a.clusters)

        def resampled(chosen: NDArray[np.int64]) -> float:
            return self._corpus(_drawn(of_a, chosen)) - self._corpus(_drawn(of_b, chosen))

        def swapped(mask: NDArray[np.bool_]) -> float:
            moved = mask @ apart
            return self._corpus(all_a + moved) - self._corpus(all_b - moved)

        low = high = width = None
        if rows >= FEW_CLUSTERS:
            low, high = percentile_interval(resampled, rows, level=level, seed=0)
            width = high - low
        return Difference(
            difference=self._corpus(all_a) - self._corpus(all_b),
            low=finite(low),
            high=finite(high),
            p=swap_test(swapped, rows, seed=0),
            n=rows,
            better=int((rows_apart > 0).sum()),
            worse=int((rows_apart < 0).sum()),
            # The spread of a mean with an interval as wide: a single row has no share of a corpus score.
            spread=finite(width, rows**0.5 / (2 * NormalDist().inv_cdf((1 + level) / 2))),
            method="percentile bootstrap, swaps",
            notes=_notes(rows),
        )

    @cached_property
    def _library(self) -> _Sacrebleu:
        raise NotImplementedError

    @cached_property
    def _sentences(self) -> _Sacrebleu:
        """The scorer of single sentences."""
        return self._library

    def _scored(self, text: str, given: MetricInput, **detail: str) -> Score:
        references = [[reference] for reference in _references(given.expected)]
        counts = self._library._extract_corpus_statistics([text], references)[0]
        value = float(self._sentences._compute_score_from_stats(counts).score)
        return Score(min(value, 100.0), {**detail, "counts": [int(count) for count in counts]})

    def _corpus(self, counts: NDArray[np.float64]) -> float:
        # Equal texts score above 100 by rounding.
        return min(100.0, float(self._library._compute_score_from_stats(counts.astype(int).tolist()).score))


class BleuParameters(ClosedModel):
    """`tokenize` is sacrebleu's: `13a` for languages with blanks, `zh` or `char` for those without."""

    tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a"
    lowercase: bool = False


class Bleu(Corpus):
    """BLEU (Papineni et al. 2002, ACL): shared sequences of up to four words, with a penalty for short answers."""

    kind = "bleu"
    about = "BLEU of the whole corpus, 0 to 100 (sacrebleu)"
    Parameters = BleuParameters
    columns = ("score", "length", "expected_length", *(f"{what}_{n}" for what in ("shared", "of") for n in range(1, 5)))

    @cached_property
    def _library(self) -> _Sacrebleu:
        return self._bleu(effective_order=False)

    @cached_property
    def _sentences(self) -> _Sacrebleu:
        # A sentence often shares no four words in a row; for a corpus this option would hide a 0.
        return self._bleu(effective_order=True)

    def _bleu(self, *, effective_order: bool) -> _Sacrebleu:
        from sacrebleu.metrics.bleu import BLEU

        parameters = self.parameters
        made = BLEU(lowercase=parameters.lowercase, tokenize=parameters.tokenize, effective_order=effective_order)
        return cast(_Sacrebleu, made)


class ChrfParameters(ClosedModel):
    """`word_order: 2` is chrF++."""

    word_order: Literal[0, 1, 2] = 0
    lowercase: bool = False


class Chrf(Corpus):
    """chrF (Popović 2015, WMT): shared character sequences, which suits languages with many word forms."""

    kind = "chrf"
    about = "chrF of the whole corpus, 0 to 100 (sacrebleu)"
    Parameters = ChrfParameters

    @cached_property
    def columns(self) -> tuple[str, ...]:  # type: ignore[override]
        orders = [*(f"characters_{n}" for n in range(1, 7)), *(f"words_{n}" for n in range(1, self._words + 1))]
        return ("score", *(f"{what}_{order}" for order in orders for what in ("answer", "expected", "shared")))

    @cached_property
    def _library(self) -> _Sacrebleu:
        from sacrebleu.metrics.chrf import CHRF

        return cast(_Sacrebleu, CHRF(word_order=self._words, lowercase=self.parameters.lowercase))

    @property
    def _words(self) -> int:
        return int(self.parameters.word_order)


class RougeParameters(ClosedModel):
    """`variant`: `rouge1` and `rouge2` compare words and pairs of words, `rougeL` the longest common subsequence."""

    variant: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    stemmer: bool = False


class Rouge(Graded):
    """ROUGE (Lin 2004): F1 of the answer and its expected text, the best of several; 0 to 1."""

    kind = "rouge"
    about = "ROUGE F1 of shared words, 0 to 1 (rouge-score)"
    Parameters = RougeParameters
    # The longest common subsequence of two long texts takes a second.
    costly = True
    reads_row = False

    def __init__(self, name: str, parameters: Any, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        _require("rouge_score", self.kind)

    def measure(self, given: MetricInput) -> Score:
        if problem := self.wrong_expected(given.expected):
            raise ValueError(problem)
        text = text_of(given.got)
        found = [
            self._scorer.score(expected, text)[self.parameters.variant] for expected in _references(given.expected)
        ]
        best = max(found, key=lambda score: score.fmeasure)
        return Score(float(best.fmeasure), {"precision": float(best.precision), "recall": float(best.recall)})

    @cached_property
    def _scorer(self) -> Any:
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer([self.parameters.variant], use_stemmer=self.parameters.stemmer)

    def wrong_expected(self, expected: Any) -> str | None:
        return None if any(map(_is_seen, _references(expected))) else _UNSEEN


def _is_seen(text: str) -> bool:
    """Tell whether ROUGE's tokenizer finds anything in a text: it knows only a-z and digits."""
    return any(character.isascii() and character.isalnum() for character in text)


def _references(expected: Any) -> list[str]:
    """Return the expected texts: those of a list of texts, else one."""
    return list(expected) if _is_several(expected) else [text_of(expected)]


def _is_several(expected: Any) -> bool:
    return isinstance(expected, list | tuple) and bool(expected) and all(isinstance(text, str) for text in expected)


def _notes(rows: int) -> tuple[str, ...]:
    """Return the notes on a corpus score of this many rows."""
    if rows < FEW_CLUSTERS:
        return (NO_BOOTSTRAP,)
    return (_ROUGH,) if rows < ENOUGH_ROWS else ()


def _by_cluster(sample: Sample) -> NDArray[np.float64]:
    """Return the sums of counts over each cluster: (clusters, columns - 1)."""
    return _summed(sample.values[:, 1:], sample.clusters)


def _summed(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums of cells' values over each cluster, in the order of clusters."""
    names, places = np.unique(clusters, return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, places, values)
    return sums


def _drawn(counts: NDArray[np.float64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums over the chosen rows, which may repeat."""
    return np.bincount(chosen, minlength=len(counts)).astype(float) @ counts


def _require(package: str, metric: str) -> None:
    """Raise MissingExtra for a package that is not installed, without loading it."""
    if find_spec(package) is None:
        raise MissingExtra(f"the metric `{metric}`", "text")


LONGEST_TEXT = 50_000


class Edit(Graded):
    """1 − Levenshtein distance / length of the longer text: 1 is the same text, 0 shares nothing.

    Of several expected texts the nearest counts.
    """

    kind = "edit"
    about = "similarity by edit distance, letter by letter"

    def measure(self, given: MetricInput) -> Score:
        problem = self.wrong_expected(given.expected)
        if problem:
            raise ValueError(problem)
        got = text_of(given.got)
        if len(got) > LONGEST_TEXT:
            return Score(0.0, {"problem": f"the answer has more than {LONGEST_TEXT:,} characters"})
        return max((_edit_score(got, expected) for expected in _references(given.expected)), key=_value)

    def wrong_expected(self, expected: Any) -> str | None:
        if not _is_several(expected) and scalar_text(expected) is None:
            return f"{shown_value(expected)} is not a text"
        is_long = any(len(text) > LONGEST_TEXT for text in _references(expected))
        return f"the expected text has more than {LONGEST_TEXT:,} characters" if is_long else None


def _edit_score(got: str, expected: str) -> Score:
    edits, longer = distance(got, expected), max(len(got), len(expected))
    return Score(1 - edits / longer if longer else 1.0, {"edits": edits})


def _value(score: Score) -> float:
    assert score.value is not None, "a similarity has a value"
    return score.value


def distance(a: str, b: str) -> int:
    """Return the Levenshtein distance: the fewest insertions, deletions and substitutions that turn `a` into `b`.

    A column of the distance table is one integer with a bit for each row (Myers 1999, Journal of the ACM 46, in the
    form of Hyyrö 2003): about length(a) · length(b) / 64 steps with Python's long integers.
    """
    if len(a) < len(b):
        a, b = b, a
    if not b:
        return len(a)
    places: dict[str, int] = defaultdict(int)
    for row, character in enumerate(b):
        places[character] |= 1 << row
    everywhere, last = (1 << len(b)) - 1, 1 << (len(b) - 1)
    # Rows where the distance rises, or falls, by one from the row above.
    rises, falls, edits = everywhere, 0, len(b)
    for character in a:
        match = places.get(character, 0)
        diagonal = (((match & rises) + rises) ^ rises) | match | falls
        right_rises = falls | (everywhere & ~(diagonal | rises))
        right_falls = rises & diagonal
        edits += bool(right_rises & last) - bool(right_falls & last)
        right_rises = (right_rises << 1) | 1
        right_falls <<= 1
        rises = (right_falls | ~(diagonal | right_rises)) & everywhere
        falls = right_rises & diagonal & everywhere
    return edits


class EmbeddingParameters(ClosedModel):
    """`model` makes the embeddings; by default the run's model, where it embeds well."""

    model: str | None = None


class Embedding(Graded):
    """Cosine similarity, 1 for the same direction; opposite directions count as 0. Of several texts the nearest counts.

    Where the model has no embeddings, or is a chat model in the process that `model` does not name, the words of both
    texts replace them (TF-IDF over the two), and a note says so: a chat model's vectors hardly tell texts apart.
    """

    kind = "embedding"
    about = "similarity of meaning, by a model's embeddings, else by shared words"
    Parameters = EmbeddingParameters
    parameters: EmbeddingParameters
    asks = True
    costly = True
    reads_row = False
    columns = ("score", "by_words")

    def __init__(self, name: str, parameters: EmbeddingParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        if parameters.model is not None:
            self.model = resolve_model(parameters.model, context.folder, context.project)

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        texts = [text_of(given.got), *_references(given.expected)]
        client = await clients.get(self.model)
        model = await client.model()
        if not model.embeds_well and not (self.model and "embeddings" in model.capabilities):
            detail = {"by": "words", "lacking": model.reference}
            pairs = ([texts[0], other] for other in texts[1:])
            return max((self._scored(word_vectors(pair), detail) for pair in pairs), key=_value)
        got, *others = await client.embed(texts)
        return max((self._scored([got, other], {"by": model.reference}) for other in others), key=_value)

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        return (score.value, float(score.detail.get("by") == "words"))

    def estimate(self, sample: Sample) -> Estimate:
        found = super().estimate(sample)
        if not len(sample) or not sample.values[:, 1].any():
            return found
        note = "no embedding model: similarity is that of words (TF-IDF); name one, such as `model: embedded/bge-small`"
        return replace(found, notes=(*found.notes, note))

    def _scored(self, vectors: Sequence[Sequence[float]], detail: dict[str, Any]) -> Score:
        a, b = vectors
        length = hypot(*a) * hypot(*b)
        cosine = sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0
        return Score(min(max(cosine, 0.0), 1.0), {**detail, "cosine": cosine})
