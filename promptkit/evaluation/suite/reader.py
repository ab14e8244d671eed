"""Reads a suite's file into a `Suite`, or reports every problem in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptkit.engine.load import load_target
from promptkit.engine.spec import validate_usable
from promptkit.errors import InputError, Problem, nearest
from promptkit.evaluation.serving.spec import SERVE_ALONE, SERVED_CONVERSATION, ServingSpec, serving_values
from promptkit.evaluation.suite.comparison_settings import ComparisonSettings, margin_problems, pairs_problem
from promptkit.evaluation.suite.conversation import (
    CONVERSATION,
    Conversation,
    ConversationReader,
    ConversationSpec,
)
from promptkit.evaluation.suite.data import Data, DataSpec
from promptkit.evaluation.suite.metric_reader import TOTALS, MetricReader
from promptkit.evaluation.suite.part_reader import PartReader, PathKey
from promptkit.evaluation.suite.spec import BoundSpec, CompareSpec, StepSuiteSpec, SuiteSpec, TargetSpec
from promptkit.evaluation.suite.suite import (
    Measure,
    Suite,
    TargetSource,
    Threshold,
    Variant,
    read_variant,
)
from promptkit.evaluation.suite.variant_reader import VariantReader
from promptkit.evaluation.thresholds.definition import threshold_problems
from promptkit.evaluation.thresholds.serving import of_serving, serving_problems
from promptkit.project import Project
from promptkit.storage.files import check_named, resolved
from promptkit.storage.models import Problems, read_rest
from promptkit.storage.yaml import Document, load_file
from promptkit.techniques.warning_names import warning_names, wrong_names
from promptkit.tools.functions import FunctionTool, find_tool

METRIC_TOTALS = ("tokens", "latency")
"""The totals that are metrics too, and are measured where a threshold is on them."""


OF_TARGET = ("variants", "matrix", "thresholds", "serving")
"""The keys of a suite that are of its own target, and are left out for another one."""


def load_suite(
    path: Path,
    project: Project,
    *,
    sets: Sequence[str] = (),
    only: Sequence[tuple[str, str]] = (),
    limit: int | None = None,
    repeat: int | None = None,
    start: Path | None = None,
    run_code: bool = True,
) -> Suite:
    """Read a suite and its target; no model is called. `sets` are the command line's `--set`, for all variants.

    `only`, `limit` and `repeat` are those of the command line. `start` is a target in place of the suite's own: it is
    read without variants and thresholds, which do not apply to it. Without `run_code` a data function is not
    run, so that the names of its fields are not known. Raises InputError with every problem in the suite and in the
    files that it names.
    """
    problems = Problems()
    document = load_file(path)
    spec = read_rest(document, SuiteSpec, problems)
    if spec is None:
        problems.check()
        raise AssertionError("a suite that cannot be read has problems")
    notes: tuple[str, ...] = ()
    if start is not None:
        left_out = [f"`{key}`" for key in OF_TARGET if getattr(spec, key)]
        notes = (f"{', '.join(left_out)} left out: the suite has this for its own target",) if left_out else ()
        target = spec.target if isinstance(spec.target, dict) else {}
        of_variants: dict[str, Any] = {"variants": {}, "matrix": {}, "compare": {}, "thresholds": {}, "serving": None}
        spec = spec.model_copy(update={**of_variants, "target": target | {"pipeline": str(start)}})
    reader = SuiteReader(document, spec, path, project, problems, sets, start)
    suite = reader.read(only=tuple(only), limit=limit, repeat=repeat, run_code=run_code)
    problems.check()
    assert suite is not None, "a suite without problems is one"
    return replace(suite, notes=notes)


class SuiteReader:
    def __init__(
        self,
        document: Document,
        spec: SuiteSpec,
        path: Path,
        project: Project,
        problems: Problems,
        sets: Sequence[str],
        start: Path | None,
    ) -> None:
        self._document = document
        self._spec = spec
        self._path = path
        self._project = project
        self._problems = problems
        self._sets = sets
        self._start = start
        self._problem = document.problem
        self._parts = PartReader(document, problems)
        self._variants = VariantReader(document, spec, problems)
        self._metrics = MetricReader(self._parts, document, path, project, problems)

    def read(
        self, *, only: tuple[tuple[str, str], ...], limit: int | None, repeat: int | None, run_code: bool
    ) -> Suite | None:
        spec, problems = self._spec, self._problems
        data = self._data(only, limit)
        inputs = self._parts.inputs(spec.inputs, ("inputs",))
        expect = self._parts.value(spec.expect, ("expect",), ("row",))
        if data is None:
            self._target(frozenset())
            return None
        is_read = run_code or data.function is None
        given = frozenset(inputs or ()) if inputs is not None or not is_read else _first_fields(data, problems)
        source = self._target(given)
        variants = self._variants.read(source) if source else ()
        self._check_inputs(inputs or {}, ("inputs",), variants)
        problems.check()
        assert source is not None, "a target without problems is source"
        bounded = {name: name for name in METRIC_TOTALS if name in spec.thresholds and name not in spec.metrics}
        conversation = self._conversation(variants)
        measures = self._metrics.read(
            {**spec.metrics, **bounded}, ("metrics",), variants[0], data, is_conversation=spec.conversation is not None
        )
        serving = self._serving()
        thresholds = self._thresholds(measures, serving)
        suite = Suite(
            name=spec.name or self._path.stem,
            about=spec.about,
            file=self._path,
            project=self._project,
            target=_target_name(source),
            data=data,
            inputs=inputs,
            expect=expect,
            measures=measures,
            variants=variants,
            source=source,
            repeat=repeat or spec.repeat,
            thresholds=tuple(threshold for threshold in thresholds if not of_serving(threshold.name)),
            serving=serving,
            serving_thresholds=tuple(threshold for threshold in thresholds if of_serving(threshold.name)),
            concurrency=spec.concurrency,
            sets=tuple(self._sets),
            compare=self._compare(measures, variants),
            matrix=self._variants.matrix(),
            conversation=conversation,
        )
        return replace(suite, steps=tuple(self._steps(suite, source)))

    def _data(self, only: tuple[tuple[str, str], ...], limit: int | None) -> Data | None:
        given = self._spec.data
        values = {"file": given} if isinstance(given, str) else {"rows": given} if isinstance(given, list) else given
        if isinstance(given, list):
            wrong = [number for number, row in enumerate(given) if not isinstance(row, Mapping)]
            for number in wrong:
                self._problems.add(self._problem(("data", number), "a row must be a mapping"))
            if wrong:
                return None
        spec = validate_usable(values, DataSpec, self._parts.report(("data",)), self._problems)
        if spec is None:
            return None
        file = function = None
        with self._problems.gather():
            if spec.file is not None:
                file = self._data_file(spec.file)
            if spec.python is not None:
                function = self._function(spec.python)
            where = self._problem(("data",), "")
            return Data(spec=spec, file=file, function=function, where=where, only=only, limit=limit)
        return None

    def _function(self, text: str) -> FunctionTool:
        try:
            return replace(find_tool(text, text, self._path.parent, self._project, kind="function"), name=text)
        except InputError as error:
            at = ("data", "python")
            placed = (
                problem if problem.file else self._problem(at, problem.message, problem.hint)
                for problem in error.problems
            )
            raise InputError(placed) from None

    def _data_file(self, text: str) -> Path:
        path = resolved(self._path.parent / text)
        at = ("data",) if isinstance(self._spec.data, str) else ("data", "file")
        if not self._project.inside(path):
            raise InputError(self._problem(at, f"the path `{text}` leaves the project"))
        try:
            check_named(path)
        except InputError as error:
            raise InputError(self._problem(at, problem.message, problem.hint) for problem in error.problems) from None
        return path

    def _target(self, given: frozenset[str]) -> TargetSource | None:
        target = self._spec.target
        values = {"pipeline": target} if isinstance(target, str) else target
        spec = validate_usable(values, TargetSpec, self._parts.report(("target",)), self._problems)
        if spec is None:
            return None
        at = ("target",) if isinstance(target, str) else ("target", "pipeline")
        try:
            file = self._start or self._target_file(spec.pipeline)
        except InputError as error:
            self._problems.add(self._problem(at, problem.message, problem.hint) for problem in error.problems)
            return None
        if file is None:
            known = [*self._project.names("pipelines"), *self._project.names("prompts")]
            message = f"there is no pipeline or prompt `{spec.pipeline}`"
            self._problems.add(self._problem(at, message, nearest(spec.pipeline, known)))
            return None
        return TargetSource(
            target=file,
            folder=self._path.parent,
            project=self._project,
            sets=tuple(self._sets),
            step=spec.step,
            recorded=spec.feed == "recorded",
            given=given,
        )

    def _conversation(self, variants: Sequence[Variant]) -> Conversation | None:
        if self._spec.conversation is None:
            return None
        report = self._parts.report((CONVERSATION,))
        spec = validate_usable(self._spec.conversation, ConversationSpec, report, self._problems)
        if spec is None:
            return None
        reader = ConversationReader(self._document, self._project, self._problems, self._parts.value, self._target_file)
        return reader.read(spec, [variant.pipeline for variant in variants])

    def _target_file(self, name: str) -> Path | None:
        """Return the target's file. Files next to a suite come last: they may be suites named as their targets."""
        for beside in (self._path,) if "/" in name else (None, self._path):
            file = self._project.find_pipeline(name, beside) or self._project.find_prompt(name, beside)
            if file is not None and file != resolved(self._path):
                return file
        return None

    def _check_inputs(self, given: Mapping[str, Any], path: tuple[PathKey, ...], variants: Sequence[Variant]) -> None:
        """Report inputs that a suite gives and no variant of the target takes."""
        takes = {name for variant in variants for name in variant.pipeline.inputs}
        for name in given if variants else ():
            if name not in takes:
                message = f"the target has no input `{name}`"
                self._problems.add(self._document.problem((*path, name), message, nearest(name, takes), key=True))

    def _serving(self) -> ServingSpec | None:
        if self._spec.serving is None:
            return None
        if self._spec.conversation is not None:
            self._problems.add(self._problem(("serving",), SERVED_CONVERSATION, SERVE_ALONE))
        given = serving_values(self._spec.serving)
        return validate_usable(given, ServingSpec, self._parts.report(("serving",)), self._problems)

    def _thresholds(self, measures: Sequence[Measure], serving: ServingSpec | None) -> list[Threshold]:
        measured = [*(measure.name for measure in measures), *TOTALS]
        found: list[Threshold] = []
        for name, given in self._spec.thresholds.items():
            path = ("thresholds", name)
            if name not in measured and not of_serving(name) and wrong_names([name], self._project):
                hint = nearest(name, [*measured, *warning_names(self._project)])
                self._problems.add(self._problem(path, f"there is no metric or warning `{name}`", hint))
                continue
            spec = validate_usable(given, BoundSpec, self._parts.report(path), self._problems)
            if spec is not None:
                bounds = {key: value for key, value in spec.given().items() if value is not None}
                if not bounds:
                    hint = "at_least, at_most, per_case, or against with drop_at_most"
                    self._problems.add(self._problem(path, "the threshold has no bound", hint))
                measure = next((measure for measure in measures if measure.name == name), None)
                wrong = threshold_problems(name, bounds, measure)
                if of_serving(name):
                    wrong = serving_problems(name, bounds, serving)
                for key, message, way_out in wrong:
                    self._problems.add(self._problem((*path, key) if key else path, message, way_out))
                found.append(Threshold(name=name, bounds=bounds, where=self._problem(path, "")))
        return found

    def _compare(self, measures: Sequence[Measure], variants: Sequence[Variant]) -> ComparisonSettings:
        spec = validate_usable(self._spec.compare, CompareSpec, self._parts.report(("compare",)), self._problems)
        if spec is None:
            return ComparisonSettings()
        for name, message, hint in margin_problems(spec.margin, [measure.metric for measure in measures]):
            self._problems.add(self._problem(("compare", "margin", name), message, hint))
        all_pairs = spec.pairs == "all"
        if all_pairs and (why := pairs_problem(len(variants))):
            self._problems.add(self._problem(("compare", "pairs"), why))
        return ComparisonSettings(margins=spec.margin, all_pairs=all_pairs)

    def _steps(self, suite: Suite, source: TargetSource) -> list[Suite]:
        found = []
        for name, given in self._spec.steps.items():
            path = ("steps", name)
            spec = validate_usable(given, StepSuiteSpec, self._parts.report(path), self._problems)
            if spec is None:
                continue
            with self._problems.gather():
                inputs = self._parts.inputs(spec.inputs, (*path, "inputs"))
                given_names = frozenset(inputs) if inputs is not None else source.given
                step_source = replace(source, step=name, recorded=False, given=given_names)
                known = list(load_target(source.target, self._project, sets=self._sets).steps)
                if name not in known:
                    raise InputError(self._problem(path, f"there is no step `{name}`", nearest(name, known)))
                mine = {
                    variant.name: {key: value for key, value in variant.sets.items() if _touches(key, name)}
                    for variant in suite.variants
                }
                variants = tuple(_distinct_variants(mine, step_source, lambda key: self._problem(("variants",), "")))
                found.append(
                    replace(
                        suite,
                        name=f"{suite.name}.{name}",
                        about="",
                        target=_target_name(step_source),
                        inputs=inputs,
                        expect=self._parts.value(spec.expect, (*path, "expect"), ("row",)),
                        measures=self._metrics.read(spec.metrics, (*path, "metrics"), variants[0], suite.data),
                        variants=variants,
                        source=step_source,
                        thresholds=(),
                        compare=ComparisonSettings(all_pairs=suite.compare.all_pairs),
                        matrix={},
                        serving=None,
                        serving_thresholds=(),
                        steps=(),
                        conversation=None,
                    )
                )
        return found


def _touches(key: str, step: str) -> bool:
    return key == "model" or key.split(".")[0] == step


def _distinct_variants(
    sets: Mapping[str, Mapping[str, Any]], source: TargetSource, where: Callable[[str], Problem]
) -> list[Variant]:
    """Return the baseline and the variants that change the step: others would measure the same again."""
    found: list[Variant] = []
    for name, changes in sets.items():
        if not found or all(changes != variant.sets for variant in found):
            found.append(read_variant(name, changes, source, where))
    return found


def _first_fields(data: Data, problems: Problems) -> frozenset[str]:
    """Return the fields of the first row that is right."""
    with problems.gather():
        return next((frozenset(row.fields) for row in data.rows() if row.problem is None), frozenset())
    return frozenset()


def _target_name(source: TargetSource) -> str:
    return source.target.stem if source.step is None else f"{source.target.stem}.{source.step}"
