"""The rows of a suite: from a file, a list in the suite, or a Python function; selected, split and sampled.

Rows are streamed: between two passes only the row numbers of a sample are kept in memory.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError, Problem, nearest, place
from promptkit.evaluation.suite.generated import is_generated
from promptkit.project_code.reference import guarded
from promptkit.storage.hashes import content_key
from promptkit.storage.rows import read_numbered
from promptkit.storage.strict_json import json_bytes
from promptkit.tools.functions import FunctionTool

SHARE_DIGITS = 2**32
ROW_KEY_BYTES = 16


class SplitSpec(ClosedModel):
    """`split: {share: 0.4}` keeps two rows in five, chosen by their content; `rest: true` keeps the others."""

    share: float = Field(gt=0, lt=1)
    rest: bool = False
    salt: int = Field(default=0, ge=-(2**63), lt=2**63)


class DataSpec(ClosedModel):
    """`data:`. A path alone is `file`, a list is the rows themselves."""

    file: str | None = None
    python: str | None = None
    rows: list[dict[str, Any]] | None = None
    select: str | None = None
    sample: int | None = Field(default=None, gt=0)
    seed: int = 0
    split: str | SplitSpec | None = None
    cluster: str | None = None

    @model_validator(mode="after")
    def _check_shape(self) -> DataSpec:
        given = [key for key in ("file", "python", "rows") if getattr(self, key) is not None]
        if len(given) != 1:
            found = f"this has {' and '.join(given)}" if given else "this has none"
            raise ValueError(f"`data` has one of `file` and `python`, or is a list of rows; {found}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRow:
    """A row with its number in the data (from 1) and its place; `problem` is set where the row is wrong."""

    number: int
    fields: Mapping[str, Any]
    place: Problem
    problem: Problem | None = None

    def wrong(self, message: str, hint: str | None = None) -> Problem:
        """Return a problem with this row, at its place."""
        return replace(self.place, message=f"row {self.number}: {message}", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundRow:
    """A row of data with the target's inputs for each variant, and the expected answer for each measure.

    `expect` is the suite's own expected answer, `key` and `text` are the row's content as a hash and as JSON. `case` is
    a hash of the inputs and the expected answer: rows of two runs that share it are one case. `index`
    counts the rows that are used, from 0. The measures at the places `exempt` do not apply to the row, for the reasons
    there. A row with `problems` is not asked. `turns` are the user's texts of a scripted conversation. Where a
    conversation is played, `inputs` also hold what of the row it is made of, so that rows are told apart by it.
    """

    row: DataRow
    index: int
    inputs: tuple[Mapping[str, Any], ...]
    expected: tuple[Any, ...]
    expect: Any
    key: bytes
    text: str
    case: bytes = b""
    problems: tuple[Problem, ...] = ()
    exempt: Mapping[int, str] = field(default_factory=dict)
    turns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCount:
    """The result of a first pass over the data: the rows that are used, and the wrong ones (the first 20).

    `generated` counts the rows that a model wrote.
    """

    rows: int
    wrong: int
    problems: tuple[Problem, ...]
    hash: str
    generated: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The source of the rows, and the choice of those that are used. `where` is the place of `data:` in the suite.

    `only` are the values that fields must have (`--filter`), `limit` takes the first rows (`--limit`). `held` are rows
    that were read before, and replace all others.
    """

    spec: DataSpec
    file: Path | None
    function: FunctionTool | None
    where: Problem
    only: tuple[tuple[str, str], ...] = ()
    limit: int | None = None
    held: tuple[DataRow, ...] | None = None

    def of_file(self, file: Path) -> Data:
        """Return the rows of another file, all of them, in place of these."""
        return Data(spec=DataSpec(file=str(file)), file=file, function=None, where=Problem("", place(file)))

    @property
    def shown(self) -> str:
        """The name of the data in messages."""
        if self.file is not None:
            return str(place(self.file))
        return self.function.name if self.function is not None else "the suite's rows"

    def rows(self) -> Iterator[DataRow]:
        """Yield the rows that are used, in the data's order. Raises InputError where the data cannot be read on."""
        if self.held is not None:
            yield from self.held
            return
        found = self._split(self._all())
        if self.spec.sample is not None:
            found = self._sampled(self.spec.sample)
        found = (row for row in found if self._is_wanted(row))
        for taken, row in enumerate(found):
            if self.limit is not None and taken >= self.limit:
                return
            yield row

    def count(self) -> DataCount:
        """Read all rows once. Raises InputError for data that cannot be read, and for none at all."""
        wrong, generated, digest = 0, 0, RowsHash()
        problems: list[Problem] = []
        for row in self.rows():
            digest.add(row_key(row.fields))
            generated += is_generated(row.fields)
            if row.problem is not None:
                wrong += 1
                problems += [row.problem] if len(problems) < 20 else []
        rows = digest.rows
        if wrong and wrong == rows:
            raise InputError(problems)
        if rows == 0:
            raise InputError(self._nothing())
        return DataCount(rows=rows, wrong=wrong, problems=tuple(problems), hash=digest.hexdigest(), generated=generated)

    def changed(self) -> Problem:
        """Return the problem that the rows are not those that were counted."""
        hint = "a function must give the same rows each time: seed what it draws" if self.function else None
        return replace(self.where, message=f"the rows of {self.shown} changed while they were read", hint=hint)

    def _nothing(self) -> Problem:
        narrowed = [
            f"`split: {self.spec.split}`" if isinstance(self.spec.split, str) else "",
            *(f"--filter {key}={value}" for key, value in self.only),
        ]
        filters = " and ".join(text for text in narrowed if text)
        fields = next((row.fields for row in self._all() if row.problem is None), {})
        lacking = [key for key, _ in self.only if key not in fields]
        hint = nearest(lacking[0], fields) if lacking else None
        message = f"no row of {self.shown} matches {filters}" if filters else f"{self.shown} has no rows"
        return replace(self.where, message=message, hint=hint)

    def _all(self) -> Iterator[DataRow]:
        if self.file is not None:
            where = Problem("", str(place(self.file)))
            for number, (line, row) in enumerate(read_numbered(self.file, select=self.spec.select), start=1):
                here = replace(where, line=line)
                if isinstance(row, Problem):
                    yield DataRow(number=number, fields={}, place=here, problem=row)
                else:
                    yield DataRow(number=number, fields=row, place=here)
        else:
            for number, row in enumerate(self._given(), start=1):
                yield self._checked(number, row)

    def _given(self) -> Iterable[Any]:
        if self.function is None:
            return self.spec.rows or ()
        return _function_rows(self.function, self.where)

    def _checked(self, number: int, row: Any) -> DataRow:
        plain = DataRow(number=number, fields={}, place=self.where)
        if not isinstance(row, Mapping):
            return replace(plain, problem=plain.wrong(f"must be a mapping, not {row!r:.60}"))
        try:
            fields = json.loads(json.dumps(row, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            return replace(plain, problem=plain.wrong(f"holds what is not JSON: {error}"))
        return replace(plain, fields=fields)

    def _split(self, rows: Iterable[DataRow]) -> Iterator[DataRow]:
        split = self.spec.split
        if split is None:
            yield from rows
        elif isinstance(split, str):
            yield from (row for row in rows if row.problem or row.fields.get("split") == split)
        else:
            for row in rows:
                if (self._share(row, split.salt) < split.share) is not split.rest:
                    yield row

    def _share(self, row: DataRow, salt: int) -> float:
        """Return a row's place in [0, 1), by its content, so that equal rows are on one side wherever they stand."""
        cluster = cluster_value(row.fields, self.spec.cluster) if self.spec.cluster else None
        content = row_content(row.fields if cluster is None else {"cluster": row.fields[str(self.spec.cluster)]})
        digest = content_key(content, 4, salt=salt.to_bytes(8, "big", signed=True))
        return int.from_bytes(digest, "big") / SHARE_DIGITS

    def _sampled(self, size: int) -> Iterator[DataRow]:
        """Yield a random sample of rows in their order (reservoir sampling: Vitter 1985)."""
        chance = random.Random(self.spec.seed)
        chosen: list[int] = []
        for seen, row in enumerate(self._split(self._all())):
            if seen < size:
                chosen.append(row.number)
            elif (at := chance.randrange(seen + 1)) < size:
                chosen[at] = row.number
        numbers = frozenset(chosen)
        return (row for row in self._split(self._all()) if row.number in numbers)

    def _is_wanted(self, row: DataRow) -> bool:
        return all(key in row.fields and _filter_text(row.fields[key]) == value for key, value in self.only)


def cluster_value(fields: Mapping[str, Any], name: str) -> str | None:
    """Return the value of a row's cluster field as JSON, None where it is blank."""
    value = fields.get(name)
    is_blank = value is None or (isinstance(value, str) and not value.strip())
    return None if is_blank else json.dumps(value, sort_keys=True, ensure_ascii=False)


def row_content(fields: Mapping[str, Any]) -> bytes:
    """Return the content of a row, the order of its fields left aside."""
    return json_bytes(fields, sort_keys=True, allow_nan=True)


class RowsHash:
    """The hash of rows in their order, made of their keys."""

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.blake2b(digest_size=ROW_KEY_BYTES)

    def add(self, key: bytes) -> None:
        """Add the next row's key."""
        self.rows += 1
        self._digest.update(key)

    def hexdigest(self) -> str:
        """Return the hash of the rows so far."""
        return self._digest.hexdigest()


def row_key(fields: Mapping[str, Any]) -> bytes:
    """Return the key of a row: the hash of its content."""
    return content_key(row_content(fields), ROW_KEY_BYTES)


def _filter_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _function_rows(function: FunctionTool, where: Problem) -> Iterator[Any]:
    """Yield the rows that a function of the project gives. Raises InputError where it fails."""

    def failed(message: str) -> InputError:
        return InputError(replace(where, message=f"`{function.name}` {message}"))

    make = function.code.function(failed)
    with guarded(failed, function.file):
        yield from make()
