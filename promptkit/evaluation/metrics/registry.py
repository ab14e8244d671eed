"""The registry of metrics: the class of each kind, by the word that a suite names it by, loaded when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from promptkit.errors import InputError, nearest
from promptkit.evaluation.metrics.base import Metric

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "exact": "matches:Exact",
        "normalized": "matches:Normalized",
        "regex": "matches:Regex",
        "contains": "matches:Contains",
        "number": "matches:Number",
        "label": "labels:Label",
        "balanced_accuracy": "labels:BalancedAccuracy",
        "f1": "labels:F1",
        "set_f1": "structured:SetF1",
        "json": "structured:JsonFields",
        "schema": "structured:FitsSchema",
        "bleu": "similarity:Bleu",
        "chrf": "similarity:Chrf",
        "rouge": "similarity:Rouge",
        "edit": "similarity:Edit",
        "embedding": "similarity:Embedding",
        "code": "code:CodeTests",
        "table": "structured:Table",
        "calibration": "labels:Calibration",
        "length": "measures:Length",
        "tokens": "measures:Tokens",
        "latency": "measures:Latency",
        "format": "measures:Format",
        "agreement": "repeats:Agreement",
        "pass_at": "repeats:PassAt",
        "pass_all": "repeats:PassAll",
        "judge": "judge:Judge",
        "pairwise": "pairwise:Pairwise",
        "python": "code:PythonFunction",
    }
)
"""The module in this package and the class of each kind. Add a new metric here."""


def kinds() -> tuple[str, ...]:
    """Return the words of all kinds, in the order of the documentation."""
    return tuple(KINDS)


def kind_named(word: str) -> type[Metric]:
    """Return the class of a kind. Raises InputError, with the nearest word, for an unknown one."""
    if word not in KINDS:
        raise InputError(f"there is no metric `{word}`", hint=nearest(word, KINDS))
    module, _, name = KINDS[word].partition(":")
    found = getattr(import_module(f"promptkit.evaluation.metrics.{module}"), name)
    assert isinstance(found, type) and issubclass(found, Metric), f"{KINDS[word]} is not a metric"
    return found
