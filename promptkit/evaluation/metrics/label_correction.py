"""A judge's mean and differences corrected by people's labels of some of the answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.answer_labels import LEAST_COVERED
from promptkit.evaluation.metrics.base import Difference, Estimate, Sample
from promptkit.evaluation.metrics.estimation import bounded_estimate, graded_difference, metric_difference
from promptkit.evaluation.statistics.prediction_powered import JudgedCells, corrected_difference, corrected_mean

NO_RANDOM_LABEL: Final = (
    "no label was drawn at random: where an answer has no label, the judge's score counts, not corrected"
)
FEW_AT_RANDOM: Final = 20
"""Below this many labels drawn at random, a note says that the others were chosen."""
ONE_SIDE: Final = (
    "only one of the two variants has a random sample of labels: the difference is the judge's, not corrected"
)


@dataclass(frozen=True, slots=True)
class LabelledSample:
    """A judge's sample with labels of its cells.

    `labels` are scaled from 0 (worst) to 1, NaN where there is none; `at_random` tells which cells were drawn at random
    to be labelled. Some of these have no label: it was of another answer. `bounds` are those of the judge's scores, and
    `binary` says that there are two levels.
    """

    sample: Sample
    labels: NDArray[np.float64]
    at_random: NDArray[np.bool_]
    bounds: tuple[float, float]
    binary: bool

    @property
    def any(self) -> bool:
        """Tell whether an answer has a label."""
        return not np.isnan(self.labels).all()

    @property
    def cells(self) -> JudgedCells:
        """Scores and labels from 0 to 1. Labels of too few of the cells drawn at random do not pass for such."""
        low, high = self.bounds
        at_random = self.at_random if self.covers else np.zeros_like(self.at_random)
        # Rounding may move a score beyond its bounds.
        return JudgedCells(np.clip((self.sample.scores - low) / (high - low), 0, 1), self.labels, at_random)

    @property
    def covers(self) -> bool:
        """Tell whether nearly all rows drawn at random have a label of this variant's answer."""
        return self._labelled_rows >= LEAST_COVERED * self._drawn_rows

    @property
    def _labelled_rows(self) -> int:
        return len(np.unique(self.sample.rows[self.at_random & ~np.isnan(self.labels)]))

    @property
    def _drawn_rows(self) -> int:
        return len(np.unique(self.sample.rows[self.at_random]))

    @property
    def _why_not_corrected(self) -> str:
        if self.covers:
            return NO_RANDOM_LABEL
        return (
            f"{self._labelled_rows} of the {self._drawn_rows} rows drawn at random have a label of this variant's "
            "answer, which is not a random sample: where an answer has no label, the judge's score counts, not "
            "corrected, until `promptkit label` has asked for the others"
        )

    def estimate(self, judged: Estimate) -> Estimate:
        """Return the mean that labels of all answers would give, in the place of the judge's own mean."""
        low, high = self.bounds
        if not self.cells.correctable:
            mixed = bounded_estimate(self._with_known_labels(), self.bounds, binary=False)
            return replace(mixed, notes=(*mixed.notes, self._why_not_corrected))
        found = corrected_mean(self.cells, self.sample.clusters, binary=self.binary)
        mean, lower, upper = (low + (high - low) * value for value in (found.mean, found.low, found.high))
        return replace(judged, mean=mean, low=lower, high=upper, notes=(*judged.notes, *self._few_at_random()))

    def difference(self, other: LabelledSample, level: float) -> Difference | None:
        """Return the difference to another sample of the same cells, corrected where both have labels for it.

        None for no cells.
        """
        if not len(self.sample):
            return None
        width = self.bounds[1] - self.bounds[0]
        if self.cells.correctable and other.cells.correctable:
            found = corrected_difference(self.cells, other.cells, self.sample.clusters, binary=self.binary, level=level)
            return metric_difference(found, True, scale=width)
        judged = graded_difference(self.sample, other.sample, self.bounds, True, level)
        if judged is None or not (self.any or other.any):
            return judged
        note = ONE_SIDE if self.cells.correctable or other.cells.correctable else self._why_not_corrected
        return replace(judged, notes=(*judged.notes, note))

    def _few_at_random(self) -> tuple[str, ...]:
        known = ~np.isnan(self.labels)
        drawn = int(np.sum(known & self.at_random))
        if known.all() or drawn == known.sum() or drawn >= FEW_AT_RANDOM:
            return ()
        return (
            f"only {drawn} of {known.sum()} labels were drawn at random, and these alone correct the judge on answers "
            "without a label",
        )

    def _with_known_labels(self) -> Sample:
        """Return the sample with labels as scores where there are any."""
        low, high = self.bounds
        scores = np.where(np.isnan(self.labels), self.sample.scores, low + (high - low) * self.labels)
        return Sample(scores[:, None], self.sample.rows, self.sample.clusters)
