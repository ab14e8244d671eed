"""Examples from front matter or from a file of rows, and the choice of those that a row is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from pydantic import ValidationError

from promptkit.errors import InputError, Problem, nearest
from promptkit.prompts.example_files import ExampleSource, ExamplesSettings, read_example_rows
from promptkit.prompts.expressions import Expression
from promptkit.prompts.nearest_examples import NearestExamples, is_this_row
from promptkit.prompts.prompt import Example, Prompt
from promptkit.storage.files import file_stamp
from promptkit.storage.models import schema_error_text

Report = Callable[[Sequence[str | int], str, str | None], Problem]
ReadOutput = Callable[[Example], Any]
"""Returns the output of an example as a value of the answer's type, or unchanged."""

_EXAMPLE_KEYS: Final = ("input", "output", "thoughts")
_SETTINGS_KEYS: Final = tuple(field.alias or name for name, field in ExamplesSettings.model_fields.items())


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a prompt. `shown` picks those for a row.

    `all` holds every example that a row may be shown which is not itself an example. `nearest`: each row is shown those
    nearest to it.
    """

    all: tuple[Example, ...] = ()
    _rows: tuple[Example, ...] = ()
    _pick: Callable[[Sequence[Example]], tuple[Example, ...]] = tuple
    nearest: NearestExamples | None = None

    @property
    def pool(self) -> tuple[Example, ...]:
        """All examples of the source, also those that are not picked."""
        return self._rows

    @property
    def how_nearest(self) -> tuple[int, str | None, str | None] | None:
        """How many are nearest, by what and by which model; None if all rows are shown the same ones."""
        return None if self.nearest is None else (self.nearest.count, self.nearest.by, self.nearest.model)

    def shown(self, values: Mapping[str, Any] | None = None) -> tuple[Example, ...]:
        """Return the examples for a row with these inputs. Never includes the row itself, which would give the answer
        away.

        Without `nearest`, all rows that are not examples see the same ones. With it, rows are compared by words.
        """
        if values is None:
            return self._pick(self._rows)
        if self.nearest is not None:
            return self.nearest.by_words(values)
        if not any(is_this_row(example, values) for example in self.all):
            return self.all
        return self._pick([example for example in self._rows if not is_this_row(example, values)])


def read_examples(prompt: Prompt, spec: Any = None, *, read_output: ReadOutput | None = None) -> Examples:
    """Read the examples of a prompt, or of a step's own `examples:` value (`spec`, with its file's path absolute).

    They are a list of `{input, output, thoughts}`, or `ExamplesSettings`, whose outputs `read_output` reads if they
    stand in a file. Raises InputError; problems of a `spec` have no place.
    """
    in_prompt = spec is None
    given = prompt.settings.get("examples") if in_prompt else spec
    report = _reporter(prompt) if in_prompt else _placeless
    if given is None:
        return Examples()
    read_output = read_output or (lambda example: example.output)
    if isinstance(given, Mapping):
        chosen = _settings(given, report)
        if chosen.path is None:
            return _nearest_of_list(prompt, chosen, in_prompt, report, read_output)
        path = prompt.folder_of("examples") / chosen.path
        project = prompt.loader.project
        if in_prompt and project is not None and not project.inside(path):
            key = "file" if chosen.file is not None else "from"
            raise InputError(report((key,), f"the path `{chosen.path}` leaves the project", None))
        source = (path, file_stamp(path), tuple(prompt.inputs), _fields(chosen, prompt, report))
        return _picked_examples(source, chosen, read_output)
    if not isinstance(given, list):
        raise InputError(report((), "examples are a list of `{input, output}`, or `{file: …}`", None))
    rows = _listed(given, prompt, (), report)
    return Examples(rows, rows)


def _listed(given: Sequence[Any], prompt: Prompt, path: Sequence[str | int], report: Report) -> tuple[Example, ...]:
    """Return the examples of a list at a path. Raises InputError with all problems."""
    problems: list[Problem] = []
    examples = [_example(row, prompt, (*path, position), report, problems) for position, row in enumerate(given)]
    if problems:
        raise InputError(problems)
    return tuple(example for example in examples if example is not None)


def _nearest_of_list(
    prompt: Prompt, chosen: ExamplesSettings, in_prompt: bool, report: Report, read_output: ReadOutput
) -> Examples:
    """Return the nearest of a list of examples, or, for a step that names none, of the prompt's own."""
    if isinstance(chosen.from_, list):
        pool = _listed(chosen.from_, prompt, ("from",), report)
    else:
        pool = () if in_prompt else read_examples(prompt).pool
        if isinstance(prompt.settings.get("examples"), Mapping):
            pool = tuple(replace(row, output=read_output(row)) for row in pool)
    if not pool:
        where = "" if in_prompt else ", and the prompt has none"
        hint = "`from: ROWS.jsonl` names a file of rows; it may also be a list of `{input, output}`"
        raise InputError(report(("nearest",), f"there are no examples to take the nearest of{where}", hint))
    return _nearest(pool, chosen)


def _nearest(pool: tuple[Example, ...], chosen: ExamplesSettings) -> Examples:
    assert chosen.nearest is not None, "only settings with `nearest` take the nearest"
    nearest = NearestExamples(pool=pool, count=chosen.nearest, by=chosen.by, model=chosen.model)
    return Examples(pool, pool, tuple, nearest)


def _reporter(prompt: Prompt) -> Report:
    return lambda path, message, hint: prompt.problem(("examples", *path), message, hint)


def _placeless(path: Sequence[str | int], message: str, hint: str | None) -> Problem:
    where = ".".join(map(str, path))
    return Problem(f"examples.{where}: {message}" if where else message, hint=hint)


def _settings(given: Mapping[str, Any], report: Report) -> ExamplesSettings:
    try:
        chosen = ExamplesSettings.model_validate(given)
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            key = str(detail["loc"][0]) if detail["loc"] else ""
            if detail["type"] == "extra_forbidden":
                problems.append(report((key,), f"unknown key `{key}`", nearest(key, _SETTINGS_KEYS)))
            else:
                hint = "`nearest: 4` shows each row the nearest" if given.get(key) == "similar" else None
                problems.append(report((key,), f"`{key}`: {schema_error_text(detail)}", hint))
        raise InputError(dict.fromkeys(problems)) from None
    if faults := [report((key,), message, hint) for key, message, hint in chosen.faults()]:
        raise InputError(faults)
    return chosen


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


def _fields(chosen: ExamplesSettings, prompt: Prompt, report: Report) -> tuple[tuple[str, str], ...]:
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


def _picked_examples(source: ExampleSource, chosen: ExamplesSettings, read_output: ReadOutput) -> Examples:
    def typed(rows: Sequence[Example]) -> tuple[Example, ...]:
        return tuple(replace(row, output=read_output(row)) for row in rows)

    def pick(rows: Sequence[Example]) -> tuple[Example, ...]:
        if chosen.pick == "random":
            return typed(Random(chosen.seed).sample(rows, min(chosen.count, len(rows))))
        if chosen.pick == "balanced":
            return typed(_balanced(rows, chosen))
        return typed(rows[: chosen.count])

    examples = read_example_rows(*source)
    if chosen.nearest is not None:
        return _nearest(typed(examples), chosen)
    return Examples(pick(examples), examples, pick)


def _balanced(examples: Sequence[Example], chosen: ExamplesSettings) -> list[Example]:
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
