"""LLM judges: the prompt and model of a judge, and the metric that scores one answer by a rubric."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from promptkit.answers.calibration import probabilities
from promptkit.engine.dependencies import code_in, hashed_files
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.results import Trace
from promptkit.engine.run import Runner
from promptkit.engine.scope import Location, Unplaced, compile_value
from promptkit.engine.session import RunSettings
from promptkit.engine.spec import ClosedModel
from promptkit.engine.step_settings import resolve_model
from promptkit.errors import InputError, PromptkitError, UnparsedAnswer, nearest
from promptkit.evaluation.metrics.base import Clients, Difference, Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import (
    Graded,
    bounded_estimate,
    finite,
    graded_difference,
    metric_difference,
)
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, Score
from promptkit.evaluation.metrics.values import scalar_text, shown_value, text_of
from promptkit.evaluation.statistics.agreement import (
    agreement_with_labels,
    corrected_difference,
    corrected_mean,
    length_correlation,
)
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.project import LIBRARY
from promptkit.project_code.reference import CodeReference
from promptkit.prompts.expressions import Expression
from promptkit.prompts.filters import transcript
from promptkit.storage.models import Problems

SAME_MODEL: Final = "the judge is the model under test, and models prefer their own answers; set another one by `model`"
SCOPE: Final = frozenset({"row", "output", "expected", "steps", "turn"})
_BEGINNING = 120


@dataclass(frozen=True, slots=True)
class JudgeVerdict:
    """The verdict of a judge, with the log-probabilities of its choices where the runtime gives them.

    `exchange` is a record for people: its prompt, its reply, and the calls and tokens used.
    """

    value: Any
    logprobs: Mapping[str, float] | None
    exchange: Mapping[str, Any]


class NoVerdict(Exception):
    """The judge's reply is not a verdict; the message has its beginning."""


class JudgePrompt:
    """The prompt of a judge, as a pipeline of one step. It gets only the values that it takes as inputs.

    `gives` are the names of the values that `ask` gets. Raises InputError for a prompt that does not exist, is broken,
    or needs another input.
    """

    def __init__(self, prompt: str, model: str | None, context: MetricContext, gives: frozenset[str]) -> None:
        path = context.project.find_prompt(prompt, beside=context.folder)
        if path is None:
            raise InputError(f"there is no prompt `{prompt}`", hint=nearest(prompt, context.project.names("prompts")))
        self.model = None if model is None else resolve_model(model, context.folder, context.project)
        self._pipeline = _with_model(load_target(path, context.project), self.model)
        lacking = [
            name for name, declared in self._pipeline.inputs.items() if name not in gives and not declared.has_default
        ]
        if lacking:
            message = (
                f"the prompt `{prompt}` needs {', '.join(f'`{name}`' for name in lacking)}, which a judge does not get"
            )
            raise InputError(message, hint=nearest(lacking[0], gives))
        # A project's own prompt may have a technique that thinks first.
        self._thinks = any(
            step.prompt_call and step.prompt_call.technique != "vanilla" for step in self._pipeline.steps.values()
        )
        self._clients: Clients | None = None
        self._opening: asyncio.Task[tuple[Runner, bool]] | None = None

    @cached_property
    def key(self) -> str:
        """A hash of all files that the judge's prompt is made of."""
        return _pipeline_hash(self._pipeline)

    @property
    def code(self) -> tuple[CodeReference, ...]:
        """The Python of the project that the prompt needs, without that of the judge's `model`."""
        return tuple(found.code for found in code_in(self._pipeline, with_models=self.model is None))

    async def ask(self, values: Mapping[str, Any], clients: Clients) -> JudgeVerdict:
        """Ask once. Raises Babble, and what asking raises."""
        runner, _ = await self._opened(clients)
        inputs = {name: values.get(name, declared.default) for name, declared in self._pipeline.inputs.items()}
        result = await runner.run(inputs)
        if result.error is not None and not isinstance(result.error, UnparsedAnswer):
            raise result.error
        step = result.trace.children[0]
        if result.error is not None or not self._is_verdict(step, result.output):
            raise NoVerdict(f"the judge's reply is not a verdict: {shown_value(step.calls[-1].reply.text, _BEGINNING)}")
        last = step.calls[-1]
        asked = [*(message.content for message in last.request.messages), last.request.begun]
        spent = result.totals
        exchange = {
            "asked": "\n\n".join(filter(None, asked)),
            "reply": last.reply.text,
            "calls": spent.calls,
            "tokens": spent.tokens_in + spent.tokens_out,
        }
        return JudgeVerdict(result.output, step.extra.get("scores"), exchange)

    async def is_judged(self, clients: Clients) -> bool:
        """Tell whether the judge is the model of the run."""
        return (await self._opened(clients))[1]

    def _is_verdict(self, step: Trace, value: Any) -> bool:
        """Tell whether a reply is a verdict: it was constrained, may come after thoughts, or begins with a choice."""
        request = step.calls[-1].request
        held = "scores" in step.extra or request.constrained
        return held or self._thinks or _begins_with(step.calls[-1].reply.text, value)

    async def _opened(self, clients: Clients) -> tuple[Runner, bool]:
        if self._opening is None or self._clients is not clients:
            self._clients = clients
            self._opening = asyncio.ensure_future(self._open(clients))
        return await asyncio.shield(self._opening)

    async def _open(self, clients: Clients) -> tuple[Runner, bool]:
        runner = Runner(self._pipeline, models=clients, settings=RunSettings(repairs=0))
        await runner.open()
        digests = {model.digest for model in runner.session.answered.values()}
        try:
            default = (await (await clients.get(None)).model()).digest
        except PromptkitError:  # steps name their models, and the default one is not there
            return runner, False
        return runner, default in digests


def _begins_with(reply: str, value: Any) -> bool:
    """Tell whether a free reply begins with a verdict, perhaps after a cue (`Level: good`).

    A reply that only mentions one (`I cannot say whether it is good`) is not a verdict, though it would parse as one.
    """
    return (
        re.match(rf"[\W_]*(?:\w[\w ]{{0,30}}:[\W_]*)?{re.escape(str(value))}(?!\w)", reply, re.IGNORECASE) is not None
    )


def question_of(given: MetricInput, question: str | None, hidden: frozenset[str]) -> dict[str, str]:
    """Return the question as texts by name: the value of `question`, else the fields of the row, else, of the turn of a
    conversation, the messages up to it.

    The `hidden` fields and the expected answer are left out. Raises InputError for an expression that fails, ValueError
    for a field that the row lacks.
    """
    if question is not None:
        if "{{" not in question and question not in given.cell.fields:
            raise ValueError(f"the row has no field `{question}`, which `question` names")
        value = read_value(question, given)
        fields = value if isinstance(value, Mapping) else {"question": value}
    elif given.cell.turn is not None:
        fields = {"conversation": transcript(given.cell.turn["messages"])}
    else:
        expected = given.expected
        row = given.cell.fields
        fields = {name: row[name] for name in row if name not in hidden and (expected is None or row[name] != expected)}
    return {str(name): text_of(value) for name, value in fields.items() if value is not None}


def read_value(text: str, given: MetricInput) -> Any:
    """Return the value of an expression over `row`, `output`, `expected` and `steps`, or of a field of the row.

    A field that the row lacks is None. Raises InputError for an expression that fails.
    """
    if "{{" not in text:
        return given.cell.fields.get(text)
    cell = given.cell
    scope = {
        "row": cell.fields,
        "output": given.got,
        "expected": given.expected,
        "steps": cell.steps,
        "turn": cell.turn,
    }
    return Expression.parse(text).evaluate(scope)


def fields_read(text: str | None) -> Iterator[str]:
    """Yield the fields of the row that a template reads. Raises InputError where `read_value` could not evaluate it."""
    if text is None:
        return
    if "{{" not in text:
        yield text
        return
    problems = Problems()
    value = compile_value(text, Location(Unplaced()), problems)
    problems.check()
    for unknown in sorted(value.names - SCOPE):
        raise InputError(f"`{text}`: unknown name `{unknown}`", hint=nearest(unknown, SCOPE))
    yield from (attribute for name, attribute in value.attributes if name == "row")


def _with_model(pipeline: Pipeline, model: str | None) -> Pipeline:
    """Return a pipeline whose steps ask this model rather than the project's defaults."""
    if model is None:
        return pipeline
    return replace(pipeline, steps={name: replace(step, model=model) for name, step in pipeline.steps.items()})


def _pipeline_hash(pipeline: Pipeline) -> str:
    """Return a hash of all files that a pipeline's messages are made of."""
    digest = hashlib.sha256()
    for path, content in sorted(hashed_files(pipeline).items()):
        inside = path.is_relative_to(LIBRARY)
        digest.update(str(path.relative_to(LIBRARY) if inside else path.name).encode())
        digest.update(content)
    return digest.hexdigest()


MOST_LEVELS = 11
WANTED_LABELS = 50
GIVES = frozenset({"rubric", "levels", "question", "answer", "expected"})
_HARD = "the model gives no log-probabilities: a score is the level that it named, not a weighted mean of levels"


class JudgeParameters(ClosedModel):
    """`levels` go from the worst to the best: words, or words with their meanings; or `scale` is two whole numbers.

    `question` is what was asked: an expression or a field of the row; by default the row's fields without the expected
    answer. `labels` is a person's level for this very answer, where there is one: an expression or a field of the row.
    """

    rubric: str = Field(min_length=1)
    levels: list[str] | dict[str, str] | None = None
    scale: list[int] | None = Field(default=None, min_length=2, max_length=2)
    model: str | None = None
    prompt: str = "judge"
    question: str | None = None
    labels: str | None = None

    @model_validator(mode="after")
    def _check_levels(self) -> JudgeParameters:
        if (self.levels is None) == (self.scale is None):
            raise ValueError("a judge needs one of `levels: [poor, fair, good]` and `scale: [1, 5]`")
        count = len(self.names)
        if not 2 <= count <= MOST_LEVELS:
            raise ValueError(f"a judge distinguishes 2 to {MOST_LEVELS} levels, not {count}")
        if len({name.strip().casefold() for name in self.names}) < count or not all(map(str.strip, self.names)):
            raise ValueError("`levels` must be different words")
        return self

    @property
    def names(self) -> list[str]:
        """The levels as the judge writes them, from the worst to the best."""
        if self.scale is not None:
            low, high = self.scale
            return [str(level) for level in range(low, min(high, low + MOST_LEVELS) + 1)]
        return list(self.levels or ())


class Judge(Graded):
    """The level that a model gives by a rubric: a number on `scale`, or a word scored from 0 (worst) to 1 (best).

    Where the runtime gives log-probabilities, the score is the mean of the levels weighted by them, else it is the
    level that was named. A reply that is not a level is the judge's failure and not the answer's: the score is missing.

    With `labels`, `parts` says how far the judge agrees with them, and mean and difference are corrected by them
    (prediction-powered inference), so that they estimate those of the labels however bad the judge is.
    """

    kind = "judge"
    about = "a model's judgement of the answer, by a rubric and levels"
    Parameters = JudgeParameters
    parameters: JudgeParameters
    needs_expected = False
    asks = True
    costly = True
    columns = ("score", "level", "label", "tokens", "weighed", "same_model")

    def __init__(self, name: str, parameters: JudgeParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._names = parameters.names
        if parameters.scale is not None:
            self.bounds = (float(parameters.scale[0]), float(parameters.scale[-1]))
        # A few labels correct the mean, and a missing cell may be one of them.
        self.is_mean = parameters.labels is None
        low, high = self._bounds
        step = (high - low) / (len(self._names) - 1)
        self._values = {name: low + step * place for place, name in enumerate(self._names)}
        self._hidden = frozenset(fields_read(parameters.labels))
        list(fields_read(parameters.question))
        self._prompt = JudgePrompt(parameters.prompt, parameters.model, context, GIVES)
        self.model = self._prompt.model

    @property
    def key(self) -> str:
        return f"{super().key}:{self._prompt.key}"

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return self._prompt.code

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        label = self._label(given)
        parameters = self.parameters
        values = {
            "rubric": parameters.rubric,
            "levels": parameters.levels if isinstance(parameters.levels, dict) else self._names,
            "question": question_of(given, parameters.question, self._hidden),
            "answer": text_of(given.got),
            "expected": text_of(given.expected),
        }
        try:
            verdict = await self._prompt.ask(values, clients)
        except NoVerdict as babble:
            return Score(None, why=str(babble))
        if verdict.value not in self._names:
            return Score(None, why=f"the judge's verdict {shown_value(verdict.value)} is not one of the levels")
        detail: dict[str, Any] = {"level": verdict.value, "tokens": given.cell.tokens_out}
        value = self._values[verdict.value]
        if verdict.logprobs:
            shares = probabilities(verdict.logprobs)
            detail["probabilities"] = {name: round(share, 4) for name, share in shares.items()}
            value = sum(shares[name] * level for name, level in self._values.items())
        if label is not None:
            detail["label"] = label
        if await self._prompt.is_judged(clients):
            detail["same_model"] = True
        low, high = self._bounds
        return Score(min(max(value, low), high), {**detail, JUDGE_DETAIL: [verdict.exchange]})

    def unanswered(self, given: MetricInput) -> Score:
        """Score an answer that is none as the worst; a person's label of it stands all the same."""
        label = self._label(given)
        return Score(self._bounds[0], {"flag": given.cell.flag, **({} if label is None else {"label": label})})

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        detail = score.detail
        level, label = (float(self._names.index(detail[key])) if key in detail else nan for key in ("level", "label"))
        weighed = float("probabilities" in detail) if "level" in detail else nan
        return (score.value, level, label, detail.get("tokens", nan), weighed, float("same_model" in detail))

    def estimate(self, sample: Sample) -> Estimate:
        found = super().estimate(sample)
        if not len(sample):
            return found
        _, level, label, tokens, weighed, same_model = sample.values.T
        judged, labelled = ~np.isnan(level), ~np.isnan(label)
        parts: dict[str, Any] = {}
        notes = list(found.notes)
        if judged.any():
            parts["score and tokens"] = _correlation(sample.scores[judged], tokens[judged])
        if labelled.any():
            parts["judged"] = {"mean": found.mean, "low": found.low, "high": found.high}
            found = self._corrected(sample, found)
            if (judged & labelled).any():
                parts["agreement with labels"] = self._agreement(level[judged & labelled], label[judged & labelled])
            if labelled.sum() < WANTED_LABELS:
                notes.append(f"only {labelled.sum()} answers have a label: at least {WANTED_LABELS} are needed")
        if same_model.any():
            notes.append(SAME_MODEL)
        if (weighed == 0).any():
            notes.append(_HARD)
        return replace(found, parts=parts, notes=tuple(notes))

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:

        if not len(a):
            return None
        labels = self._labels(a) - self._labels(b)
        apart, of_labels = _by_cluster(a.clusters, self._scaled(a) - self._scaled(b), labels)
        labelled = ~np.isnan(of_labels)
        if not labelled.any():
            return super().difference(a, b, level=level)
        if (~labelled).sum() < 2:
            known = ~np.isnan(labels)
            return graded_difference(self._labelled(a, known), self._labelled(b, known), self._bounds, True, level)
        found = corrected_difference(apart[~labelled], apart[labelled], of_labels[labelled], level=level)
        return metric_difference(found, True, scale=self._width)

    def _corrected(self, sample: Sample, judged: Estimate) -> Estimate:
        """Return the mean that labels would give; where nearly all answers have a label, the mean of the labels."""

        labels = self._labels(sample)
        scores, of_labels = _by_cluster(sample.clusters, self._scaled(sample), labels)
        labelled = ~np.isnan(of_labels)
        if (~labelled).sum() < 2:
            return bounded_estimate(self._labelled(sample, ~np.isnan(labels)), self._bounds, binary=False)
        found = corrected_mean(scores[~labelled], scores[labelled], of_labels[labelled])
        low, width = self._bounds[0], self._width
        return replace(
            judged, mean=low + width * found.mean, low=low + width * found.low, high=low + width * found.high
        )

    def _agreement(self, level: NDArray[np.float64], label: NDArray[np.float64]) -> dict[str, Any]:
        classes = len(self._names)
        found = agreement_with_labels(level.astype(int), label.astype(int), ordinal=classes > 2, classes=classes)
        return {
            "n": len(level),
            "equal": {"mean": found.raw.mean, "low": found.raw.low, "high": found.raw.high},
            "method": found.method,
            "value": finite(found.value),
            "low": finite(found.low),
            "high": finite(found.high),
        }

    def _label(self, given: MetricInput) -> str | None:
        """Return the level that a person gave this answer, if any. Raises ValueError for what is not a level."""
        if self.parameters.labels is None:
            return None
        value = read_value(self.parameters.labels, given)
        text = (scalar_text(value) or "").strip() if value is not None else ""
        if not text and value in (None, ""):
            return None
        for name in self._names:
            if name.casefold() == text.casefold():
                return name
        raise ValueError(f"the label {shown_value(value)} is not one of the levels {', '.join(self._names)}")

    def _labels(self, sample: Sample) -> NDArray[np.float64]:
        """Return the labels scaled to 0 to 1, NaN where there is none."""
        labels: NDArray[np.float64] = sample.values[:, 2] / (len(self._names) - 1)
        return labels

    def _labelled(self, sample: Sample, chosen: NDArray[np.bool_]) -> Sample:
        """Return the chosen cells with their labels as scores."""
        scores = self._bounds[0] + self._width * self._labels(sample)[chosen]
        return Sample(scores[:, None], sample.rows[chosen], sample.clusters[chosen])

    def _scaled(self, sample: Sample) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = (sample.scores - self._bounds[0]) / self._width
        return scaled

    @property
    def _bounds(self) -> tuple[float, float]:
        assert self.bounds is not None, "a judge's levels are bounds"
        return self.bounds

    @property
    def _width(self) -> float:
        return self._bounds[1] - self._bounds[0]


def _correlation(scores: NDArray[np.float64], tokens: NDArray[np.float64]) -> float | None:

    return finite(length_correlation(scores, tokens))


def _by_cluster(
    clusters: NDArray[np.int64], judged: NDArray[np.float64], labels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of judged scores and of labels (NaN: none) of each cluster.

    In a cluster with labels both means are over the cells that have one.
    """
    known = ~np.isnan(labels)
    _, places = np.unique(clusters, return_inverse=True)
    labelled = np.bincount(places, weights=known) > 0
    weights = np.where(labelled[places], known, True).astype(float)
    totals = np.bincount(places, weights=weights)
    of_judged = np.bincount(places, weights=weights * judged) / totals
    of_labels = np.bincount(places, weights=weights * np.nan_to_num(labels)) / totals
    return of_judged, np.where(labelled, of_labels, np.nan)
