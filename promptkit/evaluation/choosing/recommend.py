"""Which techniques suit a task here: ranked by rules, each reason computed, and what was dropped and why.

No model is asked. The rules are the catalog's: what a technique needs is at hand or it is dropped; it is made cheaper
until it fits the budget or dropped; then points for how it suits the task, for what the input asks for, for figures
that were checked and needs that are met, less for what it costs and for a model below the size it is comfortable with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log2
from typing import Any, Final, Literal

from promptkit.errors import InputError
from promptkit.evaluation.choosing.affordable import affordable, within
from promptkit.evaluation.choosing.evidence import Evidence
from promptkit.evaluation.choosing.measured import spec_text
from promptkit.evaluation.choosing.tasks import Suit, find_task
from promptkit.project import Project
from promptkit.techniques import Chosen, Cost, Hand, Spec, Technique, choose, cost, find, find_all

Flag = Literal[
    "opinion", "noise", "passages", "numbers", "long_list", "free_text_cells", "large_table", "semantics_and_counting"
]
FAVOURED: Final[Mapping[Flag, tuple[str, ...]]] = {
    "passages": ("thread_of_thought",),
    "numbers": ("pal",),
    "long_list": ("chain_of_verification",),
    "free_text_cells": ("binder",),
    "large_table": ("dater", "chain_of_table"),
    "semantics_and_counting": ("chain_of_code",),
}
"""What an input asks for, and the techniques that are made for it."""
DISTRACTING: Final[tuple[Flag, ...]] = ("opinion", "noise")
FAVOUR: Final = 2
COST_OF_DOUBLE: Final = 0.25
BASELINE: Final = "vanilla"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a recommendation is for: the task, what is at hand, and what may be spent on one row.

    `answer` is the answer type's name, `documents` the most texts of a row. `size` is the model's parameters in
    billions, None where it is not known. `budget` is requests a row, `depth` how many may wait for each other. `flags`
    are what the input is like, each with what says so. `extra` are needs at hand that come from the data (rows, labels,
    rationales). `evidence` is what was measured here.
    """

    task: str
    hand: Hand
    decide: str = "constrain"
    answer: str = "text"
    examples_think: bool = False
    documents: int = 3
    size: float | None = None
    budget: float | None = None
    depth: float | None = None
    flags: Mapping[Flag, str] = field(default_factory=dict)
    extra: Collection[str] = ()
    evidence: Sequence[Evidence] = ()

    @property
    def costing(self) -> dict[str, Any]:
        """What the formulas of cost may know of the step."""
        return {
            "decide": self.decide,
            "answer": self.answer,
            "examples_think": self.examples_think,
            "documents": self.documents,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """A technique that fits, with its settings, what it costs for a row at most, its points and why."""

    spec: Spec
    cost: Cost
    score: float
    basis: str
    reasons: tuple[str, ...]
    prepares: bool = False

    @property
    def name(self) -> str:
        return spec_text(self.spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A technique that suits the task and was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What is recommended for a task, the best first, and what was dropped."""

    task: str
    title: str
    ranked: tuple[Recommended, ...]
    dropped: tuple[Dropped, ...]


def recommend(situation: Situation, project: Project) -> Recommendation:
    """Return the techniques for a task, ranked. Raises InputError for an unknown task, with the nearest."""
    key, task = find_task(situation.task)
    ranked: list[Recommended] = []
    dropped: list[Dropped] = []
    own = [each.name for each in find_all(project)[0] if key in each.card.tasks]
    for name in dict.fromkeys((*task.candidates(), *own)):
        try:
            technique = find(name, project)
            if technique is None:
                continue
            weighed = _weigh(technique, situation, project)
        except InputError as error:  # A project may have one of its own of that name.
            weighed = Dropped(name=name, reason=error.problems[0].message)
        if isinstance(weighed, Dropped):
            dropped.append(weighed)
        else:
            ranked.append(weighed)
    ranked.sort(key=_order)
    ranked = [*_modified(ranked, situation, project), *ranked]
    if all(each.spec != BASELINE for each in ranked):
        baseline = cost(choose(BASELINE, project), project, **situation.costing)
        reason = "the baseline: what a technique gains is measured against it"
        ranked.append(Recommended(spec=BASELINE, cost=baseline, score=0.0, basis="", reasons=(reason,)))
    return Recommendation(task=key, title=task.title, ranked=tuple(ranked), dropped=tuple(dropped))


def _order(each: Recommended) -> tuple[float, float, float, str]:
    return -each.score, each.cost.requests, each.cost.depth, each.name


def _weigh(technique: Technique, situation: Situation, project: Project) -> Recommended | Dropped:
    name = technique.name
    missing = _missing(technique, situation)
    if missing:
        return Dropped(name=name, reason=f"needs {', '.join(missing)}")
    fitting = affordable(technique, project, budget=situation.budget, depth=situation.depth, **situation.costing)
    if isinstance(fitting, str):
        return Dropped(name=name, reason=fitting)
    spec, spent = fitting
    points, reasons = _points(technique, spent, situation)
    suit = _suit(technique, situation)
    for gain, reason in _measured(spec, situation):
        points += gain
        reasons.append(reason)
    prepares = "rows" in technique.needs
    if prepares:
        reasons.append("is prepared from rows first: promptkit techniques prepare")
    return Recommended(
        spec=spec, cost=spent, score=points, basis=suit.basis, reasons=(str(suit), *reasons), prepares=prepares
    )


def _suit(technique: Technique, situation: Situation) -> Suit:
    """Return how a technique suits the task: by the table, else by its own card."""
    return find_task(situation.task)[1].suits(technique.name) or Suit("applied", basis="its own card")


def _missing(technique: Technique, situation: Situation) -> list[str]:
    """Return what a technique needs and has not here, the roles that nothing plays among it."""
    try:
        missing = situation.hand.lacks(Chosen(technique))
    except InputError as error:
        return [error.problems[0].message.removeprefix("no input plays the role ").partition(";")[0]]
    return [need for need in missing if need not in situation.extra]


def _points(technique: Technique, spent: Cost, situation: Situation) -> tuple[float, list[str]]:
    """Return the points of a technique, and the reasons for those beside how it suits the task."""
    suit = _suit(technique, situation)
    points, reasons = float(suit.points), []
    for flag, says in situation.flags.items():
        if technique.name in FAVOURED.get(flag, ()):
            points += FAVOUR
            reasons.append(says)
    points += suit.confirmed
    at_hand = {*situation.hand.capabilities, *situation.extra, "demonstrations"}
    unmet = [need for need in technique.card.soft if need not in at_hand]
    if unmet:
        reasons.append(f"would be helped by what is not at hand: {', '.join(unmet)}")
    else:
        points += 1
    points -= COST_OF_DOUBLE * log2(max(1.0, spent.requests))
    if situation.size is not None and situation.size < technique.card.size:
        points -= 1
        reasons.append(f"is comfortable from {technique.card.size:g}B parameters; this model has {situation.size:g}B")
    return points, reasons


def _measured(spec: Spec, situation: Situation) -> Iterator[tuple[float, str]]:
    """Yield what was measured here of a technique with these settings: the gain in points, and the reason."""
    found = [each for each in situation.evidence if each.technique == spec]
    if not found:
        return
    last = found[-1]
    rate = f"{last.right / last.n:.0%} [{last.low:.0%}, {last.high:.0%}]"
    said = f"measured here: {rate}, n = {last.n}, {last.model.reference}"
    baseline = [each for each in situation.evidence if each.technique == BASELINE and each.data == last.data]
    against = [] if spec == BASELINE else baseline
    if against and last.low > against[-1].high:
        yield 1.0, f"{said}: better than {BASELINE}"
    elif against and last.high < against[-1].low:
        yield -2.0, f"{said}: worse than {BASELINE}"
    else:
        yield 0.0, said


def _modified(ranked: Sequence[Recommended], situation: Situation, project: Project) -> list[Recommended]:
    """Return, for an input with opinions or noise, the modifier to put first, over the best that there is room for."""
    said = [says for flag, says in situation.flags.items() if flag in DISTRACTING]
    if not said:
        return []
    for modifier, own in (("system_2_attention", 1), ("instructed", 0)):
        technique = find(modifier, project)
        if technique is None or _missing(technique, situation):
            continue
        room = None if situation.budget is None else situation.budget - own
        deep = None if situation.depth is None else situation.depth - own
        beneath = [
            each
            for each in ranked
            if within(each.cost.requests, room) and within(each.cost.depth, deep) and _name(each.spec) != modifier
        ]
        over = beneath[0].spec if beneath else BASELINE
        spec: Spec = {modifier: {"over": over}} if over != BASELINE else modifier
        spent = cost(choose(spec, project), project, **situation.costing)
        if within(spent.requests, situation.budget) and within(spent.depth, situation.depth):
            best = max((each.score for each in ranked), default=0.0)
            room_for = "" if room is None and deep is None else " that there is room for"
            reasons = (*said, f"over {spec_text(over)}, the best{room_for}")
            prepares = bool(beneath) and beneath[0].prepares
            return [Recommended(spec=spec, cost=spent, score=best, basis="", reasons=reasons, prepares=prepares)]
    return []


def _name(spec: Spec) -> str:
    return spec if isinstance(spec, str) else next(iter(spec))


def with_roles(hand: Hand, task: str) -> Hand:
    """Return what is at hand with an input for each role that the task's input plays, where no step is named."""
    from promptkit.prompts import InputSpec

    _, known = find_task(task)
    kinds = {"table": "table", "documents": "list"}
    inputs = {"question": InputSpec(type="text")}
    inputs |= {role: InputSpec(type=kinds.get(role, "text")) for role in known.brings}
    return replace(hand, inputs=inputs)
