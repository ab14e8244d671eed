"""The pipelines that a server offers: those that were named, else all of the project in the working folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.api.session import load
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError
from promptkit.project import Project, is_artifact


@dataclass(frozen=True, slots=True)
class ServedPipelines:
    """The pipelines that load, by name, and the errors of the others, by the names of their files or targets."""

    loaded: Mapping[str, Pipeline]
    broken: Mapping[str, InputError]


def served_pipelines(targets: Sequence[str], sets: Sequence[str]) -> ServedPipelines:
    """Read the pipelines to serve; `sets` changes settings of each, as "STEP.KEY=VALUE".

    Raises InputError for two targets of one name. Of two files of the project with one name the second is broken.
    """
    loaded: dict[str, Pipeline] = {}
    broken: dict[str, InputError] = {}
    for target in targets or own_pipelines():
        try:
            pipeline = load(target, sets=sets)
        except InputError as error:
            broken[Path(target).name] = error
            continue
        other = loaded.setdefault(pipeline.name, pipeline)
        if other.file == pipeline.file:
            continue
        if targets:
            raise InputError(f"two targets have the name `{pipeline.name}`", hint="serve one of them")
        broken[Path(target).name] = InputError(f"another pipeline has the name `{pipeline.name}`")
    return ServedPipelines(loaded, broken)


def own_pipelines() -> list[Path]:
    """Return the files of pipelines in the project of the working folder, sorted."""
    folder = Project.find(Path.cwd()).root / "pipelines"
    return sorted(path for path in folder.glob("*.y*ml") if not is_artifact(path))


def missing_inputs(pipeline: Pipeline, given: Mapping[str, Any]) -> list[str]:
    """Return the inputs without a default that a client did not give."""
    return [name for name, spec in pipeline.inputs.items() if not spec.has_default and name not in given]


def input_values(pipeline: Pipeline, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of all inputs, of which none is missing: those given, else the defaults, never the examples.

    Raises InputError for what does not suit an input.
    """
    values = {name: spec.default for name, spec in pipeline.inputs.items() if spec.has_default} | dict(given)
    return fill_inputs(pipeline, values).values if values else {}
