"""The exact first request of each step, without asking a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptkit.engine.session import Settings

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline
    from promptkit.runtimes import Models, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What a step would send first. `text` is the prompt after the chat template, `tokens` its length, where known.

    `assumed` says for each value that no step has made where it comes from (`last run`, `example`, `placeholder`).
    """

    step: str
    request: Request
    text: str | None
    tokens: int | None
    assumed: Mapping[str, str]
    notices: tuple[str, ...] = ()


async def render(
    pipeline: Pipeline,
    inputs: Mapping[str, Any],
    *,
    models: Models,
    step: str | None = None,
    known: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> list[Rendered]:
    """Return the first request of each step (or of `step`), in the pipeline's order; tool steps send none.

    `known` holds results of steps (of the last run, or typed as NAME=VALUE). Raises InputError.
    """
    raise NotImplementedError
