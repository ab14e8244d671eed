"""The target of a training: its labelled rows before, and its YAML after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from promptkit.api.session import load
from promptkit.engine.load import YAML_SUFFIXES
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, Problem, place
from promptkit.storage.files import read_text, write_atomic
from promptkit.storage.yaml_edit import set_value
from promptkit.training.labelled_rows import LabelledRows, read_labelled_file, read_labelled_suite
from promptkit.tuning.tuned_suite import load_tuning_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """The options that name rows and steps.

    `steps` are those to train, all whose answers are known where there are none. Rows come from the file `data`, their
    answers from its field `expect`, or both from `suite`; with both, the rows of `data` are read as the suite reads
    its own. `limit` takes the first.
    """

    steps: Sequence[str] = ()
    data: Path | None = None
    expect: str | None = None
    suite: str | None = None
    limit: int | None = None


def load_labelled(target: str, options: RowOptions, *, sets: Sequence[str] = ()) -> tuple[Pipeline, list[LabelledRows]]:
    """Return a target and the labelled rows of each step that is to be trained. Raises InputError."""
    if options.data is not None and options.suite is not None and options.expect is not None:
        raise InputError("--expect and --suite both name the answers", hint="leave one of them out")
    if options.data is not None and options.suite is None:
        pipeline = load(target, sets=sets)
        return pipeline, [
            read_labelled_file(pipeline, options.steps, options.data, expect=options.expect, limit=options.limit)
        ]
    if options.expect is not None:
        raise InputError("--expect names a field of --data", hint="a suite names the answers by its own `expect:`")
    try:
        suite = load_tuning_suite(target, options.suite, sets=sets)
    except InputError as error:
        if options.suite is None and error.problems[0].file is None:
            raise InputError(error.problems[0].message, hint="--suite SUITE, or --data FILE --expect FIELD") from None
        raise
    if options.data is not None:
        suite = replace(suite, data=suite.data.of_file(options.data))
    return load(target, sets=sets), read_labelled_suite(suite, options.steps, limit=options.limit)


def check_appliable(pipeline: Pipeline) -> None:
    """Raise InputError for a target in which no step can name what was trained."""
    if pipeline.file.suffix not in YAML_SUFFIXES:
        hint = "write a pipeline of one step: `steps: {NAME: {prompt: NAME}}`"
        raise InputError(
            Problem("--apply writes into a pipeline, and this is a prompt", place(pipeline.file), hint=hint)
        )


def apply_setting(pipeline: Pipeline, step: str, key: str, value: str) -> None:
    """Write a setting of a step into the pipeline's file, its other text unchanged."""
    file = pipeline.file
    write_atomic(file, set_value(read_text(file), ("steps", step, key), value, file=str(place(file))))
