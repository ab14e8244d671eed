"""Measuring: suites, their runs and statistics; and choosing a technique on evidence (`evaluation.choosing`).

suite = load_suite(path, project)
evaluation = Evaluation(suite, models=models, store=store)
await evaluation.open()
evaluated = await evaluation.run()
"""

from promptkit.evaluation.baseline import write_baseline
from promptkit.evaluation.data import Data, DataRow
from promptkit.evaluation.evaluate import KIND, Evaluated, Evaluation, refuse_seen
from promptkit.evaluation.execute import Options, Progress
from promptkit.evaluation.looking import SoFar, cost_so_far, estimates_so_far
from promptkit.evaluation.reference import Reference, find_reference
from promptkit.evaluation.schema import suite_schema
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite import Measure, Suite, Threshold, Variant
from promptkit.evaluation.suite_reader import load_suite
from promptkit.evaluation.summary import Judging
from promptkit.evaluation.view import CellView, RunView

__all__ = [
    "KIND",
    "CellView",
    "Data",
    "DataRow",
    "Evaluated",
    "Evaluation",
    "Judging",
    "Measure",
    "Options",
    "Progress",
    "Reference",
    "RunView",
    "SoFar",
    "StoredRun",
    "Suite",
    "Threshold",
    "Variant",
    "cost_so_far",
    "estimates_so_far",
    "find_reference",
    "load_suite",
    "refuse_seen",
    "suite_schema",
    "write_baseline",
]
