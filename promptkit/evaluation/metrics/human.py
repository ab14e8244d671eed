"""A person's labels as a metric: the level that people gave an answer with `promptkit label`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field, model_validator

from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.answer_labels import LEAST_COVERED, answer_key, inputs_key
from promptkit.evaluation.metrics.base import Difference, Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import Graded, binary_difference, bounded_estimate
from promptkit.evaluation.metrics.levels import RIGHT, WRONG, check_levels, level_named
from promptkit.evaluation.metrics.score import Score, not_applicable
from promptkit.evaluation.statistics.interval import CONFIDENCE

UNLABELLED = "no label yet: `promptkit label` asks for one"
NO_LABELS = "no answer has a label: `promptkit label` asks for labels"
CHANGED = "this row was drawn at random, but this answer of it has no label: `promptkit label` asks for one"
OUTDATED = "its label `{}` is not one of the levels any more"


class HumanParameters(ClosedModel):
    """`levels` go from the worst to the best: words, or words with their meanings. `rubric` is shown to the person."""

    rubric: str = ""
    levels: list[str] | dict[str, str] = Field(default=[WRONG, RIGHT])

    @model_validator(mode="after")
    def _check_levels(self) -> HumanParameters:
        check_levels(self.names, "a person")
        return self

    @property
    def names(self) -> list[str]:
        """The levels from the worst to the best."""
        return list(self.levels)


class Human(Graded):
    """The level that a person gave the answer with `promptkit label`, from 0 (worst) to 1 (best): right is 1, wrong 0.

    A label belongs to one answer to one set of inputs; of several people the label that most gave counts. The metric
    does not apply to an answer without a label. Mean and interval are those of the answers that were drawn at random:
    answers that were chosen, because a judge is unsure or variants differ, are harder than others. A note says where
    the labelled answers are not a random sample.
    """

    kind = "human"
    about = "the level that a person gave the answer, with `promptkit label`"
    Parameters = HumanParameters
    parameters: HumanParameters
    short = "levels"
    needs_expected = False
    is_mean = False
    columns = ("score", "random")
    exempt_note = "the others have no label: `promptkit label` asks for one"

    def __init__(self, name: str, parameters: HumanParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._levels = parameters.names
        self._drawn = frozenset[str]() if context.labels is None else context.labels.drawn_inputs(name)

    def measure(self, given: MetricInput) -> Score:
        labels = self.context.labels
        if labels is None or given.inputs is None:
            return not_applicable(UNLABELLED)
        label = labels.consensus(self.name, answer_key(given.inputs, given.got))
        if label is None:
            drawn = inputs_key(given.inputs) in self._drawn
            return not_applicable(CHANGED if drawn else UNLABELLED)
        if (level := level_named(label.level, self._levels)) is None:
            return not_applicable(OUTDATED.format(label.level))
        people = len(labels.of_answer(self.name, label.key))
        detail = {
            "label": level,
            "random": label.drawn == "random",
            **({"people": people} if people > 1 else {}),
            **({"why": label.why} if label.why else {}),
            **({"value": label.value} if label.value is not None else {}),
        }
        return Score(self._levels.index(level) / (len(self._levels) - 1), detail)

    def unanswered(self, given: MetricInput) -> Score:
        """Score an unparsed or cut-off answer by its label too: `promptkit label` gives it the worst level."""
        return self.measure(given)

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        return (score.value, float(score.detail["random"]))

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return Estimate(mean=None, notes=(NO_LABELS,))
        drawn = _drawn_at_random(sample)
        binary = len(self._levels) == 2
        found = bounded_estimate(drawn, (0.0, 1.0), binary=binary)
        notes = list(found.notes)
        if chosen := len(sample) - len(drawn):
            notes.append(
                f"{chosen} of {len(sample)} labelled answers were chosen: they are left out, and the mean is of the "
                "others, which are easier; `promptkit label --random-share 1` chooses none"
            )
        rows = len(np.unique(drawn.rows))
        if rows < LEAST_COVERED * len(self._drawn):
            notes.append(
                f"{rows} of the {len(self._drawn)} rows drawn at random have a label of this variant's answer: these "
                "are not a random sample until `promptkit label` has asked for the others"
            )
        return replace(found, notes=tuple(notes))

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        at_random = (a.values[:, 1] == 1) & (b.values[:, 1] == 1)
        a, b = (Sample(one.values[at_random], one.rows[at_random], one.clusters[at_random]) for one in (a, b))
        if len(self._levels) == 2:
            return binary_difference(a, b, self.higher_is_better, level)
        return super().difference(a, b, level=level)


def _drawn_at_random(sample: Sample) -> Sample:
    chosen = sample.values[:, 1] == 1
    return Sample(sample.values[chosen], sample.rows[chosen], sample.clusters[chosen])
