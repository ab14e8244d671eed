"""The score of a cell by a metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from promptkit.errors import PromptkitError

JUDGE_DETAIL: Final = "judge"
"""The key of a score's detail under which judges' prompts, replies and usage stand."""
REASON_DETAIL: Final = "reason"
"""The key of a score's detail under which a judge's reason stands."""
DEFECT: Final = "defect"
"""The key of a missing score's detail under which the type and place of an unexpected exception stand."""


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one cell by one metric. A `value` of None is missing: the metric or its judge failed, for `why`.

    `detail` is JSON for people, and holds what `Metric.numbers` needs (labels, counts). `error` is the unexpected
    exception behind a missing score; it is not stored.
    """

    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    error: PromptkitError | None = field(default=None, compare=False, repr=False)
