"""Ways of asking: the registry of techniques, and `Task`, the object they ask through."""

from promptkit.techniques.context import Answer, CallRecord, Decide, Exchange, Options, StepContext
from promptkit.techniques.perform import Chosen, choose, perform, repair
from promptkit.techniques.registry import Technique, check, find, names, parse_spec, technique
from promptkit.techniques.task import Task

__all__ = [
    "Answer",
    "CallRecord",
    "Chosen",
    "Decide",
    "Exchange",
    "Options",
    "StepContext",
    "Task",
    "Technique",
    "check",
    "choose",
    "find",
    "names",
    "parse_spec",
    "perform",
    "repair",
    "technique",
]
