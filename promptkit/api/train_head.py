"""Training heads: from a target and labelled rows to a file beside the pipeline for each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from promptkit.answers.head import Head
from promptkit.api.session import ModelOptions, notify, open_session, showing
from promptkit.api.train_target import apply_setting, check_appliable
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError
from promptkit.reports.progress import Progress
from promptkit.training.head.train import LAYERS, POOLINGS, plan_head, train_head
from promptkit.training.labelled_rows import LabelledRows

RISK = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOptions:
    """The options of a training of heads.

    `risk` is the share of all rows that a head may be expected to answer wrongly; `overwrite` replaces earlier heads,
    `apply` has the steps decide by the new ones, in the pipeline's YAML.
    """

    risk: float = RISK
    seed: int = 0
    overwrite: bool = False
    apply: bool = False
    model: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        """Raise InputError for a risk that is not one."""
        if not 0 < self.risk < 1:
            raise InputError(f"--risk is a share between 0 and 1, such as 0.1, not {self.risk:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedHead:
    """A trained head, its file, and the seconds that it took."""

    head: Head
    file: Path
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the object that `promptkit train --head --json` prints for a step."""
        left_out = {"coefficients", "intercepts", "rows"}
        shown = self.head.model_dump(mode="json", exclude=left_out)
        return {**shown, "rows": len(self.head.rows), "file": str(self.file), "seconds": round(self.seconds, 2)}


async def train_heads(
    pipeline: Pipeline, labelled: Sequence[LabelledRows], options: HeadOptions, progress: Progress | None = None
) -> list[TrainedHead]:
    """Train a head for each step and write the files.

    Raises InputError with what is wrong before a model is loaded, Unsupported for a model without vectors, StoreFailed,
    and the errors of the runtime.
    """
    if options.apply:
        check_appliable(pipeline)
    plans = [plan_head(step, risk=options.risk, seed=options.seed, overwrite=options.overwrite) for step in labelled]
    found = []
    async with open_session(pipeline, options.model, progress) as session:
        for plan in plans:
            started = monotonic()
            rows = len(plan.labelled.rows.rows)
            with showing(progress, rows=rows * len(LAYERS) * len(POOLINGS)):
                head = await train_head(
                    plan,
                    models=session.models,
                    settings=session.settings,
                    notice=lambda text: notify(progress, text),
                    on_vector=progress.row_finished if progress else lambda: None,
                )
            if options.apply:
                apply_setting(pipeline, head.step, "decide", "head")
            found.append(TrainedHead(head=head, file=plan.file, seconds=monotonic() - started))
    return found
