"""DSPy's optimizers on our pipelines (extra `dspy`). Nothing of DSPy is imported before one is opened.

search = open_search("miprov2", bed, standing=standing, models=models)
found = await search.run(calls)

A program of DSPy's is a candidate of ours: a row is answered by the engine, under the instructions and demonstrations
that the program's predictors hold. So what an optimizer scores is what is written, to the letter.
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
    """Raise MissingExtra where what an optimizer needs is not installed; nothing of it is imported."""
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
    """Return the search of one of DSPy's optimizers, ready to run where the event loop runs.

    `teacher` is the model that writes proposals, left out the one that is tuned. Raises MissingExtra.
    """
    require_dspy(name)
    # Else litellm, which DSPy brings along, looks up prices on the network when it is imported.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from promptkit.tuning.dspy_bridge.search import DspySearch

    return DspySearch(name, objective, progress=progress, models=models, teacher=teacher, seed=seed)
