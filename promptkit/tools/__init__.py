"""What techniques compute with: model-written Python in a sandbox."""

from promptkit.tools.failures import Failure, Limits
from promptkit.tools.programs import assigned_names, cut_program, undefined_names
from promptkit.tools.python import Execution, Session, run_python, session

__all__ = [
    "Execution",
    "Failure",
    "Limits",
    "Session",
    "assigned_names",
    "cut_program",
    "run_python",
    "session",
    "undefined_names",
]
