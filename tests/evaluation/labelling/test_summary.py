"""The result of labels: means of variants, a judge against people, people against each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels
from promptkit.evaluation.labelling.items import LabelItem, LabelItems
from promptkit.evaluation.labelling.levels import LabelLevels
from promptkit.evaluation.labelling.summary import announced_widths, summarize_labels
from promptkit.evaluation.statistics.interval import wilson
from tests.evaluation.labelling.test_queue import METRIC, in_order, item

LEVELS = LabelLevels(names=("poor", "good"))


def judged(count: int) -> list[LabelItem]:
    """Return items of one variant, which a judge finds good where the number is even."""
    items = in_order([item(number) for number in range(count)])
    for one in items:
        one.variants = {"shipped": 1}
        one.level = "poor" if one.row % 2 else "good"
    return items


def labels_of(folder: Path, given: dict[str, list[tuple[LabelItem, str]]], drawn: str = "random") -> AnswerLabels:
    labels = AnswerLabels(folder / "x.labels.jsonl")
    for person, pairs in given.items():
        for one, level in pairs:
            record = {"metric": METRIC, "key": one.key, "answer": "", "level": level, "drawn": drawn, "person": person}
            labels.add(AnswerLabel.model_validate(record))
    return labels


def test_a_variants_share_has_wilsons_interval_of_the_random_sample(tmp_path: Path) -> None:
    items = judged(30)
    labels = labels_of(tmp_path, {"ann": [(one, "good" if at < 6 else "poor") for at, one in enumerate(items[:10])]})
    summary = summarize_labels(LabelItems(items=items, variants=["shipped"]), labels, METRIC, LEVELS)

    (mean,) = summary.means
    assert (mean.right, mean.n, mean.mean) == (6, 10, 0.6)
    assert (mean.low, mean.high) == pytest.approx(wilson(6, 10))
    assert (summary.labelled, summary.at_random, summary.gaps, summary.left_out) == (10, 10, 0, 0)


def test_chosen_answers_outside_of_the_random_sample_do_not_count(tmp_path: Path) -> None:
    items = judged(30)
    labels = labels_of(tmp_path, {"ann": [(one, "good") for one in items[:5]]})
    for one in items[20:25]:
        labels.add(AnswerLabel(metric=METRIC, key=one.key, answer="", level="poor", drawn="chosen", person="ann"))
    summary = summarize_labels(LabelItems(items=items, variants=["shipped"]), labels, METRIC, LEVELS)

    assert (summary.means[0].n, summary.means[0].mean, summary.left_out, summary.chosen) == (5, 1.0, 5, 5)


def test_where_the_random_order_has_many_gaps_there_is_no_mean(tmp_path: Path) -> None:
    items = judged(30)
    for gaps, known in ((2, True), (3, False)):
        folder = tmp_path / str(gaps)
        folder.mkdir()
        labels = labels_of(folder, {"ann": [(one, "good") for one in items[gaps:10]]})
        summary = summarize_labels(LabelItems(items=items, variants=["shipped"]), labels, METRIC, LEVELS)
        assert (summary.gaps, summary.means[0].mean is not None, summary.judge is not None) == (gaps, known, known)


def test_a_judge_is_held_against_the_labels(tmp_path: Path) -> None:
    items = judged(30)
    labels = labels_of(tmp_path, {"ann": [(one, one.level or "") for one in items[:24]]})
    labels.add(next(iter(labels)).model_copy(update={"level": "poor" if items[0].level == "good" else "good"}))
    summary = summarize_labels(LabelItems(items=items, variants=["shipped"]), labels, METRIC, LEVELS)

    assert summary.judge is not None
    assert (summary.judge.equal, summary.judge.n, summary.judge.method) == (23, 24, "Cohen's kappa")
    assert summary.judge.value is not None and 0.8 < summary.judge.value < 1


def test_below_twenty_answers_there_is_no_coefficient(tmp_path: Path) -> None:
    items = judged(30)
    for count, known in ((19, False), (20, True)):
        folder = tmp_path / str(count)
        folder.mkdir()
        labels = labels_of(folder, {"ann": [(one, one.level or "") for one in items[:count]]})
        summary = summarize_labels(LabelItems(items=items, variants=["shipped"]), labels, METRIC, LEVELS)
        assert summary.judge is not None and (summary.judge.value is not None) == known


def test_two_people_are_a_pair_and_three_have_krippendorffs_alpha(tmp_path: Path) -> None:
    items = judged(24)
    same = [(one, one.level or "") for one in items]
    other = [(one, "good" if at < 3 else one.level or "") for at, one in enumerate(items)]
    found = LabelItems(items=items, variants=["shipped"])

    two = summarize_labels(found, labels_of(tmp_path, {"ann": same, "ben": other}), METRIC, LEVELS)
    assert [agreement.raters for agreement in two.people] == [("ann", "ben")]
    differing = sum(one.level == "poor" for one in items[:3])
    assert len(two.disagreements) == 24 - two.people[0].equal == differing

    three = summarize_labels(found, labels_of(tmp_path, {"cay": same}), METRIC, LEVELS)
    assert three.people == ()
    whole = AnswerLabels.read(tmp_path / "x.labels.jsonl")
    three = summarize_labels(found, whole, METRIC, LEVELS)
    assert [len(agreement.raters) for agreement in three.people] == [2, 2, 2, 3]
    assert three.people[-1].method == "Krippendorff's alpha" and three.people[-1].value is not None


def test_labels_by_other_levels_or_of_other_answers_are_counted_and_not_used(tmp_path: Path) -> None:
    items = judged(4)
    labels = labels_of(tmp_path, {"ann": [(items[0], "splendid"), (item(99), "good")]})
    summary = summarize_labels(LabelItems(items=items, variants=["shipped"]), labels, METRIC, LEVELS)
    assert (summary.labelled, summary.other, summary.outdated) == (0, 1, {"splendid": 1})


def test_what_labels_will_tell_is_half_the_width_at_a_share_of_one_half() -> None:
    assert announced_widths(60, 2) == pytest.approx(
        {25: (wilson(6, 12)[1] - wilson(6, 12)[0]) / 2, 50: (wilson(12, 25)[1] - wilson(12, 25)[0]) / 2}
    )
    assert announced_widths(20, 1) == {}


def test_answers_of_one_cluster_of_the_suite_count_as_one(tmp_path: Path) -> None:
    items = judged(10)
    labels = labels_of(tmp_path, {"ann": [(one, "good" if at < 6 else "poor") for at, one in enumerate(items)]})
    alone = summarize_labels(LabelItems(items=items, variants=["shipped"]), labels, METRIC, LEVELS).means[0]
    for at, one in enumerate(items):
        one.cluster = at // 2
    paired = summarize_labels(LabelItems(items=items, variants=["shipped"]), labels, METRIC, LEVELS).means[0]

    assert alone.low is not None and paired.low is not None
    assert (paired.mean, paired.low < alone.low) == (alone.mean, True)
