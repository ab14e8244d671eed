"""Examples in a file of rows, and the fields of a row that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from promptkit.errors import InputError, Problem, place
from promptkit.prompts.expressions import Expression
from promptkit.prompts.nearest_examples import NearestBy
from promptkit.prompts.prompt import Example
from promptkit.storage.files import Stamp
from promptkit.storage.rows import deduplicated_problems, read_numbered

Pick = Literal["first", "random", "balanced"]
ExampleSource = tuple[Path, Stamp | None, tuple[str, ...], tuple[tuple[str, str], ...]]
"""The arguments of `read_example_rows`."""
MAX_PROBLEMS: Final = 20
OUTPUT: Final = "output"
THOUGHTS: Final = "thoughts"


class ExamplesSettings(BaseModel):
    """Examples of a source, and how some of them are picked: the same ones for all rows, or the nearest to each row.

    `file` names a file of rows, `from` that or is a list of examples; `nearest` without either picks from the prompt's
    own. `input`, `output` and `thoughts` name the fields of a row, or are expressions over `row`. `input` maps inputs
    of the prompt, or is that of its one required input. `by` and `model` belong to `nearest`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str | None = None
    from_: str | list[Any] | None = Field(default=None, alias="from")
    input: str | dict[str, str] | None = None
    output: str = OUTPUT
    thoughts: str = THOUGHTS
    pick: Pick = "first"
    count: int = Field(default=4, ge=0)
    seed: int = 7
    nearest: int | None = Field(default=None, ge=1)
    by: NearestBy | None = None
    model: str | None = None

    @property
    def path(self) -> str | None:
        """The file of rows, None without one."""
        return self.from_ if isinstance(self.from_, str) else self.file

    def faults(self) -> Iterator[tuple[str, str, str | None]]:
        """Yield each key that does not go with the others, with a message and a hint."""
        given = self.model_fields_set
        if self.nearest is None:
            for key in ("from_", "by", "model"):
                if key in given:
                    message = f"`{key.rstrip('_')}` belongs to `nearest`, and there is none"
                    yield key.rstrip("_"), message, "`nearest: 4` shows each row the four nearest examples"
            if self.file is None and "from_" not in given:
                yield "file", "`file` is missing", "`file: ROWS.jsonl` names a file of rows"
            return
        for key in ("pick", "count", "seed"):
            if key in given:
                hint = f"leave `{key}` out: `nearest` says which examples are shown, and how many"
                yield key, f"`{key}` does not go with `nearest`", hint
        if self.file is not None and self.from_ is not None:
            yield "from", "`from` and `file` both say where examples are", "leave one of them out"
        if self.by == "words" and self.model is not None:
            yield "model", "`model` embeds, and `by: words` compares without it", "leave one of them out"
        if self.path is None:
            for key in ("input", "output", "thoughts"):
                if key in given:
                    yield key, f"`{key}` names a field of a file's rows, and there is no file", "name it by `from`"


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
        hint = f"this row has: {', '.join(row)}; `input: {{NAME: FIELD}}` under `examples` says which are meant"
        raise InputError(Problem(f"there is none of the inputs {', '.join(names)}", hint=hint))
    has_thoughts = THOUGHTS in row or fields[THOUGHTS] != THOUGHTS
    thoughts = _field(row, fields[THOUGHTS], THOUGHTS) if has_thoughts else None
    return Example(inputs, output, str(thoughts) if thoughts else None, number, spot)


def _field(row: Mapping[str, Any], text: str, key: str) -> Any:
    """Return a field of a row, or the value of an expression over it. Raises InputError without a place."""
    if "{{" in text:
        return Expression.parse(text).evaluate({"row": row})
    if text not in row:
        hint = f"this row has: {', '.join(row)}; `{key}: FIELD` under `examples` names another"
        raise InputError(Problem(f"there is no field `{text}`", hint=hint))
    return row[text]
