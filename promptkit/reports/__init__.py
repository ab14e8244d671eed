"""What people look at: safe text, progress lines, the trace tree, comparisons of answers.

`import promptkit.reports` is cheap; what needs the engine or rich is loaded by the name that uses it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from promptkit.reports.columns import paragraph
from promptkit.reports.numbers import calls_text, counted, seconds_text, size_text, tokens_text
from promptkit.reports.output import emit, emit_folded, error_text, note, print_error, result_stream, results_alone
from promptkit.reports.text import json_text, one_line, outline, row_text, shown, visible

if TYPE_CHECKING:
    from promptkit.reports.batch import AnswerTable, answer_lines, batch_row_text, batch_text
    from promptkit.reports.catalog import catalog_text, technique_text
    from promptkit.reports.comparison import Outcome, answer_record, settle
    from promptkit.reports.defects import defects_text
    from promptkit.reports.error_groups import errors_text, print_errors
    from promptkit.reports.evaluation import EvaluationScreen, evaluation_text, metric_text, print_evaluation
    from promptkit.reports.evaluation.failures import goodness_of
    from promptkit.reports.export import cell_record, csv_parts, is_right, jsonl_parts, junit_parts
    from promptkit.reports.models import model_text, models_text
    from promptkit.reports.page import write_page
    from promptkit.reports.progress import Progress
    from promptkit.reports.recommendation import recommendation_record, recommendation_text
    from promptkit.reports.requests import rendered_text
    from promptkit.reports.runs import cells_text, run_record, run_text, runs_text
    from promptkit.reports.screen import report_console, terminal_width
    from promptkit.reports.techniques import comparison_text, measured_text, prepared_text
    from promptkit.reports.trace import trace_text
    from promptkit.reports.trial import TrialScreen
    from promptkit.reports.tuning import (
        TuningScreen,
        plan_text,
        print_plan,
        print_tuning,
        smallest_text,
        tuning_text,
        write_tuning_page,
    )
    from promptkit.reports.versus import find_flips, flip_record, print_versus
    from promptkit.reports.words import compare_words, marked

__all__ = [
    "AnswerTable",
    "EvaluationScreen",
    "Outcome",
    "Progress",
    "TrialScreen",
    "TuningScreen",
    "answer_lines",
    "answer_record",
    "batch_row_text",
    "batch_text",
    "calls_text",
    "catalog_text",
    "cell_record",
    "cells_text",
    "compare_words",
    "comparison_text",
    "counted",
    "csv_parts",
    "defects_text",
    "emit",
    "emit_folded",
    "error_text",
    "errors_text",
    "evaluation_text",
    "find_flips",
    "flip_record",
    "goodness_of",
    "is_right",
    "json_text",
    "jsonl_parts",
    "junit_parts",
    "marked",
    "measured_text",
    "metric_text",
    "model_text",
    "models_text",
    "note",
    "one_line",
    "outline",
    "paragraph",
    "plan_text",
    "prepared_text",
    "print_error",
    "print_errors",
    "print_evaluation",
    "print_plan",
    "print_tuning",
    "print_versus",
    "recommendation_record",
    "recommendation_text",
    "rendered_text",
    "report_console",
    "result_stream",
    "results_alone",
    "row_text",
    "run_record",
    "run_text",
    "runs_text",
    "seconds_text",
    "settle",
    "shown",
    "size_text",
    "smallest_text",
    "technique_text",
    "terminal_width",
    "tokens_text",
    "trace_text",
    "tuning_text",
    "visible",
    "write_page",
    "write_tuning_page",
]

_LAZY = {
    "AnswerTable": "batch",
    "answer_lines": "batch",
    "batch_row_text": "batch",
    "batch_text": "batch",
    "Outcome": "comparison",
    "Progress": "progress",
    "EvaluationScreen": "evaluation",
    "TrialScreen": "trial",
    "evaluation_text": "evaluation",
    "metric_text": "evaluation",
    "print_evaluation": "evaluation",
    "answer_record": "comparison",
    "catalog_text": "catalog",
    "technique_text": "catalog",
    "settle": "comparison",
    "compare_words": "words",
    "marked": "words",
    "model_text": "models",
    "models_text": "models",
    "write_page": "page",
    "recommendation_record": "recommendation",
    "recommendation_text": "recommendation",
    "rendered_text": "requests",
    "report_console": "screen",
    "terminal_width": "screen",
    "defects_text": "defects",
    "errors_text": "error_groups",
    "print_errors": "error_groups",
    "comparison_text": "techniques",
    "measured_text": "techniques",
    "prepared_text": "techniques",
    "trace_text": "trace",
    "cell_record": "export",
    "csv_parts": "export",
    "goodness_of": "evaluation.failures",
    "is_right": "export",
    "jsonl_parts": "export",
    "junit_parts": "export",
    "cells_text": "runs",
    "run_record": "runs",
    "run_text": "runs",
    "runs_text": "runs",
    "TuningScreen": "tuning",
    "smallest_text": "tuning",
    "plan_text": "tuning",
    "print_plan": "tuning",
    "print_tuning": "tuning",
    "tuning_text": "tuning",
    "write_tuning_page": "tuning",
    "find_flips": "versus",
    "flip_record": "versus",
    "print_versus": "versus",
}


def __getattr__(name: str) -> object:
    """Import what loads the engine or rich at its first use."""
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
