"""The registry of metrics: the class of each kind, by the word that a suite names it by, loaded when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType
from typing import Any

from promptkit.errors import InputError, nearest
from promptkit.evaluation.metrics.base import Metric
from promptkit.project_code.entry_points import check_subclass, load_entry_point, load_entry_points

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
        "set_f1": "sets:SetF1",
        "json": "structured:JsonFields",
        "schema": "structured:FitsSchema",
        "bleu": "similarity:Bleu",
        "chrf": "similarity:Chrf",
        "rouge": "similarity:Rouge",
        "edit": "similarity:Edit",
        "embedding": "similarity:Embedding",
        "code": "code:CodeTests",
        "table": "table:Table",
        "tool_calls": "tool_calls:ToolCalls",
        "calibration": "labels:Calibration",
        "length": "measures:Length",
        "tokens": "measures:Tokens",
        "latency": "measures:Latency",
        "first_token": "measures:FirstToken",
        "tokens_per_second": "measures:TokensPerSecond",
        "format": "measures:Format",
        "agreement": "repeats:Agreement",
        "pass_at": "repeats:PassAt",
        "pass_all": "repeats:PassAll",
        "judge": "judge:Judge",
        "human": "human:Human",
        "pairwise": "pairwise:Pairwise",
        "assert": "row_assertions:RowAssertions",
        "python": "code:PythonFunction",
    }
)
"""The module in this package and the class of each kind. Add a new metric here."""


ENTRY_POINT_GROUP = "promptkit.metrics"


def kinds() -> tuple[str, ...]:
    """Return the words of all shipped kinds, in the order of documentation."""
    return tuple(KINDS)


def kind_named(word: str, root: Path | None = None) -> type[Metric]:
    """Return the class of a kind: a shipped one, else that of an installed package.

    `root` is the project's folder, whose own metadata is not trusted. Raises InputError with the nearest word for an
    unknown kind, and with the package's class for one of a wrong shape.
    """
    if word in KINDS:
        module, _, name = KINDS[word].partition(":")
        shipped = getattr(import_module(f"promptkit.evaluation.metrics.{module}"), name)
        return check_subclass(shipped, Metric)
    installed = load_entry_points(ENTRY_POINT_GROUP, root)
    if word not in installed:
        raise InputError(f"there is no metric `{word}`", hint=nearest(word, [*KINDS, *installed]))
    return _installed(installed[word])


@cache
def _installed(entry: EntryPoint) -> type[Metric]:
    return load_entry_point(entry, "metric", lambda found: _checked(found, entry))


def _checked(found: Any, entry: EntryPoint) -> type[Metric]:
    """Return a package's class of metric. Raises TypeError for one that cannot score or summarize."""
    kind = check_subclass(found, Metric)
    if getattr(kind, "kind", None) != entry.name or not isinstance(getattr(kind, "about", None), str):
        raise TypeError(f'`{kind.__name__}` must say `kind = "{entry.name}"`, and what it is by `about = "…"`')
    if not any(_defines(kind, name) for name in ("measure", "measure_async", "measure_pair")):
        raise TypeError(f"`{kind.__name__}` defines none of `measure`, `measure_async` and `measure_pair`")
    if missing := [f"`{name}`" for name in ("estimate", "difference") if not _defines(kind, name)]:
        hint = "`Proportion`, `Graded` and `Unbounded` of `promptkit.evaluation.metrics.estimation` do"
        raise TypeError(f"`{kind.__name__}` does not define {' and '.join(missing)}: {hint}")
    if entry.dist is not None:
        kind.release = f"{entry.dist.name} {entry.dist.version}"
    return kind


def _defines(kind: type[Metric], method: str) -> bool:
    return getattr(kind, method) is not getattr(Metric, method)
