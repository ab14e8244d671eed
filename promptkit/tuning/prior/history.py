"""The effects that earlier tunings found: a file of the user's data folder, one line per tuned step.

It has kinds of choices, numbers and digests: no text of a prompt and no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from promptkit.errors import PromptkitError, place
from promptkit.evaluation.suite.data import BoundRow
from promptkit.project import data_folder
from promptkit.storage.files import append_line, create_private, make_folder, read_uncached
from promptkit.storage.hashes import content_key
from promptkit.tuning.data_split import row_content
from promptkit.tuning.prior.effect_prior import Estimate

HISTORY_FILE: Final = "tunings.jsonl"
VERSION: Final = 1
SKETCH_ROWS: Final = 16
"""The number of row digests by which data are recognized."""
DIGEST_BYTES: Final = 8


class StepEffects(BaseModel):
    """The effects that one tuning found for a step.

    `model` is the digest of the model that answered, `answer` the name of the step's answer type, `rows` the smallest
    digests of the data's rows. `effects`: mean and variance by kind of choice, as shares of the metric's range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Literal[1] = VERSION
    model: str
    answer: str
    rows: list[str] = Field(max_length=SKETCH_ROWS)
    effects: dict[str, tuple[FiniteFloat, FiniteFloat]]

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The effects, without variances that are no positive number."""
        return {kind: Estimate(mean, variance) for kind, (mean, variance) in self.effects.items() if variance > 0}


def row_digests(rows: Sequence[BoundRow]) -> list[str]:
    """Return the digests of rows' inputs, sorted, each once."""
    return sorted({content_key(row_content(row.inputs[0]), DIGEST_BYTES).hex() for row in rows})


class TuningHistory:
    """The file of effects. `notes` say what of it cannot be read; nothing about it ends a tuning."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file or data_folder() / HISTORY_FILE
        self.notes: list[str] = []

    def earlier(self, model: str, answer: str, rows: Sequence[str]) -> list[StepEffects]:
        """Return the findings of independent tunings for a model and an answer type, the newest first.

        `rows` are the digests of all rows of the tuning that asks: data that share one of them are left out, as their
        answers may come from rows that this tuning holds out. Of tunings on shared data the newest counts.
        """
        seen, kept = set(rows), []
        for effects in reversed(self._read()):
            if effects.model == model and effects.answer == answer and seen.isdisjoint(effects.rows):
                seen.update(effects.rows)
                kept.append(effects)
        return kept

    def add(self, effects: StepEffects) -> None:
        """Append what a tuning found, unless it is there. If it cannot be written, a note says so."""
        if effects in self._read():
            return
        try:
            make_folder(self.file.parent)
            create_private(self.file)
            append_line(self.file, effects.model_dump_json())
        except PromptkitError as error:
            self._note(f"what this tuning found is not kept for later ones: {error}")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _read(self) -> list[StepEffects]:
        try:
            text = read_uncached(self.file).decode("utf-8", "replace") if self.file.exists() else ""
        except (PromptkitError, OSError) as error:
            self._note(f"earlier tunings are not used: {error}")
            return []
        found: list[StepEffects] = []
        lines = [line for line in text.splitlines() if line.strip()]
        for line in lines:
            with suppress(ValidationError):
                found.append(StepEffects.model_validate_json(line))
        if len(found) < len(lines):
            count = len(lines) - len(found)
            what = "1 line is" if count == 1 else f"{count} lines are"
            self._note(f"{what} ignored in {place(self.file)}: damaged, or of another version of promptkit")
        return found
