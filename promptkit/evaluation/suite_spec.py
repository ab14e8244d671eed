"""What a suite's file may hold: closed sets of keys."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from promptkit.engine import Closed


class TargetSpec(Closed):
    """`target:` as a mapping: a pipeline, or one step of it; `feed` says where the step's inputs come from."""

    pipeline: str
    step: str | None = None
    feed: Literal["data", "recorded"] = "data"


class BoundSpec(Closed):
    """A threshold on one metric, or on `tokens`, `latency`, `cost`, `unparsed`.

    `at_least` is on the interval's lower end, `at_most` on its upper one; `per_case` is the least share of a row's
    repeats that must be right, for every row; `against` names a run, `last` or a baseline's file, and `drop_at_most`
    how far below it the difference's lower end may lie.
    """

    at_least: float | None = None
    at_most: float | None = None
    per_case: float | None = Field(default=None, ge=0, le=1)
    against: str | int | None = None
    drop_at_most: float | None = Field(default=None, ge=0)


class StepSuiteSpec(Closed):
    """`steps: {NAME: …}`: the labels of one step, which is measured alone."""

    inputs: dict[str, Any] | None = None
    expect: Any = None
    metrics: dict[str, Any] = Field(min_length=1)


class SuiteSpec(Closed):
    """The top of a suite. Metrics, variants and steps are read one by one, so that no mistake hides another."""

    name: str | None = None
    about: str = ""
    data: Any
    target: str | dict[str, Any]
    inputs: dict[str, Any] | None = None
    expect: Any = None
    metrics: dict[str, Any] = Field(min_length=1)
    variants: dict[str, Any] = Field(default={})
    matrix: dict[str, list[Any]] = Field(default={})
    repeat: int = Field(default=1, ge=1, le=1000)
    thresholds: dict[str, Any] = Field(default={})
    steps: dict[str, Any] = Field(default={})
    concurrency: int | None = Field(default=None, ge=1)
