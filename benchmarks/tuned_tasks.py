"""The tasks that tunings are compared on: a plain prompt with the default cue, rows to tune on, and rows kept apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from measured_tasks import TASKS as MEASURED
from measured_tasks import TIMEOUT_SECONDS, rows_of_file

SENTIMENT = """\
name: sst2
inputs: {text: {type: text}}
steps:
  sentiment:
    prompt: {instructions: Classify the sentiment of the review as positive or negative., input: "{{ text }}"}
    answer: {label: [positive, negative]}
"""
BOOLEAN = """\
name: boolean
inputs: {expression: {type: text}}
steps:
  value:
    prompt: {instructions: Evaluate the boolean expression., input: "{{ expression }}"}
    answer: {label: ["True", "False"]}
"""
SUITE = """\
data: {rows}.jsonl
target: {name}
expect: "{{{{ row.{expected} }}}}"
metrics: {{accuracy: {metric}}}
"""
VALUES = 3, 6
"""The fewest and the most constants of an expression."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedTask:
    """A task: its pipeline in YAML, its metric, and its rows from the folder of public data: to tune on, and apart."""

    pipeline: str
    metric: str
    expected: str
    rows: Callable[[Path | None], tuple[Sequence[Row], Sequence[Row]]]

    @property
    def name(self) -> str:
        """The name of the pipeline, and of the task on the command line."""
        return self.pipeline.splitlines()[0].removeprefix("name: ")

    def write(self, folder: Path, data: Path | None, tuned: int, unseen: int) -> None:
        """Write a project with the pipeline, a suite of the first rows to tune on, and one of those kept apart."""
        for name in ("pipelines", "evals"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        # A busy machine takes long for many thoughts at once; no answer depends on it.
        (folder / "promptkit.yaml").write_text(f"timeout: {TIMEOUT_SECONDS}\n", "utf-8")
        (folder / f"pipelines/{self.name}.yaml").write_text(self.pipeline, "utf-8")
        to_tune, apart = self.rows(data)
        for name, rows in (("tuned", to_tune[:tuned]), ("unseen", apart[:unseen])):
            suite = SUITE.format(rows=name, name=self.name, expected=self.expected, metric=self.metric)
            (folder / f"evals/{name}.yaml").write_text(suite, "utf-8")
            lines = (json.dumps(row, ensure_ascii=False) for row in rows)
            (folder / f"evals/{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def boolean_rows(number: int, seed: int = 0) -> list[Row]:
    """Return distinct boolean expressions with their values, as many true as false, in random order."""
    chance = Random(seed)
    rows: dict[str, bool] = {}
    for wanted in (bool(place % 2) for place in count()):
        if len(rows) == number:
            break
        text, value = next(drawn for drawn in _expressions(chance) if drawn[1] == wanted and drawn[0] not in rows)
        rows[text] = value
    made = [{"expression": f"{text} is", "value": str(value)} for text, value in rows.items()]
    chance.shuffle(made)
    return made


def _expressions(chance: Random) -> Iterator[tuple[str, bool]]:
    while True:
        yield _expression(chance, chance.randint(*VALUES))


def _expression(chance: Random, values: int) -> tuple[str, bool]:
    """Return an expression of so many constants and its value, as Python reads it."""
    if values == 1:
        text, value = (str(constant := chance.random() < 0.5), constant)
    else:
        left = chance.randint(1, values - 1)
        (first, one), (second, other) = _expression(chance, left), _expression(chance, values - left)
        is_and = chance.random() < 0.5
        value = one and other if is_and else one or other
        text = f"( {first} {'and' if is_and else 'or'} {second} )"
    return (f"not {text}", not value) if chance.random() < 0.4 else (text, value)


def _folder(data: Path | None) -> Path:
    if data is None:
        raise SystemExit("--data: the folder with sst2/, gsm8k/ and wtq/")
    return data


def _measured(name: str) -> str:
    return next(task.pipeline for task in MEASURED if task.name == name)


def _files(task: str) -> Callable[[Path | None], tuple[Sequence[Row], Sequence[Row]]]:
    """Return the rows of `train` to tune on, and of `dev` apart."""

    def rows(data: Path | None) -> tuple[Sequence[Row], Sequence[Row]]:
        folder = _folder(data) / task
        return list(rows_of_file(folder / "train.jsonl")), list(rows_of_file(folder / "dev.jsonl"))

    return rows


def _tables(data: Path | None) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return two thirds of the few questions about tables to tune on, and the others."""
    rows = list(next(task.rows for task in MEASURED if task.name == "wtq")(_folder(data)))
    return rows[: 2 * len(rows) // 3], rows[2 * len(rows) // 3 :]


def _booleans(data: Path | None) -> tuple[Sequence[Row], Sequence[Row]]:
    rows = boolean_rows(1_000)
    return rows[:500], rows[500:]


TASKS = {
    task.name: task
    for task in (
        TunedTask(pipeline=SENTIMENT, metric="label", expected="label", rows=_files("sst2")),
        TunedTask(pipeline=BOOLEAN, metric="label", expected="value", rows=_booleans),
        TunedTask(pipeline=_measured("gsm8k"), metric="number", expected="answer", rows=_files("gsm8k")),
        TunedTask(pipeline=_measured("wtq"), metric="normalized", expected="answer", rows=_tables),
    )
}
