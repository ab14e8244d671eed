"""The result of labels: the mean of each variant, a judge's agreement with people, and people's with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations, zip_longest
from typing import Any

import numpy as np

from promptkit.evaluation.answer_labels import LEAST_COVERED, AnswerLabel, AnswerLabels
from promptkit.evaluation.labelling.items import LabelItem, LabelItems
from promptkit.evaluation.labelling.levels import LabelLevels
from promptkit.evaluation.labelling.queue import random_sample
from promptkit.evaluation.metrics.estimation import finite
from promptkit.evaluation.statistics.agreement import agreement_with_labels, alpha_with_interval
from promptkit.evaluation.statistics.interval import bounded_mean, wilson
from promptkit.evaluation.suite.data import cluster_value

ALPHA = "Krippendorff's alpha"
ALPHA_DRAWS = 500
FEWEST_PAIRS = 20
"""Below this many answers a coefficient beyond chance is mostly noise, and not given."""
LABEL_COUNTS = (25, 50, 100, 200)
"""The numbers of labels whose intervals are announced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledMean:
    """A variant's mean of labels with its 95 % interval, over `n` answers drawn at random; `right` have the best level.

    With two levels it is a share, else it has the unit of the metric's scores.
    """

    variant: str
    n: int
    right: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The agreement of two raters, or with `alpha` alone of more, on `n` answers; `equal` of them have equal levels.

    `low` and `high` are the ends of the share's interval, `value_low` and `value_high` those of the coefficient, which
    is not given below FEWEST_PAIRS answers.
    """

    raters: tuple[str, ...]
    n: int
    equal: int
    low: float | None = None
    high: float | None = None
    method: str = ""
    value: float | None = None
    value_low: float | None = None
    value_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """An answer to which people gave different levels: each person's level and reason."""

    item: LabelItem
    labels: tuple[AnswerLabel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """The labels of a run's answers under a metric.

    `other` counts labels of answers that the run does not have, `outdated` labels by levels that the metric does not
    have any more; neither are used. `gaps` counts answers of the random sample that have no label: where they are many
    there are no means. `left_out` are labelled answers outside of the sample. `people` are pairs of people and, of
    three and more, all of them.
    """

    metric: str
    levels: tuple[str, ...]
    labelled: int
    at_random: int
    chosen: int
    other: int
    outdated: Mapping[str, int] = field(default_factory=dict)
    gaps: int = 0
    left_out: int = 0
    means: tuple[LabelledMean, ...] = ()
    judge: Agreement | None = None
    people: tuple[Agreement, ...] = ()
    table: Mapping[str, int] = field(default_factory=dict)
    disagreements: tuple[Disagreement, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the summary as JSON."""
        record = asdict(self)
        record["disagreements"] = [
            {
                "row": found.item.row,
                "answer": found.item.answer,
                "labels": [
                    {"person": label.person, "level": label.level, **({"why": label.why} if label.why else {})}
                    for label in found.labels
                ],
            }
            for found in self.disagreements
        ]
        return record


def summarize_labels(found: LabelItems, labels: AnswerLabels, metric: str, levels: LabelLevels) -> LabelSummary:
    """Return the result of a metric's labels on the answers of a run; of several people's the consensus counts."""
    by_key = found.by_key
    ours = [label for label in labels if label.metric == metric]
    used = {key: tuple(_usable(labels.of_answer(metric, key), levels)) for key in by_key}

    def consensus(item: LabelItem) -> AnswerLabel | None:
        label = labels.consensus(metric, item.key)
        return None if label is None else next(_usable([label], levels), None)

    kept = [label for item in found.items if (label := consensus(item)) is not None]
    sample = random_sample(found.items, consensus)
    taken = list(sample) if len(sample) >= LEAST_COVERED * (len(sample) + sample.gaps) else []
    shares = {item.key: levels.share(label.level) for item in taken if (label := consensus(item)) is not None}
    pairs, table, differing = _people(found.items, used, levels)
    return LabelSummary(
        metric=metric,
        levels=levels.names,
        labelled=len(kept),
        at_random=sum(label.drawn == "random" for label in kept),
        chosen=sum(label.drawn == "chosen" for label in kept),
        other=len({label.key for label in ours} - by_key.keys()),
        outdated=Counter(label.level for label in ours if levels.level(label.level) is None),
        gaps=sample.gaps,
        left_out=len(kept) - len(taken),
        means=tuple(_mean(name, taken, shares, levels) for name in found.variants),
        judge=_judge_agreement(taken, shares, levels),
        people=pairs,
        table=table,
        disagreements=differing,
    )


def _usable(labels: Sequence[AnswerLabel], levels: LabelLevels) -> Iterator[AnswerLabel]:
    """Yield labels whose levels the metric has, by its own names."""
    for label in labels:
        if (level := levels.level(label.level)) is not None:
            yield label.model_copy(update={"level": level})


def _mean(variant: str, sample: Sequence[LabelItem], shares: Mapping[str, float], levels: LabelLevels) -> LabelledMean:
    """Return a variant's mean of labels; answers to equal inputs, or in one cluster of the suite, are one cluster."""
    clusters: dict[bytes | str, int] = {}
    scores: list[float] = []
    codes: list[int] = []
    for item in sample:
        cells = item.variants.get(variant, 0)
        scores += [shares[item.key]] * cells
        cluster = cluster_value({"cluster": item.cluster}, "cluster") or item.order[0]
        codes += [clusters.setdefault(cluster, len(clusters))] * cells
    right = sum(score == 1 for score in scores)
    if not scores:
        return LabelledMean(variant=variant, n=0, right=0)
    found = bounded_mean(scores, codes, binary=len(levels.names) == 2)
    low, width = levels.low, levels.high - levels.low
    return LabelledMean(
        variant=variant,
        n=len(scores),
        right=right,
        mean=low + width * found.mean,
        low=low + width * found.low,
        high=low + width * found.high,
    )


def _judge_agreement(sample: Sequence[LabelItem], shares: Mapping[str, float], levels: LabelLevels) -> Agreement | None:
    """Return a judge's agreement with the labels of a random sample; None where it judged none of it."""
    judged = [item for item in sample if item.level is not None]
    if not judged:
        return None
    theirs = [levels.nearest(shares[item.key]) for item in judged]
    return _agreement(("judge", "labels"), [item.level or "" for item in judged], theirs, levels)


def _agreement(raters: tuple[str, str], ours: Sequence[str], theirs: Sequence[str], levels: LabelLevels) -> Agreement:
    a, b = (np.array([levels.names.index(level) for level in side]) for side in (ours, theirs))
    if len(a) < FEWEST_PAIRS:
        low, high = wilson(int(np.sum(a == b)), len(a))
        return Agreement(raters=raters, n=len(a), equal=int(np.sum(a == b)), low=low, high=high)
    classes = len(levels.names)
    found = agreement_with_labels(a, b, ordinal=classes > 2, classes=classes)
    return Agreement(
        raters=raters,
        n=len(a),
        equal=int(np.sum(a == b)),
        low=found.raw.low,
        high=found.raw.high,
        method=found.method,
        value=finite(found.value),
        value_low=finite(found.low),
        value_high=finite(found.high),
    )


def _people(
    items: Sequence[LabelItem], used: Mapping[str, Sequence[AnswerLabel]], levels: LabelLevels
) -> tuple[tuple[Agreement, ...], dict[str, int], tuple[Disagreement, ...]]:
    """Return people's agreement, the counts of the levels that pairs gave, and the answers on which people differ.

    A key of the counts is `LEVEL / LEVEL`, in the order of the levels. Answers without a flag alone count: the others
    were labelled by no person.
    """
    both = [(item, used[item.key]) for item in items if len(used[item.key]) > 1 and not item.flag]
    people = sorted({label.person for _, labels in both for label in labels})
    found: list[Agreement] = []
    table: Counter[str] = Counter()
    for first, second in combinations(people, 2):
        pairs = [(by[first], by[second]) for _, labels in both if {first, second} <= (by := _levels_by(labels)).keys()]
        if not pairs:
            continue
        ours, theirs = zip(*pairs, strict=True)
        found.append(_agreement((first, second), ours, theirs, levels))
        table.update(" / ".join(sorted(pair, key=levels.names.index)) for pair in pairs)
    if len(people) > 2:
        found.append(_alpha(people, [labels for _, labels in both], levels))
    differing = (
        Disagreement(item=item, labels=tuple(labels))
        for item, labels in both
        if len({label.level for label in labels}) > 1
    )
    return tuple(found), dict(table), tuple(differing)


def _levels_by(labels: Sequence[AnswerLabel]) -> dict[str, str]:
    return {label.person: label.level for label in labels}


def _alpha(people: Sequence[str], of_answers: Sequence[Sequence[AnswerLabel]], levels: LabelLevels) -> Agreement:
    """Return Krippendorff's alpha of all people, with a bootstrap interval over answers."""
    ratings = [[levels.names.index(label.level) for label in labels] for labels in of_answers]
    equal = sum(len(set(given)) == 1 for given in ratings)
    if len(ratings) < FEWEST_PAIRS:
        return Agreement(raters=tuple(people), n=len(ratings), equal=equal)
    padded = np.array(list(zip_longest(*ratings, fillvalue=np.nan)), dtype=np.float64).T
    value, low, high = map(finite, alpha_with_interval(padded, ordinal=len(levels.names) > 2, draws=ALPHA_DRAWS))
    return Agreement(
        raters=tuple(people),
        n=len(ratings),
        equal=equal,
        method=ALPHA,
        value=value,
        value_low=low,
        value_high=high,
    )


def announced_widths(items: int, variants: int) -> dict[int, float]:
    """Return, by numbers of labels drawn at random, half the width of a variant's interval at a share of one half.

    Labels are spread over the variants. Numbers beyond that of the items are left out.
    """
    widths = {}
    for count in LABEL_COUNTS:
        if count <= items and (of_one := count // max(1, variants)) > 1:
            low, high = wilson(of_one // 2, of_one)
            widths[count] = (high - low) / 2
    return widths
