"""What techniques compute with: model-written Python in a sandbox, SQL over tables, and search in documents."""

from promptkit.tools.failures import Failure, Limits
from promptkit.tools.programs import assigned_names, cut_program, undefined_names
from promptkit.tools.python import Execution, Session, run_python, session
from promptkit.tools.search import Documents, Passage
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
    "run_python",
    "run_query",
    "session",
    "undefined_names",
]
