"""The JSON Schema of suites, made from the models that read them; editors complete and check by it."""

from __future__ import annotations

from typing import Any

from promptkit.evaluation.data import DataSpec
from promptkit.evaluation.metrics import kind_named, kinds
from promptkit.evaluation.suite_spec import BoundSpec, StepSuiteSpec, SuiteSpec, TargetSpec

_COMPARED = {
    "of": {"description": "what is compared: an expression over output, row and steps"},
    "expect": {"description": "what is expected: an expression over row"},
}


def suite_schema() -> dict[str, Any]:
    """Return the schema of a suite's file."""
    schema = SuiteSpec.model_json_schema(by_alias=True)
    definitions = schema.setdefault("$defs", {})
    for model in (DataSpec, TargetSpec, BoundSpec, StepSuiteSpec):
        own = model.model_json_schema(by_alias=True)
        definitions |= own.pop("$defs", {})
        definitions[model.__name__] = own
    metrics = {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/Metric"}}
    definitions["Metric"] = {"anyOf": [{"enum": list(kinds())}, *(_metric(word, definitions) for word in kinds())]}
    definitions["StepSuiteSpec"]["properties"]["metrics"] = metrics
    sets = {"type": ["object", "null"], "description": "STEP.KEY: VALUE, as in --set; model: REF for all steps"}
    schema["properties"] |= {
        "data": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, _ref(DataSpec)]},
        "target": {"anyOf": [{"type": "string"}, _ref(TargetSpec)]},
        "metrics": metrics,
        "variants": {"type": "object", "additionalProperties": sets},
        "thresholds": {"type": "object", "additionalProperties": _ref(BoundSpec)},
        "steps": {"type": "object", "additionalProperties": _ref(StepSuiteSpec)},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "promptkit suite"}
    return {**schema, **head, "description": "A suite of promptkit."}


def _metric(word: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a metric of one kind with what it takes."""
    kind = kind_named(word)
    parameters = kind.Parameters.model_json_schema(by_alias=True)
    definitions |= parameters.pop("$defs", {})
    parameters["properties"] = {**parameters.get("properties", {}), **_COMPARED}
    whole = {"anyOf": [parameters, {"type": ["string", "number", "array"]}]} if kind.short else parameters
    return {
        "type": "object",
        "description": kind.about,
        "properties": {word: whole},
        "required": [word],
        "additionalProperties": False,
    }


def _ref(model: type) -> dict[str, str]:
    return {"$ref": f"#/$defs/{model.__name__}"}
