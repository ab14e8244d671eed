"""The parameters of a judge."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.metrics.judge_labels import LabelSetting
from promptkit.evaluation.metrics.levels import MOST_LEVELS, RIGHT, WRONG, check_levels

MOST_MEMBERS: Final = 20
SAMPLE_TEMPERATURE: Final = 0.7
OF_PROMPT: Final = ("prompt", "reason", "samples", "temperature", "examples")
"""The parameters that a judge's pipeline does not take."""

Reason = Literal["failing", "all", "before", "none"]


class JudgeParameters(ClosedModel):
    """`levels` go from the worst to the best: words, or words with their meanings; or `scale` is two whole numbers.

    `question` is what was asked: an expression or a field of the row; by default the row's fields without the expected
    answer. `expected: false` hides the expected answer from the judge, and `with` gives it further values: expressions
    over `row`, `output`, `expected` and `steps`, or fields of the row, by the name of an input of its prompt.

    `reason: failing` asks for a reason after the verdict where that is not the best level, `all` after each verdict,
    `before` lets the judge think first, and `none` asks for none.

    `models` are a jury. `samples` asks each judge several times at `temperature`, without log-probabilities.
    `repeatability` is the share of answers that are judged a second time. `examples` is the number of labelled answers
    that are shown to the judge.

    `pipeline` names a pipeline that judges in place of `prompt`. It takes what it has inputs for, and its output is a
    level, a number within the scale (without `levels` and `scale`: 0 to 1), or `{score: …, reason: …}`.

    Persons' labels of answers are read from the suite's label file (`promptkit label`); `labels: false` leaves them
    out. Labels in the rows are named by an expression that reads `output`, or by two fields: `{level: FIELD, of:
    FIELD}`, of which the second has the answer that the label is of.
    """

    rubric: str = ""
    levels: list[str] | dict[str, str] | None = None
    scale: list[int] | None = Field(default=None, min_length=2, max_length=2)
    model: str | None = None
    prompt: str = "judge"
    question: str | None = None
    labels: LabelSetting = None
    expected: bool = True
    values: dict[str, str] = Field(default={}, alias="with")
    reason: Reason = "failing"
    models: list[str] | None = Field(default=None, min_length=2, max_length=MOST_MEMBERS)
    samples: int = Field(default=1, ge=1, le=MOST_MEMBERS)
    temperature: float = Field(default=SAMPLE_TEMPERATURE, gt=0, le=2)
    repeatability: float = Field(default=0.0, ge=0, le=1)
    examples: int = Field(default=0, ge=0, le=20)
    pipeline: str | None = None

    @model_validator(mode="after")
    def _check_levels(self) -> JudgeParameters:
        given = [one for one in (self.levels, self.scale) if one is not None]
        if len(given) > 1 or not (given or self.pipeline):
            raise ValueError("a judge needs one of `levels: [poor, fair, good]` and `scale: [1, 5]`")
        check_levels(self.names, "a judge")
        return self

    @model_validator(mode="after")
    def _check_judge(self) -> JudgeParameters:
        if self.pipeline is None and not self.rubric.strip():
            raise ValueError("a judge needs a `rubric` or a `pipeline`")
        if self.pipeline is not None:
            for name in OF_PROMPT:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"`{name}` is of a judge's prompt, and `pipeline` judges in its place")
        if self.models is not None and self.model is not None:
            raise ValueError("`models` is a jury and `model` one judge: give one of them")
        return self

    @property
    def names(self) -> list[str]:
        """The levels as the judge writes them, from the worst to the best."""
        if self.scale is not None:
            low, high = self.scale
            return [str(level) for level in range(low, min(high, low + MOST_LEVELS) + 1)]
        return list(self.levels or (WRONG, RIGHT))

    @property
    def bounds(self) -> tuple[float, float]:
        """The scores of the worst and of the best level."""
        return (0.0, 1.0) if self.scale is None else (float(self.scale[0]), float(self.scale[-1]))
