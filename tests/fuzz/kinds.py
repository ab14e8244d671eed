"""The kinds of files that promptkit reads: real ones of each, where they stand in a project, and what reads them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from promptkit.api.check import CheckResult, check_all, check_suite, find_targets
from promptkit.cli.inputs import read_inputs
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline, default_model
from promptkit.engine.render import render
from promptkit.engine.requirements import unmet_requirements
from promptkit.engine.tune_keys import tune_problems
from promptkit.errors import PromptkitError
from promptkit.evaluation.comparison.baseline import read_baseline
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.suite.reader import load_suite
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.models import Models
from promptkit.runtimes.replay import Replay
from promptkit.runtimes.scripted import Scripted, load_script
from promptkit.storage.store import Store
from tests.engine.helpers import Given

SCRIPT_SECONDS = 0.05
"""How long a script of replies is waited for: it may say that it takes its time."""

REAL = Path(__file__).parent / ".real"  # hidden, so that `promptkit check .` in a clone leaves it out
"""A project whose files say everything that they may."""

METRICS = [
    *("exact", "normalized", '{regex: "^[a-z]+$"}', "{contains: {any: [a, b], ignore_case: true}}", "calibration"),
    *("{number: {tolerance: 0.01, relative: 0.1}}", "balanced_accuracy", "{f1: macro}", "{set_f1: {by: row}}", "table"),
    *("{json: {fields: [a], tolerance: 0.1}}", "{schema: {schema: {properties: {sum: {type: object}}}}}", "edit"),
    *("{chrf: {word_order: 2}}", "{rouge: {variant: rougeL}}", "format", "agreement", "{pass_at: {k: 2}}", "bleu"),
    *("{pass_all: {k: 2}}", "{judge: {rubric: good?, scale: [1, 5]}}", "{pairwise: {rubric: better?}}"),
]
SUITES = [f"data: rows.jsonl\ntarget: plain\nrepeat: 2\nmetrics: {{m: {metric}}}\n" for metric in METRICS]
COPIED = {
    "pipelines/text_parts.py": "pipelines/text_parts.py",
    "pipelines/techniques/auto_cot.yaml": "pipelines/auto_cot.yaml",
    "pipelines/techniques/auto_cot.solve.auto_cot.yaml": "pipelines/auto_cot.solve.auto_cot.yaml",
    "templates/layouts/markdown.j2": "templates/layouts/own.j2",
    "templates/techniques/chain_of_thought/technique.yaml": "templates/techniques/own/technique.yaml",
}
"""Shipped files that the project takes over."""


class Place:
    """A project in a folder, in which one file at a time is another one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._times = itertools.count(10**18, 10**9)
        shutil.copytree(REAL, root, dirs_exist_ok=True)
        shutil.copytree(LIBRARY / "evals" / "data", root / "evals" / "data")
        for shipped, name in COPIED.items():
            self._write(name, (LIBRARY / shipped).read_bytes())

    @property
    def project(self) -> Project:
        return Project.find(self.root)

    def read(self, kind: Kind, content: bytes) -> None:
        """Read a file of a kind with that content as the verbs do. Raises InputError, and what must not be raised."""
        path = self.root / kind.path
        before = path.read_bytes() if path.exists() else None
        self._write(kind.path, content)
        try:
            kind.read(self)
        finally:
            if before is None:
                path.unlink()
            else:
                self._write(kind.path, before)

    def _write(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        time = next(self._times)  # what is kept of a file is told from others by its time
        os.utime(path, ns=(time, time))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: where it stands, real ones, and what reads it."""

    path: str
    real: Callable[[], Sequence[bytes]]
    read: Callable[[Place], object]


def _target(name: str) -> Callable[[Place], object]:
    def read(place: Place) -> None:
        pipeline = load_target(name, place.project)
        unmet_requirements(pipeline)
        tune_problems(pipeline)
        asyncio.run(_render(pipeline))

    return read


async def _render(pipeline: Pipeline) -> None:
    await render(pipeline, fill_inputs(pipeline).values, models=Given(Scripted(lambda request: "delivery")))


def _suite(place: Place) -> None:
    path = place.root / "evals/test.yaml"
    check_suite(path, place.project, CheckResult())
    suite = load_suite(path, place.project, limit=2, repeat=2)
    with Store.open(place.root / ".promptkit") as store:
        models: Models = Given(Scripted(lambda request: "delivery"))
        asyncio.run(Evaluation(suite, models=models, store=store).run())


def _settings(place: Place) -> None:
    project = place.project
    pipeline = load_target("plain", project)
    default_model(project, pipeline, None)
    with Store.open(place.root / ".promptkit", cache_size=project.settings.cache.size) as store:
        asyncio.run(store.keep("key", "value"))
    asyncio.run(_render(pipeline))


def _script(place: Place) -> None:
    asyncio.run(_answers(load_script(place.root / "given.yaml", "scripted:given.yaml")))


async def _answers(model: Scripted | Replay) -> None:
    await model.model()
    for text in ("hi", "billing", "refund", "x", "y"):
        with contextlib.suppress(PromptkitError, TimeoutError):
            await asyncio.wait_for(model.answer(Request(messages=(Message("user", text),))), SCRIPT_SECONDS)


def _recording(place: Place) -> None:
    asyncio.run(_answers(Replay(place.root / "given.jsonl")))


def _baseline(place: Place) -> None:
    list(read_baseline(place.root / "base.json").read())


def _rows(ending: str) -> Callable[[Place], object]:
    def read(place: Place) -> None:
        name = f"evals/data.{ending}"
        with contextlib.suppress(PromptkitError):
            list(read_inputs(place.root / name))
        (place.root / "evals/of_rows.yaml").write_text(
            f"data: data.{ending}\ntarget: plain\nmetrics: {{right: label}}\n"
        )
        with contextlib.suppress(PromptkitError):
            check_suite(place.root / "evals/of_rows.yaml", place.project, CheckResult())
        full = (REAL / _FULL).read_text().replace("file: rows.jsonl", f"file: ../../{name}")
        (place.root / "templates/prompts/examples.j2").write_text(full)
        _target("examples")(place)

    return read


def _folder(place: Place) -> None:
    """Check the whole project, as `promptkit check .` does."""
    check_all(find_targets([str(place.root)]))


def _real(*names: str, shipped: Sequence[str] = (), more: Sequence[str] = ()) -> Callable[[], Sequence[bytes]]:
    """Return a function that reads real files: those of the project, those shipped, and further ones."""

    def read() -> Sequence[bytes]:
        files = [REAL / name for name in names]
        files += [path for pattern in shipped for path in sorted(LIBRARY.glob(pattern))]
        return [*(path.read_bytes() for path in files), *(text.encode() for text in more)]

    return cache(read)


_FULL = "templates/prompts/full.j2"
_OWN = "templates/techniques/own"

KINDS: dict[str, Kind] = {
    "pipeline": Kind(
        "pipelines/test.yaml",
        _real(*["pipelines/test.yaml"] * 40, shipped=["pipelines/*.yaml", "pipelines/techniques/*.yaml"]),
        _target("test"),
    ),
    "prompt": Kind(
        _FULL,
        _real(*[_FULL] * 10, "templates/prompts/plain.j2", shipped=["templates/prompts/*.j2"]),
        _target("full"),
    ),
    "layout": Kind("templates/layouts/own.j2", _real(shipped=["templates/layouts/*.j2"]), _target("full")),
    "technique's template": Kind(
        f"{_OWN}/call.j2", _real(f"{_OWN}/call.j2", shipped=["templates/techniques/*/*.j2"]), _target("full")
    ),
    "technique's card": Kind(
        f"{_OWN}/technique.yaml", _real(shipped=["templates/techniques/*/technique.yaml"]), _target("full")
    ),
    "answer's template": Kind(
        "templates/answers/label.j2", _real(shipped=["templates/answers/*.j2"]), _target("plain")
    ),
    "suite": Kind("evals/test.yaml", _real(*["evals/test.yaml"] * 20, shipped=["evals/*.yaml"], more=SUITES), _suite),
    "settings": Kind("promptkit.yaml", _real("promptkit.yaml"), _settings),
    "artifact": Kind(
        "pipelines/auto_cot.solve.auto_cot.yaml",
        _real(shipped=["pipelines/techniques/*.*.*.yaml"]),
        _target("pipelines/auto_cot.yaml"),
    ),
    "script": Kind(
        "given.yaml", _real(*["script.yaml"] * 20, shipped=["templates/techniques/*/replies.yaml"]), _script
    ),
    "recording": Kind("given.jsonl", _real(shipped=["tests/docs/recordings/*.jsonl"]), _recording),
    "baseline": Kind("base.json", _real("baseline.json"), _baseline),
    "rows: JSONL": Kind("evals/data.jsonl", _real("evals/rows.jsonl", shipped=["evals/data/*.jsonl"]), _rows("jsonl")),
    "rows: JSON": Kind("evals/data.json", _real("rows.json"), _rows("json")),
    "rows: CSV": Kind("evals/data.csv", _real("rows.csv"), _rows("csv")),
    "rows: TSV": Kind("evals/data.tsv", _real("rows.tsv"), _rows("tsv")),
    "rows: YAML": Kind("evals/data.yaml", _real("rows.yaml"), _rows("yaml")),
    "rows: text": Kind("evals/data.txt", _real("rows.txt"), _rows("txt")),
    "anything": Kind(
        "pipelines/other.yaml", _real("pipelines/test.yaml", "evals/test.yaml", "script.yaml", _FULL), _folder
    ),
}
