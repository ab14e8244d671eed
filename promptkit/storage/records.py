"""Reads the JSON records of the store, checking bytes, text, JSON and shape in one place.

Another program, a disk or an older promptkit may have left something else there. A record that is not as it
should be raises DamagedRecord, which names the table and the key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from promptkit.errors import DamagedRecord, PromptkitError, UnexpectedError
from promptkit.storage.strict_json import finite_float, refuse_constant

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Shape = TypeVar("Shape")

MOST_NAMED = 3
"""Damaged records that a notice names."""


class Damage:
    """The damaged records of a store that were met and left out, each once, in order."""

    def __init__(self) -> None:
        self._found: dict[str, DamagedRecord] = {}

    def add(self, error: DamagedRecord) -> None:
        """Note a damaged record."""
        self._found.setdefault(error.where, error)

    @contextmanager
    def skipping(self) -> Iterator[None]:
        """Note the damaged record that the block meets, and go on after the block."""
        try:
            yield
        except DamagedRecord as error:
            self.add(error)

    def forget(self) -> None:
        """Drop the records noted so far: they are reported elsewhere."""
        self._found.clear()

    @property
    def notice(self) -> str:
        """One line that names the first records and the repair; empty where there are none."""
        found = list(self._found.values())
        if not found:
            return ""
        named = [f"{error.where}: {error.why}" for error in found[:MOST_NAMED]]
        more = [f"and {len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
        records = "; ".join([*named, *more])
        return f"the store is damaged, these records were left out ({records}): promptkit runs repair"


def column_text(kept: object) -> str | None:
    """Return a column's text; None where it holds neither text nor UTF-8 bytes."""
    if isinstance(kept, bytes):
        try:
            return kept.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None
    return kept if isinstance(kept, str) else None


def read_record(kept: object, shape: Callable[..., Shape], where: str) -> Shape:
    """Return the value of a JSON column of a given shape. `where` names the record.

    Raises DamagedRecord where it is not text, not JSON, or of another shape.
    """
    return check_shape(read_json(kept, where), shape, where)


def read_json(kept: object, where: str) -> Any:
    """Return the value of a JSON column of any shape. Raises DamagedRecord where it is not text or not JSON."""
    text = column_text(kept)
    if text is None:
        raise DamagedRecord(where, "it is not text")
    try:
        return _decode(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(where, f"it is not JSON ({error})") from None


def check_shape(value: object, shape: Callable[..., Shape], where: str) -> Shape:
    """Return a value checked against a shape. Raises DamagedRecord."""
    from pydantic import ValidationError

    try:
        found: Shape = _adapter(shape).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DamagedRecord(where, f"{f'`{place}`: ' if place else ''}{first['msg']}") from None
    except RecursionError:
        raise DamagedRecord(where, "it is nested too deep") from None
    return found


@contextmanager
def reading_record(where: str) -> Iterator[None]:
    """Raise DamagedRecord in place of an unforeseen exception: the record lacks a part that is read of it.

    SystemExit passes: it ends a command whose reader has gone.
    """
    try:
        yield
    except PromptkitError:
        raise
    except Exception as error:
        raise DamagedRecord(where, f"it lacks what is read of it ({UnexpectedError(error).message})") from error


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    """Return the validator of a shape, made at its first use: making it takes longer than many checks."""
    from pydantic import TypeAdapter

    return TypeAdapter(shape)


_decode = json.JSONDecoder(parse_constant=refuse_constant, parse_float=finite_float).decode
