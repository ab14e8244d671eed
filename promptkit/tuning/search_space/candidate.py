"""Parameters with their choices, and candidates, which take one choice of each parameter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from promptkit.storage.hashes import content_key

if TYPE_CHECKING:
    from promptkit.tuning.progress import TuningProgress

ParameterKind = Literal["decide", "examples", "layout", "technique", "wording", "given"]
KINDS: tuple[ParameterKind, ...] = ("decide", "examples", "layout", "technique", "wording", "given")
"""From what usually pays most to what pays least; `given` are those that `tune:` of a pipeline names."""

AS_WRITTEN = "as written"
KEY_BYTES = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting of an axis. `changes` are as in `--set`: `STEP.KEY` to plain data; `name` and `about` are for people.

    `requests` is about how many requests a row costs with it, of its step's one.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    about: str = field(default="", compare=False)
    requests: float = field(default=1.0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One thing of a step that may vary. The first level is the target as it is written, and changes nothing."""

    name: str  # STEP.KIND, or STEP.KEY of `tune:`
    step: str
    kind: ParameterKind
    levels: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A joint configuration: the level of each axis by the axis' name. An axis left out is as written.

    `key` tells it from others: by what it changes, and nothing of what that is called.
    """

    choices: Mapping[str, Choice] = field(default_factory=dict, hash=False)
    key: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Once, for it is asked for with every cell.
        text = json.dumps(self.changes, sort_keys=True, ensure_ascii=False)
        digest = content_key(text, KEY_BYTES).hex()
        object.__setattr__(self, "key", digest)

    @property
    def changes(self) -> dict[str, Any]:
        """All that it changes, as in `--set`."""
        return {key: value for _, level in sorted(self.choices.items()) for key, value in level.changes.items()}

    @property
    def name(self) -> str:
        """What people read of a target of one step: `decide: score · layout: markdown`."""
        return self.called(with_steps=False)

    def called(self, *, with_steps: bool) -> str:
        """Return what people read, each choice with its step or without; those that usually pay most come first."""
        chosen = sorted((axis, level.name) for axis, level in self.choices.items() if level.changes)
        chosen.sort(key=lambda each: _parameter_order(each[0]))
        told = (f"{axis if with_steps else axis.partition('.')[2]}: {level}" for axis, level in chosen)
        return " · ".join(told) or AS_WRITTEN

    @property
    def requests(self) -> float:
        """About how many requests a row costs, of one for a target as written."""
        product = 1.0
        for level in self.choices.values():
            product *= level.requests
        return product

    def taking(self, axis: str, level: Choice | None) -> Candidate:
        """Return it with another level of one axis; None, and a level that changes nothing, is as written."""
        others = {name: each for name, each in self.choices.items() if name != axis}
        return Candidate(others if level is None or not level.changes else {**others, axis: level})

    def record(self) -> dict[str, str]:
        """Return the names of its levels by axis, as JSON has them."""
        chosen = sorted(self.choices.items(), key=lambda each: _parameter_order(each[0]))
        return {axis: level.name for axis, level in chosen if level.changes}


def _parameter_order(axis: str) -> tuple[str, int, str]:
    """Return by what axes are in order: by step, then from what usually pays most to what pays least."""
    step, _, below = axis.partition(".")
    return step, next((at for at, kind in enumerate(KINDS) if kind == below), len(KINDS)), below


def distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates of which those that change the same are one, in their order."""
    first: dict[str, Candidate] = {}
    for each in candidates:
        first.setdefault(each.key, each)
    return list(first.values())


def prune_expensive(axes: Sequence[Parameter], most: float | None, standing: TuningProgress) -> tuple[Parameter, ...]:
    """Return axes without the levels that cost more requests a row than could be confirmed, which is told."""
    kept = []
    for axis in axes:
        dear = [each for each in axis.levels if most is not None and each.requests > most]
        for level in dear:
            told = f"about {level.requests:g} requests a row, whose confirmation the budget does not hold"
            standing.note(f"`{axis.name}: {level.name}` is not tried: {told}")
        kept.append(replace(axis, levels=tuple(each for each in axis.levels if each not in dear)))
    return tuple(kept)


def decide_choices(axes: Sequence[Parameter]) -> Iterator[tuple[Parameter, Choice]]:
    """Yield the first level of each way to decide that an axis names."""
    for axis in axes:
        known: set[Any] = set()
        for level in axis.levels[1:]:
            way = tuple(decide_setting(level).values())
            if way and way not in known:
                known.add(way)
                yield axis, level


def decide_setting(level: Choice) -> dict[str, Any]:
    """Return what a level says of how the answer is decided."""
    return {key: value for key, value in level.changes.items() if key.endswith(".decide")}


def prune_decide(axes: Sequence[Parameter], axis: Parameter, level: Choice) -> tuple[Parameter, ...]:
    """Return axes of which one has no level that decides as this one does."""
    way = decide_setting(level).items()
    kept = tuple(each for each in axis.levels if not way <= each.changes.items())
    return tuple(replace(each, levels=kept) if each.name == axis.name else each for each in axes)
