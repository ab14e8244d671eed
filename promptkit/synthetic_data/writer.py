"""Inputs of a task, written by a model through the templates of `templates/generate`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from promptkit.engine.inputs import fill_inputs, wrong_value
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Input, Pipeline
from promptkit.engine.results import Result
from promptkit.engine.run import Runner
from promptkit.engine.session import ClientProvider
from promptkit.errors import ContextOverflow, InputError, Problem, RequestRefused, UnparsedAnswer
from promptkit.evaluation.metrics.values import text_of
from promptkit.runtimes.base import Message, Model, Request
from promptkit.runtimes.control_tokens import holds_control_tokens
from promptkit.synthetic_data.task import WRITTEN_TYPES, GenerationTask, LabelChoice, LabelledInputs

MOST_EXAMPLES: Final = 3
LONGEST_EXAMPLE: Final = 600
MOST_LISTED: Final = 12
LEAST_LABELLED: Final = 5
"""The labelled inputs that must be known before it counts that none of them names its label."""
_ANSWER_LINE: Final = r"^\W*(?:[\w ]{1,30}:\s*)?"
_ARTICLE: Final = re.compile(r"^(?:the|an?|one)\s+", re.IGNORECASE)
_ONE_OF: Final = re.compile(r"^one of\b", re.IGNORECASE)
_BULLET: Final = re.compile(r"^\s*(?:[-*>•]|\(?(?:\d{1,2}|[A-Za-z])[.)])\s*")
_QUOTED: Final = re.compile(r"^\s*>|\bright answer\b", re.IGNORECASE | re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"\[(?:[A-Za-z][\w' ]*)\]|\{\{|<\w+>")


class Unusable(Exception):
    """A reply that is not a usable input. `kind` is the count that it belongs to."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRequest:
    """A request for the inputs of one row: its number, the label that they must have, and their properties.

    `given` are inputs that are drawn and not written. `seed_row` is a real row to vary.
    """

    number: int
    label: LabelChoice | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    seed_row: LabelledInputs | None = None


class InputWriter:
    """Asks a model for inputs, without those that are `fixed`. Raises InputError for types that no model can write."""

    def __init__(self, task: GenerationTask, fixed: Sequence[str], models: ClientProvider, model: Model) -> None:
        self._task = task
        self._models = models
        self._model = model
        self._written = [spec for spec in task.inputs if spec.name not in fixed]
        wrong = [spec for spec in self._written if spec.type not in WRITTEN_TYPES]
        if wrong:
            raise InputError(
                Problem(
                    f"the input `{spec.name}` has the type {spec.type}, which is not written",
                    hint=f"give it a default, or values by --for {spec.name}=VALUE,VALUE",
                )
                for spec in wrong
            )
        labelled = [row for row in (*task.examples, *task.real) if row.label]
        # Where real inputs never name their label, one that does is about the task and not of it.
        self._bars_label = len(labelled) >= LEAST_LABELLED and not any(
            _mentions(text_of(value), str(row.label)) for row in labelled for value in row.inputs.values()
        )
        self._is_single = len(self._written) == 1 and self._written[0].type == "text"
        self._template = "input" if self._is_single else "inputs"

    def pipeline(self, name: str, seed: int) -> Pipeline:
        """Return a template as a pipeline, without the options that the model does not support."""
        project = self._task.pipeline.project
        file = project.find_template("generate", name)
        assert file is not None, "the template is shipped"
        capabilities = self._model.capabilities
        changes: dict[str, Any] = {} if "sampling" in capabilities else {f"{name}.options.temperature": 0}
        changes |= {f"{name}.options.seed": seed} if "seed" in capabilities else {}
        return load_target(file, project, changes=changes)

    def writing(self, seed: int) -> Pipeline:
        """Return the pipeline that writes the inputs of a row."""
        return self.pipeline(self._template, seed)

    async def list_values(self, name: str, description: str, seed: int) -> tuple[list[str], Result]:
        """Return values of an attribute that the model lists, and the result of asking for them."""
        runner = Runner(self.pipeline("values", seed), models=self._models)
        await runner.open()
        result = await runner.run(self.values_of_attribute(name, description, runner.pipeline))
        _check_failure(result)
        listed = [] if result.error else [_BULLET.sub("", str(value)).strip(" .;") for value in result.output]
        return list(dict.fromkeys(value for value in listed if 0 < len(value) <= 100))[:MOST_LISTED], result

    def values_of_attribute(self, name: str, description: str, pipeline: Pipeline) -> Mapping[str, Any]:
        """Return the inputs of the template that lists an attribute's values."""
        task = self._task
        given = {
            "task": task.about,
            "noun": self._noun,
            "property": name,
            "description": description,
            "count": MOST_LISTED,
        }
        return fill_inputs(pipeline, given).values

    @property
    def _noun(self) -> str:
        """The noun for an input, without an article: `review` of an input that is about `the review`.

        `one of the reviews` names several, so the input's name stands for it.
        """
        if not self._is_single:
            return "input"
        first = self._written[0]
        is_named = bool(first.about) and not _ONE_OF.match(first.about)
        return _ARTICLE.sub("", first.about) if is_named else first.name.replace("_", " ")

    def values(self, request: InputRequest, pipeline: Pipeline) -> Mapping[str, Any]:
        """Return the inputs of the template that writes the inputs of a row."""
        task, label = self._task, request.label
        seed = "" if request.seed_row is None else self._shown(request.seed_row)
        given: dict[str, Any] = {
            "task": task.about,
            "noun": self._noun,
            "instructions": task.instructions,
            "label": label.text if label else "",
            "definition": label.definition if label else "",
            "labels": [other.text for other in task.labels if other is not label] if label else [],
            "properties": {**{name: text_of(value) for name, value in request.given.items()}, **request.properties},
            "examples": [] if seed else self._examples(label, request.number),
            "seed": seed,
        }
        if not self._is_single:
            given["fields"] = {spec.name: spec.about for spec in self._written}
            given["schema"] = {
                "type": "object",
                "properties": {spec.name: _schema(spec) for spec in self._written},
                "required": [spec.name for spec in self._written],
                "additionalProperties": False,
            }
        return fill_inputs(pipeline, given).values

    def _examples(self, label: LabelChoice | None, number: int) -> list[str]:
        """Return a few known inputs, another choice for each number: of the label, if some are known."""
        pool = [*self._task.examples, *self._task.real[:50]]
        of_label = [example for example in pool if label is None or example.label == label.text]
        pool = of_label or [example for example in pool if example.label is None]
        texts = list(dict.fromkeys(self._shown(example) for example in pool))
        start = number * MOST_EXAMPLES % len(texts) if texts else 0
        return [*texts[start:], *texts[:start]][:MOST_EXAMPLES]

    def _shown(self, row: LabelledInputs) -> str:
        parts = [(spec.name, text_of(row.inputs.get(spec.name))[:LONGEST_EXAMPLE]) for spec in self._written]
        return parts[0][1] if self._is_single else "\n".join(f"{name}: {text}" for name, text in parts)

    def inputs_of(self, result: Result, request: InputRequest) -> dict[str, Any]:
        """Return the inputs of a reply, those that were drawn among them.

        Raises Unusable, and the failure of a server that is gone.
        """
        _check_failure(result)
        if result.totals.truncated:
            raise Unusable("cut_off")
        if result.error is not None or result.output is None:
            raise Unusable("unparsed")
        output = {self._written[0].name: result.output} if self._is_single else dict(result.output)
        for spec in self._written:
            if wrong_value(spec, output[spec.name]):
                raise Unusable("unparsed")
        texts = [text_of(value) for value in output.values()]
        if not all(text.strip() for text in texts):
            raise Unusable("unparsed")
        if any(map(_is_foreign, texts)):
            raise Unusable("control_tokens")
        if request.label is not None:
            names_label = _mentions if self._bars_label else _names_answer
            if any(names_label(text, request.label.text) for text in texts):
                raise Unusable("gives_answer")
        if any(_QUOTED.search(text) for text in texts):
            raise Unusable("quotes_prompt")
        if any(_PLACEHOLDER.search(text) for text in texts):
            raise Unusable("placeholders")
        return {**request.given, **output}


def _check_failure(result: Result) -> None:
    """Raise the error of a result, unless it is about this request alone."""
    if result.error is not None and not isinstance(result.error, UnparsedAnswer | RequestRefused | ContextOverflow):
        raise result.error


def _is_foreign(text: str) -> bool:
    return "\0" in text or "\ufffd" in text or holds_control_tokens(Request(messages=(Message("user", text),)))


def _names_answer(text: str, label: str) -> bool:
    """Return True where a line of a text is the label alone, as in `Sentiment: positive`."""
    return re.search(f"{_ANSWER_LINE}{re.escape(label)}\\W*$", text, re.IGNORECASE | re.MULTILINE) is not None


def _mentions(text: str, label: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE) is not None


def _schema(spec: Input) -> dict[str, Any]:
    if spec.type == "number":
        return {"type": "number"}
    if spec.type == "list":
        return {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 20}
    return {"type": "string", "minLength": 1}
