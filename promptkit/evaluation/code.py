"""The Python that a suite would run: its data function, its metrics, its judges, and what its variants run."""

from __future__ import annotations

from collections.abc import Iterator

from promptkit.engine import code_of, model_code, own_code
from promptkit.errors import place
from promptkit.evaluation.suite import Suite
from promptkit.project_code import CodeUse


def suite_code(suite: Suite, *, model: str | None = None) -> list[CodeUse]:
    """Return the Python that a run of the suite would load, each use once; nothing is loaded for that.

    `model` is the one that a person names before all files.
    """
    return own_code(
        [*_named_by_suite(suite, model), *(each for step in suite.steps for each in suite_code(step))], suite.project
    )


def _named_by_suite(suite: Suite, model: str | None) -> Iterator[CodeUse]:
    file, folder = place(suite.file), suite.file.parent
    if suite.data.function is not None:
        yield CodeUse(suite.data.function.code, f"data of {file}")
    for measure in suite.measures:
        yield from (CodeUse(code, f"metric `{measure.name}` of {file}") for code in measure.metric.code)
        if measure.metric.model is not None:
            yield from model_code(measure.metric.model, folder, f"judge of metric `{measure.name}` of {file}")
    for variant in suite.variants:
        if variant.model is not None:
            yield from model_code(variant.model, folder, f"model of variant `{variant.name}` of {file}")
        yield from code_of(variant.pipeline, model=model)
