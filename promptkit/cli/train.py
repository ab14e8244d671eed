"""`promptkit train`: adapters, heads and soft prompts for the steps of a target, from labelled rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import join
from typing import Annotated

import typer

from promptkit.api.session import ModelOptions
from promptkit.api.train_head import RISK, HeadOptions, train_heads
from promptkit.api.train_target import RowOptions, load_labelled
from promptkit.api.train_weights import TrainOptions, train_weights
from promptkit.cli.options import Json, Model, Sets, Target, command_options, complete_suite
from promptkit.cli.session import refuse_shipped, run_to_end
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, Interrupted, place
from promptkit.reports import heads, training
from promptkit.reports.heads import head_text
from promptkit.reports.output import emit, note
from promptkit.reports.progress import Progress
from promptkit.reports.text import json_text
from promptkit.reports.training import training_text
from promptkit.training.fitting.settings import BATCH
from promptkit.training.kinds import AdapterKind, Kind, SoftPromptKind
from promptkit.training.labelled_rows import LabelledRows
from promptkit.tuning.tuned_suite import only_suite

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train(
    target: Target,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Train a low-rank adapter of the model's weights.")
    ] = False,
    soft_prompt: Annotated[
        bool, typer.Option("--soft-prompt", help="Train vectors that begin each prompt, in a copy of the model.")
    ] = False,
    head: Annotated[
        bool, typer.Option("--head", help="Train a classifier on the vectors of the model that answers.")
    ] = False,
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step", metavar="STEP", help="A step to train; repeatable. Default: all whose answers are known."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="Rows: .jsonl, .json, .csv, .tsv, .yaml or .txt.")
    ] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="FIELD", help="The field of --data with the right answer.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite", metavar="SUITE", help="The suite with rows and right answers.", autocompletion=complete_suite
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N rows.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Begin and shuffle otherwise.")] = 0,
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="N", help="At most N minutes of training for each step.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            max=64,
            help="Rows in a step of training (default 8); fewer need less memory.",
        ),
    ] = None,
    risk: Annotated[
        float | None,
        typer.Option("--risk", metavar="SHARE", help="The share of rows that a head may answer wrongly (default 0.1)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier result of training.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Name the result in the pipeline's YAML.")] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Train a model for the steps of a target on labelled rows, and measure it on rows held out.

    --adapter writes PIPELINE.STEP.lora.gguf beside the pipeline, --soft-prompt PIPELINE.STEP.soft.gguf, --head
    PIPELINE.STEP.head.json. A killed or interrupted training of weights resumes by the same command.
    """
    if [adapter, soft_prompt, head].count(True) != 1:
        raise InputError("say what is to be trained", hint="one of --adapter, --head and --soft-prompt")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise InputError(f"--minutes is a number above 0, not {minutes:g}")
    rows = RowOptions(steps=tuple(step or ()), data=data, expect=expect, suite=suite, limit=limit)
    asking = ModelOptions(model=model, sets=tuple(sets or ()))
    if head:
        _refuse_given({"--minutes": minutes, "--batch": batch}, "--adapter and --soft-prompt")
        options = HeadOptions(
            risk=RISK if risk is None else risk, seed=seed, overwrite=force, apply=apply, model=asking
        )
        train_head_of(target, rows, options, json=json)
        return
    _refuse_given({"--risk": risk}, "--head")
    train_weights_of(
        target,
        AdapterKind() if adapter else SoftPromptKind(),
        rows,
        TrainOptions(seed=seed, batch=batch or BATCH, minutes=minutes, overwrite=force, apply=apply, model=asking),
        json=json,
    )


def labelled_of_project(target: str, rows: RowOptions, model: ModelOptions) -> tuple[Pipeline, list[LabelledRows]]:
    """Return a target of the project's own and the labelled rows of each step to train. Raises InputError."""
    pipeline, labelled = load_labelled(target, rows, sets=model.sets)
    refuse_shipped(pipeline, "nothing can be written beside it", "train it there")
    return pipeline, labelled


def train_head_of(target: str, rows: RowOptions, options: HeadOptions, *, json: bool) -> None:
    """Train heads, and print their report. Raises InputError, and what ended the training."""
    pipeline, labelled = labelled_of_project(target, rows, options.model)
    trained = run_to_end(train_heads(pipeline, labelled, options, Progress()))
    if json:
        emit(json_text([found.to_json() for found in trained]))
        return
    evaluation = evaluation_command(pipeline, rows, options.model)
    for found in trained:
        note(head_text(found.head, found.seconds))
        emit(str(place(found.file)))
        call = pipeline.steps[found.head.step].prompt_call
        decides = options.apply or (call is not None and call.head is not None)
        for line in heads.next_lines(found.head, target, evaluation, decides=decides):
            note(line)


def train_weights_of(target: str, kind: Kind, rows: RowOptions, options: TrainOptions, *, json: bool) -> None:
    """Train adapters or soft prompts, and print their report. Raises InputError, Interrupted, and what ended it."""
    pipeline, labelled = labelled_of_project(target, rows, options.model)
    record = run_to_end(train_weights(pipeline, labelled, kind, options, Progress()))
    emit(json_text(record.model_dump(mode="json")) if json else training_text(record))
    if not json:
        for line in training.next_lines(record, evaluation_command(pipeline, rows, options.model)):
            note(line)
    if any(found.ending == "interrupted" for found in record.steps):
        raise Interrupted("interrupted; the best so far is kept", hint="the same command goes on, with --force")


def evaluation_command(pipeline: Pipeline, rows: RowOptions, model: ModelOptions) -> str:
    """Return the command that measures what was trained on the suite's rows that the training has not seen."""
    suite = rows.suite
    if suite is None:
        try:
            suite = only_suite(pipeline.file, pipeline.project).stem
        except InputError:  # No suite measures the target, or several do.
            suite = "SUITE"
    return join(["promptkit", "eval", suite, "--unseen", *command_options(model=model.model, set=list(model.sets))])


def _refuse_given(options: Mapping[str, object], kinds: str) -> None:
    """Raise InputError for options that were given and belong to other kinds of training."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{given[0]} is an option of {kinds}")
