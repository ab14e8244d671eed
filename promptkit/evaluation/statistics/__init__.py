"""What can be said from a sample: intervals, paired differences, how many rows would tell. Plain arrays in and out."""

from promptkit.evaluation.statistics.agreement import cohen_kappa, gwet_ac1, krippendorff_alpha
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
from promptkit.evaluation.statistics.judging import (
    Agreement,
    Orders,
    PositionBias,
    agreement_with_labels,
    both_orders,
    consistency,
    corrected_difference,
    corrected_mean,
    length_correlation,
    position_bias,
)
from promptkit.evaluation.statistics.missing import against, missing_bounds
from promptkit.evaluation.statistics.paired import mid_p, paired_binary, paired_graded, paired_ratio, sign_flips, tango
from promptkit.evaluation.statistics.passes import pass_all, pass_at
from promptkit.evaluation.statistics.power import (
    rows_for_bound,
    rows_needed,
    rows_needed_graded,
    smallest_shown,
    smallest_shown_graded,
)
from promptkit.evaluation.statistics.ratio import ClassScores, balanced_accuracy, f1, macro_f1, precision_recall
from promptkit.evaluation.statistics.ratio_paired import (
    balanced_accuracy_difference,
    f1_difference,
    macro_f1_difference,
    ratio_difference,
)
from promptkit.evaluation.statistics.several import benjamini_hochberg, holm

__all__ = [
    "Z_95",
    "Agreement",
    "ClassScores",
    "Interval",
    "Mean",
    "Orders",
    "Paired",
    "PositionBias",
    "Quantile",
    "against",
    "agreement_with_labels",
    "balanced_accuracy",
    "balanced_accuracy_difference",
    "benjamini_hochberg",
    "both_orders",
    "bounded_mean",
    "cohen_kappa",
    "consistency",
    "corrected_difference",
    "corrected_mean",
    "f1",
    "f1_difference",
    "gwet_ac1",
    "holm",
    "krippendorff_alpha",
    "length_correlation",
    "macro_f1",
    "macro_f1_difference",
    "mid_p",
    "missing_bounds",
    "paired_binary",
    "paired_graded",
    "paired_ratio",
    "pass_all",
    "pass_at",
    "percentile_interval",
    "position_bias",
    "precision_recall",
    "quantile",
    "ratio_difference",
    "rows_for_bound",
    "rows_needed",
    "rows_needed_graded",
    "sign_flips",
    "smallest_shown",
    "smallest_shown_graded",
    "swap_test",
    "tango",
    "wilson",
]
