"""Techniques recommended for a task: ranked by rules, each reason computed, with those dropped and why.

No model is asked. A technique whose needs are not available is dropped, and so is one whose cheapest settings exceed
the budget. The others get points for how they suit the task (the table `tasks.yaml`), for what the input asks for,
for checked figures and needs that are met, less for their cost, for a model below their comfortable size, and for
thoughts that the model has by itself.
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
from promptkit.evaluation.recommendation.evidence import BASELINE, Evidence
from promptkit.project import Project
from promptkit.prompts.front_matter import PromptInput
from promptkit.storage.models import read_model
from promptkit.storage.yaml import load_file
from promptkit.techniques.context import Spec
from promptkit.techniques.cost import Cost, cost
from promptkit.techniques.description import call_specs, find_all
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
"""Properties of the input, and the techniques that are made for them."""
DISTRACTING: Final[tuple[Flag, ...]] = ("opinion", "noise")
FAVOUR: Final = 2
"""Points for a property of the input that the technique is made for."""
COST_OF_DOUBLE: Final = 0.25
"""Points lost with each doubling of the requests for a row."""
THINKING_FAMILIES: Final = ("single call", "two-step", "decompose", "sample-and-vote", "pool preparation")
"""Families whose techniques gain by the thoughts that they ask for, where one of their calls thinks."""
THOUGHTS: Final = 3
"""Points that such a technique loses on a model that thinks by itself."""
VOTE: Final = "self_consistency"
"""Its gain is the vote, which a model that thinks by itself needs as others do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProfile:
    """A step's profile: its task, what is available for it, and the budget of one row.

    `answer` is the answer type's name, `documents` the most texts of a row. `size` is the model's parameters in
    billions, None if unknown. `budget` is requests a row, `depth` the number of them that may wait for each other.
    `flags` are properties of the input, each with its reason. `met_by_data` are needs that the data meets (rows,
    labels, rationales). `evidence` was measured in this project. `thinks`: the model thinks by itself in this step.
    """

    task: str
    available: Available
    decide: str = "constrain"
    answer: str = "text"
    examples_think: bool = False
    documents: int = 3
    size: float | None = None
    budget: float | None = None
    depth: float | None = None
    flags: Mapping[Flag, str] = field(default_factory=dict)
    met_by_data: Collection[str] = ()
    evidence: Sequence[Evidence] = ()
    thinks: bool = False

    @property
    def cost_inputs(self) -> dict[str, Any]:
        """The values that cost formulas may use."""
        return {
            "decide": self.decide,
            "answer": self.answer,
            "examples_think": self.examples_think,
            "documents": self.documents,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """A technique that fits: its settings, the most it costs for a row, its score and the reasons."""

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
    """A technique that suits the task but is left out, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The techniques recommended for a task, best first, and those dropped."""

    task: str
    title: str
    ranked: tuple[Recommended, ...]
    dropped: tuple[Dropped, ...]


def recommend(profile: StepProfile, project: Project) -> Recommendation:
    """Rank the techniques for a step's task. Raises InputError with the nearest task for an unknown one."""
    key, task = find_task(profile.task)
    ranked: list[Recommended] = []
    dropped: list[Dropped] = []
    by_card = [technique.name for technique in find_all(project, task=key)[0]]
    for name in dict.fromkeys((*task.candidates(), *by_card)):
        try:
            technique = find_technique(name, project)
            if technique is None:
                continue
            weighed = _assess(technique, profile, project)
        except InputError as error:  # A project's technique of that name may be broken.
            weighed = Dropped(name=name, reason=error.problems[0].message)
        if isinstance(weighed, Dropped):
            dropped.append(weighed)
        else:
            ranked.append(weighed)
    ranked.sort(key=_order)
    baseline = [] if any(recommended.spec == BASELINE for recommended in ranked) else [_baseline(profile, project)]
    ranked = sorted([*ranked, *baseline], key=_order) if profile.thinks else [*ranked, *baseline]
    ranked = [*_modifiers(ranked, profile, project), *ranked]
    return Recommendation(task=key, title=task.title, ranked=tuple(ranked), dropped=tuple(dropped))


def _baseline(profile: StepProfile, project: Project) -> Recommended:
    """Return the baseline for a task whose table does not name it: the last one, unless the model thinks by itself."""
    spent = cost(configure(BASELINE, project), project, **profile.cost_inputs)
    reason = "the baseline: the gain of a technique is measured against it"
    return Recommended(spec=BASELINE, cost=spent, score=0.0, basis="", reasons=(reason,))


def _order(recommended: Recommended) -> tuple[float, float, float, str]:
    return -recommended.score, recommended.cost.requests, recommended.cost.depth, recommended.name


def _assess(technique: Technique, profile: StepProfile, project: Project) -> Recommended | Dropped:
    name = technique.name
    missing = _unmet(technique, profile)
    if missing:
        return Dropped(name=name, reason=f"needs {', '.join(missing)}")
    fitting = fit_to_budget(technique, project, budget=profile.budget, depth=profile.depth, **profile.cost_inputs)
    if isinstance(fitting, str):
        return Dropped(name=name, reason=fitting)
    spec, spent = fitting
    points, reasons = _points(technique, spent, profile)
    suit = _suit(technique, profile)
    for gain, reason in _evidence_points(spec, profile):
        points += gain
        reasons.append(reason)
    prepares = "rows" in technique.needs
    if prepares:
        reasons.append("is prepared from rows first: promptkit techniques prepare")
    return Recommended(
        spec=spec, cost=spent, score=points, basis=suit.basis, reasons=(str(suit), *reasons), prepares=prepares
    )


def _suit(technique: Technique, profile: StepProfile) -> TaskFit:
    """Return the fit of a technique for the task: by the table, else by its card."""
    return find_task(profile.task)[1].suits(technique.name) or TaskFit("applied", basis="its own card")


def _unmet(technique: Technique, profile: StepProfile) -> list[str]:
    """Return a technique's unmet needs, including roles that no input plays."""
    try:
        missing = profile.available.unmet(ConfiguredTechnique(technique))
    except InputError as error:
        return [error.problems[0].message.removeprefix("no input plays the role ").partition(";")[0]]
    return [need for need in missing if need not in profile.met_by_data]


def _points(technique: Technique, spent: Cost, profile: StepProfile) -> tuple[float, list[str]]:
    """Return the points of a technique, and the reasons for those that are not about its fit for the task."""
    suit = _suit(technique, profile)
    points, reasons = float(suit.points), []
    for flag, reason in profile.flags.items():
        if technique.name in FAVOURED.get(flag, ()):
            points += FAVOUR
            reasons.append(reason)
    points += suit.confirmed
    met = {*profile.available.capabilities, *profile.met_by_data, "demonstrations"}
    unmet = [need for need in technique.card.soft if need not in met]
    if unmet:
        reasons.append(f"would be helped by {', '.join(unmet)}, not available here")
    else:
        points += 1
    if profile.thinks and technique.name == BASELINE:
        points += 1
        reasons.append("the model thinks by itself: asking once may be enough")
    elif profile.thinks and _asks_for_thoughts(technique):
        points -= THOUGHTS
        reasons.append("asks for thoughts, and the model thinks by itself")
    points -= COST_OF_DOUBLE * log2(max(1.0, spent.requests))
    if profile.size is not None and profile.size < technique.card.size:
        points -= 1
        reasons.append(f"is recommended from {technique.card.size:g}B parameters; this model has {profile.size:g}B")
    return points, reasons


def _asks_for_thoughts(technique: Technique) -> bool:
    """Tell whether the gain of a technique is the thoughts that it asks for, and not a check, a program or a vote."""
    if technique.name == VOTE or technique.card.family not in THINKING_FAMILIES:
        return False
    return any(call.thinks for call in call_specs(technique))


def _evidence_points(spec: Spec, profile: StepProfile) -> Iterator[tuple[float, str]]:
    """Yield the points for the last measurement of a technique with these settings, and the reason.

    Of what was measured for the whole task the settings may be others.
    """
    found = [
        evidence
        for evidence in profile.evidence
        if evidence.technique == spec or (evidence.task and _name(evidence.technique) == _name(spec))
    ]
    if not found:
        return
    last = found[-1]
    rate = f"{last.right / last.n:.0%} [{last.low:.0%}, {last.high:.0%}]"
    where = f"on {last.data.file}" if last.task else "here"
    measured = f"measured {where}: {rate}, n = {last.n}, {last.model.reference}"
    ahead = 0 if spec == BASELINE else _ahead_of_baseline(last, profile.evidence)
    if ahead > 0:
        yield 1.0, f"{measured}: better than {BASELINE}"
    elif ahead < 0:
        yield -2.0, f"{measured}: worse than {BASELINE}"
    else:
        yield 0.0, measured


def _ahead_of_baseline(measured: Evidence, others: Sequence[Evidence]) -> int:
    """Return 1 for a technique measured to be better than the baseline, -1 for a worse one, 0 where neither is shown.

    The difference on the same rows decides where it is known, else the two intervals.
    """
    if measured.gain is not None:
        _, low, high = measured.gain
        return (low > 0) - (high < 0)
    against = [other for other in others if other.technique == BASELINE and other.data == measured.data]
    if not against:
        return 0
    return (measured.low > against[-1].high) - (measured.high < against[-1].low)


def _modifiers(ranked: Sequence[Recommended], profile: StepProfile, project: Project) -> list[Recommended]:
    """Return, for an input with opinions or noise, a modifier over the best technique that still fits the budget."""
    distracting = [reason for flag, reason in profile.flags.items() if flag in DISTRACTING]
    if not distracting:
        return []
    for modifier, requests in (("system_2_attention", 1), ("instructed", 0)):
        technique = find_technique(modifier, project)
        if technique is None or _unmet(technique, profile):
            continue
        room = None if profile.budget is None else profile.budget - requests
        deep = None if profile.depth is None else profile.depth - requests
        beneath = [
            recommended
            for recommended in ranked
            if within(recommended.cost.requests, room)
            and within(recommended.cost.depth, deep)
            and _name(recommended.spec) != modifier
        ]
        over = beneath[0].spec if beneath else BASELINE
        spec: Spec = {modifier: {"over": over}} if over != BASELINE else modifier
        spent = cost(configure(spec, project), project, **profile.cost_inputs)
        if within(spent.requests, profile.budget) and within(spent.depth, profile.depth):
            best = max((recommended.score for recommended in ranked), default=0.0)
            within_budget = "" if room is None and deep is None else " within the budget"
            reasons = (*distracting, f"over {spec_text(over)}, the best{within_budget}")
            prepares = bool(beneath) and beneath[0].prepares
            return [Recommended(spec=spec, cost=spent, score=best, basis="", reasons=reasons, prepares=prepares)]
    return []


def _name(spec: Spec) -> str:
    return spec if isinstance(spec, str) else next(iter(spec))


def with_task_inputs(available: Available, task: str) -> Available:
    """Return the capabilities available without a named step, with inputs for the roles of the task."""
    _, known = find_task(task)
    kinds = {"table": "table", "documents": "list"}
    inputs = {"question": PromptInput(type="text")}
    inputs |= {role: PromptInput(type=kinds.get(role, "text")) for role in known.brings}
    return replace(available, inputs=inputs)


FEWER: Final = (20, 5, 3, 2, 1)
FEWER_SAMPLES: Final = (20, 5, 3, 2)
"""Numbers of samples to try; a vote needs at least 2."""
SAMPLED: Final = (
    *("samples", "first", "breadth", "width", "phrasings", "agents"),
    *("column_samples", "row_samples", "cloze_samples", "query_samples"),
)
COUNTED: Final = (
    *("questions", "steps", "operations", "rounds", "cap", "depth", "limit", "attempts"),
    *("asked", "clozes", "revisions", "sentences", "points", "extensions"),
)
SMALLER: Final[Mapping[str, tuple[str, ...]]] = {
    "chain_of_verification": ("revise", "factored", "two_step", "joint"),
    "chain_of_event": ("chained", "single"),
    "step_back": ("question", "principles"),
}
"""The variants of a technique, the most expensive first."""


def fit_to_budget(
    technique: Technique, project: Project, *, budget: float | None, depth: float | None, **step: Any
) -> tuple[Spec, Cost] | str:
    """Return the most expensive settings of a technique that fit the budget, its defaults first; else why none does.

    `step` are the step's values for `cost`.
    """
    spent: Cost | None = None
    for parameters in _cheaper_settings(technique):
        if parameters and check_spec({technique.name: parameters}, project):  # Not every technique accepts 1.
            continue
        spent = cost(ConfiguredTechnique(technique, parameters), project, **step)
        if within(spent.requests, budget) and within(spent.depth, depth):
            return ({technique.name: parameters} if parameters else technique.name), spent
    assert spent is not None, "the defaults are tried first"
    if not within(spent.requests, budget):
        return f"takes {spent.requests:g} requests a row at the least, more than {budget:g}"
    return f"takes {spent.depth:g} requests that wait for each other, more than {depth:g}"


def within(amount: float, most: float | None) -> bool:
    """Tell whether an amount is at most a bound; None is no bound."""
    return most is None or amount <= most


def _cheaper_settings(technique: Technique) -> Iterator[dict[str, Any]]:
    """Yield settings from the defaults to cheaper ones: fewer samples, fewer steps, then a smaller variant."""
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
NEWER = "N"


class SuitedTask(BaseModel):
    """A task with the techniques that were best on it or on some of its data, are cheap, or were tried.

    `newer` techniques were tried by their own papers, which the survey does not have. `confirmed` are those whose
    paper's figures were checked; `basis` is the source of the other entries.
    `brings` are the roles that inputs of such a task play.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    synonyms: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    best_on: dict[str, str] = {}
    fallback: tuple[str, ...] = ()
    applied: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    basis: str = ""

    def suits(self, technique: str) -> TaskFit | None:
        """Return the best fit that is known of a technique for the task, None for an unknown one."""
        basis = CONFIRMED if technique in self.confirmed else self.basis
        if technique in self.best:
            return TaskFit("best", basis=basis)
        if technique in self.best_on:
            return TaskFit("best_on", self.best_on[technique], basis)
        if technique in self.fallback:
            return TaskFit("fallback", basis=basis)
        if technique in self.newer:
            return TaskFit("applied", basis=NEWER)
        return TaskFit("applied", basis=basis) if technique in self.applied else None

    def candidates(self) -> tuple[str, ...]:
        """Return the techniques with any fit for the task."""
        return tuple(dict.fromkeys((*self.best, *self.best_on, *self.fallback, *self.applied, *self.newer)))


@dataclass(frozen=True, slots=True)
class TaskFit:
    """The fit of a technique for a task; `on` is the data or the condition of a best result that is tied to one."""

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
        fit = {
            "best": "reported best on this task",
            "best_on": f"reported best on {self.on}",
            "fallback": "affordable for a small model on this task",
            "applied": "was tried on this task",
        }[self.kind]
        return f"{fit} ({'its paper, checked' if self.confirmed else f'basis {self.basis}'})"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: dict[str, SuitedTask]


@cache
def tasks() -> dict[str, SuitedTask]:
    """Return all tasks by their keys, in the order of the table."""
    return read_model(load_file(TABLE), _Table).tasks


def find_task(name: str, *, others: Iterable[str] = ()) -> tuple[str, SuitedTask]:
    """Return the task of a key or a synonym; hyphens count as underscores.

    Raises InputError with the nearest name, which may be one of `others`, or with all tasks.
    """
    key_or_synonym = name.strip().lower().replace("-", "_").replace(" ", "_")
    for key, task in tasks().items():
        if key_or_synonym == key or key_or_synonym in task.synonyms:
            return key, task
    known = [*others, *tasks(), *(synonym for task in tasks().values() for synonym in task.synonyms)]
    hint = nearest_match(key_or_synonym, known) or f"tasks: {', '.join(tasks())}"
    raise InputError(f"there is no task `{name}`", hint=hint)
