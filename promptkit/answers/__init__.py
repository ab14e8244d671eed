"""What a step must return: how it is written, parsed, constrained and compared; and how it is decided."""

from promptkit.answers.base import AnswerType, Form, Unparsed
from promptkit.answers.boolean import Boolean
from promptkit.answers.build import build, check
from promptkit.answers.calibrate import (
    METHODS,
    Calibration,
    Method,
    best,
    check_calibration,
    labelled_offsets,
    mean_offsets,
    prior,
    probabilities,
    quantile_offsets,
    random_words,
    read_calibration,
)
from promptkit.answers.choice import Choice
from promptkit.answers.closed import Names
from promptkit.answers.code import Code
from promptkit.answers.decide import MOST_OUTSIDE, Scores, constrained, lead_after, refuse_outside, score
from promptkit.answers.instruct import content_free_inputs, instruction, repair_text
from promptkit.answers.json_schema import Schema
from promptkit.answers.json_value import Json
from promptkit.answers.label import Label
from promptkit.answers.labels import Labels
from promptkit.answers.list_of import JsonList, ListOf
from promptkit.answers.number import Number
from promptkit.answers.spans import Spans
from promptkit.answers.text import Text

__all__ = [
    "METHODS",
    "MOST_OUTSIDE",
    "AnswerType",
    "Boolean",
    "Calibration",
    "Choice",
    "Code",
    "Form",
    "Json",
    "JsonList",
    "Label",
    "Labels",
    "ListOf",
    "Method",
    "Names",
    "Number",
    "Schema",
    "Scores",
    "Spans",
    "Text",
    "Unparsed",
    "best",
    "build",
    "check",
    "check_calibration",
    "constrained",
    "content_free_inputs",
    "instruction",
    "labelled_offsets",
    "lead_after",
    "mean_offsets",
    "prior",
    "probabilities",
    "quantile_offsets",
    "random_words",
    "read_calibration",
    "refuse_outside",
    "repair_text",
    "score",
]
