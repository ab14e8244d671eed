"""Examples from front matter or from a file of rows, and the choice of those that a row is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit.errors import InputError, Problem, nearest, place
from promptkit.prompts.prompt import Example, Prompt
from promptkit.prompts.tfidf import LexicalIndex
from promptkit.storage.files import Stamp, file_stamp
from promptkit.storage.models import schema_error_text
from promptkit.storage.rows import read_rows

Pick = Literal["first", "random", "balanced", "similar"]
Report = Callable[[Sequence[str | int], str, str | None], Problem]

MAX_PROBLEMS: Final = 20
_EXAMPLE_KEYS: Final = ("input", "output", "thoughts")


class FileExamples(BaseModel):
    """Examples from the rows of a file, and how some of them are picked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    pick: Pick = "first"
    count: int = Field(default=4, ge=0)
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a prompt. `shown` picks those for a row.

    `all` holds every example that a row may be shown which is not itself an example.
    """

    all: tuple[Example, ...] = ()
    _rows: tuple[Example, ...] = ()
    _pick: Callable[[Sequence[Example]], tuple[Example, ...]] = tuple
    _nearest: Callable[[Mapping[str, Any]], tuple[Example, ...]] | None = None

    def shown(self, values: Mapping[str, Any] | None = None) -> tuple[Example, ...]:
        """Return the examples for a row with these inputs. Never includes the row itself, which would give the answer
        away.

        Except under `similar`, all rows that are not examples see the same ones.
        """
        if values is None:
            return self._pick(self._rows)
        if self._nearest is not None:
            return self._nearest(values)
        if not any(_is_this_row(example, values) for example in self.all):
            return self.all
        return self._pick([example for example in self._rows if not _is_this_row(example, values)])


def read_examples(prompt: Prompt, spec: Any = None) -> Examples:
    """Read the examples of a prompt, or of a step's own `examples:` value (`spec`, with its file's path absolute).

    They are a list of `{input, output, thoughts}`, or `{file, pick: first|random|balanced|similar, count, seed}`.
    `similar` compares inputs and puts the nearest example last. Raises InputError; problems of a `spec` have no place.
    """
    in_prompt = spec is None
    given = prompt.settings.get("examples") if in_prompt else spec
    report = _reporter(prompt) if in_prompt else _placeless
    if given is None:
        return Examples()
    if isinstance(given, Mapping):
        chosen = _file_examples(given, report)
        path = _path(prompt, chosen.file, in_prompt, report)
        return _picked_examples(path, chosen, prompt)
    if not isinstance(given, list):
        raise InputError(report((), "examples are a list of `{input, output}`, or `{file: …}`", None))
    problems: list[Problem] = []
    examples = [_example(row, prompt, (position,), report, problems) for position, row in enumerate(given)]
    if problems:
        raise InputError(problems)
    rows = tuple(example for example in examples if example is not None)
    return Examples(rows, rows)


def _reporter(prompt: Prompt) -> Report:
    return lambda path, message, hint: prompt.problem(("examples", *path), message, hint)


def _placeless(path: Sequence[str | int], message: str, hint: str | None) -> Problem:
    where = ".".join(map(str, path))
    return Problem(f"examples.{where}: {message}" if where else message, hint=hint)


def _file_examples(given: Mapping[str, Any], report: Report) -> FileExamples:
    try:
        return FileExamples.model_validate(given)
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            key = str(detail["loc"][0]) if detail["loc"] else ""
            if detail["type"] == "extra_forbidden":
                problems.append(report((key,), f"unknown key `{key}`", nearest(key, FileExamples.model_fields)))
            else:
                problems.append(report((key,), f"`{key}`: {schema_error_text(detail)}", None))
        raise InputError(problems) from None


def _path(prompt: Prompt, file: str, in_prompt: bool, report: Report) -> Path:
    path = prompt.folder_of("examples") / file
    project = prompt.loader.project
    if in_prompt and project is not None and not project.inside(path):
        raise InputError(report(("file",), f"the path `{file}` leaves the project", None))
    return path


def _example(
    row: Any, prompt: Prompt, path: Sequence[str | int], report: Report, problems: list[Problem]
) -> Example | None:
    """Return an example as written in YAML. Add what is wrong with it to `problems`."""
    found = len(problems)
    if not isinstance(row, Mapping):
        problems.append(report(path, "an example is `{input: …, output: …}`", None))
        return None
    for key in row:
        if key not in _EXAMPLE_KEYS:
            problems.append(report((*path, key), f"unknown key `{key}`", nearest(str(key), _EXAMPLE_KEYS)))
    problems.extend(report(path, f"`{key}` is missing", None) for key in ("input", "output") if key not in row)
    thoughts = row.get("thoughts")
    if thoughts is not None and not isinstance(thoughts, str):
        problems.append(report((*path, "thoughts"), "thoughts are a text", None))
    if len(problems) > found:
        return None
    inputs = row["input"]
    if not isinstance(inputs, Mapping):
        required = [name for name, spec in prompt.inputs.items() if not spec.has_default]
        if len(required) != 1:
            problems.append(report((*path, "input"), "give the inputs by name: `input: {NAME: …}`", None))
            return None
        inputs = {required[0]: inputs}
    for name in inputs:
        if name not in prompt.inputs:
            message = f"`{name}` is not an input of `{prompt.name}`"
            problems.append(report((*path, "input", name), message, nearest(str(name), prompt.inputs)))
    spot = report((*path, "output"), "", None)
    return Example(dict(inputs), row["output"], thoughts, int(path[-1]) + 1, spot if spot.file else None)


def _picked_examples(path: Path, chosen: FileExamples, prompt: Prompt) -> Examples:
    examples, index = _read(path, file_stamp(path), tuple(prompt.inputs))

    def nearest_to(values: Mapping[str, Any]) -> tuple[Example, ...]:
        ranked = index().nearest(_text(values), chosen.count + 1)
        nearest_first = [examples[row] for row in ranked if not _is_this_row(examples[row], values)]
        return tuple(reversed(nearest_first[: chosen.count]))

    def pick(rows: Sequence[Example]) -> tuple[Example, ...]:
        if chosen.pick == "random":
            return tuple(Random(chosen.seed).sample(rows, min(chosen.count, len(rows))))
        if chosen.pick == "balanced":
            return tuple(_balanced(rows, chosen))
        return tuple(rows[: chosen.count])

    if chosen.pick == "similar":
        return Examples(examples, examples, pick, nearest_to)
    return Examples(pick(examples), examples, pick)


def _balanced(examples: Sequence[Example], chosen: FileExamples) -> list[Example]:
    """Pick examples with each output equally often, as far as there are enough, in random order."""
    random = Random(chosen.seed)
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(json.dumps(example.output, sort_keys=True), []).append(example)
    for group in groups.values():
        random.shuffle(group)
    rounds = max(map(len, groups.values()), default=0)
    turns = [group[turn] for turn in range(rounds) for group in groups.values() if turn < len(group)]
    picked = turns[: chosen.count]
    random.shuffle(picked)
    return picked


def _is_this_row(example: Example, values: Mapping[str, Any]) -> bool:
    """Return True where an example is the row itself, so that it would give the answer away."""
    return bool(values) and all(values.get(name) == value for name, value in example.inputs.items())


@lru_cache(maxsize=16)
def _read(
    path: Path, _stamp: Stamp | None, names: tuple[str, ...]
) -> tuple[tuple[Example, ...], Callable[[], LexicalIndex]]:
    """Return the examples of a file and a function that makes their index, cached until the file changes."""
    read: list[Example] = []
    problems: list[Problem] = []
    for number, row in enumerate(read_rows(path), start=1):
        try:
            read.append(_row_example(row, number, path, names))
        except InputError as error:
            problems += error.problems
            if len(problems) == MAX_PROBLEMS:
                break
    if problems:
        raise InputError(problems)
    examples = tuple(read)

    @lru_cache(maxsize=1)
    def index() -> LexicalIndex:
        return LexicalIndex([_text(example.inputs) for example in examples])

    return examples, index


def _row_example(row: Mapping[str, Any], number: int, path: Path, names: tuple[str, ...]) -> Example:
    """Return a row as an example: its inputs are under `input`, or in fields of their own names."""
    if "output" not in row:
        hint = f"this row has: {', '.join(row)}"
        raise InputError(Problem(f"row {number} has no field `output`", place(path), hint=hint))
    given = row.get("input")
    inputs = given if isinstance(given, Mapping) else {name: row[name] for name in names if name in row}
    if not inputs:
        raise InputError(Problem(f"row {number} has none of the inputs {', '.join(names)}", place(path)))
    thoughts = row.get("thoughts")
    spot = Problem("", place(path))
    return Example(dict(inputs), row["output"], str(thoughts) if thoughts else None, number, spot)


def _text(values: Mapping[str, Any]) -> str:
    return "\n".join(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        for value in values.values()
    )
