"""Techniques recommended for a task: ranked by rules, each reason computed, with those dropped and why.

No model is asked. A technique whose needs are not available is dropped, and so is one whose cheapest settings exceed
the budget. The others get points for how they suit the task (the table `tasks.yaml`), for what the input asks for,
for checked figures and needs that are met, less for their cost and for a model below their comfortable size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import log2
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from promptkit.errors import InputError, nearest_match
from promptkit.evaluation.recommendation.evidence import Evidence
from promptkit.project import Project
from promptkit.storage.models import read_model
from promptkit.storage.yaml import load_file
from promptkit.techniques.context import Spec
from promptkit.techniques.cost import Cost, cost
from promptkit.techniques.description import find_all
from promptkit.techniques.needs import Available
from promptkit.techniques.registry import Technique, find_technique
from promptkit.techniques.spec import ConfiguredTechnique, check_spec, configure, spec_text

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
class StepProfile:
    """What a recommendation is for: the task, what is at hand, and what may be spent on one row.

    `answer` is the answer type's name, `documents` the most texts of a row. `size` is the model's parameters in
    billions, None where it is not known. `budget` is requests a row, `depth` how many may wait for each other. `flags`
    are what the input is like, each with what says so. `extra` are needs at hand that come from the data (rows, labels,
    rationales). `evidence` is what was measured here.
    """

    task: str
    hand: Available
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


def recommend(situation: StepProfile, project: Project) -> Recommendation:
    """Return the techniques for a task, ranked. Raises InputError for an unknown task, with the nearest."""
    key, task = find_task(situation.task)
    ranked: list[Recommended] = []
    dropped: list[Dropped] = []
    own = [technique.name for technique in find_all(project)[0] if key in technique.card.tasks]
    for name in dict.fromkeys((*task.candidates(), *own)):
        try:
            technique = find_technique(name, project)
            if technique is None:
                continue
            weighed = _assess(technique, situation, project)
        except InputError as error:  # A project may have one of its own of that name.
            weighed = Dropped(name=name, reason=error.problems[0].message)
        if isinstance(weighed, Dropped):
            dropped.append(weighed)
        else:
            ranked.append(weighed)
    ranked.sort(key=_order)
    ranked = [*_modifiers(ranked, situation, project), *ranked]
    if all(recommended.spec != BASELINE for recommended in ranked):
        baseline = cost(configure(BASELINE, project), project, **situation.costing)
        reason = "the baseline: what a technique gains is measured against it"
        ranked.append(Recommended(spec=BASELINE, cost=baseline, score=0.0, basis="", reasons=(reason,)))
    return Recommendation(task=key, title=task.title, ranked=tuple(ranked), dropped=tuple(dropped))


def _order(recommended: Recommended) -> tuple[float, float, float, str]:
    return -recommended.score, recommended.cost.requests, recommended.cost.depth, recommended.name


def _assess(technique: Technique, situation: StepProfile, project: Project) -> Recommended | Dropped:
    name = technique.name
    missing = _unmet(technique, situation)
    if missing:
        return Dropped(name=name, reason=f"needs {', '.join(missing)}")
    fitting = fit_to_budget(technique, project, budget=situation.budget, depth=situation.depth, **situation.costing)
    if isinstance(fitting, str):
        return Dropped(name=name, reason=fitting)
    spec, spent = fitting
    points, reasons = _points(technique, spent, situation)
    suit = _suit(technique, situation)
    for gain, reason in _evidence_points(spec, situation):
        points += gain
        reasons.append(reason)
    prepares = "rows" in technique.needs
    if prepares:
        reasons.append("is prepared from rows first: promptkit techniques prepare")
    return Recommended(
        spec=spec, cost=spent, score=points, basis=suit.basis, reasons=(str(suit), *reasons), prepares=prepares
    )


def _suit(technique: Technique, situation: StepProfile) -> TaskFit:
    """Return how a technique suits the task: by the table, else by its own card."""
    return find_task(situation.task)[1].suits(technique.name) or TaskFit("applied", basis="its own card")


def _unmet(technique: Technique, situation: StepProfile) -> list[str]:
    """Return what a technique needs and has not here, the roles that nothing plays among it."""
    try:
        missing = situation.hand.unmet(ConfiguredTechnique(technique))
    except InputError as error:
        return [error.problems[0].message.removeprefix("no input plays the role ").partition(";")[0]]
    return [need for need in missing if need not in situation.extra]


def _points(technique: Technique, spent: Cost, situation: StepProfile) -> tuple[float, list[str]]:
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


def _evidence_points(spec: Spec, situation: StepProfile) -> Iterator[tuple[float, str]]:
    """Yield what was measured here of a technique with these settings: the gain in points, and the reason."""
    found = [evidence for evidence in situation.evidence if evidence.technique == spec]
    if not found:
        return
    last = found[-1]
    rate = f"{last.right / last.n:.0%} [{last.low:.0%}, {last.high:.0%}]"
    said = f"measured here: {rate}, n = {last.n}, {last.model.reference}"
    baseline = [
        evidence for evidence in situation.evidence if evidence.technique == BASELINE and evidence.data == last.data
    ]
    against = [] if spec == BASELINE else baseline
    if against and last.low > against[-1].high:
        yield 1.0, f"{said}: better than {BASELINE}"
    elif against and last.high < against[-1].low:
        yield -2.0, f"{said}: worse than {BASELINE}"
    else:
        yield 0.0, said


def _modifiers(ranked: Sequence[Recommended], situation: StepProfile, project: Project) -> list[Recommended]:
    """Return, for an input with opinions or noise, the modifier to put first, over the best that there is room for."""
    said = [says for flag, says in situation.flags.items() if flag in DISTRACTING]
    if not said:
        return []
    for modifier, own in (("system_2_attention", 1), ("instructed", 0)):
        technique = find_technique(modifier, project)
        if technique is None or _unmet(technique, situation):
            continue
        room = None if situation.budget is None else situation.budget - own
        deep = None if situation.depth is None else situation.depth - own
        beneath = [
            recommended
            for recommended in ranked
            if within(recommended.cost.requests, room)
            and within(recommended.cost.depth, deep)
            and _name(recommended.spec) != modifier
        ]
        over = beneath[0].spec if beneath else BASELINE
        spec: Spec = {modifier: {"over": over}} if over != BASELINE else modifier
        spent = cost(configure(spec, project), project, **situation.costing)
        if within(spent.requests, situation.budget) and within(spent.depth, situation.depth):
            best = max((recommended.score for recommended in ranked), default=0.0)
            room_for = "" if room is None and deep is None else " that there is room for"
            reasons = (*said, f"over {spec_text(over)}, the best{room_for}")
            prepares = bool(beneath) and beneath[0].prepares
            return [Recommended(spec=spec, cost=spent, score=best, basis="", reasons=reasons, prepares=prepares)]
    return []


def _name(spec: Spec) -> str:
    return spec if isinstance(spec, str) else next(iter(spec))


def with_task_inputs(hand: Available, task: str) -> Available:
    """Return what is at hand with an input for each role that the task's input plays, where no step is named."""
    from promptkit.prompts.front_matter import PromptInput

    _, known = find_task(task)
    kinds = {"table": "table", "documents": "list"}
    inputs = {"question": PromptInput(type="text")}
    inputs |= {role: PromptInput(type=kinds.get(role, "text")) for role in known.brings}
    return replace(hand, inputs=inputs)


FEWER: Final = (20, 5, 3, 2, 1)
FEWER_SAMPLES: Final = (20, 5, 3, 2)
"""A vote over one is no vote."""
SAMPLED: Final = (
    *("samples", "first", "breadth", "width", "phrasings"),
    *("column_samples", "row_samples", "cloze_samples", "query_samples"),
)
COUNTED: Final = (
    *("questions", "steps", "operations", "rounds", "cap", "depth", "limit"),
    *("asked", "clozes", "revisions", "sentences"),
)
SMALLER: Final[Mapping[str, tuple[str, ...]]] = {
    "chain_of_verification": ("revise", "factored", "two_step", "joint"),
    "chain_of_event": ("chained", "single"),
}
"""The variants of a technique, dearest first."""


def fit_to_budget(
    technique: Technique, project: Project, *, budget: float | None, depth: float | None, **step: Any
) -> tuple[Spec, Cost] | str:
    """Return the dearest settings of a technique that fit the budget, its defaults first; else why none does.

    `step` is what `cost` may know of the step.
    """
    spent: Cost | None = None
    for parameters in _cheaper_settings(technique):
        if parameters and check_spec(
            {technique.name: parameters}, project
        ):  # Not every technique can do with one of each.
            continue
        spent = cost(ConfiguredTechnique(technique, parameters), project, **step)
        if within(spent.requests, budget) and within(spent.depth, depth):
            return ({technique.name: parameters} if parameters else technique.name), spent
    assert spent is not None, "the defaults are tried first"
    if not within(spent.requests, budget):
        return f"takes {spent.requests:g} requests a row at the least, more than {budget:g}"
    return f"takes {spent.depth:g} requests that wait for each other, more than {depth:g}"


def within(amount: float, most: float | None) -> bool:
    """Tell whether an amount is at most another, None being no bound."""
    return most is None or amount <= most


def _cheaper_settings(technique: Technique) -> Iterator[dict[str, Any]]:
    """Yield settings from the defaults to ever cheaper ones: fewer samples, fewer steps, then a smaller variant."""
    defaults = {name: parameter.default for name, parameter in technique.parameters.items()}
    variants = SMALLER.get(technique.name, (None,))
    usual = defaults.get("variant")
    smaller = variants[variants.index(usual) :] if usual in variants else variants
    for variant in smaller:
        chosen: dict[str, Any] = {} if variant in (None, usual) else {"variant": variant}
        yield dict(chosen)
        for names in (SAMPLED, COUNTED):
            counts = {name: defaults[name] for name in names if isinstance(defaults.get(name), int)}
            for fewer in FEWER_SAMPLES if names is SAMPLED else FEWER:
                lower = {name: fewer for name, count in counts.items() if fewer < count}
                if lower:
                    yield {**chosen, **lower}
            least = FEWER_SAMPLES[-1]
            chosen |= {name: least for name, count in counts.items() if names is SAMPLED and count > least}


TABLE = Path(__file__).with_name("tasks.yaml")

FitKind = Literal["best", "best_on", "fallback", "applied"]
POINTS: dict[FitKind, int] = {"best": 3, "best_on": 2, "fallback": 2, "applied": 1}
CONFIRMED = "P"


class SuitedTask(BaseModel):
    """A task: what was best on it, what was best on some of its data, what is cheap, and what else was tried.

    `confirmed` are the techniques whose own paper's figures were checked; `basis` is where the other entries come from.
    `brings` are the roles that an input of such a task plays by its nature.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    synonyms: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    best_on: dict[str, str] = {}
    fallback: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    basis: str = ""

    def suits(self, technique: str) -> TaskFit | None:
        """Return how a technique suits the task, by the most that can be said of it; None where nothing can."""
        basis = CONFIRMED if technique in self.confirmed else self.basis
        if technique in self.best:
            return TaskFit("best", basis=basis)
        if technique in self.best_on:
            return TaskFit("best_on", self.best_on[technique], basis)
        if technique in self.fallback:
            return TaskFit("fallback", basis=basis)
        return TaskFit("applied", basis=basis) if technique in self.applied else None

    def candidates(self) -> tuple[str, ...]:
        """Return the techniques that suit the task in any way."""
        return tuple(dict.fromkeys((*self.best, *self.best_on, *self.fallback, *self.applied)))


@dataclass(frozen=True, slots=True)
class TaskFit:
    """How a technique suits a task; `on` is the data or the condition of a best result that is tied to one."""

    kind: FitKind
    on: str = ""
    basis: str = ""

    @property
    def points(self) -> int:
        return POINTS[self.kind]

    @property
    def confirmed(self) -> bool:
        return self.basis == CONFIRMED

    def __str__(self) -> str:
        said = {
            "best": "reported best on this task",
            "best_on": f"reported best on {self.on}",
            "fallback": "what a small model can afford on this task",
            "applied": "was tried on this task",
        }[self.kind]
        return f"{said} ({'its own paper, checked' if self.confirmed else f'basis {self.basis}'})"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: dict[str, SuitedTask]


@cache
def tasks() -> dict[str, SuitedTask]:
    """Return every task by its key, in the order of the table."""
    return read_model(load_file(TABLE), _Table).tasks


def find_task(name: str, *, others: Iterable[str] = ()) -> tuple[str, SuitedTask]:
    """Return the task of a key or a synonym, hyphens as underscores.

    Raises InputError with the nearest name, one of `others` too, or with all tasks.
    """
    wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
    for key, task in tasks().items():
        if wanted == key or wanted in task.synonyms:
            return key, task
    known = [*others, *tasks(), *(synonym for task in tasks().values() for synonym in task.synonyms)]
    hint = nearest_match(wanted, known) or f"tasks: {', '.join(tasks())}"
    raise InputError(f"there is no task `{name}`", hint=hint)
