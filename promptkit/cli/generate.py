"""`promptkit generate`: rows that a model writes for a target, or that are taken from its runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import join
from time import monotonic
from typing import Annotated, Any

import typer

from promptkit.api.generate import (
    GenerateOptions,
    GenerationResult,
    PlannedGeneration,
    first_requests,
    generate,
    plan_generation,
)
from promptkit.api.session import ModelOptions
from promptkit.cli.options import (
    Json,
    Model,
    NoCache,
    Record,
    Sets,
    Timeout,
    command_options,
    complete_model,
    complete_suite,
)
from promptkit.cli.options import complete_target as complete_pipeline
from promptkit.cli.results import spent_text
from promptkit.cli.session import run_to_end
from promptkit.cli.technique_prepare import read_budget
from promptkit.errors import InputError, PromptkitError, place
from promptkit.evaluation.suite.binding import EXPECT
from promptkit.project import is_suite
from promptkit.reports.generation import generation_lines
from promptkit.reports.output import emit, note
from promptkit.reports.progress import Progress
from promptkit.reports.text import json_text
from promptkit.reports.trace import rendered_text

app = typer.Typer(add_completion=False, rich_markup_mode=None)

DEFAULT_ROWS = 100


class TooFewRows(PromptkitError):
    """A generation ended before it had all rows."""


def complete_target(incomplete: str) -> list[str]:
    """Complete the name of a suite, a pipeline or a prompt, or a path."""
    return sorted({*complete_suite(incomplete), *complete_pipeline(incomplete)})


@app.command("generate")
def generate_rows(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="A suite, a pipeline or a prompt, by name or path.", autocompletion=complete_target
        ),
    ],
    rows: Annotated[int | None, typer.Option("--rows", metavar="N", min=1, help="Rows in all (default 100).")] = None,
    step: Annotated[
        str | None, typer.Option("--step", metavar="STEP", help="Rows for this step of a pipeline or a suite.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="LABEL=SHARE,…", help="Shares of the labels (default: equal)."),
    ] = None,
    fixed: Annotated[
        list[str] | None,
        typer.Option("--for", metavar="NAME=VALUE,…", help="Values of an input or of a slice; repeatable."),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option("--attributes", metavar="FILE", help="What inputs differ in: a mapping, .yaml."),
    ] = None,
    seeds: Annotated[Path | None, typer.Option("--seeds", metavar="FILE", help="Real rows to vary.")] = None,
    label_only: Annotated[
        bool,
        typer.Option(
            "--label-only", help="Label real rows as they are: those of --seeds, else the suite's without an answer."
        ),
    ] = False,
    samples: Annotated[
        int, typer.Option("--samples", metavar="K", min=1, max=25, help="Answers that check a row.")
    ] = 3,
    judge: Annotated[
        str | None,
        typer.Option("--judge", metavar="REF", help="A second model that gives them.", autocompletion=complete_model),
    ] = None,
    technique: Annotated[
        str | None, typer.Option("--technique", metavar="NAME", help="The technique that gives them.")
    ] = None,
    from_runs: Annotated[
        str | None,
        typer.Option("--from-runs", metavar="RUNS", help="Take right answers of runs: last, all, or numbers 3,5."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="'METRIC >= N'", help="With --from-runs: what is right; repeatable."),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", metavar="FILE", help="Real rows to compare with (default: the suite's).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file, .jsonl; one of the same command is continued."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="calls=N", help="Make at most N requests, including cached ones.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Other rows for another seed.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first requests and the cost; no model is asked.")
    ] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    timeout: Timeout = None,
) -> None:
    """Generate rows for a target that has none, or too few: inputs that a model writes, with checked answers.

    For a closed set of labels an input is written for each label, else the target answers it. Inputs differ in
    attributes, near-duplicates are left out, and the target must give the label itself in two of three samples. Each
    row says in `generated` how it was made, and is written as it is kept, so the same command goes on.
    """
    check_file(out)
    if from_runs is not None:
        from promptkit.cli.generate_from_runs import take_rows

        take_rows(target, from_runs, where or (), step=step, out=out, json=json)
        return
    if where:
        raise InputError("--where is for answers of runs", hint="--from-runs last")
    options = GenerateOptions(
        model=ModelOptions(model=model, sets=tuple(sets or ()), record=record, no_cache=no_cache, timeout=timeout),
        rows=rows or DEFAULT_ROWS,
        out=out,
        step=step,
        labels=labels,
        fixed=tuple(fixed or ()),
        seeds=seeds,
        label_only=label_only,
        attributes=attributes,
        samples=samples,
        judge=judge,
        technique=technique,
        compare=compare,
        budget=read_budget(budget),
        seed=seed,
    )
    planned = plan_generation(target, options)
    if dry_run:
        run_to_end(show_plan(planned, json=json))
        return
    run_to_end(write_rows(planned, target, json=json))


def check_file(out: Path | None) -> None:
    """Raise InputError for an output file of another form."""
    if out is not None and out.suffix != ".jsonl":
        raise InputError(f"--out writes rows of JSON: name the file {out.stem}.jsonl")


async def show_plan(planned: PlannedGeneration, *, json: bool) -> None:
    """Print the first requests of a generation and its cost. No model is asked."""
    rendered = await first_requests(planned)
    if json:
        emit(
            json_text(
                {
                    "file": str(place(planned.file)),
                    "rows": planned.plan.rows,
                    "before": len(planned.known),
                    "requests": planned.requests,
                    "first": [step.text or "" for step in rendered],
                },
                indent=2,
            )
        )
        return
    emit(rendered_text(rendered))
    note(
        f"about {planned.requests} requests for {planned.missing} rows in {place(planned.file)}, more for rows left out"
    )


async def write_rows(planned: PlannedGeneration, target: str, *, json: bool, suggests: bool = True) -> None:
    """Generate the rows and print what became of them, and with `suggests` the next commands.

    Raises TooFewRows where some are missing at the end.
    """
    started = monotonic()
    if planned.known:
        note(f"{place(planned.file)} has {len(planned.known)} rows of this command, which goes on")
    result = await generate(planned, Progress())
    if json:
        emit(json_text(json_record(result), indent=2))
    else:
        for line in generation_lines(result.record()):
            emit(line)
    note(spent_text([result.totals], monotonic() - started))
    # Of real rows that are only labelled there are no more, and those whose answer is not confirmed are counted.
    if result.rows < planned.plan.rows and not (planned.plan.label_only and result.ended == "no seeds" and result.rows):
        raise lacking(result, planned)
    if suggests and not json:
        note("next:")
        wrote = "labelled" if planned.plan.label_only else "wrote"
        note(f"  head {place(result.file)}    # read some: a model {wrote} them")
        for line in train_lines(planned):
            note(f"  {line}")
        if not planned.plan.label_only:
            note(f"  {again(target, planned)}    # more rows")


def train_lines(planned: PlannedGeneration) -> Iterator[str]:
    """Yield the command that trains the answering step on the rows; none where several steps answer.

    The model of the generation wrote the rows: that of the target is trained.
    """
    task, options = planned.task, planned.options
    if task.answer is None or options.step is not None:
        return
    kind = "--head" if task.labels else "--adapter"
    is_pipeline = task.pipeline.file.suffix in (".yaml", ".yml")
    as_suite = is_suite(task.file) and (task.expect != EXPECT or any(name != of for name, of in task.fields.items()))
    words = command_options(
        suite=task.name if as_suite else None,
        data=str(place(planned.file)),
        apply=is_pipeline,
        set=list(options.model.sets),
    )
    yield join(["promptkit", "train", task.pipeline.file.stem, kind, *words])


def again(target: str, planned: PlannedGeneration) -> str:
    """Return the command that goes on with twice the rows, with the options that decide what is asked."""
    options = planned.options
    asked = command_options(
        rows=2 * planned.plan.rows,
        step=options.step,
        labels=options.labels,
        attributes=_text(options.attributes),
        seeds=_text(options.seeds),
        label_only=options.label_only,
        samples=options.samples if options.samples != GenerateOptions().samples else None,
        judge=options.judge,
        technique=options.technique,
        out=_text(options.out),
        seed=options.seed or None,
        model=options.model.model,
        set=list(options.model.sets),
    )
    slices = [word for text in options.fixed for word in ("--for", text)]
    return join(["promptkit", "generate", target, *asked, *slices])


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def json_record(result: GenerationResult) -> dict[str, Any]:
    """Return a result as the documented JSON object."""
    models = [{"reference": model.reference, "digest": model.digest} for model in result.answered.values()]
    return {**result.record(), "models": models}


def lacking(result: GenerationResult, planned: PlannedGeneration) -> TooFewRows:
    """Return the error of a generation without all its rows: what ended it, and what would help."""
    there = f"{result.rows} of {planned.plan.rows} rows are in {place(result.file)}"
    counts = result.counts
    why, hint = {
        "budget": ("the budget is spent", "the same command with a larger --budget goes on; cached requests count"),
        "few kept": (
            f"{counts.kept} of {counts.tried} inputs could be kept",
            "a better model writes by --model, or checks by --judge; --dry-run shows the requests",
        ),
        "no label": (
            f"no input for {', '.join(f'`{label}`' for label in result.gave_up)} could be kept",
            "--model REF names a better writer, --judge REF another check",
        ),
        "no seeds": ("the rows of --seeds are used up", "more rows in --seeds"),
    }.get(result.ended, ("it ended early", None))
    return TooFewRows(f"{there}: {why}", hint=hint)
