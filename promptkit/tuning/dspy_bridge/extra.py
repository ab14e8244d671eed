"""The extra `dspy`: is it installed, and the search of one of its optimizers. DSPy is imported when one is opened.

search = open_search("miprov2", objective, progress=progress, models=models)
result = await search.run(calls)
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from promptkit.errors import MissingExtra

if TYPE_CHECKING:
    from promptkit.runtimes.models import Models
    from promptkit.tuning.dspy_bridge.search import DspySearch
    from promptkit.tuning.options import Optimizer
    from promptkit.tuning.progress import TuningProgress
    from promptkit.tuning.search.steps import Objective

PACKAGES = ("dspy", "gepa", "optuna")


def require_dspy(name: Optimizer) -> None:
    """Raise MissingExtra if a package that an optimizer needs is not installed. Imports none of them."""
    if any(find_spec(package) is None for package in PACKAGES):
        raise MissingExtra(f"the optimizer `{name}`", "dspy")


def open_search(
    name: Optimizer,
    objective: Objective,
    *,
    progress: TuningProgress,
    models: Models,
    teacher: str | None = None,
    seed: int = 0,
) -> DspySearch:
    """Return the search of one of DSPy's optimizers, to be run where the event loop runs.

    `teacher` writes proposals; None stands for the tuned model. Raises MissingExtra.
    """
    require_dspy(name)
    # Otherwise litellm, a dependency of DSPy, looks up prices on the network when it is imported.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from promptkit.tuning.dspy_bridge.search import DspySearch

    return DspySearch(name, objective, progress=progress, models=models, teacher=teacher, seed=seed)
