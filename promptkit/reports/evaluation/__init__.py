"""A run of a suite in the terminal: how far it is, and what it says.

`evaluation_text` is the report, `metric_text` one value of it as every other report shows it too.
"""

from promptkit.reports.evaluation.figures import metric_text
from promptkit.reports.evaluation.screen import EvaluationScreen
from promptkit.reports.evaluation.text import evaluation_text, print_evaluation

__all__ = ["EvaluationScreen", "evaluation_text", "metric_text", "print_evaluation"]
