"""Choosing a technique for a step: comparisons on data, what they leave as evidence, and recommendations."""

from promptkit.evaluation.choosing.compare import Comparison, Contender, compare, contenders, read_specs
from promptkit.evaluation.choosing.evidence import Evidence, files_hash, keep_evidence, read_evidence
from promptkit.evaluation.choosing.measured import Measured, Spent, by_worth, spec_text
from promptkit.evaluation.choosing.recommend import Recommendation, Situation, recommend, with_roles
from promptkit.evaluation.choosing.situation import (
    billions,
    costing_of,
    flags_of,
    from_rows,
    hand_of,
    likely_task,
    read_flags,
)
from promptkit.evaluation.choosing.tasks import find_task, tasks

__all__ = [
    "Comparison",
    "Contender",
    "Evidence",
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
    "with_roles",
]
