"""What can be said from a sample: intervals, paired differences, how many rows would tell. Plain arrays in and out."""

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

__all__ = [
    "Z_95",
    "Interval",
    "Mean",
    "Paired",
    "Quantile",
    "bounded_mean",
    "mid_p",
    "paired_binary",
    "paired_graded",
    "paired_ratio",
    "quantile",
    "sign_flips",
    "tango",
    "wilson",
]
