"""Examples from front matter or from a file of rows, and the choice of those that a row is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Final

from pydantic import ValidationError

from promptkit.errors import InputError, Problem, nearest
from promptkit.prompts.example_files import ExampleSource, FileExamples, read_example_rows
from promptkit.prompts.expressions import Expression
from promptkit.prompts.prompt import Example, Prompt
from promptkit.prompts.tfidf import LexicalIndex
from promptkit.storage.files import file_stamp
from promptkit.storage.models import schema_error_text

Report = Callable[[Sequence[str | int], str, str | None], Problem]
ReadOutput = Callable[[Example], Any]
"""Returns the output of an example as a value of the answer's type, or unchanged."""

_EXAMPLE_KEYS: Final = ("input", "output", "thoughts")


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


def read_examples(prompt: Prompt, spec: Any = None, *, read_output: ReadOutput | None = None) -> Examples:
    """Read the examples of a prompt, or of a step's own `examples:` value (`spec`, with its file's path absolute).

    They are a list of `{input, output, thoughts}`, or a `FileExamples`, whose outputs `read_output` reads. `similar`
    compares inputs and puts the nearest example last. Raises InputError; problems of a `spec` have no place.
    """
    in_prompt = spec is None
    given = prompt.settings.get("examples") if in_prompt else spec
    report = _reporter(prompt) if in_prompt else _placeless
    if given is None:
        return Examples()
    if isinstance(given, Mapping):
        chosen = _file_examples(given, report)
        path = _path(prompt, chosen.file, in_prompt, report)
        source = (path, file_stamp(path), tuple(prompt.inputs), _fields(chosen, prompt, report))
        return _picked_examples(source, chosen, read_output or (lambda example: example.output))
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


def _fields(chosen: FileExamples, prompt: Prompt, report: Report) -> tuple[tuple[str, str], ...]:
    """Return the fields of a row that examples are made of. Raises InputError for inputs that the prompt lacks."""
    given = chosen.input or {}
    if isinstance(given, str):
        required = [name for name, spec in prompt.inputs.items() if not spec.has_default]
        if len(required) != 1:
            raise InputError(report(("input",), "give the inputs by name: `input: {NAME: FIELD}`", None))
        given = {required[0]: given}
    wrong = [name for name in given if name not in prompt.inputs]
    if wrong:
        messages = [(name, f"`{name}` is not an input of `{prompt.name}`") for name in wrong]
        raise InputError(report(("input", name), message, nearest(name, prompt.inputs)) for name, message in messages)
    inputs = ((f"input.{name}", text) for name, text in given.items())
    fields = (("output", chosen.output), ("thoughts", chosen.thoughts), *inputs)
    for key, text in fields:
        if "{{" in text:
            _check_expression(key, text, report)
    return fields


def _check_expression(key: str, text: str, report: Report) -> None:
    """Raise InputError for a text that is not an expression over `row`."""
    path = key.split(".", 1) if key.startswith("input.") else [key]
    try:
        names = Expression.parse(text).names - {"row"}
    except InputError as error:
        raise InputError(report(path, problem.message, problem.hint) for problem in error.problems) from None
    if names:
        raise InputError(report(path, f"unknown name `{min(names)}`", f"write `row.{min(names)}`"))


def _picked_examples(source: ExampleSource, chosen: FileExamples, read_output: ReadOutput) -> Examples:
    def typed(rows: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(replace(row, output=read_output(row)) for row in rows)

    def nearest_to(values: Mapping[str, Any]) -> tuple[Example, ...]:
        ranked = _index(source).nearest(_text(values), chosen.count + 1)
        nearest_first = [examples[row] for row in ranked if not _is_this_row(examples[row], values)]
        return tuple(reversed(nearest_first[: chosen.count]))

    def pick(rows: Sequence[Example]) -> tuple[Example, ...]:
        if chosen.pick == "random":
            return typed(Random(chosen.seed).sample(rows, min(chosen.count, len(rows))))
        if chosen.pick == "balanced":
            return typed(_balanced(rows, chosen))
        return typed(rows[: chosen.count])

    examples = read_example_rows(*source)
    if chosen.pick == "similar":
        examples = typed(examples)
        return Examples(examples, examples, pick, nearest_to)
    return Examples(pick(examples), examples, pick)


@lru_cache(maxsize=16)
def _index(source: ExampleSource) -> LexicalIndex:
    """Return the index of a file's examples by the words of their inputs, made once."""
    return LexicalIndex([_text(example.inputs) for example in read_example_rows(*source)])


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


def _text(values: Mapping[str, Any]) -> str:
    return "\n".join(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        for value in values.values()
    )
