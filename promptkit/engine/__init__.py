"""Pipelines: read and checked (`load_target`, `check`), run (`run`), shown (`render`), followed (`files`).

pipeline = load_target("feedback", project, sets=["categories.layout=prefix"])
filled = fill(pipeline, texts={"feedback": "…"})
result = await run(pipeline, filled.values, models=models, on_event=print)
if result.error:
    raise result.error
"""

from promptkit.engine.alone import StepAlone, with_technique
from promptkit.engine.batch import BATCH, Batch, batch_record
from promptkit.engine.code import code_in, code_of, made_by_code, model_code, own_code
from promptkit.engine.default_model import default_model
from promptkit.engine.events import (
    CallFinished,
    Event,
    ItemFinished,
    Notice,
    OnEvent,
    StepFinished,
    StepStarted,
    TextArrived,
)
from promptkit.engine.example import example_file, example_run
from promptkit.engine.fallbacks import Fallback, fallbacks, step_fallbacks
from promptkit.engine.files import files
from promptkit.engine.inputs import Filled, fill, read_text_value
from promptkit.engine.labels import written_labels
from promptkit.engine.load import check, load_target
from promptkit.engine.one_step import find_step, one_step, up_to_step
from promptkit.engine.pipeline import Case, Edge, Input, Pipeline, Step
from promptkit.engine.prepare import (
    Preparation,
    PreparedStep,
    plan_preparation,
    prepare,
    read_parameters,
    uses_technique,
    write_artifact,
)
from promptkit.engine.render import Rendered, render
from promptkit.engine.requirements import unmet
from promptkit.engine.results import Result, Status, StepResult, Totals, Trace
from promptkit.engine.run import Runner, run
from promptkit.engine.schema import json_schema
from promptkit.engine.scope import Value, compile_value, result_of
from promptkit.engine.session import Settings
from promptkit.engine.sets import merged, read_changes
from promptkit.engine.settings import model_named
from promptkit.engine.spec import Closed, Report, usable, validated
from promptkit.engine.step_inputs import step_inputs
from promptkit.engine.step_rows import StepRow, StepRows, asking_step, expected_value, read_step_rows
from promptkit.engine.tools import Tool, find_tool
from promptkit.engine.traces import trace_record
from promptkit.engine.tune_keys import tune_problems

__all__ = [
    "BATCH",
    "Batch",
    "CallFinished",
    "Case",
    "Closed",
    "Edge",
    "Event",
    "Fallback",
    "Filled",
    "Input",
    "ItemFinished",
    "Notice",
    "OnEvent",
    "Pipeline",
    "Preparation",
    "PreparedStep",
    "Rendered",
    "Report",
    "Result",
    "Runner",
    "Settings",
    "Status",
    "Step",
    "StepAlone",
    "StepFinished",
    "StepResult",
    "StepRow",
    "StepRows",
    "StepStarted",
    "TextArrived",
    "Tool",
    "Totals",
    "Trace",
    "Value",
    "asking_step",
    "batch_record",
    "check",
    "code_in",
    "code_of",
    "compile_value",
    "default_model",
    "example_file",
    "example_run",
    "expected_value",
    "fallbacks",
    "files",
    "fill",
    "find_step",
    "find_tool",
    "json_schema",
    "load_target",
    "made_by_code",
    "merged",
    "model_code",
    "model_named",
    "one_step",
    "own_code",
    "plan_preparation",
    "prepare",
    "read_changes",
    "read_parameters",
    "read_step_rows",
    "read_text_value",
    "render",
    "result_of",
    "run",
    "step_fallbacks",
    "step_inputs",
    "trace_record",
    "tune_problems",
    "unmet",
    "up_to_step",
    "usable",
    "uses_technique",
    "validated",
    "with_technique",
    "write_artifact",
    "written_labels",
]
