"""promptkit: structured prompts, YAML pipelines and prompting techniques on local language models.

`load`, `render`, `run`, `evaluate`, `compare` and `tune` are the verbs of the command line as functions; in a running
event loop, as a notebook has, await `arun`, `aevaluate` and `atune`. Each is imported at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptkit.api.compare import CompareResult, compare
    from promptkit.api.evaluate import SuiteResult, aevaluate, evaluate
    from promptkit.api.run import RenderResult, RunResult, arun, render, run
    from promptkit.api.session import load
    from promptkit.api.tune import TuneResult, atune, tune
    from promptkit.errors import PromptkitError
    from promptkit.reports.progress import Progress

__all__ = [
    "CompareResult",
    "Progress",
    "PromptkitError",
    "RenderResult",
    "RunResult",
    "SuiteResult",
    "TuneResult",
    "aevaluate",
    "arun",
    "atune",
    "compare",
    "evaluate",
    "load",
    "render",
    "run",
    "tune",
]
_MODULES = {
    "CompareResult": "api.compare",
    "Progress": "reports.progress",
    "PromptkitError": "errors",
    "RenderResult": "api.run",
    "RunResult": "api.run",
    "SuiteResult": "api.evaluate",
    "TuneResult": "api.tune",
    "aevaluate": "api.evaluate",
    "arun": "api.run",
    "atune": "api.tune",
    "compare": "api.compare",
    "evaluate": "api.evaluate",
    "load": "api.session",
    "render": "api.run",
    "run": "api.run",
    "tune": "api.tune",
}


def __getattr__(name: str) -> object:
    """Import a name at its first use: the command line starts without it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found
