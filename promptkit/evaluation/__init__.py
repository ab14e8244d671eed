"""Measuring: statistics, comparisons of techniques on data, and the evidence behind recommending one."""

from promptkit.evaluation.compare import Comparison, Contender, compare, contenders, read_specs
from promptkit.evaluation.evidence import Evidence, keep_evidence, read_evidence
from promptkit.evaluation.measured import Measured, Spent, by_worth, spec_text
from promptkit.evaluation.statistics import Interval, wilson

__all__ = [
    "Comparison",
    "Contender",
    "Evidence",
    "Interval",
    "Measured",
    "Spent",
    "by_worth",
    "compare",
    "contenders",
    "keep_evidence",
    "read_evidence",
    "read_specs",
    "spec_text",
    "wilson",
]
