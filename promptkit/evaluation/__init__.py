"""Measuring: suites, their runs and statistics; and choosing a technique on evidence (`evaluation.choosing`).

suite = load_suite(path, project)
evaluation = Evaluation(suite, models=models, store=store)
await evaluation.open()
evaluated = await evaluation.run()
"""

from promptkit.evaluation.baseline import baseline_lines, write_baseline
from promptkit.evaluation.data import Data, DataRow
from promptkit.evaluation.evaluate import KIND, Evaluated, Evaluation, refuse_seen
from promptkit.evaluation.execute import Options, Progress
from promptkit.evaluation.looking import SoFar, cost_so_far, estimates_so_far
from promptkit.evaluation.rebuilt import rebuilt_record
from promptkit.evaluation.reference import Reference, find_reference
from promptkit.evaluation.schema import suite_schema
from promptkit.evaluation.sides import Side, named_variant, row_cells
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite import Measure, Suite, Threshold, Variant
from promptkit.evaluation.suite_reader import load_suite
from promptkit.evaluation.summary import SMALLEST, Judging
from promptkit.evaluation.versus import Flip, Versus, compare_sides
from promptkit.evaluation.view import CellView, RunView

__all__ = [
    "KIND",
    "SMALLEST",
    "CellView",
    "Data",
    "DataRow",
    "Evaluated",
    "Evaluation",
    "Flip",
    "Judging",
    "Measure",
    "Options",
    "Progress",
    "Reference",
    "RunView",
    "Side",
    "SoFar",
    "StoredRun",
    "Suite",
    "Threshold",
    "Variant",
    "Versus",
    "baseline_lines",
    "compare_sides",
    "cost_so_far",
    "estimates_so_far",
    "find_reference",
    "load_suite",
    "named_variant",
    "rebuilt_record",
    "refuse_seen",
    "row_cells",
    "suite_schema",
    "write_baseline",
]
