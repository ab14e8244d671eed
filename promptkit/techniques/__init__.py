"""Ways of asking: the registry of techniques, and `Task`, the object they ask through."""

from promptkit.techniques.artifacts import Artifact, Prepared, Row, artifact_file, read_artifact, row_hash
from promptkit.techniques.calls import CallSpec, read_call
from promptkit.techniques.card import Card
from promptkit.techniques.context import Answer, CallRecord, Decide, Exchange, Options, Spec, StepContext
from promptkit.techniques.description import (
    Parameter,
    explained,
    find_all,
    hidden,
    kinds_of_call,
    paper_facts,
    preparation_settings_of,
    record,
    settings_of,
    usage,
    usual_cost,
)
from promptkit.techniques.formulas import Cost, cost
from promptkit.techniques.methods.kmeans import clusters
from promptkit.techniques.needs import ROWS, TO_GIVE, Hand, not_prepared
from promptkit.techniques.parameters import Count, Temperature, Warmth
from promptkit.techniques.perform import perform, repair, require, run_preparation, task_for
from promptkit.techniques.reading import last_named, read_json, read_list
from promptkit.techniques.registry import Technique, find, names, parameters_of, technique
from promptkit.techniques.roles import SECTION, kind_of
from promptkit.techniques.spec import (
    Chosen,
    check,
    check_preparation,
    choose,
    find_known,
    parse_spec,
    technique_files,
    with_nested,
)
from promptkit.techniques.task import Task

__all__ = [
    "ROWS",
    "SECTION",
    "TO_GIVE",
    "Answer",
    "Artifact",
    "CallRecord",
    "CallSpec",
    "Card",
    "Chosen",
    "Cost",
    "Count",
    "Decide",
    "Exchange",
    "Hand",
    "Options",
    "Parameter",
    "Prepared",
    "Row",
    "Spec",
    "StepContext",
    "Task",
    "Technique",
    "Temperature",
    "Warmth",
    "artifact_file",
    "check",
    "check_preparation",
    "choose",
    "clusters",
    "cost",
    "explained",
    "find",
    "find_all",
    "find_known",
    "hidden",
    "kind_of",
    "kinds_of_call",
    "last_named",
    "names",
    "not_prepared",
    "paper_facts",
    "parameters_of",
    "parse_spec",
    "perform",
    "preparation_settings_of",
    "read_artifact",
    "read_call",
    "read_json",
    "read_list",
    "record",
    "repair",
    "require",
    "row_hash",
    "run_preparation",
    "settings_of",
    "task_for",
    "technique",
    "technique_files",
    "usage",
    "usual_cost",
    "with_nested",
]
