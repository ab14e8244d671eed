"""Pipelines: read and checked (`load_target`, `check`), run (`run`), shown (`render`), followed (`files`).

pipeline = load_target("feedback", project, sets=["categories.layout=prefix"])
filled = fill(pipeline, texts={"feedback": "…"})
result = await run(pipeline, filled.values, models=models, on_event=print)
if result.error:
    raise result.error
"""

from promptkit.engine.alone import StepAlone, with_technique
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
from promptkit.engine.files import files
from promptkit.engine.inputs import Filled, fill
from promptkit.engine.labels import written_labels
from promptkit.engine.load import check, load_target
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
from promptkit.engine.spec import Closed, Report, usable, validated
from promptkit.engine.step_rows import StepRow, StepRows, asking_step, read_step_rows
from promptkit.engine.traces import trace_record

__all__ = [
    "CallFinished",
    "Case",
    "Closed",
    "Edge",
    "Event",
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
    "Totals",
    "Trace",
    "Value",
    "asking_step",
    "check",
    "compile_value",
    "example_file",
    "example_run",
    "files",
    "fill",
    "json_schema",
    "load_target",
    "plan_preparation",
    "prepare",
    "read_parameters",
    "read_step_rows",
    "render",
    "result_of",
    "run",
    "trace_record",
    "unmet",
    "usable",
    "uses_technique",
    "validated",
    "with_technique",
    "write_artifact",
    "written_labels",
]
