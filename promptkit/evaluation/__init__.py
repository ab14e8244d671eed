"""Measuring: suites, their runs and statistics; and choosing a technique on evidence (`evaluation.choosing`).

suite = load_suite(path, project)
evaluation = Evaluation(suite, models=models, store=store)
await evaluation.open()
evaluated = await evaluation.run()
"""

from promptkit.evaluation.baseline import baseline_lines, write_baseline
from promptkit.evaluation.binding import Binder, BoundRow, wrong_rows
from promptkit.evaluation.code import suite_code
from promptkit.evaluation.data import Data, DataRow
from promptkit.evaluation.error_groups import (
    APART,
    ErrorGroup,
    Errors,
    Failure,
    find_errors,
)
from promptkit.evaluation.error_groups_draft import GuidelinePlan, draft_guideline, plan_guideline
from promptkit.evaluation.error_groups_fields import ErrorSlice
from promptkit.evaluation.error_groups_record import errors_record, reply_of
from promptkit.evaluation.error_groups_similar import SimilarErrors
from promptkit.evaluation.evaluate import KIND, Evaluated, Evaluation, refuse_seen
from promptkit.evaluation.execute import Execution
from promptkit.evaluation.looking import SoFar, cost_so_far, estimates_so_far
from promptkit.evaluation.metrics import Difference, Estimate, Metric, Sample, Score, judging
from promptkit.evaluation.outcome import Outcome
from promptkit.evaluation.rebuilt import rebuilt_record
from promptkit.evaluation.reference import Reference, find_reference
from promptkit.evaluation.replies import Replies
from promptkit.evaluation.saving import Finished
from promptkit.evaluation.schema import suite_schema
from promptkit.evaluation.scoring import measure_cell
from promptkit.evaluation.sides import Side, named_variant, row_cells
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite import Measure, Suite, Threshold, Variant, answer_type
from promptkit.evaluation.suite_reader import load_suite
from promptkit.evaluation.summary import SMALLEST, Judging
from promptkit.evaluation.variants import Wanted, read_variant
from promptkit.evaluation.versus import Flip, Versus, compare_sides
from promptkit.evaluation.view import CellView, RunView, compared
from promptkit.evaluation.work import Defects, Options, Progress

__all__ = [
    "APART",
    "KIND",
    "SMALLEST",
    "Binder",
    "BoundRow",
    "CellView",
    "Data",
    "DataRow",
    "Defects",
    "Difference",
    "ErrorGroup",
    "ErrorSlice",
    "Errors",
    "Estimate",
    "Evaluated",
    "Evaluation",
    "Execution",
    "Failure",
    "Finished",
    "Flip",
    "GuidelinePlan",
    "Judging",
    "Measure",
    "Metric",
    "Options",
    "Outcome",
    "Progress",
    "Reference",
    "Replies",
    "RunView",
    "Sample",
    "Score",
    "Side",
    "SimilarErrors",
    "SoFar",
    "StoredRun",
    "Suite",
    "Threshold",
    "Variant",
    "Versus",
    "Wanted",
    "answer_type",
    "baseline_lines",
    "compare_sides",
    "compared",
    "cost_so_far",
    "draft_guideline",
    "errors_record",
    "estimates_so_far",
    "find_errors",
    "find_reference",
    "judging",
    "load_suite",
    "measure_cell",
    "named_variant",
    "plan_guideline",
    "read_variant",
    "rebuilt_record",
    "refuse_seen",
    "reply_of",
    "row_cells",
    "suite_code",
    "suite_schema",
    "write_baseline",
    "wrong_rows",
]
