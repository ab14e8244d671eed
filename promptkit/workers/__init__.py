"""Work whose cost data or a model decides: functions run in processes that can be killed."""

from promptkit.workers.patterns import PatternFailed, find_pattern, pattern_fault, patterns_found
from promptkit.workers.pool import run_in_worker, run_in_worker_blocking
from promptkit.workers.process import WorkFailed
from promptkit.workers.sql_reader import read_table

__all__ = [
    "PatternFailed",
    "WorkFailed",
    "find_pattern",
    "pattern_fault",
    "patterns_found",
    "read_table",
    "run_in_worker",
    "run_in_worker_blocking",
]
