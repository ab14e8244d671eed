"""The effect of single demonstrations, estimated from the draws that a screen evaluated, and the draw of the best."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isnan
from typing import Any, Final

import numpy as np

from promptkit.tuning.search.effects import NOISE, PRIOR_SD, Effects
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter

USUAL_SIZE: Final = 4
"""The variance of a demonstration's effect is so chosen that a draw of this size has the prior of any choice."""
BEST: Final = "best of the screen"


@dataclass(frozen=True, slots=True)
class _Shown:
    """A demonstration in draws: its entry in `examples:`, and the place of the search row that it is, if it is one."""

    example: Mapping[str, Any]
    row: int | None

    @property
    def label(self) -> str:
        return json.dumps(self.example.get("output"), sort_keys=True, default=str)


def best_demonstrations(effects: Effects, seen: Sequence[tuple[Candidate, float]]) -> list[Candidate]:
    """Return, for each parameter of examples, the predicted best candidate with the demonstrations of the best effect.

    `seen` are the screened configurations with their means. None is given where the best ones are a draw already.
    """
    best = effects.best()
    found = ((parameter, _best_draw(parameter, effects, seen)) for parameter in effects.parameters)
    return [best.with_choice(parameter.name, choice) for parameter, choice in found if choice is not None]


def _best_draw(parameter: Parameter, effects: Effects, seen: Sequence[tuple[Candidate, float]]) -> Choice | None:
    """Return a draw as large as the best one that was screened, of the demonstrations with the largest effects.

    Each label is shown as often, give or take one, and the best demonstration is the last.
    """
    draws = [choice for choice in effects.ranked(parameter) if parameter.kind == "examples" and choice.rows]
    # Demonstrations with thoughts and without show two ways to answer: they do not go together.
    draws = [choice for choice in draws if _thinks(choice, parameter.name) == _thinks(draws[0], parameter.name)]
    if len(draws) < 2:
        return None
    size = len(draws[0].rows)
    gains, shown = demonstration_effects(parameter, effects, seen), _shown(draws, parameter.name)
    ranked = sorted(shown, key=lambda key: -gains.get(key, 0.0))
    labels = {shown[key].label for key in ranked}
    most = ceil(size / len(labels)) if len(labels) <= size else size
    counts: Counter[str] = Counter()
    chosen: list[str] = []
    for key in ranked:
        if len(chosen) < size and counts[shown[key].label] < most:
            counts[shown[key].label] += 1
            chosen.append(key)
    if len(chosen) < size or any(set(chosen) == set(_keys(choice, parameter.name)) for choice in draws):
        return None
    members = [shown[key] for key in reversed(chosen)]
    return Choice(
        name=f"{size} examples, {BEST}",
        changes={parameter.name: [member.example for member in members]},
        rows=tuple(member.row for member in members),
    )


def demonstration_effects(
    parameter: Parameter, effects: Effects, seen: Sequence[tuple[Candidate, float]]
) -> dict[str, float]:
    """Return the effect of each demonstration on the mean score, by its text as JSON, relative to the usual draw.

    A draw's effect is the mean of its members'. What the other choices of a configuration explain is taken off its
    score; ridge regression on the members then gives the posterior mean, as for main effects.
    """
    observed: list[tuple[list[str], float]] = []
    for candidate, score in seen:
        choice = candidate.choices.get(parameter.name)
        if choice is not None and choice.rows and not isnan(score):
            others = effects.predict(candidate.with_choice(parameter.name, None))
            others -= effects.of(parameter.name, parameter.choices[0])
            observed.append((_keys(choice, parameter.name), score - others))
    if not observed:
        return {}
    keys = list(dict.fromkeys(key for members, _ in observed for key in members))
    shares = np.array([[members.count(key) / len(members) for key in keys] for members, _ in observed])
    gains = np.array([gain for _, gain in observed])
    penalty = NOISE / (USUAL_SIZE * PRIOR_SD**2) * np.eye(len(keys))
    fitted = np.linalg.solve(
        effects.rows * shares.T @ shares + penalty, effects.rows * shares.T @ (gains - gains.mean())
    )
    return dict(zip(keys, fitted.tolist(), strict=True))


def _thinks(choice: Choice, name: str) -> bool:
    return any("thoughts" in example for example in choice.changes[name])


def _shown(draws: Sequence[Choice], name: str) -> dict[str, _Shown]:
    shown: dict[str, _Shown] = {}
    for choice in draws:
        for key, example, row in zip(_keys(choice, name), choice.changes[name], choice.rows, strict=True):
            shown.setdefault(key, _Shown(example, row))
    return shown


def _keys(choice: Choice, name: str) -> list[str]:
    return [json.dumps(example, sort_keys=True, ensure_ascii=False, default=str) for example in choice.changes[name]]
