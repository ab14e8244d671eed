"""A tuning as people see it: what it is about to do, how far it is, what it found, and that as one page."""

from promptkit.reports.tuning.page import write_tuning_page
from promptkit.reports.tuning.plan import plan_text, print_plan, smallest_text
from promptkit.reports.tuning.screen import TuningScreen
from promptkit.reports.tuning.text import print_tuning, tuning_text

__all__ = [
    "TuningScreen",
    "plan_text",
    "print_plan",
    "print_tuning",
    "smallest_text",
    "tuning_text",
    "write_tuning_page",
]
