"""`promptkit train`: heads for the steps of a target, from labelled rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptkit.api.session import ModelOptions, load
from promptkit.cli.options import Json, Model, Sets, Target
from promptkit.cli.session import refuse_shipped, run_to_end
from promptkit.errors import InputError, place

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train(
    target: Target,
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="Rows: .jsonl, .json, .csv, .tsv, .yaml, .txt.")],
    head: Annotated[bool, typer.Option("--head", help="Train a classifier on the model's vectors.")] = False,
    step: Annotated[list[str] | None, typer.Option("--step", metavar="STEP", help="The step to train.")] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="FIELD", help="The field of --data with the right answer.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N rows.")] = None,
    risk: Annotated[
        float, typer.Option("--risk", metavar="SHARE", help="The share of rows that a head may answer wrongly.")
    ] = 0.1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Draw other folds.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an earlier result of training.")] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
) -> None:
    """Train heads for the steps of a target on labelled rows, and measure them on rows held out.

    --head writes PIPELINE.STEP.head.json beside the pipeline.
    """
    if not head:
        raise InputError("say what is to be trained", hint="--head")
    from promptkit.api.train_head import HeadOptions, train_heads
    from promptkit.reports.heads import head_text, next_lines
    from promptkit.reports.output import emit, note
    from promptkit.reports.progress import Progress
    from promptkit.reports.text import json_text
    from promptkit.training.labelled_rows import read_labelled_file

    asking = ModelOptions(model=model, sets=tuple(sets or ()))
    options = HeadOptions(risk=risk, seed=seed, overwrite=force, model=asking)
    pipeline = load(target, sets=asking.sets)
    refuse_shipped(pipeline, "nothing can be written beside it", "train it there")
    labelled = [read_labelled_file(pipeline, step or (), data, expect=expect, limit=limit)]
    trained = run_to_end(train_heads(pipeline, labelled, options, Progress()))
    if json:
        emit(json_text([found.to_json() for found in trained]))
        return
    for found in trained:
        note(head_text(found.head, found.seconds))
        emit(str(place(found.file)))
        call = pipeline.steps[found.head.step].prompt_call
        for line in next_lines(found.head, target, decides=call is not None and call.head is not None):
            note(line)
