"""A model as a judge of one answer, by a rubric and levels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, zip_longest
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.answer_labels import AnswerLabel
from promptkit.evaluation.metrics.base import Clients, Difference, Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import FEW_CLUSTERS, Graded, finite
from promptkit.evaluation.metrics.judge_labels import JudgeLabels
from promptkit.evaluation.metrics.judge_parameters import JudgeParameters
from promptkit.evaluation.metrics.judge_prompt import SAME_MODEL, fields_read, question_of, read_value
from promptkit.evaluation.metrics.judge_validity import AGREEMENT, JUDGED, JudgeColumns, with_validity
from promptkit.evaluation.metrics.jury import Jury, JuryVerdict
from promptkit.evaluation.metrics.label_correction import LabelledSample
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, REASON_DETAIL, Score
from promptkit.evaluation.metrics.values import text_of
from promptkit.evaluation.statistics.agreement import agreement_with_labels, length_correlation
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.project_code.reference import CodeReference
from promptkit.storage.hashes import content_key
from promptkit.storage.strict_json import json_bytes


class JudgeExamples:
    """The labelled answers that a judge is shown: the first ones of the label file, as many of each level.

    An example is never shown for an answer to the same inputs or in the same cluster. So a label corrects only scores
    that were given without it: cross-fitting, as in cross-prediction-powered inference (Zrnic and Candès 2024, PNAS
    121). `labels` have the levels of the judge, by `levels`; `cluster` is the field of the suite's clusters.
    """

    def __init__(self, labels: Sequence[AnswerLabel], levels: Sequence[str], count: int, cluster: str | None) -> None:
        self._count = count
        self._cluster = cluster
        usable = [
            (label, level)
            for label, level in zip(labels, levels, strict=True)
            if label.inputs and (cluster is None or label.cluster is not None)
        ]
        self._chosen = list(islice(_by_turns(usable), count))

    @property
    def content(self) -> list[dict[str, Any]]:
        """All examples, as the judge reads them."""
        return [_as_read(label, level) for label, level in self._chosen]

    @property
    def notes(self) -> list[str]:
        """The note on examples that are lacking."""
        lacking = self._count - len(self._chosen)
        if not lacking:
            return []
        return [
            f"{lacking} of {self._count} `examples` of the judge are lacking: `promptkit label` keeps answers with "
            "their inputs, which are shown"
        ]

    def of(self, given: MetricInput) -> list[dict[str, Any]]:
        """Return the examples that the judge is shown for an answer."""
        return [_as_read(label, level) for label, level in self._chosen if not self._is_near(label, given)]

    def _is_near(self, label: AnswerLabel, given: MetricInput) -> bool:
        if given.inputs is not None and _same(label.inputs, given.inputs):
            return True
        return self._cluster is not None and _same(label.cluster, given.cell.fields.get(self._cluster))


def _by_turns(labels: Sequence[tuple[AnswerLabel, str]]) -> Iterator[tuple[AnswerLabel, str]]:
    """Yield labels by turns of their levels, each level's in the order of the file."""
    by_level: dict[str, list[tuple[AnswerLabel, str]]] = {}
    for label, level in labels:
        by_level.setdefault(level, []).append((label, level))
    for turn in zip_longest(*by_level.values()):
        yield from (found for found in turn if found is not None)


def _as_read(label: AnswerLabel, level: str) -> dict[str, Any]:
    question = {name: text_of(value) for name, value in label.inputs.items()}
    return {"question": question, "answer": text_of(label.answer), "level": level, "why": label.why}


def _same(one: Any, other: Any) -> bool:
    return _key(one) == _key(other)


def _key(value: Mapping[str, Any] | Any) -> bytes:
    return json_bytes(value, sort_keys=True, allow_nan=True, default=str)


WANTED_LABELS = 50
GIVES = frozenset({"rubric", "levels", "question", "answer", "expected", "examples"})
LABEL_DETAIL = ("label", "random")
"""The keys of a score's detail under which a person's label stands, and whether its row was drawn at random."""
AGAIN_SALT = b"again"
_ALL_CHANGED = (
    "no answer has a label: {} inputs drawn at random have a label of another answer only, so the mean is the judge's "
    "own; `promptkit label` asks for these answers"
)
_HARD = "the model gives no log-probabilities: a score is the level that it named, not a weighted mean of levels"


class Judge(Graded):
    """The level that a model gives by a rubric: a number on `scale`, or a word scored from 0 (worst) to 1 (best).

    Where the runtime gives log-probabilities, the score is the mean of the levels weighted by them, else it is the
    level that was named. A reply that is not a level is the judge's failure and not the answer's: the score is missing.
    A jury's score is the mean of its verdicts, and is missing where half of them or more are.

    With labels, `parts` says how far the judge agrees with them, and mean and difference are corrected by them
    (power-tuned prediction-powered inference), so that they estimate those of the labels however bad the judge is, and
    are never less certain than the labels alone.
    """

    kind = "judge"
    about = "a model's judgement of the answer, by a rubric and levels"
    Parameters = JudgeParameters
    parameters: JudgeParameters
    needs_expected = False
    asks = True
    costly = True
    columns: tuple[str, ...] = ("score", "level", "label", "random", "tokens", "weighed", "same_model", "again")

    def __init__(self, name: str, parameters: JudgeParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._names = parameters.names
        self.bounds = parameters.bounds
        self._labels_read = JudgeLabels(name, self._names, parameters.labels, context.labels)
        of_file = self._labels_read.of_file if parameters.examples else []
        levels = [self._labels_read.level(label.level) or "" for label in of_file]
        self._examples = JudgeExamples(of_file, levels, parameters.examples, context.cluster)
        # A run of the store is read without the label file.
        lacking = [] if context.labels is None else self._examples.notes
        self.setting_notes = (*self._labels_read.notes, *lacking)
        # A few labels correct the mean, and a missing cell may be one of them.
        self.is_mean = not self._labels_read.has_any
        for text in (parameters.question, *parameters.values.values()):
            list(fields_read(text))
        self._jury = Jury(parameters, context, GIVES | parameters.values.keys())
        self.model = self._jury.models[0]
        if len(self._jury) > 1:
            self.columns = (*self.columns, *(f"verdict {number}" for number in range(1, len(self._jury) + 1)))

    @property
    def key(self) -> str:
        # Labels are no part of a score, but for the fields that the judge does not see since they hold labels.
        written = self.parameters.model_dump(mode="json", exclude_defaults=True, exclude={"labels"})
        hidden = sorted(self._labels_read.hidden)
        shown = self._examples.content
        return f"{self.kind}:{json.dumps([written, hidden, *shown])}:{self._jury.key}"

    @property
    def models(self) -> tuple[str | None, ...]:
        return self._jury.models

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return self._jury.code

    def without_reasons(self) -> Judge:
        """Return this judge without a request for reasons after its verdicts, for scores that nobody reads."""
        if self.parameters.reason not in ("failing", "all") or self.parameters.pipeline is not None:
            return self
        return Judge(self.name, self.parameters.model_copy(update={"reason": "none"}), self.context)

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        values = self._values(given)
        found = await self._jury.ask(values, clients)
        if not found.holds:
            return Score(None, why=next(iter(found.faults.values())))
        level = found.decisive.level
        detail: dict[str, Any] = {"level": level, "tokens": given.cell.tokens_out}
        if reason := await self._jury.reason(found, values, clients):
            detail[REASON_DETAIL] = reason
        if shares := found.shares:
            detail["probabilities"] = {name: round(share, 4) for name, share in shares.items()}
        if len(self._jury) > 1:
            detail["verdicts"] = self._verdicts(found)
        if self._is_judged_again(values):
            again = await self._jury.ask(values, clients, again=True)
            found.exchanges += again.exchanges
            if again.holds:
                detail["again"] = again.decisive.level
        if await self._jury.is_judged(clients):
            detail["same_model"] = True
        return Score(found.score, {**detail, JUDGE_DETAIL: found.exchanges})

    def _values(self, given: MetricInput) -> dict[str, Any]:
        """Return the values that a judge gets. Raises ValueError for a field that the row lacks."""
        parameters = self.parameters
        values: dict[str, Any] = {
            "rubric": parameters.rubric,
            "levels": parameters.levels if isinstance(parameters.levels, dict) else self._names,
            "question": question_of(given, parameters.question, self._labels_read.hidden),
            "answer": text_of(given.got),
            "expected": text_of(given.expected) if parameters.expected else "",
            "examples": self._examples.of(given),
        }
        for name, text in parameters.values.items():
            if (value := read_value(text, given)) is None:
                raise ValueError(f"`with` finds nothing for `{name}`: {text}")
            values[name] = value
        return values

    def _verdicts(self, found: JuryVerdict) -> list[dict[str, Any]]:
        """Return a record of each judge's verdict, for people."""
        models = [str(self._jury.models[place // self.parameters.samples] or "") for place in range(len(self._jury))]
        given = {verdict.member: verdict for verdict in found.verdicts}
        records: list[dict[str, Any]] = []
        for place, model in enumerate(models):
            named = {"model": model} if model else {}
            if (verdict := given.get(place)) is None:
                records.append({**named, "fault": found.faults[place]})
            else:
                reason = {"reason": verdict.reason} if verdict.reason else {}
                records.append({**named, "level": verdict.level, "score": round(verdict.score, 4), **reason})
        return records

    def _is_judged_again(self, values: Mapping[str, Any]) -> bool:
        """Tell whether an answer is among those that are judged a second time: the same ones in each run."""
        place = content_key(json_bytes([values["question"], values["answer"]], default=str), 4, salt=AGAIN_SALT)
        return int.from_bytes(place, "big") < self.parameters.repeatability * 2**32

    def with_label(self, score: Score, given: MetricInput) -> Score:
        unlabelled = self.without_label(score)
        label = self._labels_read.detail(given)
        return replace(unlabelled, detail={**unlabelled.detail, **label}) if label else unlabelled

    def without_label(self, score: Score) -> Score:
        return replace(score, detail={key: part for key, part in score.detail.items() if key not in LABEL_DETAIL})

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        detail = score.detail
        level, label, again = (self._place(detail.get(key)) for key in ("level", "label", "again"))
        # Samples and pipelines are asked for no probabilities.
        single = self.parameters.samples == 1 and self.parameters.pipeline is None
        weighed = float("probabilities" in detail) if "level" in detail and single else nan
        random = float(detail.get("random", True)) if not detail.keys().isdisjoint(LABEL_DETAIL) else nan
        tokens, same_model = detail.get("tokens", nan), float("same_model" in detail)
        verdicts = [self._place(verdict.get("level")) for verdict in detail.get("verdicts", ())]
        verdicts += [nan] * (len(self.columns) - len(Judge.columns) - len(verdicts))
        return (score.value, level, label, random, tokens, weighed, same_model, again, *verdicts)

    def _with_validity(self, found: Estimate, sample: Sample) -> Estimate:
        columns = dict(zip(self.columns, sample.values.T, strict=True))
        judged = JudgeColumns(
            **{name: columns[name] for name in ("level", "label", "tokens", "again")},
            verdicts=sample.values[:, len(Judge.columns) :],
        )
        jury = "judges" if self.parameters.models else "samples"
        return with_validity(found, sample, judged, names=self._names, bounds=self._bounds, jury=jury)

    def _place(self, level: str | None) -> float:
        """Return a level's place among the levels, NaN for none."""
        return nan if level is None else float(self._names.index(level))

    def estimate(self, sample: Sample) -> Estimate:
        found = super().estimate(sample)
        if not len(sample):
            return found
        _, level, label, random, tokens, weighed, same_model, _ = sample.values[:, : len(Judge.columns)].T
        judged, labelled = ~np.isnan(level), ~np.isnan(label)
        parts: dict[str, Any] = {}
        notes = list(found.notes)
        if judged.any():
            correlation = finite(length_correlation(sample.scores[judged], tokens[judged]))
            # That of a few answers is near 1 or -1 by chance.
            parts["score and tokens"] = correlation if judged.sum() >= FEW_CLUSTERS else None
        if labelled.any():
            parts[JUDGED] = {"mean": found.mean, "low": found.low, "high": found.high}
            found = self._labelled(sample).estimate(found)
            notes = list(found.notes)
            if (judged & labelled).any():
                parts[AGREEMENT] = self._agreement(level[judged & labelled], label[judged & labelled])
            if labelled.sum() < WANTED_LABELS:
                notes.append(f"only {labelled.sum()} answers have a label: at least {WANTED_LABELS} are needed")
        elif (random == 1).any():
            notes.append(_ALL_CHANGED.format((random == 1).sum()))
        if same_model.any():
            notes.append(SAME_MODEL)
        if (weighed == 0).any():
            notes.append(_HARD)
        return self._with_validity(replace(found, parts=parts, notes=tuple(notes)), sample)

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        return self._labelled(a).difference(self._labelled(b), level)

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

    def _labelled(self, sample: Sample) -> LabelledSample:
        label, random = (sample.values[:, self.columns.index(name)] for name in ("label", "random"))
        levels = len(self._names)
        return LabelledSample(sample, label / (levels - 1), random == 1, self._bounds, levels == 2)

    @property
    def _bounds(self) -> tuple[float, float]:
        assert self.bounds is not None, "a judge's levels are bounds"
        return self.bounds
