"""Which files a target is made of, and which steps change when one of them does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from promptkit.engine.pipeline import Asking, Pipeline, Step
from promptkit.storage import SETTINGS_FILE, imported_files, resolved
from promptkit.techniques import technique_files


def files(pipeline: Pipeline) -> Mapping[Path, frozenset[str]]:
    """Return each file that the target is made of, absolute, with the steps that read it.

    These are prompts with parents and includes, layouts, technique templates, data, tools and sub-pipelines; the
    pipeline's own file and `promptkit.yaml` are read by all steps.
    """
    found: dict[Path, set[str]] = {resolved(pipeline.file): set(pipeline.steps)}
    settings = pipeline.project.root / SETTINGS_FILE
    if settings.is_file():
        found[resolved(settings)] = set(pipeline.steps)
    for name, step in pipeline.steps.items():
        for path in _step_files(step, pipeline):
            found.setdefault(resolved(path), set()).add(name)
    return {path: frozenset(steps) for path, steps in found.items()}


def _step_files(step: Step, pipeline: Pipeline) -> Iterator[Path]:
    if step.pipeline is not None:
        yield from files(step.pipeline)
    if step.tool is not None and step.tool.file is not None:
        yield from imported_files(step.tool.file, step.tool.root)
    if step.asking is not None:
        yield from _asking_files(step.asking, pipeline)


def _asking_files(asking: Asking, pipeline: Pipeline) -> Iterator[Path]:
    yield from asking.prompt.files
    yield from asking.data
    for tool in asking.tools.values():
        if tool.file is not None:
            yield from imported_files(tool.file, tool.root)
    if isinstance(asking.layout, Path):
        yield asking.layout
    yield from technique_files(asking.technique, pipeline.project, asking.technique_folder)
    yield from asking.artifacts.values()
    yield from _answer_files(pipeline)


def _answer_files(pipeline: Pipeline) -> Iterable[Path]:
    """Yield the templates that word instructions and repairs: they stand in every step's messages."""
    names = pipeline.project.names("answers")
    found = (pipeline.project.find_template("answers", name) for name in names)
    return [path for path in found if path is not None]
