"""A suite that was read and found right: what is asked, of which rows, in which variants, and what is measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptkit.answers import AnswerType
    from promptkit.engine import Pipeline, Value
    from promptkit.errors import Problem
    from promptkit.evaluation.data import Data
    from promptkit.evaluation.metrics import Metric
    from promptkit.evaluation.variants import Wanted
    from promptkit.project import Project

KEY_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of asking. `sets` is what it changes, as in `--set`; `model` answers steps that name none.

    `pipeline` is the target so changed: a pipeline, or the step that is measured as one; `content` tells apart the
    files and settings it was read from. `counted` is the step whose requests count, where the steps before it run too.
    """

    name: str
    sets: Mapping[str, Any]
    pipeline: Pipeline
    content: bytes
    model: str | None = None
    counted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric with what it compares: `of` (None: the output) and `expect` (None: the suite's).

    `texts` are both as they are written, that of `expect` the suite's where the metric has none.
    """

    metric: Metric
    of: Value | None = None
    expect: Value | None = None
    texts: tuple[Any, Any] = (None, None)

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def key(self) -> str:
        """What tells its scores from those that another measure gives to the same answers to the same rows."""
        text = json.dumps([self.metric.key, *self.texts], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What a metric, or `tokens`, `latency`, `cost`, `unparsed`, must hold: `evaluation.gates` says how.

    `bounds` are the keys that were given, `where` their place in the suite.
    """

    name: str
    bounds: Mapping[str, Any]
    where: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite, ready to run. The first variant is the baseline, the first measure the aim.

    `sets` are those of the command line, which change all variants. `inputs` and `expect` are left out (None) where
    fields of the same names, and the field `expect`, are meant. `steps` are the suites of steps that have labels of
    their own, each measured alone. `wanted` is the target before its variants.
    """

    name: str
    about: str
    file: Path
    project: Project
    target: str
    data: Data
    inputs: Mapping[str, Value] | None
    expect: Value | None
    measures: tuple[Measure, ...]
    variants: tuple[Variant, ...]
    wanted: Wanted
    repeat: int = 1
    thresholds: tuple[Threshold, ...] = ()
    concurrency: int | None = None
    sets: tuple[str, ...] = ()
    steps: tuple[Suite, ...] = field(default=())

    @property
    def baseline(self) -> Variant:
        return self.variants[0]


def answer_type(pipeline: Pipeline) -> AnswerType | None:
    """Return the type of a target's output, where it is the answer of one step and the same for all rows."""
    from promptkit.answers import AnswerType

    if len(pipeline.output.names) != 1 or pipeline.output.attributes:
        return None
    step = pipeline.steps.get(next(iter(pipeline.output.names)))
    if step is None or step.asking is None or step.for_each is not None:
        return None
    return step.asking.answer if isinstance(step.asking.answer, AnswerType) else None
