"""Examples in a file of rows, and the fields of a row that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from promptkit.errors import InputError, Problem, place
from promptkit.prompts.expressions import Expression
from promptkit.prompts.prompt import Example
from promptkit.storage.files import Stamp
from promptkit.storage.rows import deduplicated_problems, read_numbered

Pick = Literal["first", "random", "balanced", "similar"]
ExampleSource = tuple[Path, Stamp | None, tuple[str, ...], tuple[tuple[str, str], ...]]
"""The arguments of `read_example_rows`."""
MAX_PROBLEMS: Final = 20
OUTPUT: Final = "output"
THOUGHTS: Final = "thoughts"


class FileExamples(BaseModel):
    """Examples from the rows of a file, and how some of them are picked.

    `input`, `output` and `thoughts` name the fields of a row, or are expressions over `row`. `input` maps inputs of the
    prompt, or is that of its one required input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    input: str | dict[str, str] | None = None
    output: str = OUTPUT
    thoughts: str = THOUGHTS
    pick: Pick = "first"
    count: int = Field(default=4, ge=0)
    seed: int = 7


@lru_cache(maxsize=16)
def read_example_rows(
    path: Path, _stamp: Stamp | None, names: tuple[str, ...], fields: tuple[tuple[str, str], ...]
) -> tuple[Example, ...]:
    """Return the rows of a file as examples, cached until the file changes.

    `names` are the prompt's inputs; `fields` maps `output`, `thoughts` and perhaps `input.NAME` to the fields of a row,
    or expressions over it. Raises InputError with all problems, those that rows share once.
    """
    read: list[Example] = []
    problems: list[Problem] = []
    for number, (line, row) in enumerate(read_numbered(path), start=1):
        spot = Problem("", str(place(path)), line)
        try:
            if isinstance(row, Problem):
                raise InputError(row)
            read.append(_row_example(row, number, spot, names, dict(fields)))
        except InputError as error:
            problems += (problem if problem.file else _placed(problem, spot, number) for problem in error.problems)
    if problems:
        raise InputError(deduplicated_problems(problems)[:MAX_PROBLEMS])
    return tuple(read)


def _placed(problem: Problem, spot: Problem, number: int) -> Problem:
    return replace(spot, message=f"row {number}: {problem.message}", hint=problem.hint)


def _row_example(
    row: Mapping[str, Any], number: int, spot: Problem, names: tuple[str, ...], fields: Mapping[str, str]
) -> Example:
    """Return a row as an example. Its inputs are where `fields` says, else under `input` or in fields of their name."""
    mapped = {key.removeprefix("input."): text for key, text in fields.items() if key.startswith("input.")}
    given, output = row.get("input"), _field(row, fields[OUTPUT], OUTPUT)
    if mapped:
        inputs = {name: _field(row, text, f"input.{name}") for name, text in mapped.items()}
    elif isinstance(given, Mapping):
        inputs = dict(given)
    else:
        inputs = {name: row[name] for name in names if name in row}
    if not inputs:
        hint = f"this row has: {', '.join(row)}; `input: {{NAME: FIELD}}` beside `file` says which are meant"
        raise InputError(Problem(f"there is none of the inputs {', '.join(names)}", hint=hint))
    has_thoughts = THOUGHTS in row or fields[THOUGHTS] != THOUGHTS
    thoughts = _field(row, fields[THOUGHTS], THOUGHTS) if has_thoughts else None
    return Example(inputs, output, str(thoughts) if thoughts else None, number, spot)


def _field(row: Mapping[str, Any], text: str, key: str) -> Any:
    """Return a field of a row, or the value of an expression over it. Raises InputError without a place."""
    if "{{" in text:
        return Expression.parse(text).evaluate({"row": row})
    if text not in row:
        hint = f"this row has: {', '.join(row)}; `{key}: FIELD` beside `file` names another"
        raise InputError(Problem(f"there is no field `{text}`", hint=hint))
    return row[text]
