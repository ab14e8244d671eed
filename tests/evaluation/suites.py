"""A project with a small target and suites, run on a scripted model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, Problem
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.evaluate import EvalResult, Evaluation
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.evaluation.summary import ReportRules
from promptkit.runtimes.base import Request, Runtime
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import Script, Scripted
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from tests.engine.helpers import Folder

PROMPT = """
---
inputs: {text: {}}
answer: {label: [good, bad]}
decide: generate
---
{% block instructions %}Say whether it is good or bad.{% endblock %}
{% block input %}{{ text }}{% endblock %}
{% block cue %}Mood:{% endblock %}
"""
PIPELINE = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}
"""
SUITE = """
data: rows.jsonl
target: mood
metrics: {accuracy: label}
"""


def rows_text(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def moods(count: int) -> list[dict[str, Any]]:
    """Return rows whose text says what is expected of it."""
    return [{"text": f"{'good' if number % 2 else 'bad'} {number}", "expect": "bad"} for number in range(count)]


def echo(request: Request) -> str:
    """Answer with the first word of the row's text."""
    text = request.messages[-1].content
    return "good" if "\ngood " in text else "bad"


def number_of(request: Request) -> int:
    """Return the last number in what is asked, which in `moods` is the row's own, from 0."""
    return int(re.findall(r"\d+", request.messages[-1].content)[-1])


class Given(Models):
    """Models of a scripted runtime, whose replies go through a cache. `others` answer to their references."""

    def __init__(
        self,
        runtime: Runtime,
        replies: ReplyCache | None = None,
        *,
        concurrency: int | None = None,
        others: Mapping[str, Runtime] | None = None,
    ) -> None:
        super().__init__("scripted:given.yaml")
        self._own = Client(runtime, store=replies, attempts=1, concurrency=concurrency)
        self._others = {name: Client(other, attempts=1) for name, other in (others or {}).items()}

    async def get(self, reference: str | None = None) -> Client:
        client = self._others.get(reference or "", self._own)
        if self._budget is None:
            return client
        await client.model()
        return client.within(self._budget)


@dataclass
class Ran:
    """A run that ended, with what its model was asked."""

    evaluated: EvalResult
    view: StoredRun
    runtime: Scripted

    @property
    def record(self) -> Mapping[str, Any]:
        return self.evaluated.record.to_json()

    def variant(self, name: str | None = None) -> Mapping[str, Any]:
        found: Sequence[Mapping[str, Any]] = self.record["variants"]
        return next(each for each in found if name in (None, each["name"]))

    def metric(self, metric: str = "accuracy", variant: str | None = None) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.variant(variant)["metrics"][metric]
        return found

    @property
    def flags(self) -> list[str]:
        return [cell.flag for cell in self.view.cells()]


class Bench:
    """A folder with a target, rows and suites. `rows` are those of `rows.jsonl`."""

    def __init__(self, folder: Folder, rows: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.folder = folder
        folder.write("templates/prompts/mood.j2", PROMPT)
        folder.write("pipelines/mood.yaml", PIPELINE)
        self.rows(moods(4) if rows is None else rows)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        (self.folder.root / "evals").mkdir(exist_ok=True)
        (self.folder.root / "evals/rows.jsonl").write_text(rows_text(rows), encoding="utf-8")

    def suite(self, text: str = SUITE, **how: Any) -> Suite:
        """Write a suite and read it."""
        return load_suite(self.folder.write("evals/test.yaml", text), self.folder.project, **how)

    def problems(self, text: str, **how: Any) -> list[Problem]:
        """Return what is wrong with a suite."""
        try:
            self.suite(text, **how)
        except InputError as error:
            return list(error.problems)
        return []

    @property
    def store_folder(self) -> Path:
        return self.folder.root / ".promptkit"

    async def run(
        self,
        text: str | Suite = SUITE,
        script: Script | Scripted = echo,
        *,
        options: EvalOptions | None = None,
        rules: ReportRules | None = None,
        cached: bool = True,
        concurrency: int | None = None,
        **how: Any,
    ) -> Ran:
        """Run a suite on a model that answers by `script`, in the folder's store."""
        with frozen_files():
            suite = text if isinstance(text, Suite) else self.suite(text, **how)
            return await self._run(suite, script, options, rules, cached, concurrency)

    async def _run(
        self,
        suite: Suite,
        script: Script | Scripted,
        options: EvalOptions | None,
        rules: ReportRules | None,
        cached: bool,
        concurrency: int | None,
    ) -> Ran:
        runtime = script if isinstance(script, Scripted) else Scripted(script)
        options = options or EvalOptions()
        with Store.open(self.store_folder) as store, ReplyCache(store, exact=options.exact) as replies:
            models = Given(runtime, replies if cached else None, concurrency=concurrency)
            evaluation = Evaluation(suite, models=models, store=store, options=options, rules=rules)
            evaluated = await evaluation.run()
        return self.look(evaluated, runtime)

    def look(self, evaluated: EvalResult, runtime: Scripted) -> Ran:
        """Return a run with its cells read from a store that is opened anew."""
        with Store.open(self.store_folder) as store:
            run = store.run(str(evaluated.number))
            assert run is not None
            view = StoredRun(store, run)
            cells = list(view.cells())
            traces = {cell.number: view.trace(cell.number) for cell in cells}
        view.cells = lambda variant=None, *, first=0: (  # type: ignore[method-assign]
            cell for cell in cells if variant in (None, cell.variant) and cell.row >= first
        )
        view.trace = traces.get  # type: ignore[method-assign,assignment]
        return Ran(evaluated, view, runtime)
