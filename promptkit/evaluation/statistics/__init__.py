"""What can be said from a sample: intervals, paired differences, how many rows would tell. Plain arrays in and out."""

from promptkit.evaluation.statistics.bootstrap import percentile_interval, swap_test
from promptkit.evaluation.statistics.interval import (
    Z_95,
    Interval,
    Mean,
    Paired,
    Quantile,
    bounded_mean,
    quantile,
    wilson,
)
from promptkit.evaluation.statistics.paired import mid_p, paired_binary, paired_graded, paired_ratio, sign_flips, tango
from promptkit.evaluation.statistics.ratio import ClassScores, balanced_accuracy, f1, macro_f1, precision_recall
from promptkit.evaluation.statistics.ratio_paired import (
    balanced_accuracy_difference,
    f1_difference,
    macro_f1_difference,
    ratio_difference,
)

__all__ = [
    "Z_95",
    "ClassScores",
    "Interval",
    "Mean",
    "Paired",
    "Quantile",
    "balanced_accuracy",
    "balanced_accuracy_difference",
    "bounded_mean",
    "f1",
    "f1_difference",
    "macro_f1",
    "macro_f1_difference",
    "mid_p",
    "paired_binary",
    "paired_graded",
    "paired_ratio",
    "percentile_interval",
    "precision_recall",
    "quantile",
    "ratio_difference",
    "sign_flips",
    "swap_test",
    "tango",
    "wilson",
]
