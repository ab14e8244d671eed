"""Better pipelines for a stated budget, and the proof: the space, the search, the confirmation, and what is written.

tuning = Tuning(suite, models=models, store=store, wishes=Wishes(limits=Limits(calls=300)))
tuned = hand_over(await tuning.run(), tuning.suite, store)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptkit.tuning.candidate import Axis, Candidate, Level
    from promptkit.tuning.handing_over import hand_over
    from promptkit.tuning.opening import load_tuned, models_apart
    from promptkit.tuning.plan import Plan
    from promptkit.tuning.record import metric_record
    from promptkit.tuning.standing import BestSoFar, Standing
    from promptkit.tuning.tune import KIND, Tuning
    from promptkit.tuning.wishes import OPTIMIZERS, Limits, Mode, Wishes, read_budget, read_only
    from promptkit.tuning.work import Tuned
    from promptkit.tuning.write import check_replaceable

__all__ = [
    "KIND",
    "OPTIMIZERS",
    "Axis",
    "BestSoFar",
    "Candidate",
    "Level",
    "Limits",
    "Mode",
    "Plan",
    "Standing",
    "Tuned",
    "Tuning",
    "Wishes",
    "check_replaceable",
    "hand_over",
    "load_tuned",
    "metric_record",
    "models_apart",
    "read_budget",
    "read_only",
]

_HOMES = {
    "KIND": "tune",
    "OPTIMIZERS": "wishes",
    "Axis": "candidate",
    "BestSoFar": "standing",
    "Candidate": "candidate",
    "Level": "candidate",
    "Limits": "wishes",
    "Mode": "wishes",
    "Plan": "plan",
    "Standing": "standing",
    "Tuned": "work",
    "Tuning": "tune",
    "Wishes": "wishes",
    "check_replaceable": "write",
    "hand_over": "handing_over",
    "load_tuned": "opening",
    "metric_record": "record",
    "models_apart": "opening",
    "read_budget": "wishes",
    "read_only": "wishes",
}


def __getattr__(name: str) -> object:
    """Import a module at the first use of what it gives: most commands need a few of them."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
