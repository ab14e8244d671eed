"""The threshold from which a head answers, by conformal risk control (Angelopoulos, Bates, Fisch, Lei & Schuster 2022).

The loss of a row is 1 where the head answers it and is wrong, else 0. It can only fall with the threshold. The smallest
threshold is taken at which (losses of n rows + 1) / (n + 1) is at most the risk. If a further row is exchangeable with
the n rows, and the head was fitted on none of them, its expected loss is at most the risk: the mean over all draws of
rows, not a promise for each input, label or slice.

Here the n losses are those of cross-validation, each from a head that did not see the row, and the head that is used is
fitted on all of them. The bound then holds as far as a head does not get worse by the rows of one fold more (compare
cross-validated risk control: Cohen, Park, Simeone & Shamai 2024).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promptkit.answers.head import ABOVE_ALL
from promptkit.training.head.logistic import Floats


def risk_threshold(confidences: Floats, is_wrong: NDArray[np.bool_], clusters: NDArray[np.int64], risk: float) -> float:
    """Return the smallest probability with which a head may answer; ABOVE_ALL where there are too few rows for one.

    Arrays are (rows,). The rows of a cluster count as one, whose loss is their mean.
    """
    _, place, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    allowed = risk * (len(sizes) + 1) - 1
    if allowed < 0:
        return ABOVE_ALL
    order = np.argsort(-confidences[is_wrong], kind="stable")
    wrong = confidences[is_wrong][order]
    losses = np.cumsum((1.0 / sizes[place])[is_wrong][order])
    # The first wrong row that is one too many, and all that are as sure, are not answered.
    over = np.flatnonzero(losses > allowed + 1e-9)
    return 0.0 if not len(over) else float(np.nextafter(wrong[over[0]], np.inf))
