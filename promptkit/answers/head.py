"""A head: a classifier on the vector that a model has of a prompt, kept as `PIPELINE.STEP.head.json`.

The classifier is multinomial logistic regression. Its probabilities are those of the logits divided by a temperature
(Guo et al. 2017). It answers where the largest reaches a threshold, and abstains elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from promptkit.errors import InputError, Problem, place
from promptkit.runtimes.base import HiddenState, Pooling
from promptkit.runtimes.serialization import vector_from, vector_text
from promptkit.storage.files import Stamp, file_stamp, read_text
from promptkit.storage.models import schema_error_text

HEAD: Final = "head.json"
"""The end of a head's file name, after `PIPELINE.STEP.`."""
ABOVE_ALL: Final = 2.0
"""The threshold of a head that always abstains: no probability reaches it."""
LARGEST_FILE: Final = 64_000_000
_MOST_NUMBERS: Final = 10_000_000

Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


def _vector(text: str) -> str:
    if not len(vector_from(text)) <= _MOST_NUMBERS:
        raise ValueError(f"more than {_MOST_NUMBERS:,} numbers")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MeasuredShare(_Part):
    """A share of rows with its 95 % interval."""

    mean: Share
    low: Share
    high: Share


class Cascade(_Part):
    """The cross-validated cascade: the share of rows that the head `answers` by itself, the share of all rows that it
    answers `wrongly`, and its accuracy `among_answered` (None where it answers none).

    The threshold was chosen on the same rows, so that `wrongly` is below the risk by construction.
    """

    answers: Share
    wrongly: Share
    among_answered: Share | None = None


class Head(_Part):
    """A fitted head. `coefficients` are (labels, numbers of a vector), row by row; `intercepts` (labels,).

    `model` is the reference of the model, `weights` the digest of its weights; `layer` (None: the vectors that the
    server gives for embeddings) and `pooling` say which vector; `prompt` is a digest of what the step sends beside its
    inputs. `threshold` is the smallest probability with which the head answers: the share of all rows that it answers
    wrongly is expected to be at most `risk`. `rows` are the hashes of the rows that it was fitted on, `data` that of
    all of them with their answers. Accuracies are cross-validated on these rows.
    """

    version: Literal[1] = 1
    pipeline: str
    step: str
    model: str
    weights: str
    layer: Annotated[int, Field(gt=0)] | None
    pooling: Pooling
    prompt: Digest
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    coefficients: Annotated[str, AfterValidator(_vector)] = Field(repr=False)
    intercepts: Annotated[str, AfterValidator(_vector)] = Field(repr=False)
    temperature: Annotated[float, Field(gt=0)]
    penalty: Annotated[float, Field(gt=0)]
    risk: Annotated[float, Field(gt=0, lt=1)]
    threshold: Annotated[float, Field(ge=0, le=ABOVE_ALL)]
    accuracy: MeasuredShare
    tfidf: MeasuredShare
    majority: MeasuredShare
    cascade: Cascade
    data: Digest
    seed: int
    rows: tuple[Digest, ...] = Field(repr=False)

    @model_validator(mode="after")
    def _matching_shapes(self) -> Head:
        labels, numbers = len(self.labels), len(vector_from(self.coefficients))
        if len(set(self.labels)) < labels:
            raise ValueError("a label is there twice")
        if len(vector_from(self.intercepts)) != labels or not numbers or numbers % labels:
            raise ValueError(f"the numbers of `coefficients` and `intercepts` do not fit {labels} labels")
        return self

    @property
    def state(self) -> HiddenState:
        """The vector that the head takes."""
        return HiddenState(self.layer, self.pooling)

    @property
    def where(self) -> str:
        """The vector that the head takes, as a person reads it."""
        layer = "embedding" if self.layer is None else f"layer {self.layer}"
        return f"{layer}, {'mean' if self.pooling == 'mean' else 'last token'}"


@dataclass(frozen=True, slots=True)
class HeadDecision:
    """The natural logarithm of each label's probability, and whether the head abstains."""

    logprobs: dict[str, float]
    abstains: bool


def decide_by_head(head: Head, vector: Sequence[float]) -> HeadDecision:
    """Return the decision of a head on a vector. Raises ValueError for a vector of another length."""
    import numpy as np

    coefficients = np.array(vector_from(head.coefficients)).reshape(len(head.labels), -1)
    if coefficients.shape[1] != len(vector):
        raise ValueError(f"the vector has {len(vector)} numbers, the head takes {coefficients.shape[1]}")
    logits = (coefficients @ np.array(vector) + np.array(vector_from(head.intercepts))) / head.temperature
    logprobs = logits - np.logaddexp.reduce(logits)
    values = dict(zip(head.labels, map(float, logprobs), strict=True))
    return HeadDecision(values, bool(np.exp(logprobs.max()) < head.threshold))


def head_file(home: Path) -> Path:
    """Return the path of a step's head; `home` is the path of the pipeline's folder with `PIPELINE.STEP`."""
    return home.parent / f"{home.name}.{HEAD}"


def read_head(file: Path) -> Head:
    """Read a head. Raises InputError with everything that is wrong in the file."""
    return _read(file, file_stamp(file))


@lru_cache(maxsize=100)
def _read(file: Path, stamp: Stamp | None) -> Head:
    if stamp is not None and stamp[1] > LARGEST_FILE:
        raise InputError(Problem(f"larger than {LARGEST_FILE:,} bytes, so it is not a head", place(file)))
    text = read_text(file)
    try:
        return Head.model_validate(json.loads(text))
    except ValidationError as error:
        details = error.errors(include_url=False)[:20]
        problems = [Problem(_message(detail), place(file), hint=_AGAIN) for detail in details]
        raise InputError(problems) from None
    except (ValueError, RecursionError) as error:
        raise InputError(Problem(f"not JSON: {error}", place(file), hint=_AGAIN)) from None


_AGAIN = "`promptkit train --head` writes it anew"


def _message(detail: Any) -> str:
    at = ".".join(map(str, detail["loc"]))
    return f"`{at}`: {schema_error_text(detail)}" if at else schema_error_text(detail)


def numbers_text(values: Any) -> str:
    """Return an array of numbers as the text that a head keeps."""
    return vector_text([float(value) for value in values.ravel()])
