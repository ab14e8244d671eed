"""The metric `assert`: each answer is checked by the assertions of its own row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from promptkit.engine.spec import ClosedModel, validate_usable
from promptkit.errors import InputError, Problem
from promptkit.evaluation.metrics.assertions import Assertion, assertion_items, kind_of, read_assertion
from promptkit.evaluation.metrics.base import Clients, Metric, MetricContext, MetricInput
from promptkit.evaluation.metrics.estimation import Proportion
from promptkit.evaluation.metrics.registry import kind_named
from promptkit.evaluation.metrics.score import Score, not_applicable
from promptkit.project_code.reference import CodeReference
from promptkit.storage.models import Problems

NEAR = 1e-9
NO_ASSERTIONS = "the row has no assertions that are checked here"


class AssertParameters(ClosedModel):
    """`field` has a row's assertions. `threshold` is the share of them, by weight, that must hold.

    `skip` are kinds of assertions that are left out here, since other metrics of the suite check them. `python` are the
    functions of the project that a row may name.
    """

    field: str = "assert"
    threshold: float = Field(default=1.0, gt=0, le=1)
    skip: list[str] = Field(default=[])
    python: list[str] = Field(default=[])


class RowAssertions(Proportion):
    """The assertions in a field of the row hold. A row without any is left out.

    An assertion is `{KIND: EXPECTED}` or `{KIND: {PARAMETER: VALUE}}` with the kinds of metrics that ask no model;
    `expect` is then the expected answer. It holds where the score is the kind's best, or reaches its `threshold`.
    `not-KIND` holds where the other does not, and `weight` (1) makes it count more or less. promptfoo's
    `{type: icontains, value: …}` is read too. An answer that does not parse, or is cut off, meets no assertion.
    """

    kind = "assert"
    about = "the assertions that a row brings with it hold"
    Parameters = AssertParameters
    short = "field"
    parameters: AssertParameters
    needs_expected = False
    asks = True
    costly = True

    def __init__(self, name: str, parameters: AssertParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.field = parameters.field
        self.reads_row = bool(parameters.python)
        self._functions = {function: self._built("python", {"function": function}) for function in parameters.python}
        self._metrics: dict[str, Metric] = {}

    @property
    def key(self) -> str:
        """The identity of the scores; it changes with the functions that rows may name."""
        return ":".join([super().key, *(metric.key for metric in self._functions.values())])

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return tuple(code for metric in self._functions.values() for code in metric.code)

    def wrong_expected(self, expected: Any) -> str | None:
        try:
            items = self._items(expected)
        except ValueError as error:
            return str(error)
        faults = (f"assertion {number}: {fault}" for number, item in items.items() for fault in self._faults(item))
        return "; ".join(faults) or None

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        assertions = self._assertions(given.expected)
        if not assertions:
            return not_applicable(NO_ASSERTIONS)
        holds: list[str] = []
        fails: list[str] = []
        reached = of = 0.0
        for assertion in assertions:
            score = await self._score(assertion, given, clients)
            if score.is_missing:
                return Score(None, why=f"{assertion.text}: {score.why}")
            if not score.applies:
                continue
            is_met = self._is_met(assertion, score)
            of += assertion.weight
            reached += assertion.weight * is_met
            (holds if is_met else fails).append(_shown(assertion, score))
        if not holds and not fails:
            return not_applicable("no assertion of the row applies to the answer")
        share = reached / of if of else 1.0
        detail = {"share": share, "expected": "; ".join(fails or holds), "holds": holds, "fails": fails}
        return Score(float(share >= self.parameters.threshold - NEAR), detail)

    def unanswered(self, given: MetricInput) -> Score:
        """Score an unparsed or cut-off answer: no assertion holds."""
        assertions = self._assertions(given.expected)
        if not assertions:
            return not_applicable(NO_ASSERTIONS)
        texts = "; ".join(assertion.text for assertion in assertions)
        return Score(0.0, {"flag": given.cell.flag, "expected": texts})

    def _items(self, expected: Any) -> dict[int, Any]:
        """Return the assertions that are checked here as they are written, by their numbers. Raises ValueError."""
        items = enumerate(assertion_items(expected or []), start=1)
        return {number: item for number, item in items if kind_of(item) not in self.parameters.skip}

    def _assertions(self, expected: Any) -> list[Assertion]:
        return [read_assertion(item) for item in self._items(expected).values()]

    async def _score(self, assertion: Assertion, given: MetricInput, clients: Clients) -> Score:
        metric = self._metric(assertion)
        compared = MetricInput(given.got, assertion.expected, given.cell, given.answer)
        return await metric.measure_async(compared, clients) if metric.asks else metric.measure(compared)

    def _is_met(self, assertion: Assertion, score: Score) -> bool:
        """Tell whether a score is what an assertion demands."""
        metric, value = self._metric(assertion), score.value
        assert value is not None, "a score that applies and is not missing has a value"
        limit = assertion.threshold
        if limit is None:
            assert metric.bounds is not None, "an assertion without bounds has a threshold"
            limit = metric.bounds[1 if metric.higher_is_better else 0]
        is_reached = value >= limit - NEAR if metric.higher_is_better else value <= limit + NEAR
        return is_reached is not assertion.negated

    def _faults(self, item: Any) -> Iterator[str]:
        """Yield the problems of one assertion as it is written."""
        try:
            assertion = read_assertion(item)
            metric = self._metric(assertion)
        except InputError as error:
            yield from (problem.message for problem in error.problems)
            return
        except ValueError as error:
            yield str(error)
            return
        if metric.bounds is None and assertion.threshold is None:
            yield f"`{assertion.kind}` needs a `threshold`"
        if metric.needs_expected and assertion.expected is None:
            yield f"`{assertion.kind}` needs an expected answer: `{{{assertion.kind}: …}}`"
        elif metric.needs_expected and (fault := metric.wrong_expected(assertion.expected)):
            yield fault

    def _metric(self, assertion: Assertion) -> Metric:
        """Return the metric of an assertion. Raises InputError for parameters that it cannot have."""
        key = json.dumps([assertion.kind, assertion.parameters], sort_keys=True)
        if key not in self._metrics:
            self._metrics[key] = self._found(assertion)
        return self._metrics[key]

    def _found(self, assertion: Assertion) -> Metric:
        if assertion.kind != "python":
            return self._built(assertion.kind, dict(assertion.parameters))
        function = str(assertion.parameters.get("function"))
        if function not in self._functions or len(assertion.parameters) > 1:
            hint = f"`{self.name}: {{assert: {{python: [{function}]}}}}`"
            raise InputError(f"the suite does not allow rows to name `{function}`: {hint} does")
        return self._functions[function]

    def _built(self, word: str, values: dict[str, Any]) -> Metric:
        kind, problems = kind_named(word), Problems()
        spec = validate_usable(values, kind.Parameters, _placeless, problems)
        problems.check()
        return kind(self.name, spec, self.context)


def _placeless(path: Sequence[str | int], message: str, hint: str | None = None) -> Problem:
    return Problem(message, hint=hint)


def _shown(assertion: Assertion, score: Score) -> str:
    """Return an assertion with its score, where that is graded."""
    return assertion.text if score.value in (0, 1) else f"{assertion.text}: {score.value:.3g}"
