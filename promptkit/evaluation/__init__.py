"""Measuring: statistics, comparisons of techniques on data, and the evidence behind recommending one."""

from promptkit.evaluation.compare import Comparison, Contender, compare, contenders, read_specs
from promptkit.evaluation.evidence import Evidence, files_hash, keep_evidence, read_evidence
from promptkit.evaluation.measured import Measured, Spent, by_worth, spec_text
from promptkit.evaluation.recommend import Recommendation, Situation, recommend, with_roles
from promptkit.evaluation.situation import billions, costing_of, flags_of, from_rows, hand_of, likely_task, read_flags
from promptkit.evaluation.statistics import Interval, wilson
from promptkit.evaluation.tasks import find_task, tasks

__all__ = [
    "Comparison",
    "Contender",
    "Evidence",
    "Interval",
    "Measured",
    "Recommendation",
    "Situation",
    "Spent",
    "billions",
    "by_worth",
    "compare",
    "contenders",
    "costing_of",
    "files_hash",
    "find_task",
    "flags_of",
    "from_rows",
    "hand_of",
    "keep_evidence",
    "likely_task",
    "read_evidence",
    "read_flags",
    "read_specs",
    "recommend",
    "spec_text",
    "tasks",
    "wilson",
    "with_roles",
]
