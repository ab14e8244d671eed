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
NOT_APPLICABLE: Final = "not applicable"
"""The key of a score's detail that marks a cell to which the metric does not apply."""


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one cell by one metric. A `value` of None is missing: the metric or its judge failed, for `why`.

    Where the metric does not apply to the cell, `value` is None too; such a score counts nowhere and is not missing.
    `detail` is JSON for people, and holds what `Metric.numbers` needs (labels, counts). `error` is the unexpected
    exception behind a missing score; it is not stored. `reads` are the files that the metric read for it, with their
    digests.
    """

    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    error: PromptkitError | None = field(default=None, compare=False, repr=False)
    reads: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def applies(self) -> bool:
        """Tell whether the metric applies to the cell."""
        return self.value is not None or not self.detail.get(NOT_APPLICABLE)

    @property
    def is_missing(self) -> bool:
        """Tell whether the cell should have a value and has none."""
        return self.value is None and self.applies


def not_applicable(why: str, detail: Mapping[str, Any] | None = None) -> Score:
    """Return the score of a cell to which a metric does not apply, for the reason `why`."""
    return Score(None, {**(detail or {}), NOT_APPLICABLE: True}, why)
