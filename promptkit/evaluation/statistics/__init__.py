"""What can be said from a sample: intervals, paired differences, how many rows would tell. Plain arrays in and out."""

from promptkit.evaluation.statistics.interval import Z_95, Interval, Mean, Paired, bounded_mean, wilson

__all__ = ["Z_95", "Interval", "Mean", "Paired", "bounded_mean", "wilson"]
