"""The warm start of a tuning run: the prior that it begins with, and the effects that it leaves for later runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from promptkit.engine.pipeline import Step
from promptkit.runtimes.base import Model
from promptkit.storage.store import Run, Store
from promptkit.tuning.confirmed_run import CONFIRM_SETTINGS
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.prior.choice_kinds import ChoiceKinds, answer_name, choice_kinds
from promptkit.tuning.prior.effect_prior import EffectPrior, Estimate, pooled_effects
from promptkit.tuning.prior.estimates import Scores, estimated_effects
from promptkit.tuning.prior.history import SKETCH_ROWS, StepEffects, TuningHistory, row_digests
from promptkit.tuning.search.effects import Effects
from promptkit.tuning.search_space.candidate import Candidate, Parameter
from promptkit.tuning.trials import Estimates, SearchResult
from promptkit.tuning.tune_record import PriorEffect, PriorRecord

RECENT_RUNS: Final = 50
"""The number of runs among which an earlier one of the same command is looked for."""
MOST_DIGITS: Final = 5
MOST_NAMED: Final = 3
"""The number of choices that a note names, those expected most of."""


@dataclass(frozen=True, slots=True)
class PooledTunings:
    """The prior effects of a run by step and kind of choice, and the number of tunings that they come from."""

    tunings: int = 0
    effects: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return it as the store keeps it with a run."""
        effects = {
            step: {kind: [effect.mean, effect.variance] for kind, effect in of_step.items()}
            for step, of_step in self.effects.items()
        }
        return {"tunings": self.tunings, "effects": effects}

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> PooledTunings:
        """Return the tunings that a record holds. Raises KeyError, TypeError or ValueError for a damaged record."""
        effects = {
            str(step): {str(kind): Estimate(float(mean), float(variance)) for kind, (mean, variance) in of_step.items()}
            for step, of_step in record["effects"].items()
        }
        return cls(int(record["tunings"]), effects)


def pool_tunings(
    history: TuningHistory, steps: Mapping[str, Step], models: Mapping[str, Model], split: DataSplit
) -> PooledTunings:
    """Return the prior effects of each step from earlier tunings on its model, on other data."""
    digests = row_digests(split.rows)
    effects, most = {}, 0
    for name, model in models.items():
        earlier = history.earlier(model.digest, answer_name(steps[name]), digests)
        if earlier:
            pooled = pooled_effects([found.estimates for found in earlier])
            effects[name] = {
                kind: Estimate(round(effect.mean, MOST_DIGITS), round(effect.variance, MOST_DIGITS))
                for kind, effect in pooled.items()
            }
            most = max(most, len(earlier))
    return PooledTunings(most, effects)


def kept_prior(store: Store, kind: str, target: str, model: Model, settings: Mapping[str, Any]) -> PooledTunings | None:
    """Return the prior that the last run of the same command began with, so that it makes the same choices again.

    `settings` are the inputs of the run without the prior. None without such a run.
    """
    for run in store.runs(kind=kind, target=target, limit=RECENT_RUNS):
        if _is_same_command(run, model, settings):
            record = run.inputs.get("prior")
            try:
                return PooledTunings.read(record) if record else PooledTunings()
            except (AttributeError, KeyError, TypeError, ValueError):
                return None
    return None


def _is_same_command(run: Run, model: Model, settings: Mapping[str, Any]) -> bool:
    inputs = run.inputs if isinstance(run.inputs, dict) else {}
    others = {name: value for name, value in inputs.items() if name not in ("prior", CONFIRM_SETTINGS)}
    return others == settings and run.model.get("digest") == model.digest


class WarmStart:
    """The prior of a run's searches, and what they found, which `keep` adds to the history.

    `models` are those of the steps, `split` is of the whole target. `moved` maps each parameter whose likeliest choice
    the prior changed to that choice's name without and with it.
    """

    def __init__(
        self,
        pooled: PooledTunings,
        history: TuningHistory,
        *,
        steps: Mapping[str, Step],
        models: Mapping[str, Model],
        split: DataSplit,
    ) -> None:
        self.moved: dict[str, tuple[str, str]] = {}
        self._pooled = pooled
        self._history = history
        self._steps = steps
        self._models = models
        self._digests = row_digests(split.rows)[:SKETCH_ROWS]
        self._used: dict[str, dict[str, Estimate]] = {}
        self._found: dict[str, dict[str, Estimate]] = {}

    def prior(self, evaluator: Evaluator, parameters: Sequence[Parameter]) -> EffectPrior | None:
        """Return the prior of parameters' choices; None if earlier tunings say nothing about them."""
        prior = EffectPrior(_kinds(evaluator, parameters), self._pooled.effects)
        for parameter in parameters:
            for choice in parameter.choices:
                if (effect := prior.effect(parameter.name, choice.name)) is not None:
                    self._used.setdefault(parameter.name, {})[choice.name] = effect
        return prior if any(parameter.name in self._used for parameter in parameters) else None

    def learn(
        self, estimates: Estimates, base: Candidate, parameters: Sequence[Parameter], result: SearchResult
    ) -> None:
        """Take over what a search found: what its prior changed, and the effects of its choices in trials on `base`."""
        if result.effects is not None and result.effects_alone is not None:
            self._note_moved(result.effects_alone, result.effects)
        names = {parameter.name for parameter in parameters}
        others = {name: choice for name, choice in base.choices.items() if name not in names}
        trials = [
            trial
            for trial in result.trials.values()
            if {name: choice for name, choice in trial.candidate.choices.items() if name not in names} == others
        ]
        scores = [
            Scores(trial.candidate, trial.rows, estimates.calibration.scores(trial.candidate, trial.rows))
            for trial in trials
        ]
        kinds = _kinds(estimates.evaluator, parameters)
        for step in dict.fromkeys(parameter.step for parameter in parameters):
            of_step = {name: kinds[name] for name in kinds if name.partition(".")[0] == step}
            self._found[step] = estimated_effects(scores, parameters, of_step)

    def _note_moved(self, cold: Effects, warm: Effects) -> None:
        for parameter in warm.parameters:
            without, with_prior = (effects.ranked(parameter)[0].name for effects in (cold, warm))
            if without != with_prior:
                self.moved[parameter.name] = without, with_prior

    def keep(self) -> None:
        """Add what was found to the history."""
        for step, effects in self._found.items():
            if effects and step in self._models:
                values = {
                    kind: (round(effect.mean, MOST_DIGITS), round(effect.variance, MOST_DIGITS))
                    for kind, effect in effects.items()
                }
                self._history.add(
                    StepEffects(
                        model=self._models[step].digest,
                        answer=answer_name(self._steps[step]),
                        rows=self._digests,
                        effects=values,
                    )
                )

    def notes(self) -> list[str]:
        """Return notes for the person: what the prior expected and changed, and what of the history was ignored."""
        if not self._used:
            return list(self._history.notes)
        ranked = sorted(
            (
                (effect.mean, f"{parameter}: {choice}")
                for parameter, of in self._used.items()
                for choice, effect in of.items()
            ),
            reverse=True,
        )
        expected = " · ".join(name for _, name in ranked[:MOST_NAMED])
        moved = "; ".join(f"{name}: {after} before {before}" for name, (before, after) in self.moved.items())
        changed = f"it put {moved}" if moved else "it left the screen's first choices as they were"
        return [f"{prior_text(self._pooled.tunings)}; most was expected of {expected}; {changed}", *self._history.notes]

    def record(self) -> PriorRecord | None:
        """Return the prior as the record of the run has it; None for a cold start."""
        if not self._used:
            return None
        effects = [
            PriorEffect(axis=parameter, level=choice, effect=effect.mean, sd=effect.variance**0.5)
            for parameter, choices in self._used.items()
            for choice, effect in choices.items()
        ]
        moved = {parameter: list(names) for parameter, names in self.moved.items()}
        return PriorRecord(tunings=self._pooled.tunings, effects=effects, moved=moved)


def prior_text(tunings: int) -> str:
    """Return a note for the person: the source of a prior, and the option to do without it."""
    count = "1 earlier tuning" if tunings == 1 else f"{tunings} earlier tunings"
    return f"prior from {count} on this model (--cold starts without)"


def _kinds(evaluator: Evaluator, parameters: Sequence[Parameter]) -> ChoiceKinds:
    return choice_kinds(parameters, lambda candidate: evaluator.variant(candidate).pipeline)
