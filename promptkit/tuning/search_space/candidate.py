"""Parameters with their choices, and candidates, which take one choice of each parameter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

from promptkit.storage.hashes import content_key

ParameterKind = Literal["decide", "examples", "layout", "technique", "think", "wording", "weights", "given"]
KINDS: tuple[ParameterKind, ...] = get_args(ParameterKind)
"""Kinds of prompts from the one that usually gains most to the one that gains least; `weights` are trained for the
chosen prompt; `given` are parameters that `tune:` declares."""

AS_WRITTEN = "as written"
KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a parameter.

    `changes` are as in `--set`: `STEP.KEY` to plain data. `name` and `about` are for people. `requests`: about how many
    requests per row it takes, relative to the step as written. `rows`: of each example that it shows to all rows, the
    place of the search row that it is, None if it is none.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    about: str = field(default="", compare=False)
    requests: float = field(default=1.0, compare=False)
    rows: tuple[int | None, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A property of a step that may vary. Its first choice is the target as written, which changes nothing."""

    name: str  # STEP.KIND, or STEP.KEY of `tune:`
    step: str
    kind: ParameterKind
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A full assignment: the choice of each parameter by the parameter's name. A missing parameter is as written.

    `key` identifies it by its changes, whatever the choices are called. `shows` are the places of the search rows that
    it shows as examples: it knows their answers, so it is not scored on them.
    """

    choices: Mapping[str, Choice] = field(default_factory=dict, hash=False)
    key: str = field(init=False, compare=False, repr=False)
    shows: frozenset[int] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Computed once, as each result is looked up by it.
        text = json.dumps(self.changes, sort_keys=True, ensure_ascii=False)
        digest = content_key(text, KEY_BYTES).hex()
        object.__setattr__(self, "key", digest)
        rows = (row for choice in self.choices.values() for row in choice.rows if row is not None)
        object.__setattr__(self, "shows", frozenset(rows))

    @property
    def changes(self) -> dict[str, Any]:
        """All changes, as in `--set`."""
        return {key: value for _, choice in sorted(self.choices.items()) for key, value in choice.changes.items()}

    @property
    def name(self) -> str:
        """The name for people of a candidate of a one-step target: `decide: score · layout: markdown`."""
        return self.label(with_steps=False)

    def label(self, *, with_steps: bool) -> str:
        """Return a name for people, with or without step names; kinds that usually gain most come first."""
        chosen = sorted((parameter, choice.name) for parameter, choice in self.choices.items() if choice.changes)
        chosen.sort(key=lambda choice: _parameter_order(choice[0]))
        names = (f"{parameter if with_steps else parameter.partition('.')[2]}: {name}" for parameter, name in chosen)
        return " · ".join(names) or AS_WRITTEN

    @property
    def requests(self) -> float:
        """About how many requests per row it takes, relative to the target as written."""
        product = 1.0
        for choice in self.choices.values():
            product *= choice.requests
        return product

    def with_choice(self, parameter: str, choice: Choice | None) -> Candidate:
        """Return it with another choice of one parameter; None, and a choice without changes, means as written."""
        others = {name: choice for name, choice in self.choices.items() if name != parameter}
        return Candidate(others if choice is None or not choice.changes else {**others, parameter: choice})

    def record(self) -> dict[str, str]:
        """Return the names of its choices by parameter, as JSON has them."""
        chosen = sorted(self.choices.items(), key=lambda item: _parameter_order(item[0]))
        return {parameter: choice.name for parameter, choice in chosen if choice.changes}


AGAIN: Final = Candidate({"": Choice("asked again", {"again": True})})
"""The start asked a second time: the target as written, as another candidate."""


def _parameter_order(parameter: str) -> tuple[str, int, str]:
    """Return the sort key of a parameter: its step, then its kind, from the usually largest gain to the smallest."""
    step, _, below = parameter.partition(".")
    return step, next((at for at, kind in enumerate(KINDS) if kind == below), len(KINDS)), below


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates without those whose changes equal an earlier one's."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.key, candidate)
    return list(first.values())


def prune_costly(parameters: Sequence[Parameter], most: float) -> tuple[tuple[Parameter, ...], list[str]]:
    """Return parameters without the choices that cost more than `most` times the start's requests, and a note on each.

    A race would not admit them.
    """
    kept, notes = [], []
    for parameter in parameters:
        costly = [choice for choice in parameter.choices[1:] if choice.requests > most]
        notes += [
            f"skipped {choice.name} for `{parameter.name}`: at about {choice.requests:g} requests a row it alone would "
            "take half of the search's calls"
            for choice in costly
        ]
        kept.append(replace(parameter, choices=tuple(choice for choice in parameter.choices if choice not in costly)))
    return tuple(kept), notes


def dearest_candidate(parameters: Sequence[Parameter]) -> Candidate:
    """Return the candidate that takes the most requests per row."""
    candidate = Candidate()
    for parameter in parameters:
        candidate = candidate.with_choice(parameter.name, max(parameter.choices, key=lambda choice: choice.requests))
    return candidate


def decide_choices(parameters: Sequence[Parameter]) -> Iterator[tuple[Parameter, Choice]]:
    """Yield the first choice of each way to decide that a parameter has."""
    for parameter in parameters:
        known: set[Any] = set()
        for choice in parameter.choices[1:]:
            way = tuple(decide_setting(choice).values())
            if way and way not in known:
                known.add(way)
                yield parameter, choice


def decide_setting(choice: Choice) -> dict[str, Any]:
    """Return the settings of a choice that say how the answer is decided."""
    return {key: value for key, value in choice.changes.items() if key.endswith(".decide")}


def prune_decide(parameters: Sequence[Parameter], pruned: Parameter, choice: Choice) -> tuple[Parameter, ...]:
    """Return parameters, one of them pruned of the choices that decide as `choice` does."""
    way = decide_setting(choice).items()
    kept = tuple(choice for choice in pruned.choices if not way <= choice.changes.items())
    return tuple(
        replace(parameter, choices=kept) if parameter.name == pruned.name else parameter for parameter in parameters
    )
