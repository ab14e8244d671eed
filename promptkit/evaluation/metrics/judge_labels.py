"""The labels that people gave to the answers of a judge: of the suite's label file, or of fields of the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.answer_labels import SUFFIX, AnswerLabel, AnswerLabels, answer_key, inputs_key
from promptkit.evaluation.metrics.base import MetricInput
from promptkit.evaluation.metrics.judge_prompt import fields_read, names_read, read_value
from promptkit.evaluation.metrics.levels import level_named
from promptkit.evaluation.metrics.values import frozen, scalar_text, shown_value, text_of


class LabelFields(ClosedModel):
    """The fields of a row that hold a label and the answer that it is of."""

    level: str
    of: str


LabelSetting = LabelFields | Literal[False] | str | None


class JudgeLabels:
    """The labels under one judge, whose levels are `names`, from the worst to the best.

    `file` are those of the suite's label file, which come before those of the row. Raises InputError for a `setting`
    that is an expression with a mistake.
    """

    def __init__(self, metric: str, names: Sequence[str], setting: LabelSetting, file: AnswerLabels | None) -> None:
        self._metric = metric
        self._names = names
        self._setting = setting
        self._suite = "SUITE" if file is None else file.path.name.removesuffix(SUFFIX)
        self._given = [] if file is None or setting is False else [label for label in file if label.metric == metric]
        self._file = file if self._given else None
        self._drawn = frozenset[str]() if self._file is None else self._file.drawn_inputs(metric)
        self._fields = tuple(_fields_of(setting))
        # A field, or an expression that does not read the answer, does not say which answer its label is of.
        self._of_row = isinstance(setting, LabelFields) or (
            isinstance(setting, str) and "output" in names_read(setting)
        )

    @property
    def hidden(self) -> frozenset[str]:
        """The fields of the row that hold labels, which no judge may see."""
        return frozenset(self._fields)

    @property
    def has_any(self) -> bool:
        """True if an answer may have a label."""
        return self._of_row or bool(self.of_file)

    @property
    def of_file(self) -> list[AnswerLabel]:
        """The label of each labelled answer in the file whose level is one of the judge's, in the file's order."""
        if self._file is None:
            return []
        keys = dict.fromkeys(label.key for label in self._given)
        found = (self._file.consensus(self._metric, key) for key in keys)
        return [label for label in found if label is not None and self.level(label.level) is not None]

    @property
    def notes(self) -> list[str]:
        """The notes on labels that are not used."""
        notes = []
        if self._setting and not self._of_row and not self.of_file:
            field = self._fields[0] if self._fields else "FIELD"
            command = f"promptkit label {self._suite} --import {field} --variant NAME"
            notes.append(
                f"`labels: {self._setting}` does not say which answer a label is of, so no label is used: `{command}` "
                "keeps it with the answers of a variant"
            )
        unknown = [label.level for label in self._given if self.level(label.level) is None]
        if unknown:
            shown = ", ".join(f"`{level}`" for level in dict.fromkeys(unknown[:3]))
            notes.append(f"{len(unknown)} labels are not used: {shown} is not one of the levels")
        return notes

    def level(self, text: str) -> str | None:
        """Return the level that a label names, in any case; `right` is the best and `wrong` the worst one."""
        return level_named(text, self._names)

    def detail(self, given: MetricInput) -> dict[str, Any]:
        """Return a score's detail of the label of an answer, empty where it has none.

        An answer without a label to inputs that were drawn at random has `random` alone: the label was of another
        answer. Raises ValueError for a label in the row that is not a level, and InputError for an expression that
        fails.
        """
        drawn: dict[str, Any] = {}
        if self._file is not None and given.inputs is not None:
            drawn = {"random": True} if inputs_key(given.inputs) in self._drawn else {}
            label = self._file.consensus(self._metric, answer_key(given.inputs, given.got))
            if label is not None and (level := self.level(label.level)) is not None:
                return {"label": level, "random": label.drawn == "random"}
        if not self._of_row:
            return drawn
        value = self._value_in_row(given)
        text = (scalar_text(value) or "").strip()
        if not text and value in (None, ""):
            return drawn
        if (level := self.level(text)) is None:
            raise ValueError(f"the label {shown_value(value)} is not one of the levels {', '.join(self._names)}")
        return {"label": level, "random": True}

    def _value_in_row(self, given: MetricInput) -> Any:
        setting = self._setting
        if isinstance(setting, str):
            return read_value(setting, given)
        assert isinstance(setting, LabelFields), "only a text or two fields name labels of a row"
        row = given.cell.fields
        answer = row.get(setting.of)
        same = answer is not None and (frozen(answer) == frozen(given.got) or text_of(answer) == text_of(given.got))
        return row.get(setting.level) if same else None


def _fields_of(setting: LabelSetting) -> list[str]:
    if isinstance(setting, LabelFields):
        return [setting.level, setting.of]
    return sorted(fields_read(setting)) if isinstance(setting, str) else []
