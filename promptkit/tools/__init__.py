"""What techniques compute with: Python in a sandbox, arithmetic and equations, SQL over tables, search in documents."""

from promptkit.tools.algebra import evaluate_expression
from promptkit.tools.failures import Failure, Limits
from promptkit.tools.programs import assigned_names, cut_program, undefined_names
from promptkit.tools.python import Execution, Session, run_python, session
from promptkit.tools.search import Documents, Passage
from promptkit.tools.solver import solve_equations
from promptkit.tools.sql import QueryFailed, Selection, run_query
from promptkit.tools.tables import Table

__all__ = [
    "Documents",
    "Execution",
    "Failure",
    "Limits",
    "Passage",
    "QueryFailed",
    "Selection",
    "Session",
    "Table",
    "assigned_names",
    "cut_program",
    "evaluate_expression",
    "run_python",
    "run_query",
    "session",
    "solve_equations",
    "undefined_names",
]
