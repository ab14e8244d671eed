"""The levels that a person can give under a metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptkit.errors import InputError, nearest
from promptkit.evaluation.metrics.human import Human
from promptkit.evaluation.metrics.judge import Judge
from promptkit.evaluation.metrics.levels import RIGHT, WRONG, level_named
from promptkit.evaluation.metrics.turns import EachTurn
from promptkit.evaluation.metrics.values import scalar_text, shown_value
from promptkit.evaluation.suite.suite import Measure, Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelLevels:
    """Levels from the worst to the best, with the meanings of those that have one, and the metric's rubric.

    `low` and `high` are the scores of the worst and of the best level.
    """

    names: tuple[str, ...] = (WRONG, RIGHT)
    meanings: Mapping[str, str] = field(default_factory=dict)
    rubric: str = ""
    low: float = 0.0
    high: float = 1.0

    @property
    def worst(self) -> str:
        return self.names[0]

    @property
    def best(self) -> str:
        return self.names[-1]

    def share(self, level: str) -> float:
        """Return a level's place from 0 (worst) to 1 (best)."""
        return self.names.index(level) / (len(self.names) - 1)

    def nearest(self, share: float) -> str:
        """Return the level whose place is nearest to a share from 0 to 1."""
        return self.names[round(share * (len(self.names) - 1))]

    def level(self, text: str) -> str | None:
        """Return the level that a text names, in any case; `right` is the best and `wrong` the worst one."""
        return level_named(text, self.names)

    def read(self, value: Any) -> str | None:
        """Return the level that a value names; None for no value. Raises ValueError for other values.

        A boolean is the best or the worst level.
        """
        if value in (None, ""):
            return None
        text = scalar_text(value) or ""
        if isinstance(value, str) and not text.strip():
            return None
        named = self.level(text)
        if named is None and isinstance(value, bool):
            return self.best if value else self.worst
        if named is None:
            raise ValueError(f"{shown_value(value)} is not one of the levels {', '.join(self.names)}")
        return named


def label_levels(measure: Measure) -> LabelLevels:
    """Return the levels of a metric: those of a judge or of `human`, else right and wrong."""
    metric = measure.metric
    if not isinstance(metric, Judge | Human):
        return LabelLevels()
    parameters = metric.parameters
    low, high = metric.bounds or (0.0, 1.0)
    return LabelLevels(
        names=tuple(parameters.names),
        meanings=parameters.levels if isinstance(parameters.levels, dict) else {},
        rubric=parameters.rubric,
        low=low,
        high=high,
    )


def labelled_measure(suite: Suite, name: str | None) -> Measure:
    """Return the metric whose answers are labelled: by default the first judge or `human`, else the first metric.

    Raises InputError for a name that the suite does not have, and for a metric that scores no single answer.
    """
    by_name = {measure.name: measure for measure in suite.measures}
    if name is None:
        people = (measure for measure in suite.measures if isinstance(measure.metric, Judge | Human))
        single = (one for one in suite.measures if not (one.metric.pairs or isinstance(one.metric, EachTurn)))
        found = next(people, None) or next(single, suite.measures[0])
    elif name in by_name:
        found = by_name[name]
    else:
        raise InputError(f"the suite `{suite.name}` has no metric `{name}`", hint=nearest(name, by_name))
    if isinstance(found.metric, EachTurn):
        hint = "add a metric `NAME: human` to the suite, which is of the whole conversation"
        raise InputError(f"`{found.name}` scores each turn: a label is of one answer", hint=hint)
    if found.metric.pairs:
        hint = "add a metric `NAME: human` to the suite, and label by that"
        raise InputError(f"`{found.name}` compares two answers: a label is of one answer", hint=hint)
    return found
