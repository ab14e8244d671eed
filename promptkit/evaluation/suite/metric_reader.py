"""Reads the metrics of a suite's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptkit.engine.pipeline import Pipeline
from promptkit.engine.scope import CompiledValue
from promptkit.engine.spec import ClosedModel, validate_usable
from promptkit.errors import InputError, nearest
from promptkit.evaluation.answer_labels import AnswerLabels, label_file
from promptkit.evaluation.metrics.base import Metric, MetricContext
from promptkit.evaluation.metrics.registry import kind_named
from promptkit.evaluation.metrics.turns import TURN, EachTurn
from promptkit.evaluation.suite.conversation import CONVERSATION_KEYS
from promptkit.evaluation.suite.data import Data
from promptkit.evaluation.suite.part_reader import PartReader, PathKey
from promptkit.evaluation.suite.suite import Measure, Variant, answer_type
from promptkit.project import Project
from promptkit.storage.models import Problems
from promptkit.storage.yaml import Document

TOTALS = ("tokens", "latency", "cost", "unparsed")
"""Thresholds may be on these besides metrics and warnings."""

OF_NAMES = ("output", "row", "steps", "tool_calls")
"""The names that a metric's `of` may read."""

SINGLE_VALUE_KINDS = ("label", "balanced_accuracy", "f1", "number")
"""Kinds that can only ever compare one value."""

READER_KINDS = ("judge", "pairwise", "human")
"""Kinds by which a model or a person reads a conversation as text."""

TRANSCRIPT = "{{ output.messages | transcript }}"

WHOLE_CELL_KINDS = (
    "tokens",
    "latency",
    "first_token",
    "tokens_per_second",
    "format",
    "python",
    "pass_at",
    "pass_all",
)
"""Kinds that need no single value of a conversation."""

EXPRESSION_KINDS = ("judge", "pairwise", "code", "python")
"""Kinds with parameters that are expressions."""


class MetricReader:
    """Reads `metrics:` of a suite, or of one of its steps; mistakes go into `problems`."""

    def __init__(self, parts: PartReader, document: Document, path: Path, project: Project, problems: Problems) -> None:
        self._parts = parts
        self._document = document
        self._problem = document.problem
        self._path = path
        self._project = project
        self._problems = problems
        self._labels: AnswerLabels | None = None

    def _label_file(self) -> AnswerLabels:
        """Return the labels of the suite's label file."""
        if self._labels is None:
            self._labels = AnswerLabels(label_file(self._path))
            with self._problems.gather():
                self._labels = AnswerLabels.read(self._labels.path)
        return self._labels

    def read(
        self,
        metrics: Mapping[str, Any],
        path: tuple[PathKey, ...],
        baseline: Variant,
        data: Data,
        *,
        is_conversation: bool = False,
    ) -> tuple[Measure, ...]:
        """Return the metrics that are right, each of which may read those before it.

        The output of a cell may be a conversation, of whose turns a metric can be.
        """
        built: dict[str, Metric] = {}
        found: list[Measure] = []
        for name, given in metrics.items():
            kind = given if isinstance(given, str) else next(iter(given), "") if isinstance(given, Mapping) else ""
            if name in TOTALS and kind != name:
                hint = "take another name"
                self._problems.add(self._problem((*path, name), f"`{name}` is the name of a total in thresholds", hint))
                continue
            around = MetricContext(
                project=self._project,
                folder=self._path.parent,
                answer=answer_type(baseline.pipeline),
                metrics=dict(built),
                labels=self._label_file(),
                cluster=data.spec.cluster,
            )
            with self._problems.gather():
                measure = self._measure(name, given, (*path, name), around, baseline.pipeline, is_conversation)
                built[name] = measure.metric
                found.append(measure)
        return tuple(found)

    def _measure(
        self,
        name: str,
        given: Any,
        path: tuple[PathKey, ...],
        around: MetricContext,
        baseline: Pipeline,
        is_conversation: bool,
    ) -> Measure:
        if isinstance(given, str):
            given = {given: None}
        if not isinstance(given, Mapping) or len(given) != 1:
            hint = "`NAME: KIND`, or `NAME: {KIND: {PARAMETER: VALUE}}`"
            raise InputError(self._problem(path, f"`{name}` must be one kind of metric with its parameters", hint))
        word, value = next(iter(given.items()))
        try:
            kind = kind_named(str(word), self._project.root)
        except InputError as error:
            raise InputError(
                replace(self._problem(path, problem.message), hint=problem.hint) for problem in error.problems
            ) from None
        values = {} if value is None else dict(value) if isinstance(value, Mapping) else self._short(kind, value, path)
        below = (*path, word) if value is not None else path
        texts = (values.get("of"), values.get("expect", self._expect(path)), *_given(values, "when"))
        when = self._parts.value(values.pop("when", None), (*below, "when"), ("row",), bare=True)
        whole = is_conversation and "each" not in values
        is_turn = self._is_of_turns(values.pop("each", None), (*below, "each"), is_conversation)
        turn = (TURN,) if is_turn else ()
        default_of = self._of_conversation(kind, path) if whole and "of" not in values else kind.default_of
        of = self._parts.value(values.pop("of", default_of), (*below, "of"), (*OF_NAMES, *turn))
        expect = self._parts.value(values.pop("expect", None), (*below, "expect"), ("row", *turn))
        if of is not None:
            self._check_read(of, (*below, "of"), baseline, CONVERSATION_KEYS if whole else baseline.output_keys)
        elif not whole and kind.kind in SINGLE_VALUE_KINDS and baseline.output_keys is not None:
            keys = ", ".join(f"`{key}`" for key in baseline.output_keys)
            hint = f'of: "{{{{ output.{next(iter(baseline.output_keys), "NAME")} }}}}"'
            message = f"`{kind.kind}` compares one value, and the output is a mapping of {keys}"
            self._problems.add(self._problem(path, message, hint))
        self._refuse_expressions(kind, values, below)
        parameters = self._parameters(kind.Parameters, values, below)
        try:
            # What `of` reads need not have the type of the output.
            metric = kind(name, parameters, around if of is None and not whole else replace(around, answer=None))
            of_turns = EachTurn(metric) if is_turn else None
        except InputError as error:
            placed = (
                problem if problem.file else self._problem(below, problem.message, problem.hint)
                for problem in error.problems
            )
            raise InputError(placed) from None
        measure = Measure(metric=metric, of=of, expect=expect, when=when, texts=texts)
        return measure if of_turns is None else Measure(metric=of_turns, when=when, texts=(*texts, TURN), turn=measure)

    def _is_of_turns(self, each: Any, path: tuple[PathKey, ...], is_conversation: bool) -> bool:
        """Tell whether a metric is of each turn, by its `each:`, and report a wrong one."""
        if each is None:
            return False
        if each != TURN:
            self._problems.add(self._problem(path, f"`each` is `{TURN}`, not {each!r:.40}"))
        elif not is_conversation:
            hint = 'conversation: {turns: "{{ row.turns }}"}'
            self._problems.add(self._problem(path, "the suite has no `conversation`, so there are no turns", hint))
        return bool(each == TURN and is_conversation)

    def _of_conversation(self, kind: type[Metric], path: tuple[PathKey, ...]) -> str | None:
        """Return the value of a conversation that a metric of the whole compares, where its `of` is left out."""
        if kind.kind in READER_KINDS:
            return TRANSCRIPT
        if kind.default_of is None and kind.kind not in WHOLE_CELL_KINDS:
            message = f"`{kind.kind}` compares one value, and the output is a conversation"
            hint = 'each: turn, or of: "{{ output.turns[-1].answer }}"'
            self._problems.add(self._problem(path, message, hint))
        return kind.default_of

    def _check_read(
        self, of: CompiledValue, path: tuple[PathKey, ...], baseline: Pipeline, keys: Sequence[str] | None
    ) -> None:
        """Report the parts of the output and the steps that `of` reads and that are not there."""
        steps = baseline.steps
        for name, attribute in sorted(of.attributes):
            if name == "output" and keys is not None and attribute not in {*keys, *vars(dict)}:
                self._problems.add(self._problem(path, f"the output has no `{attribute}`", nearest(attribute, keys)))
        for name in sorted(of.statuses - steps.keys()):
            self._problems.add(self._problem(path, f"there is no step `{name}`", nearest(name, steps)))

    def _refuse_expressions(self, kind: type[Metric], values: Mapping[str, Any], path: tuple[PathKey, ...]) -> None:
        """Report expressions where a parameter is taken as it is written."""
        for key, value in values.items() if kind.kind not in EXPRESSION_KINDS else ():
            listed = value if isinstance(value, list) else [value]
            if any(isinstance(part, str) and "{{" in part for part in listed):
                hint = "`expect` may be an expression over the row"
                self._problems.add(self._problem((*path, key), f"`{key}` is taken as it is written", hint))

    def _expect(self, path: tuple[PathKey, ...]) -> Any:
        """Return the `expect:` next to the metric at `path`, as it is written."""
        beside = self._document.value
        for key in path[:-2]:
            beside = beside[key]
        return beside.get("expect")

    def _short(self, kind: type[Metric], value: Any, path: tuple[PathKey, ...]) -> dict[str, Any]:
        if kind.short is None:
            known = ", ".join(kind.Parameters.model_fields) or "nothing"
            raise InputError(self._problem(path, f"`{kind.kind}` takes a mapping of: {known}"))
        return {kind.short: value}

    def _parameters(
        self, model: type[ClosedModel], values: Mapping[str, Any], path: tuple[PathKey, ...]
    ) -> ClosedModel:
        problems = Problems()
        spec = validate_usable(values, model, self._parts.report(path), problems)
        problems.check()
        assert spec is not None, "parameters without problems are a model"
        return spec


def _given(values: Mapping[str, Any], key: str) -> list[Any]:
    """Return the value of a key as a list, which is empty where there is none."""
    return [values[key]] if values.get(key) is not None else []
