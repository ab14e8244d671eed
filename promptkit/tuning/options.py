"""The options of a tuning run: limits, optimizer, what may vary, the preferred trade-off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, Literal, get_args

from promptkit.errors import InputError, Problem, nearest
from promptkit.prompts.expressions import Expression

Optimizer = Literal["race", "bootstrap_few_shot", "random_search", "miprov2", "copro", "simba", "gepa"]
Mode = Literal["both", "stepwise", "joint"]

OPTIMIZERS: Final[tuple[Optimizer, ...]] = get_args(Optimizer)
"""The first is promptkit's own; the others are DSPy's and need `promptkit[dspy]`."""

WEIGHTS: Final = "weights"
"""The kind of the parameters whose choices are trained weights."""

_EXAMPLE_LIMITS: Final = {"calls": "calls=300", "tokens": "tokens=200000", "minutes": "minutes=10"}

PREFERENCES: Final = ("cheap", "balanced", "best")
PREFERENCE_INPUTS: Final = ("score", "tokens", "latency", "unparsed", "calls")
"""The variables of a `--prefer` formula on a row: the score in [0, 1], and what the answer took."""
LEAST_INPUTS: Final = dict(zip(PREFERENCE_INPUTS, (0.0, 1.0, 0.001, 0.0, 1.0), strict=True))
"""The least value of each variable that a formula is evaluated at: an answer from a script may take no time at all."""
_PREFERENCE_EXTREMES: Final = (
    LEAST_INPUTS,
    dict(zip(PREFERENCE_INPUTS, (1.0, 1000.0, 1.0, 1.0, 5.0), strict=True)),
)
"""The least and a large value of each variable of a formula."""
_PREFERENCE_HINT: Final = f"{', '.join(PREFERENCES)}, or a formula as `score - 0.0005 * tokens`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a tuning run may spend; None is no limit. Without a limit of calls a usual number is taken."""

    calls: int | None = None
    tokens: int | None = None
    minutes: float | None = None

    def record(self) -> dict[str, float | None]:
        """Return the limits as JSON has them."""
        return {"calls": self.calls, "tokens": self.tokens, "minutes": self.minutes}


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """The options of a tuning run, besides its target and suite.

    `only`: parameter kinds, steps, or STEP.KIND. `metric`: the name of the metric to optimize, None for the first.
    `tried`: further variants that enter the race, as `--try` names them. `cold`: take nothing that earlier tunings
    found as a prior. `weights`: train heads and adapters for the chosen prompt. `keep`: the suite that forgetting is
    measured on, with `margins` as on the command line. Raises InputError for an unknown optimizer, mode or preference,
    and for options that contradict each other.
    """

    limits: Limits = Limits()
    optimizer: Optimizer = "race"
    only: tuple[str, ...] = ()
    teacher: str | None = None
    mode: Mode = "both"
    prefer: str = "best"
    metric: str | None = None
    seed: int = 0
    cold: bool = False
    tried: tuple[str, ...] = ()
    weights: bool = False
    keep: str | None = None
    margins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"there is no optimizer `{self.optimizer}`", hint=nearest(self.optimizer, OPTIMIZERS))
        if self.mode not in get_args(Mode):
            raise InputError(f"there is no mode `{self.mode}`", hint=nearest(self.mode, get_args(Mode)))
        check_preference(self.prefer)
        if self.tried and self.optimizer != OPTIMIZERS[0]:
            raise InputError(f"--try: `{self.optimizer}` tries no variants", hint=f"--optimizer {OPTIMIZERS[0]} does")
        selected = {part.strip() for text in self.only for part in text.split(",")}
        named = sorted(name for name in selected if name.rpartition(".")[2] == WEIGHTS)
        if named and not self.weights:
            raise InputError(f"--only {named[0]}: weights are trained with --weights alone", hint="add --weights")
        if self.margins and self.keep is None:
            raise InputError("--margin is the largest loss on the suite of --keep", hint="--keep SUITE --margin 0.02")


def read_budget(text: str) -> Limits:
    """Return the limits in `calls=300,tokens=5000,minutes=9`, any of them. Raises InputError with all problems."""
    limits: dict[str, float] = {}
    problems: list[Problem] = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        key, equals, number = (piece.strip() for piece in part.partition("="))
        if key not in _EXAMPLE_LIMITS:
            message = f"`--budget {part}`: there is no limit `{key}`"
            hint = nearest(key, _EXAMPLE_LIMITS)
            if not equals and key.isdecimal():
                message, hint = f"`--budget {part}` does not name a limit", f"--budget calls={key}"
            problems.append(Problem(message, hint=hint))
        elif key in limits:
            problems.append(Problem(f"`--budget {text}` gives `{key}` twice"))
        elif (value := _positive(number, whole=key != "minutes")) is None:
            whole = "a number" if key == "minutes" else "a whole number"
            problems.append(
                Problem(f"`--budget {part}`: {key} is {whole} above 0", hint=f"--budget {_EXAMPLE_LIMITS[key]}")
            )
        else:
            limits[key] = value
    if not limits and not problems:
        problems.append(Problem("`--budget` is empty", hint="--budget calls=300,minutes=10"))
    if problems:
        raise InputError(problems)
    return Limits(**limits)  # type: ignore[arg-type]  # whole numbers are read as such


def read_only(text: str) -> tuple[str, ...]:
    """Return the names in `examples,topic.layout`. Raises InputError for an empty list."""
    names = tuple(filter(None, (name.strip() for name in text.split(","))))
    if not names:
        raise InputError("`--only` is empty", hint="kinds, steps or STEP.KIND: --only examples,layout")
    return names


def _positive(text: str, *, whole: bool) -> float | None:
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        return None
    return value if value > 0 and isfinite(value) else None


def check_preference(text: str) -> None:
    """Raise InputError unless text is `cheap`, `balanced`, `best` or a numeric formula over `PREFERENCE_INPUTS`."""
    if text in PREFERENCES:
        return
    if not text.strip():
        raise InputError("`--prefer` is empty", hint=_PREFERENCE_HINT)
    try:
        used = Expression.parse(text, bare=True).names
    except InputError as error:
        message = f"`--prefer {text}` is not a formula: {error.problems[0].message}"
        raise InputError(message, hint=_PREFERENCE_HINT) from None
    if unknown := sorted(used - set(PREFERENCE_INPUTS)):
        hint = nearest(unknown[0], (*PREFERENCE_INPUTS, *PREFERENCES) if text == unknown[0] else PREFERENCE_INPUTS)
        raise InputError(f"`--prefer {text}`: there is no `{unknown[0]}`", hint=hint)
    if not used:
        raise InputError(
            f"`--prefer {text}` is the same for all candidates", hint=f"a formula reads {', '.join(PREFERENCE_INPUTS)}"
        )
    for inputs in _PREFERENCE_EXTREMES:  # A formula that fails at an extreme would fail in the middle of the search.
        preference_value(text, inputs)


def preference_value(text: str, inputs: Mapping[str, float]) -> float:
    """Return a formula's value for a row, higher is better. Raises InputError if it is not a number."""
    try:
        value: Any = Expression.parse(text, bare=True).evaluate(inputs)
        reason = f"it is {value!r}"
    except InputError as error:
        value, reason = None, error.problems[0].message
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        where = ", ".join(f"{name} {number:g}" for name, number in inputs.items())
        raise InputError(f"`--prefer {text}` is not a number at {where}: {reason}", hint=_PREFERENCE_HINT)
    return float(value)
