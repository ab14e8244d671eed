"""Ways of asking: the registry of techniques, and `Task`, the object they ask through."""

from promptkit.techniques.context import Answer, CallRecord, Decide, Exchange, Options, StepContext
from promptkit.techniques.perform import perform, repair
from promptkit.techniques.registry import Technique, check, find, names, parse_spec, technique
from promptkit.techniques.task import Task

__all__ = [
    "Answer",
    "CallRecord",
    "Decide",
    "Exchange",
    "Options",
    "StepContext",
    "Task",
    "Technique",
    "check",
    "find",
    "names",
    "parse_spec",
    "perform",
    "repair",
    "technique",
]
