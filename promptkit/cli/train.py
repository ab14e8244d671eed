"""`promptkit train`: adapters, heads and soft prompts for the steps of a target, from labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptkit.api.session import ModelOptions
from promptkit.cli.options import Json, Model, Sets, Target, complete_suite
from promptkit.cli.session import refuse_shipped, run_to_end
from promptkit.errors import InputError, Interrupted

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
        int,
        typer.Option("--batch", metavar="N", min=1, max=64, help="Rows in a step of training; fewer need less memory."),
    ] = 8,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier result of training.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Name the result in the pipeline's YAML.")] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Train a model's weights for the steps of a target on labelled rows, and measure it on rows held out.

    --adapter writes PIPELINE.STEP.lora.gguf beside the pipeline, --soft-prompt PIPELINE.STEP.soft.gguf. A killed or
    interrupted training resumes by the same command.
    """
    if adapter == soft_prompt:
        raise InputError("say what is to be trained", hint="--adapter or --soft-prompt")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise InputError(f"--minutes is a number above 0, not {minutes:g}")
    from promptkit.api.train_weights import TrainOptions, load_labelled, train_weights
    from promptkit.reports.output import emit, note
    from promptkit.reports.progress import Progress
    from promptkit.reports.text import json_text
    from promptkit.reports.training import next_lines, training_text
    from promptkit.training.kinds import AdapterKind, SoftPromptKind

    options = TrainOptions(
        steps=tuple(step or ()),
        data=data,
        expect=expect,
        suite=suite,
        limit=limit,
        seed=seed,
        batch=batch,
        minutes=minutes,
        overwrite=force,
        apply=apply,
        model=ModelOptions(model=model, sets=tuple(sets or ())),
    )
    pipeline, labelled = load_labelled(target, options)
    refuse_shipped(pipeline, "nothing can be written beside it", "train it there")
    record = run_to_end(
        train_weights(pipeline, labelled, AdapterKind() if adapter else SoftPromptKind(), options, Progress())
    )
    emit(json_text(record.model_dump(mode="json")) if json else training_text(record))
    if not json:
        for line in next_lines(record, target):
            note(line)
    if any(found.ending == "interrupted" for found in record.steps):
        raise Interrupted("interrupted; the best so far is kept", hint="the same command goes on, with --force")
