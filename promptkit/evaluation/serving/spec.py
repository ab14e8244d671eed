"""The section `serving:` of a suite, and the concurrencies that a command line names in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator

from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError

MOST_CONCURRENT = 1024
NO_SERVING = "none"
SERVED_CONVERSATION = "serving cannot be measured on a conversation, whose turns wait for each other"
SERVE_ALONE = "measure serving in a suite without `conversation`"


class ServingSpec(ClosedModel):
    """`serving:`: the numbers of concurrent requests, and for each of them how many rows every variant is asked.

    `warmup` rows are asked before each block of rows and not measured.
    """

    concurrency: list[int] = Field(default=[1], min_length=1)
    rows: int = Field(default=50, ge=1)
    warmup: int = Field(default=2, ge=0)

    @field_validator("concurrency")
    @classmethod
    def _check(cls, concurrency: list[int]) -> list[int]:
        for count in concurrency:
            if not 1 <= count <= MOST_CONCURRENT:
                raise ValueError(f"{count} is not a number of concurrent requests: 1 to {MOST_CONCURRENT}")
        if len(set(concurrency)) < len(concurrency):
            raise ValueError("a number of concurrent requests stands there twice")
        return concurrency


def serving_values(given: Any) -> Any:
    """Return the value of `serving:` as a mapping: a list, or one number, are its concurrencies."""
    if isinstance(given, list):
        return {"concurrency": given}
    return {"concurrency": [given]} if type(given) is int else given


def typed_serving(text: str | Sequence[int]) -> list[int]:
    """Return the concurrencies of `--serving 1,4,16`; none for `none`. Raises InputError."""
    if text == NO_SERVING:
        return []
    parts = text.split(",") if isinstance(text, str) else [str(count) for count in text]
    try:
        return ServingSpec(concurrency=[int(part) for part in parts]).concurrency
    except ValueError:
        hint = f"--serving 1,4,16: different numbers from 1 to {MOST_CONCURRENT}; `{NO_SERVING}` measures nothing"
        raise InputError(f"`--serving {text}` does not name numbers of concurrent requests", hint=hint) from None
