"""A jury: one or several judges of an answer, and the verdict that is made of theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from promptkit.answers.calibration import probabilities
from promptkit.errors import ContextOverflow, InputError, RequestRefused, nearest
from promptkit.evaluation.metrics.base import Clients, MetricContext
from promptkit.evaluation.metrics.judge_parameters import JudgeParameters
from promptkit.evaluation.metrics.judge_prompt import JudgePipeline, JudgePrompt, JudgeVerdict, NoVerdict
from promptkit.evaluation.metrics.levels import RIGHT, WRONG, level_named
from promptkit.evaluation.metrics.values import is_number, shown_value
from promptkit.project_code.reference import CodeReference

REASON_PROMPT = "judge_reason"
NO_REASON = (NoVerdict, RequestRefused, ContextOverflow)
"""Failures after which a verdict stands without its reason."""


@dataclass(frozen=True, slots=True)
class MemberVerdict:
    """The verdict of one judge: a score within the bounds of the levels, and the level that is nearest to it.

    `shares` are the probabilities of the levels, empty where the runtime gives none.
    """

    member: int
    score: float
    level: str
    shares: Mapping[str, float]
    reason: str


@dataclass(slots=True)
class JuryVerdict:
    """The verdicts of a jury on one answer. `faults` are the messages of judges that gave none, by their places."""

    verdicts: list[MemberVerdict] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    exchanges: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """True if most judges gave a verdict."""
        return len(self.verdicts) > len(self.faults)

    @property
    def score(self) -> float:
        """The mean of the scores."""
        return sum(verdict.score for verdict in self.verdicts) / len(self.verdicts)

    @property
    def decisive(self) -> MemberVerdict:
        """The verdict with the level that most judges gave; of several such levels, with that nearest to the score."""
        counts = Counter(verdict.level for verdict in self.verdicts)
        return min(self.verdicts, key=lambda verdict: (-counts[verdict.level], abs(verdict.score - self.score)))

    @property
    def shares(self) -> dict[str, float]:
        """The mean probabilities of the levels; empty where a judge gives none."""
        if not all(verdict.shares for verdict in self.verdicts):
            return {}
        names = self.verdicts[0].shares
        return {name: sum(one.shares[name] for one in self.verdicts) / len(self.verdicts) for name in names}


class Jury:
    """The judges of a metric. Raises InputError for a prompt or pipeline that cannot judge."""

    def __init__(self, parameters: JudgeParameters, context: MetricContext, gives: frozenset[str]) -> None:
        self._parameters = parameters
        self._names = parameters.names
        low, high = parameters.bounds
        step = (high - low) / (len(self._names) - 1)
        self.values = {name: low + step * place for place, name in enumerate(self._names)}
        models: list[str | None] = [parameters.model] if parameters.models is None else list(parameters.models)
        self._judges = [_judge(parameters, model, context, gives) for model in models]
        self._reasons: list[JudgePrompt] = []
        if self._asks_for_reasons:
            given = gives | {"level"}
            self._reasons = [JudgePrompt(REASON_PROMPT, model, context, given) for model in models]

    def __len__(self) -> int:
        """The number of verdicts on an answer."""
        return len(self._judges) * self._parameters.samples

    @property
    def models(self) -> tuple[str | None, ...]:
        """The models of the judges."""
        return tuple(judge.model for judge in self._judges)

    @property
    def key(self) -> str:
        """A hash of all files that the judges are made of."""
        return ":".join(dict.fromkeys(part.key for part in (*self._judges, *self._reasons)))

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return tuple(dict.fromkeys(code for part in (*self._judges, *self._reasons) for code in part.code))

    async def ask(self, values: Mapping[str, Any], clients: Clients, *, again: bool = False) -> JuryVerdict:
        """Ask each judge, as often as there are samples. Raises what asking raises.

        `again` asks for other samples of the same requests, which were not answered before.
        """
        found = JuryVerdict()
        for member in range(len(self)):
            judge, sample = divmod(member, self._parameters.samples)
            name = f"{sample}+again" if again else str(sample)
            try:
                verdict = await self._judges[judge].ask(values, clients, sample=name)
                found.verdicts.append(self._read(member, verdict))
                found.exchanges.append(verdict.exchange)
            except NoVerdict as babble:
                model = self.models[judge]
                found.faults[member] = f"{model}: {babble}" if len(self._judges) > 1 and model else str(babble)
        return found

    async def reason(self, found: JuryVerdict, values: Mapping[str, Any], clients: Clients) -> str:
        """Return the reason for the level that decided, asking for it where the parameters want one.

        The request is added to the exchanges. Raises what asking raises.
        """
        decisive = found.decisive
        if decisive.reason or not self._asks_for_reasons:
            return decisive.reason
        if self._parameters.reason == "failing" and decisive.level == self._names[-1]:
            return ""
        prompt = self._reasons[decisive.member // self._parameters.samples]
        try:
            asked = await prompt.ask({**values, "level": decisive.level}, clients)
        except NO_REASON:
            return ""
        found.exchanges.append(asked.exchange)
        return " ".join(str(asked.value).split())

    async def is_judged(self, clients: Clients) -> bool:
        """Tell whether a judge is the model of the run."""
        return any([await judge.is_judged(clients) for judge in self._judges])

    @property
    def _asks_for_reasons(self) -> bool:
        return self._parameters.pipeline is None and self._parameters.reason in ("failing", "all")

    def _read(self, member: int, verdict: JudgeVerdict) -> MemberVerdict:
        """Return a judge's verdict as a score and a level. Raises NoVerdict."""
        value = verdict.value
        if isinstance(value, Mapping):
            if "score" not in value:
                raise NoVerdict(f"the judge's output {shown_value(value)} has no `score`")
            value = value["score"]
        if verdict.logprobs:
            shares = probabilities(verdict.logprobs)
            score = sum(shares[name] * level for name, level in self.values.items())
            return MemberVerdict(member, self._within(score), str(value), shares, verdict.reason)
        score = self._score(value)
        level = value if value in self._names else min(self._names, key=lambda name: abs(self.values[name] - score))
        return MemberVerdict(member, score, level, {}, verdict.reason)

    def _score(self, value: Any) -> float:
        """Return the score of a level, or of a number within the bounds. Raises NoVerdict."""
        if isinstance(value, bool):
            value = RIGHT if value else WRONG
        if isinstance(value, str) and (level := level_named(value, self._names)) is not None:
            return self.values[level]
        low, high = self._parameters.bounds
        if is_number(value) and isfinite(value) and low <= value <= high and self._parameters.pipeline is not None:
            return float(value)
        raise NoVerdict(f"the judge's verdict {shown_value(value)} is not one of the levels {', '.join(self._names)}")

    def _within(self, score: float) -> float:
        low, high = self._parameters.bounds
        return min(max(score, low), high)


def _judge(
    parameters: JudgeParameters, model: str | None, context: MetricContext, gives: frozenset[str]
) -> JudgePipeline:
    if parameters.pipeline is not None:
        path = context.project.find_pipeline(parameters.pipeline, beside=context.folder)
        if path is None:
            hint = nearest(parameters.pipeline, context.project.names("pipelines"))
            raise InputError(f"there is no pipeline `{parameters.pipeline}`", hint=hint)
        return JudgePipeline(path, model, context, gives)
    changes: dict[str, Any] = {}
    if parameters.reason == "before":
        changes["technique"] = "chain_of_thought"
    if parameters.samples > 1:
        # A draw from the levels: their probabilities would be the same in each sample.
        changes |= {"options.temperature": parameters.temperature, "decide": "constrain"}
    judge = JudgePrompt(parameters.prompt, model, context, gives, changes)
    if parameters.examples and "examples" not in judge.pipeline.inputs:
        raise InputError(f"the prompt `{parameters.prompt}` has no input `examples`, so it shows none")
    return judge
