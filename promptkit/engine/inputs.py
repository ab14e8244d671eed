"""The inputs of a run: given values, text from the command line, defaults and examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A value for each input, and the names of those that come from `example:`, to be said."""

    values: Mapping[str, Any]
    examples: tuple[str, ...] = ()


def fill(
    pipeline: Pipeline, given: Mapping[str, Any] | None = None, *, texts: Mapping[str, str] | None = None
) -> Filled:
    """Return the inputs of a run. `given` are values, `texts` what was typed (`NAME=VALUE`), read by the input's type.

    With neither, the examples are used. Raises InputError for unknown and missing inputs and values of another type.
    """
    raise NotImplementedError
