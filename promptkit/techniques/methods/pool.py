"""The pool of rows of a preparation: draws, clusters, and answers counted or compared with the expected ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptkit.answers.base import AnswerType
from promptkit.answers.spans import Spans
from promptkit.techniques.artifacts import Row
from promptkit.techniques.context import Answer
from promptkit.techniques.task import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_ANSWER = "no answer"


def draw_rows(rows: Sequence[Row], most: int, *, seed: int = 0) -> list[Row]:
    """Return at most `most` of the rows, drawn by the seed, in the order of the data."""
    if len(rows) <= most:
        return list(rows)
    return [rows[at] for at in sorted(random.Random(seed).sample(range(len(rows)), most))]


def question_of(task: Task, row: Row) -> str:
    """Return the question of a row: the value of the role `question`."""
    return str(task.on(row).role("question") or "")


def count_answers(task: Task, answers: Sequence[Answer]) -> dict[str, int]:
    """Return the number of times each answer was given, by its readable form."""
    first: dict[Hashable, str] = {}
    counts: Counter[str] = Counter()
    for answer in answers:
        if answer.flag is not None:
            counts[NO_ANSWER] += 1
            continue
        value = answer.value if isinstance(answer.value, str) else task.answer_type.write(answer.value)
        counts[first.setdefault(task.vote_key(answer), value)] += 1
    return dict(counts)


RESTARTS = 10
MOST_ITERATIONS = 100


def clusters(vectors: Sequence[Sequence[float]], count: int, *, seed: int = 0) -> list[list[int]]:
    """Return the positions of the vectors in at most `count` clusters, in each those nearest its centre first.

    The clusters are in the order of their first members. Lloyd's algorithm from starts spread by k-means++ (Arthur and
    Vassilvitskii 2007), the tightest of several; the same vectors and seed always give the same clusters.
    """
    import numpy as np

    if not vectors:
        return []
    points = np.asarray(vectors, dtype=float)
    random = np.random.default_rng(seed)
    runs = [_lloyd(points, min(count, len(points)), random) for _ in range(RESTARTS)]
    _, nearest, distances = min(runs, key=lambda run: run[0])
    found = [np.flatnonzero(nearest == number) for number in range(distances.shape[1])]
    ordered = [sorted(map(int, members), key=distances[:, number].__getitem__) for number, members in enumerate(found)]
    return sorted((members for members in ordered if members), key=min)


def _lloyd(points: NDArray[Any], count: int, random: Any) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Return the spread of one run, each point's cluster, and its distance to every centre."""
    centres = _initial_centres(points, count, random)
    nearest = None
    for _ in range(MOST_ITERATIONS):
        distances = _distances(points, centres)
        before, nearest = nearest, distances.argmin(axis=1)
        if before is not None and (before == nearest).all():
            break
        for number in range(count):
            members = points[nearest == number]
            if len(members):
                centres[number] = members.mean(axis=0)
    assert nearest is not None, "there is at least one round"
    return float(distances.min(axis=1).sum()), nearest, distances


def _initial_centres(points: NDArray[Any], count: int, random: Any) -> NDArray[Any]:
    """Return the first centres: points drawn in proportion to their squared distance to those before (k-means++)."""
    import numpy as np

    chosen = [int(random.integers(len(points)))]
    while len(chosen) < count:
        far = _distances(points, points[chosen]).min(axis=1)
        weights = far / far.sum() if far.sum() else np.full(len(points), 1 / len(points))
        chosen.append(int(random.choice(len(points), p=weights)))
    return points[chosen].copy()


def _distances(points: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Return the squared distance of each point to each centre, rounded so that ties are exact."""
    import numpy as np

    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)[None, :]
    return np.asarray(squares.clip(min=0).round(9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A wrong answer and the right one; None where one has nothing. For spans, the classes given to `words`."""

    answered: str | None
    right: str | None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerComparison:
    """Counts of an answer compared with the expected one: relaxed matches of spans, or the answer as a whole."""

    predicted: int
    correct: int
    expected: int
    found: int
    mistakes: tuple[Mistake, ...]


def compare_answer(kind: AnswerType, answer: Answer, expected: Any) -> AnswerComparison:
    """Compare an answer with the expected one.

    A span is right if one of its class overlaps it. A missing answer is a mistake even if nothing is expected.
    """
    if isinstance(kind, Spans):
        return _compare_spans(kind, answer, list(expected))
    right = answer.flag is None and kind.vote_key(answer.value) == kind.vote_key(expected)
    answered = None if answer.flag else kind.write(answer.value)
    mistakes = () if right else (Mistake(answered=answered, right=kind.write(expected)),)
    return AnswerComparison(predicted=1, correct=int(right), expected=1, found=int(right), mistakes=mistakes)


def f1(comparisons: Iterable[AnswerComparison]) -> float:
    """Return F1 over all comparisons; for answers as a whole it is the share of right ones."""
    every = list(comparisons)
    predicted, expected = (
        sum(comparison.predicted for comparison in every),
        sum(comparison.expected for comparison in every),
    )
    if not predicted and not expected:
        return 1.0
    precision = sum(comparison.correct for comparison in every) / predicted if predicted else 0.0
    recall = sum(comparison.found for comparison in every) / expected if expected else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _compare_spans(kind: Spans, answer: Answer, expected: Sequence[Mapping[str, Any]]) -> AnswerComparison:
    spans = [] if answer.flag else list(answer.value)
    mistakes = tuple(_span_mistakes(kind, spans, expected))
    return AnswerComparison(
        predicted=len(spans) + (answer.flag is not None),
        correct=sum(_contains(span, expected) for span in spans),
        expected=len(expected),
        found=sum(_contains(span, spans) for span in expected),
        mistakes=mistakes,
    )


def _span_mistakes(
    kind: Spans, spans: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]
) -> Iterator[Mistake]:
    """Yield a mistake for each span that is missed or has another class, and for each that is not expected."""
    for span in expected:
        if not _contains(span, spans):
            other = next((answered["class"] for answered in spans if _overlap(answered, span)), None)
            yield Mistake(answered=other, right=span["class"], words=kind.words(span))
    for span in spans:
        if not any(_overlap(span, right) for right in expected):
            yield Mistake(answered=span["class"], right=None, words=kind.words(span))


def _contains(span: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> bool:
    return any(_overlap(span, other) and span["class"] == other["class"] for other in others)


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["start"] < other["end"] and other["start"] < one["end"])
