"""Candidates that ask the same, whatever they are called."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from promptkit.engine import render
from promptkit.errors import PromptkitError
from promptkit.runtimes import request_record

if TYPE_CHECKING:
    from promptkit.engine import Pipeline
    from promptkit.runtimes import Models
    from promptkit.tuning.candidate import Candidate

ROWS: Final = 2
"""On so many rows requests are compared."""
KEY_BYTES: Final = 8
VANILLA: Final = "vanilla"
GOES_ON: Final = frozenset({"technique", "decide", "calibrate"})
SHOWN: Final = GOES_ON | {"about", "prompt", "examples", "layout", "messages", "cue", "options"}
"""The settings of a step whose effect shows in its first request, where that is its only kind of request."""


async def asking_differently(
    candidates: Sequence[Candidate],
    pipeline_of: Callable[[Candidate], Pipeline],
    values: Sequence[Mapping[str, Any]],
    models: Models,
) -> list[Candidate]:
    """Return candidates of which those that ask the same on the first rows are one, the first of them.

    `pipeline_of` gives the target as a candidate changes it, `values` what the target takes of each row. No request is
    sent. Those whose requests cannot be made are told apart by what they change.
    """
    found: dict[str, Candidate] = {}
    for candidate in candidates:
        key = await fingerprint(pipeline_of(candidate), candidate.changes, values, models)
        found.setdefault(candidate.key if key is None else key, candidate)
    return list(found.values())


async def fingerprint(
    pipeline: Pipeline, changes: Mapping[str, Any], values: Sequence[Mapping[str, Any]], models: Models
) -> str | None:
    """Return what pipelines share that ask the same: each step's first request on the first rows, and how it goes on.

    `changes` are those by which the pipeline differs from the start, as in `--set`. None where a request cannot be
    made.
    """
    told: list[Any] = [[name, *_goes_on(pipeline, name)] for name in pipeline.steps]
    told.append({key: value for key, value in changes.items() if not _is_shown(pipeline, key)})
    try:
        for row in values[:ROWS]:
            rendered = await render(pipeline, row, models=models)
            told += [[each.step, request_record(each.request)] for each in rendered]
    except PromptkitError:
        return None
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).hexdigest()


def _is_shown(pipeline: Pipeline, key: str) -> bool:
    """Tell whether all that a setting changes shows in the first request of its step, or in how it goes on."""
    name, _, below = key.partition(".")
    asking = pipeline.steps[name].asking
    setting = below.partition(".")[0]
    return asking is not None and setting in (SHOWN if asking.technique == VANILLA else GOES_ON)


def _goes_on(pipeline: Pipeline, name: str) -> tuple[Any, ...]:
    """Return of a step what its first request does not show and later ones, or what is made of replies, rest on."""
    asking = pipeline.steps[name].asking
    if asking is None:
        return ()
    thinks = [each.thoughts for each in asking.examples.all]
    return asking.technique, asking.decide, asking.calibrate if asking.decide == "score" else None, thinks
