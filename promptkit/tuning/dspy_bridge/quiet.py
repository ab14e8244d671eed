"""Keeps from the terminal what DSPy prints and draws: stdout is for data, and the screen is ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import gepa.core.engine
from dspy.evaluate import evaluate
from dspy.propose import dataset_summary_generator, grounded_proposer
from dspy.propose import utils as propose_utils
from dspy.teleprompt import bootstrap, random_search
from dspy.teleprompt import utils as teleprompt_utils
from dspy.utils import parallelizer
from tqdm import tqdm  # type: ignore[import-untyped]

LOGGERS: Final = ("dspy", "optuna")
_PRINTING: Final = (
    bootstrap,
    random_search,
    teleprompt_utils,
    propose_utils,
    grounded_proposer,
    dataset_summary_generator,
)
_DRAWING: Final = (bootstrap, evaluate, parallelizer)


class _NoBar(tqdm):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "disable": True})


def _say_nothing(*told: object, **settings: object) -> None:
    """Print nothing."""


@contextmanager
def quiet() -> Iterator[None]:
    """Let DSPy's optimizers say nothing in the block, in whichever thread, and all else as it is."""
    changed: list[tuple[Any, str, Any]] = [
        *((module, "print", _say_nothing) for module in _PRINTING),
        *((module, "tqdm", SimpleNamespace(tqdm=_NoBar)) for module in _DRAWING),
        (gepa.core.engine, "tqdm", _NoBar),
    ]
    before = [(module, name, vars(module).get(name)) for module, name, _ in changed]
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [each.level for each in loggers]
    try:
        for module, name, value in changed:
            setattr(module, name, value)
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for module, name, value in before:
            if value is None:
                delattr(module, name)
            else:
                setattr(module, name, value)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
