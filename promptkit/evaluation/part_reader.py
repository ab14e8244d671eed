"""The parts of a suite that stand in several places of it: expressions over rows, and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptkit.engine import Closed, Pipeline, Report, Value, compile_value, usable
from promptkit.errors import InputError, Problem, nearest
from promptkit.evaluation.metrics import Around, Metric, kind_named
from promptkit.evaluation.suite import Measure, Variant, answer_type
from promptkit.project import Project
from promptkit.storage import Document, Problems

Key = str | int
TOTALS = ("tokens", "latency", "cost", "unparsed")
"""What a threshold may be on besides a metric."""

SINGLE = ("label", "balanced_accuracy", "f1", "number")
"""Kinds that can only ever compare one value."""

WITH_EXPRESSIONS = ("judge", "pairwise", "code", "python")
"""Kinds with parameters that are expressions."""


class PartReader:
    """Reads parts of one suite; what is wrong goes into `problems`."""

    def __init__(self, document: Document, path: Path, project: Project, problems: Problems) -> None:
        self._document = document
        self._path = path
        self._project = project
        self._problems = problems

    def report(self, path: Sequence[Key]) -> Report:
        """Return what places the problems below a path."""

        def report(below: Sequence[Key], message: str, hint: str | None = None) -> Problem:
            return self._problem((*path, *below), message, hint)

        return report

    def _problem(self, path: Sequence[Key], message: str, hint: str | None = None) -> Problem:
        return self._document.problem(path, message, hint)

    def inputs(self, given: Mapping[str, Any] | None, path: tuple[Key, ...]) -> dict[str, Value] | None:
        """Return the expressions of `inputs:`, None where there are none."""
        if given is None:
            return None
        found = {name: self.value(each, (*path, name), ("row",)) for name, each in given.items()}
        return {name: value for name, value in found.items() if value is not None}

    def value(self, value: Any, path: tuple[Key, ...], names: Sequence[str]) -> Value | None:
        """Return a value compiled, None where there is none; what it may read is `names`."""
        if value is None:
            return None

        def inspect(part: Value, where: Problem) -> None:
            for name in sorted(part.names - set(names)):
                hint = nearest(name, names) if nearest(name, names) else None
                told = f"`row.{name}`" if "row" in names else None
                self._problems.add(
                    replace(where, message=f"unknown name `{name}`", hint=f"write {told}" if told else hint)
                )

        with self._problems.gather():
            return compile_value(value, lambda below: self._problem((*path, *below), ""), inspect=inspect)
        return None

    def measures(self, metrics: Mapping[str, Any], path: tuple[Key, ...], baseline: Variant) -> tuple[Measure, ...]:
        """Return the metrics that are right, each of which may read those before it."""
        built: dict[str, Metric] = {}
        found: list[Measure] = []
        for name, given in metrics.items():
            kind = given if isinstance(given, str) else next(iter(given), "") if isinstance(given, Mapping) else ""
            if name in TOTALS and kind != name:
                hint = "take another name"
                self._problems.add(self._problem((*path, name), f"`{name}` is what a threshold calls a total", hint))
                continue
            around = Around(
                project=self._project,
                folder=self._path.parent,
                answer=answer_type(baseline.pipeline),
                metrics=dict(built),
            )
            with self._problems.gather():
                measure = self._measure(name, given, (*path, name), around, baseline.pipeline)
                built[name] = measure.metric
                found.append(measure)
        return tuple(found)

    def _measure(self, name: str, given: Any, path: tuple[Key, ...], around: Around, baseline: Pipeline) -> Measure:
        if isinstance(given, str):
            given = {given: None}
        if not isinstance(given, Mapping) or len(given) != 1:
            hint = "`NAME: KIND`, or `NAME: {KIND: {PARAMETER: VALUE}}`"
            raise InputError(self._problem(path, f"`{name}` must be one kind of metric with what it takes", hint))
        word, value = next(iter(given.items()))
        try:
            kind = kind_named(str(word))
        except InputError as error:
            raise InputError(
                replace(self._problem(path, each.message), hint=each.hint) for each in error.problems
            ) from None
        values = {} if value is None else dict(value) if isinstance(value, Mapping) else self._short(kind, value, path)
        below = (*path, word) if value is not None else path
        texts = (values.get("of"), values.get("expect", self._expect(path)))
        of = self.value(values.pop("of", None), (*below, "of"), ("output", "row", "steps"))
        expect = self.value(values.pop("expect", None), (*below, "expect"), ("row",))
        if of is not None:
            self._check_read(of, (*below, "of"), baseline)
        elif kind.kind in SINGLE and baseline.output_keys is not None:
            keys = ", ".join(f"`{key}`" for key in baseline.output_keys)
            hint = f'of: "{{{{ output.{next(iter(baseline.output_keys), "NAME")} }}}}"'
            told = f"`{kind.kind}` compares one value, and the output is a mapping of {keys}"
            self._problems.add(self._problem(path, told, hint))
        self._refuse_expressions(kind, values, below)
        parameters = self._parameters(kind.Parameters, values, below)
        try:
            # What `of` reads need not have the type of the output.
            metric = kind(name, parameters, around if of is None else replace(around, answer=None))
        except InputError as error:
            placed = (each if each.file else self._problem(below, each.message, each.hint) for each in error.problems)
            raise InputError(placed) from None
        return Measure(metric=metric, of=of, expect=expect, texts=texts)

    def _check_read(self, of: Value, path: tuple[Key, ...], baseline: Pipeline) -> None:
        """Report what `of` reads of the output and the steps and is not there."""
        keys, steps = baseline.output_keys, baseline.steps
        for name, attribute in sorted(of.attributes):
            if name == "output" and keys is not None and attribute not in {*keys, *vars(dict)}:
                self._problems.add(self._problem(path, f"the output has no `{attribute}`", nearest(attribute, keys)))
        for name in sorted(of.statuses - steps.keys()):
            self._problems.add(self._problem(path, f"there is no step `{name}`", nearest(name, steps)))

    def _refuse_expressions(self, kind: type[Metric], values: Mapping[str, Any], path: tuple[Key, ...]) -> None:
        """Report expressions where a parameter is taken as it is written."""
        for key, value in values.items() if kind.kind not in WITH_EXPRESSIONS else ():
            listed = value if isinstance(value, list) else [value]
            if any(isinstance(each, str) and "{{" in each for each in listed):
                hint = "`expect` may be an expression over the row"
                self._problems.add(self._problem((*path, key), f"`{key}` is taken as it is written", hint))

    def _expect(self, path: tuple[Key, ...]) -> Any:
        """Return the `expect:` that stands beside the metric at `path`, as it is written."""
        beside = self._document.value
        for key in path[:-2]:
            beside = beside[key]
        return beside.get("expect")

    def _short(self, kind: type[Metric], value: Any, path: tuple[Key, ...]) -> dict[str, Any]:
        if kind.short is None:
            known = ", ".join(kind.Parameters.model_fields) or "nothing"
            raise InputError(self._problem(path, f"`{kind.kind}` takes a mapping of: {known}"))
        return {kind.short: value}

    def _parameters(self, model: type[Closed], values: Mapping[str, Any], path: tuple[Key, ...]) -> Closed:
        problems = Problems()
        spec = usable(values, model, self.report(path), problems)
        problems.check()
        assert spec is not None, "parameters without problems are a model"
        return spec
