"""Equal requests: candidates that send the same are told by a rehearsal on stand-in replies, without any request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.pipeline import Pipeline, PromptCall
from promptkit.engine.render import rehearse, render
from promptkit.errors import PromptkitError
from promptkit.runtimes.base import Request
from promptkit.runtimes.models import Models
from promptkit.runtimes.serialization import request_record
from promptkit.storage.hashes import content_key

FINGERPRINT_ROWS: Final = 2
"""The number of rows on which the requests of candidates are compared before they enter a search."""
KEY_BYTES: Final = 8
VANILLA: Final = "vanilla"
UNREADABLE: Final = "…"
"""The stand-in reply that is no answer of any closed type: it leads to what a technique does after a bad reply."""
ANSWER: Final = "1"
"""The stand-in reply that is an answer without labels, and a program that gives a number."""
SHOWN_SETTINGS: Final = frozenset(
    {"technique", "decide", "calibrate", "about", "prompt", "examples", "layout", "messages", "cue", "options"}
)
"""The settings of a step whose whole effect is in its requests and in `_reading`."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The requests of a candidate on some rows. Equal keys: equal requests, and replies are read in the same way.

    `length`: the characters of all first requests together; None where they cannot be made.
    """

    key: str
    length: int | None


async def rehearse_target(
    pipeline: Pipeline, changes: Mapping[str, Any], values: Sequence[Mapping[str, Any]], models: Models
) -> Rehearsal:
    """Return the rehearsal of a target on rows. Sends no request.

    `changes` make the pipeline from the start, as in `--set`; `values` are the target's inputs, one mapping per row. A
    step without a technique is known by its first request. Another one runs on stand-in replies, on one of them each
    time, so that the requests after an answer, a failure and a program's value are compared too. A setting whose effect
    is not in a request counts by its value, and so do all where a request cannot be made.
    """
    requests: list[tuple[str, Request]] = []
    first: list[Request] = []
    try:
        for row in values:
            for name, step in pipeline.steps.items():
                if step.prompt_call is None:
                    continue
                made = await _step_requests(pipeline, name, step.prompt_call, row, models)
                requests += [(name, request) for request in made]
                first += made[:1]
    except PromptkitError:
        return Rehearsal(_key(dict(changes)), None)
    steps = {name for name, _ in requests}
    hidden = {key: value for key, value in changes.items() if not _is_shown(key, steps)}
    content = [
        [[name, _reading(step.prompt_call)] for name, step in pipeline.steps.items() if step.prompt_call is not None],
        # Requests that run concurrently have no order.
        sorted(json.dumps([name, request_record(request)], sort_keys=True) for name, request in requests),
        hidden,
    ]
    return Rehearsal(_key(content), sum(len(_text(request)) for request in first))


async def _step_requests(
    pipeline: Pipeline, name: str, call: PromptCall, row: Mapping[str, Any], models: Models
) -> list[Request]:
    if call.technique == VANILLA:
        return [rendered.request for rendered in await render(pipeline, row, models=models, step=name)]
    answer = call.answer
    labels = answer.alternatives() if isinstance(answer, AnswerType) else ()
    made = []
    for reply in dict.fromkeys((UNREADABLE, ANSWER, *labels[:1])):
        made += await rehearse(pipeline, row, models=models, step=name, reply=reply)
    return made


def _reading(call: PromptCall) -> list[Any]:
    """Return the settings that decide how replies are read, as far as requests do not show them."""
    decide = call.decide if call.technique == VANILLA or call.decide == "score" else None
    return [call.technique, decide, call.calibrate if call.decide == "score" else None]


def _is_shown(key: str, steps: set[str]) -> bool:
    name, _, below = key.partition(".")
    return name in steps and below.partition(".")[0] in SHOWN_SETTINGS


def _text(request: Request) -> str:
    return "".join([*(message.content for message in request.messages), request.prompt or "", request.begun])


def _key(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return content_key(text, KEY_BYTES).hex()
