"""The keys of a suite's file, and their JSON Schema for editors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.metrics.registry import kind_named, kinds
from promptkit.evaluation.serving.spec import ServingSpec
from promptkit.evaluation.suite.conversation import ConversationSpec
from promptkit.evaluation.suite.data import DataSpec


class TargetSpec(ClosedModel):
    """`target:` as a mapping: a pipeline, or one step of it; `feed` says where the step's inputs come from."""

    pipeline: str
    step: str | None = None
    feed: Literal["data", "recorded"] = "data"


class BoundSpec(ClosedModel):
    """A threshold on one metric, on `tokens`, `latency`, `cost`, `unparsed`, or on a figure of serving.

    `at_least` is on the interval's lower end, `at_most` on its upper one; `per_case` is the least share of a row's
    repeats that must be right, for every row; `against` names a run, `last`, another variant or a baseline's file, and
    `drop_at_most` how far below it the difference's lower end may lie. `share` is the least share of the rows of either
    that must be compared.
    """

    at_least: float | None = None
    at_most: float | None = None
    per_case: float | None = Field(default=None, ge=0, le=1)
    against: str | int | None = None
    drop_at_most: float | None = Field(default=None, ge=0)
    share: float | None = Field(default=None, ge=0, le=1)


class CompareSpec(ClosedModel):
    """`compare:` says how variants are compared.

    `margin` maps metrics to the largest loss that does not matter: 0.02 is 2 points of a share, and 2 % of an amount
    such as tokens. `pairs` compares each variant with the baseline, or with each other one.
    """

    margin: dict[str, float] = Field(default={})
    pairs: Literal["baseline", "all"] = "baseline"


class StepSuiteSpec(ClosedModel):
    """`steps: {NAME: …}`: the labels of one step, which is measured alone."""

    inputs: dict[str, Any] | None = None
    expect: Any = None
    metrics: dict[str, Any] = Field(min_length=1)


class SuiteSpec(ClosedModel):
    """The top of a suite. Metrics, variants and steps are read one by one, so that no mistake hides another."""

    name: str | None = None
    about: str = ""
    data: Any
    target: str | dict[str, Any]
    inputs: dict[str, Any] | None = None
    expect: Any = None
    conversation: dict[str, Any] | None = None
    metrics: dict[str, Any] = Field(min_length=1)
    variants: dict[str, Any] = Field(default={})
    matrix: dict[str, list[Any]] = Field(default={})
    repeat: int = Field(default=1, ge=1, le=1000)
    compare: dict[str, Any] = Field(default={})
    thresholds: dict[str, Any] = Field(default={})
    steps: dict[str, Any] = Field(default={})
    concurrency: int | None = Field(default=None, ge=1)
    serving: Any = None


_COMPARED_PROPERTIES = {
    "of": {"description": "what is compared: an expression over output, row, steps and tool_calls"},
    "expect": {"description": "what is expected: an expression over row"},
    "when": {"description": "the rows that the metric is for: an expression over row", "type": ["string", "boolean"]},
    "each": {"enum": ["turn"], "description": "score each turn of a conversation; `of` and `expect` may read turn"},
}


def suite_schema() -> dict[str, Any]:
    """Return the schema of a suite's file."""
    schema = SuiteSpec.model_json_schema(by_alias=True)
    definitions = schema.setdefault("$defs", {})
    for model in (DataSpec, TargetSpec, ConversationSpec, BoundSpec, CompareSpec, StepSuiteSpec, ServingSpec):
        definition = model.model_json_schema(by_alias=True)
        definitions |= definition.pop("$defs", {})
        definitions[model.__name__] = definition
    metrics = {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/$defs/Metric"}}
    definitions["Metric"] = {
        "anyOf": [{"enum": list(kinds())}, *(_metric_schema(word, definitions) for word in kinds())]
    }
    definitions["StepSuiteSpec"]["properties"]["metrics"] = metrics
    sets = {"type": ["object", "null"], "description": "STEP.KEY: VALUE, as in --set; model: REF for all steps"}
    schema["properties"] |= {
        "data": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, _ref(DataSpec)]},
        "target": {"anyOf": [{"type": "string"}, _ref(TargetSpec)]},
        "conversation": _ref(ConversationSpec),
        "metrics": metrics,
        "variants": {"type": "object", "additionalProperties": sets},
        "compare": _ref(CompareSpec),
        "thresholds": {"type": "object", "additionalProperties": _ref(BoundSpec)},
        "steps": {"type": "object", "additionalProperties": _ref(StepSuiteSpec)},
        "serving": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}, _ref(ServingSpec)]},
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "promptkit suite"}
    return {**schema, **head, "description": "A suite of promptkit."}


def _metric_schema(word: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a metric of one kind, with its parameters."""
    kind = kind_named(word)
    parameters = kind.Parameters.model_json_schema(by_alias=True)
    definitions |= parameters.pop("$defs", {})
    parameters["properties"] = {**parameters.get("properties", {}), **_COMPARED_PROPERTIES}
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
