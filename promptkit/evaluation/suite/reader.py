"""Reads a suite's file into a `Suite`, or reports every problem in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.scope import CompiledValue, Location, compile_value
from promptkit.engine.spec import ClosedModel, Report, labels_as_written, validate_usable
from promptkit.engine.tools import Tool, find_tool
from promptkit.errors import InputError, Problem, nearest
from promptkit.evaluation.answer_labels import AnswerLabels, label_file
from promptkit.evaluation.metrics.base import Metric, MetricContext
from promptkit.evaluation.metrics.registry import kind_named
from promptkit.evaluation.metrics.turns import TURN, EachTurn
from promptkit.evaluation.serving.spec import ServingSpec, serving_values
from promptkit.evaluation.suite.comparison_settings import ComparisonSettings, margin_problems, pairs_problem
from promptkit.evaluation.suite.conversation import (
    CONVERSATION,
    CONVERSATION_KEYS,
    Conversation,
    ConversationReader,
    ConversationSpec,
)
from promptkit.evaluation.suite.data import Data, DataSpec
from promptkit.evaluation.suite.spec import BoundSpec, CompareSpec, StepSuiteSpec, SuiteSpec, TargetSpec
from promptkit.evaluation.suite.suite import (
    MOST_VARIANTS,
    Measure,
    Suite,
    TargetSource,
    Threshold,
    Variant,
    answer_type,
    expand_variants,
    read_variant,
)
from promptkit.evaluation.thresholds.definition import threshold_problems
from promptkit.evaluation.thresholds.serving import of_serving, serving_problems
from promptkit.project import Project
from promptkit.storage.files import check_named, resolved
from promptkit.storage.models import Problems, read_rest
from promptkit.storage.yaml import Document, load_file
from promptkit.techniques.warning_names import warning_names, wrong_names

PathKey = str | int
METRIC_TOTALS = ("tokens", "latency")
"""The totals that are metrics too, and are measured where a threshold is on them."""


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
    if start is not None:
        target = spec.target if isinstance(spec.target, dict) else {}
        of_variants: dict[str, Any] = {"variants": {}, "matrix": {}, "compare": {}, "thresholds": {}, "serving": None}
        spec = spec.model_copy(update={**of_variants, "target": target | {"pipeline": str(start)}})
    reader = SuiteReader(document, spec, path, project, problems, sets, start)
    suite = reader.read(only=tuple(only), limit=limit, repeat=repeat, run_code=run_code)
    problems.check()
    assert suite is not None, "a suite without problems is one"
    return suite


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
        self._parts = PartReader(document, path, project, problems)

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
        variants = self._variants(source) if source else ()
        self._check_inputs(inputs or {}, ("inputs",), variants)
        problems.check()
        assert source is not None, "a target without problems is source"
        bounded = {name: name for name in METRIC_TOTALS if name in spec.thresholds and name not in spec.metrics}
        conversation = self._conversation(variants)
        measures = self._parts.measures(
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
            matrix=self._matrix(),
            conversation=conversation,
        )
        return replace(suite, steps=tuple(self._steps(suite, source)))

    def _problem(self, path: Sequence[PathKey], message: str, hint: str | None = None) -> Problem:
        return self._document.problem(path, message, hint)

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

    def _function(self, text: str) -> Tool:
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

    def _variants(self, source: TargetSource) -> tuple[Variant, ...]:
        named = self._named()
        for key, values in self._spec.matrix.items():
            if not values:
                self._problems.add(self._problem(("matrix", key), "there is nothing to try"))
        found: list[Variant] = []
        every = list(islice(expand_variants(named, self._matrix()), MOST_VARIANTS + 1))
        if len(every) > MOST_VARIANTS:
            self._problems.add(self._problem(("matrix",), f"more than {MOST_VARIANTS} variants"))
            every = every[:1]  # The others would be read for nothing.
        for name, sets in every:

            def where(key: str, name: str = name) -> Problem:
                path = ("matrix", key) if key in self._spec.matrix else ("variants", name, key)
                return self._problem(path if key else path[:1], "")

            with self._problems.gather():
                found.append(read_variant(name, sets, source, where))
        return tuple(found)

    def _matrix(self) -> dict[str, list[Any]]:
        """Return the matrix with its labels as they are written."""
        return {key: self._labels(("matrix", key), key, values) for key, values in self._spec.matrix.items()}

    def _check_inputs(self, given: Mapping[str, Any], path: tuple[PathKey, ...], variants: Sequence[Variant]) -> None:
        """Report inputs that a suite gives and no variant of the target takes."""
        takes = {name for variant in variants for name in variant.pipeline.inputs}
        for name in given if variants else ():
            if name not in takes:
                message = f"the target has no input `{name}`"
                self._problems.add(self._document.problem((*path, name), message, nearest(name, takes), key=True))

    def _named(self) -> dict[str, dict[str, Any]]:
        """Return the named variants with their labels as they are written."""
        named: dict[str, dict[str, Any]] = {}
        for name, sets in self._spec.variants.items():
            path = ("variants", name)
            if sets is None:
                named[name] = {}
            elif isinstance(sets, Mapping):
                named[name] = {key: self._labels((*path, key), key, value) for key, value in sets.items()}
            else:
                self._problems.add(self._problem(path, "must be a mapping of its settings: `{STEP.KEY: VALUE}`"))
        return named

    def _labels(self, path: tuple[PathKey, ...], key: str, value: Any) -> Any:
        if not key.endswith(".answer"):
            return value
        if isinstance(value, list):
            return [self._labels((*path, number), key, part) for number, part in enumerate(value)]
        return labels_as_written(value, lambda below: self._document.text((*path, *below)))

    def _serving(self) -> ServingSpec | None:
        if self._spec.serving is None:
            return None
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
                        measures=self._parts.measures(spec.metrics, (*path, "metrics"), variants[0], suite.data),
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


def _given(values: Mapping[str, Any], key: str) -> list[Any]:
    """Return the value of a key as a list, which is empty where there is none."""
    return [values[key]] if values.get(key) is not None else []


def _target_name(source: TargetSource) -> str:
    return source.target.stem if source.step is None else f"{source.target.stem}.{source.step}"


TOTALS = ("tokens", "latency", "cost", "unparsed")
"""Thresholds may be on these besides metrics and warnings."""

OF_NAMES = ("output", "row", "steps", "tool_calls")
"""The names that a metric's `of` may read."""

SINGLE_VALUE_KINDS = ("label", "balanced_accuracy", "f1", "number")
"""Kinds that can only ever compare one value."""

JUDGE_KINDS = ("judge", "pairwise")
"""Kinds that read a conversation as text."""

TRANSCRIPT = "{{ output.messages | transcript }}"

WHOLE_CELL_KINDS = ("tokens", "latency", "format", "python", "pass_at", "pass_all")
"""Kinds that need no single value of a conversation."""

EXPRESSION_KINDS = ("judge", "pairwise", "code", "python")
"""Kinds with parameters that are expressions."""


class PartReader:
    """Reads parts of one suite; mistakes go into `problems`."""

    def __init__(self, document: Document, path: Path, project: Project, problems: Problems) -> None:
        self._document = document
        self._path = path
        self._project = project
        self._problems = problems
        self._labels: AnswerLabels | None = None

    def report(self, path: Sequence[PathKey]) -> Report:
        """Return a function that places problems below a path."""

        def report(below: Sequence[PathKey], message: str, hint: str | None = None) -> Problem:
            return self._problem((*path, *below), message, hint)

        return report

    def _problem(self, path: Sequence[PathKey], message: str, hint: str | None = None) -> Problem:
        return self._document.problem(path, message, hint)

    def inputs(self, given: Mapping[str, Any] | None, path: tuple[PathKey, ...]) -> dict[str, CompiledValue] | None:
        """Return the expressions of `inputs:`, None where there are none."""
        if given is None:
            return None
        found = {name: self.value(text, (*path, name), ("row",)) for name, text in given.items()}
        return {name: value for name, value in found.items() if value is not None}

    def value(
        self, value: Any, path: tuple[PathKey, ...], names: Sequence[str], *, bare: bool = False
    ) -> CompiledValue | None:
        """Return a value compiled, None where there is none; it may read `names`. `bare`: one expression."""
        if value is None:
            return None

        compiled = compile_value(value, Location(self._document, path), self._problems, bare=bare)
        for text in compiled.texts:
            for name in sorted(text.names - set(names)):
                hint = f"write `row.{name}`" if "row" in names else nearest(name, names)
                self._problems.add(replace(text.place, message=f"unknown name `{name}`", hint=hint))
        return compiled

    def labels(self) -> AnswerLabels:
        """Return the labels of the suite's label file."""
        if self._labels is None:
            self._labels = AnswerLabels(label_file(self._path))
            with self._problems.gather():
                self._labels = AnswerLabels.read(self._labels.path)
        return self._labels

    def measures(
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
                labels=self.labels(),
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
        when = self.value(values.pop("when", None), (*below, "when"), ("row",), bare=True)
        whole = is_conversation and "each" not in values
        is_turn = self._is_of_turns(values.pop("each", None), (*below, "each"), is_conversation)
        turn = (TURN,) if is_turn else ()
        default_of = self._of_conversation(kind, path) if whole and "of" not in values else kind.default_of
        of = self.value(values.pop("of", default_of), (*below, "of"), (*OF_NAMES, *turn))
        expect = self.value(values.pop("expect", None), (*below, "expect"), ("row", *turn))
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
        if kind.kind in JUDGE_KINDS:
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
        spec = validate_usable(values, model, self.report(path), problems)
        problems.check()
        assert spec is not None, "parameters without problems are a model"
        return spec
