"""The order in which answers are asked: a random sample however far one gets, and the others where a label helps."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, answer_key
from promptkit.evaluation.labelling.items import LabelItem
from promptkit.evaluation.labelling.queue import LabelQueue, SecondQueue, label_value, random_sample

METRIC = "helpful"
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=14)


def item(number: int, unsure: float = 0.0, answer: str = "so", flag: str = "") -> LabelItem:
    inputs = {"q": f"Q{number}"}
    return LabelItem(
        key=answer_key(inputs, answer),
        inputs=inputs,
        shown=inputs,
        answer=answer,
        expected=None,
        row=number,
        flag=flag,
        unsure=unsure,
    )


def in_order(items: list[LabelItem]) -> list[LabelItem]:
    return sorted(items, key=lambda one: one.order)


def label_all(items: list[LabelItem], labels: AnswerLabels, share: float, most: int, person: str = "ann") -> None:
    """Label as a session does."""
    queue = LabelQueue(items, labels, METRIC, person, random_share=share)
    for _ in range(most):
        if (draw := queue.next()) is None:
            return
        labels.add(
            AnswerLabel(metric=METRIC, key=draw.item.key, answer="", level="good", drawn=draw.drawn, person=person)
        )


@settings(deadline=None, max_examples=60)
@given(SCORES, st.floats(0, 1), st.integers(1, 14))
def test_those_drawn_at_random_are_a_prefix_of_the_random_order_without_the_chosen_ones(
    scores: list[float], share: float, most: int
) -> None:
    items = in_order([item(number, unsure) for number, unsure in enumerate(scores)])
    with TemporaryDirectory() as folder:
        labels = AnswerLabels(Path(folder) / "x.labels.jsonl")
        label_all(items, labels, share, most)
        drawn = {label.key: label.drawn for label in labels}

    chosen = [one.key for one in items if drawn.get(one.key) == "chosen"]
    others = [one.key for one in items if one.key not in chosen]
    at_random = [key for key in others if drawn.get(key) == "random"]
    assert at_random == others[: len(at_random)]
    # The chosen ones are the top of the ranking, whatever was drawn at random before.
    ranked = sorted(filter(label_value, items), key=lambda one: (-label_value(one), one.order))
    assert set(chosen) == {one.key for one in ranked[: len(chosen)]}


@given(SCORES)
def test_the_random_order_knows_no_score_and_keeps_answers_to_equal_inputs_together(scores: list[float]) -> None:
    sure = in_order([item(number) for number, _ in enumerate(scores)])
    unsure = in_order([item(number, score, answer) for number, score in enumerate(scores) for answer in ("a", "b")])
    assert [one.row for one in unsure][::2] == [one.row for one in unsure][1::2] == [one.row for one in sure]


def test_every_input_is_first_as_often_as_any_other() -> None:
    firsts = [
        min((item(10 * group + place) for place in range(10)), key=lambda one: one.order).row % 10
        for group in range(2000)
    ]
    counts = [firsts.count(place) for place in range(10)]
    assert sum((count - 200) ** 2 / 200 for count in counts) < 27.9  # chi-squared of 9 degrees of freedom, p = 0.001


def test_what_helps_most_is_asked_first_of_the_chosen_ones(tmp_path: Path) -> None:
    items = in_order([item(number, unsure) for number, unsure in enumerate((0.2, 0.9, 0.0, 0.5))])
    labels = AnswerLabels(tmp_path / "x.labels.jsonl")
    queue = LabelQueue(items, labels, METRIC, "ann", random_share=0.0)
    asked: list[str] = []
    while (draw := queue.next(asked)) is not None:
        asked.append(draw.item.key)
    assert [key for key in asked] == [item(number).key for number in (1, 3, 0)]
    assert queue.left() == 3


def test_a_second_person_gets_what_others_labelled_in_another_order(tmp_path: Path) -> None:
    items = in_order([item(number) for number in range(12)])
    labels = AnswerLabels(tmp_path / "x.labels.jsonl")
    label_all(items, labels, 1.0, 9)
    queue = SecondQueue(items, labels, METRIC, "ben")
    asked: list[str] = []
    while (draw := queue.next(asked)) is not None:
        asked.append(draw.item.key)
    first = [label.key for label in labels]
    assert set(asked) == set(first) and asked != first
    assert SecondQueue(items, labels, METRIC, "ann").left() == 0


def test_a_random_sample_counts_the_answers_before_its_end_that_have_no_label(tmp_path: Path) -> None:
    items = in_order([item(number) for number in range(6)])
    labels = AnswerLabels(tmp_path / "x.labels.jsonl")
    label_all(items, labels, 1.0, 4)
    labels.remove(next(iter(labels)))
    sample = random_sample(items, lambda one: labels.consensus(METRIC, one.key))
    assert [one.key for one in sample] == [one.key for one in items[1:4]]
    assert sample.gaps == 1
