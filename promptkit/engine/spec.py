"""The keys of pipeline files and front matter, as pydantic models and as JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from promptkit.engine.scope import Key
from promptkit.errors import Problem, nearest
from promptkit.prompts.example_files import ExamplesSettings
from promptkit.storage.models import Problems, schema_error_text
from promptkit.techniques.thinking import EFFORT_BUDGETS, LARGEST_BUDGET, WORDS, read_think
from promptkit.tools.backends import DEFAULT_BACKEND, Backend
from promptkit.tools.base import Effect
from promptkit.tools.registry import KINDS

Decide = Literal["constrain", "generate", "score", "head"]
Otherwise = Literal["constrain", "generate", "score"]
MessageMode = Literal["one", "system", "turns"]
Spec = TypeVar("Spec", bound=BaseModel)
Report = Callable[[Sequence[str | int], str, str | None], Problem]
InputType = Literal["text", "number", "boolean", "list", "table", "messages", "json"]


class ClosedModel(BaseModel):
    """A mapping with a closed list of keys. Values are never converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """Return the keys that were written, by their written names, with their values."""
        fields = type(self).model_fields
        return {fields[name].alias or name: getattr(self, name) for name in self.model_fields_set}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _tool_entries(value: Any) -> Any:
    entries = [value] if isinstance(value, str | Mapping) else value
    if not isinstance(entries, list | None) or any(not isinstance(entry, str | Mapping) for entry in entries or ()):
        raise ValueError("must be names of tools, or kinds with their settings: `{KIND: SETTINGS}`")
    return entries


def _of_kind(what: str, *kinds: type) -> BeforeValidator:
    """Return a validator that accepts values of these kinds, and otherwise fails with the message `what`."""

    def validate(value: Any) -> Any:
        if not isinstance(value, kinds):
            raise ValueError(what)
        return value

    return BeforeValidator(validate)


def _think(value: Any) -> Any:
    read_think(value)
    return value


ThinkSetting = Annotated[bool | str | int | None, BeforeValidator(_think)]


class OptionsSpec(ClosedModel):
    """`options:`. Options that are not given are left to the technique and the answer type.

    `think` is the older place of the step's own key.
    """

    temperature: float | None = Field(default=None, ge=0, le=10)
    max_tokens: int | None = Field(default=None, gt=0, lt=2**31)
    stop: Annotated[list[str], BeforeValidator(_as_list)] = []
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    top_p: float | None = Field(default=None, gt=0, le=1)
    think: ThinkSetting = None
    context: int | None = Field(default=None, gt=0, lt=2**31)
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class ProgramsSpec(ClosedModel):
    """`programs:`, the sandbox of programs that a model writes."""

    backend: Backend = DEFAULT_BACKEND


class DefaultsSpec(ClosedModel):
    """`defaults:`, the settings that may be given for all steps."""

    layout: str | None = None
    messages: MessageMode | None = None
    examples: Annotated[Any, _of_kind("must be a list, or `{file: …}`", list, dict)] = None
    cue: str | None = None
    decide: Decide | None = None
    otherwise: Otherwise | None = None
    calibrate: dict[str, Any] | None = None
    technique: Annotated[Any, _of_kind("must be a name, or one name with its parameters: `{NAME: {…}}`", str, dict)] = (
        None
    )
    tools: Annotated[list[Any] | None, BeforeValidator(_tool_entries)] = None
    model: str | None = None
    think: ThinkSetting = None
    programs: ProgramsSpec | None = None
    strict: Annotated[list[str] | None, BeforeValidator(_as_list)] = None
    options: OptionsSpec = OptionsSpec()


class SettingsSpec(DefaultsSpec):
    """The settings of a prompt's front matter and of a step."""

    answer: Annotated[Any, _of_kind("must be a type, or one type with its options", str, dict)] = None


class GuardSpec(ClosedModel):
    """`guard:`, a test of the result. `say` is the message to the model when the test fails."""

    expr: Annotated[Any, _of_kind("must be one expression", str, bool)]
    say: str = "The answer does not pass the test."


class RepeatSpec(ClosedModel):
    """`repeat:`, which asks again until `until` holds, at most `max` times."""

    until: str | None = None
    max: int = Field(gt=0)
    start: Any = None


def _on_error(value: Any) -> Any:
    if value in ("fail", "skip") or (isinstance(value, Mapping) and set(value) == {"default"}):
        return value
    raise ValueError("must be `fail`, `skip` or `{default: VALUE}`")


class StepSpec(SettingsSpec):
    """One step."""

    about: str = ""
    prompt: Annotated[Any, _of_kind("must be a name, a path or a mapping of sections", str, dict)] = None
    tool: str | None = None
    pipeline: str | None = None
    with_: dict[str, Any] = Field(default={}, alias="with")
    for_each: Annotated[Any, _of_kind("must be one expression, a list, or several lists by name", str, list, dict)] = (
        None
    )
    as_: str | None = Field(default=None, alias="as")
    when: Annotated[Any, _of_kind("must be one expression, or true or false", str, bool)] = None
    repeat: RepeatSpec | None = None
    after: Annotated[list[str], BeforeValidator(_as_list)] = []
    guard: GuardSpec | None = None
    on_error: Annotated[Any, BeforeValidator(_on_error)] = "fail"
    repairs: int | None = Field(default=None, ge=0)
    models: dict[str, str] = {}
    adapter: str | None = None
    head: str | None = None
    cache: bool = True

    @model_validator(mode="after")
    def _check_shape(self) -> StepSpec:
        doing = [key for key in ("prompt", "tool", "pipeline") if getattr(self, key) is not None]
        if len(doing) != 1:
            found = f"this has {' and '.join(doing)}" if doing else "this has none"
            raise ValueError(f"a step has one of `prompt`, `tool` and `pipeline`; {found}")
        if isinstance(self.for_each, str | list) and self.as_ is None:
            raise ValueError("`for_each` over one list needs `as`, the name of one item")
        if isinstance(self.for_each, dict) and (self.as_ is not None or not self.for_each):
            raise ValueError("`for_each` over several lists names each item itself: `{NAME: LIST}`, without `as`")
        if self.for_each is None and self.as_ is not None:
            raise ValueError("`as` names the item of a `for_each`, and there is none")
        return self


class InputSpec(ClosedModel):
    """One input of a pipeline."""

    type: InputType = "text"
    about: str = ""
    example: Any = None
    default: Any = None
    choices: list[Any] = []


class CaseSpec(ClosedModel):
    """A pinned case: inputs, and maybe the expected output."""

    name: str | None = None
    inputs: dict[str, Any] = {}
    expect: Any = None


class ToolSpec(ClosedModel):
    """A Python function as a tool, with its effects and what it reads beside its arguments: files and environment
    variables, by name.
    """

    function: str
    reads: Annotated[list[str], BeforeValidator(_as_list)] = []
    environment: Annotated[list[str], BeforeValidator(_as_list)] = []
    effects: Annotated[list[Effect], BeforeValidator(_as_list)] = []


class PipelineSpec(ClosedModel):
    """The top level of a pipeline file. Steps, inputs and cases are read one by one, so that one mistake hides no
    other.
    """

    name: str | None = None
    about: str = ""
    inputs: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    steps: dict[str, Any] = Field(min_length=1)
    output: Any = None
    model: str | None = None
    tools: dict[str, Any] = {}
    allow: Annotated[list[str], BeforeValidator(_as_list)] = []
    cases: list[Any] = []
    tune: dict[str, Any] = {}


def validate(values: Mapping[str, Any], model: type[Spec], problem: Report) -> Spec:
    """Validate values that are not a document of their own (`--set`, merged front matter). Raises InputError."""
    problems = Problems()
    spec = validate_usable(values, model, problem, problems)
    problems.check()
    assert spec is not None, "values without problems are a model"
    return spec


def _hint(key: str, known: Sequence[str]) -> str | None:
    if "options" in known and key in OptionsSpec.model_fields:
        return f"did you mean `options.{key}`?"
    return nearest(key, known)


def validate_usable(values: Mapping[str, Any], model: type[Spec], problem: Report, problems: Problems) -> Spec | None:
    """Validate as much of such values as is valid. Reports the rest in `problems`; None where too little is left."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
    known = [field.alias or name for name, field in model.model_fields.items()]
    wrong: set[Any] = set()
    for detail in details:
        path, hint = [key for key in detail["loc"] if key != "function-before"], None
        message = schema_error_text(detail)
        if detail["type"] == "extra_forbidden":
            message, hint = f"unknown key `{path[-1]}`", _hint(str(path[-1]), known) if len(path) == 1 else None
        elif detail["type"] == "missing":
            message = f"`{path[-1]}` is missing"
        elif path:
            message = f"`{path[-1]}`: {message}"
        problems.add(problem(path, message, hint))
        wrong.update(path[:1])
    if not wrong or not isinstance(values, Mapping):
        return None
    try:
        return model.model_validate({key: value for key, value in values.items() if key not in wrong})
    except ValidationError:
        return None


WrittenText = Callable[[tuple[Key, ...]], str]

_LABEL_TYPES = ("label", "labels", "choice")


def labels_as_written(answer: Any, text: WrittenText) -> Any:
    """Return the value of `answer:` with each label as the text that the file has: `012`, `yes` and `1.0` stay as they
    are.

    `text` returns the scalar at a path below `answer:` as it is written.
    """
    if not isinstance(answer, Mapping):
        return answer
    return {kind: _written_options(kind, options, text) for kind, options in answer.items()}


def _written_options(kind: str, options: Any, text: WrittenText) -> Any:
    if kind in _LABEL_TYPES:
        return _written_texts(options, (kind,), text)
    if not isinstance(options, Mapping):
        return options
    if kind == "list" and "of" in options:
        return {**options, "of": labels_as_written(options["of"], lambda path: text((kind, "of", *path)))}
    if kind == "spans" and "classes" in options:
        return {**options, "classes": _written_texts(options["classes"], (kind, "classes"), text)}
    return options


def _written_texts(labels: Any, path: tuple[Key, ...], text: WrittenText) -> Any:
    if not isinstance(labels, list):
        return labels
    return [
        label if isinstance(label, str | list | Mapping) else text((*path, number))
        for number, label in enumerate(labels)
    ]


Format: TypeAlias = Literal["pipeline", "prompt"]

_ONE_OR_MANY = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
# Shapes that the models leave open: their own validators give better messages than a schema.
_SHAPES: dict[str, dict[str, Any]] = {
    "after": _ONE_OR_MANY,
    "allow": _ONE_OR_MANY,
    "environment": _ONE_OR_MANY,
    "answer": {"type": ["string", "object"]},
    "for_each": {"type": ["string", "array", "object"]},
    "on_error": {
        "anyOf": [
            {"enum": ["fail", "skip"]},
            {"type": "object", "required": ["default"], "properties": {"default": {}}, "additionalProperties": False},
        ]
    },
    "prompt": {"type": ["string", "object"]},
    "reads": _ONE_OR_MANY,
    "stop": _ONE_OR_MANY,
    "technique": {"type": ["string", "object"]},
    "think": {
        "anyOf": [
            {"enum": [*WORDS, *EFFORT_BUDGETS]},
            {"type": "boolean"},
            {"type": "integer", "minimum": 1, "maximum": LARGEST_BUDGET},
        ]
    },
    "when": {"type": ["string", "boolean"]},
}


def json_schema(of: Format) -> dict[str, Any]:
    """Return the JSON Schema of a pipeline file, or of a prompt's front matter."""
    schema = _file_model(of).model_json_schema(by_alias=True)
    shapes = {**_SHAPES, "examples": {"anyOf": [{"type": "array"}, ExamplesSettings.model_json_schema()]}}
    for properties in _all_properties(schema):
        for name in properties.keys() & shapes.keys():
            properties[name] = {**shapes[name], "title": properties[name].get("title", name)}
        if properties.get("tools", {}).get("type") != "object" and "tools" in properties:
            properties["tools"] = {"anyOf": [*_tool_shapes(), {"type": "array", "items": {"anyOf": _tool_shapes()}}]}
        elif "tools" in properties:
            properties["tools"]["additionalProperties"] = {"anyOf": _tool_shapes()}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"promptkit {of}"}
    return {**schema, **head, "description": f"A {of} of promptkit."}


def _tool_shapes() -> list[dict[str, Any]]:
    """Return the schemas of the forms in which a file names a tool: a text, a function, a kind with its settings."""
    function = ToolSpec.model_json_schema()
    effects = {"enum": list(get_args(Effect))}
    shapes = {"effects": {"anyOf": [effects, {"type": "array", "items": effects}]}, **_SHAPES}
    properties = {name: {**shapes.get(name, part)} for name, part in function["properties"].items()}
    kind = {"type": "object", "properties": dict.fromkeys(KINDS, True), "additionalProperties": False}
    kind |= {"minProperties": 1, "maxProperties": 1}
    return [{"type": "string"}, {**function, "properties": properties}, kind]


def _file_model(of: Format) -> type[BaseModel]:
    """Return the model of a whole file. Only its schema is used: files are read part by part."""

    class PipelineFile(PipelineSpec):
        inputs: dict[str, InputSpec] = Field(default={})
        defaults: DefaultsSpec = DefaultsSpec()  # type: ignore[assignment]
        steps: dict[str, StepSpec]
        cases: list[CaseSpec] = Field(default=[])

    class PromptFile(SettingsSpec):
        about: str = ""
        inputs: dict[str, InputSpec] = Field(default={})
        cases: list[CaseSpec] = Field(default=[])

    return PipelineFile if of == "pipeline" else PromptFile


def _all_properties(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the properties of each object of a schema."""
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            yield part["properties"]
