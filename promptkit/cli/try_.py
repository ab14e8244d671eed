"""`promptkit try`: the pinned cases, each answer against the one before."""

from __future__ import annotations

from typing import Annotated

import typer

from promptkit.cli.options import Asking, Json, Model, NoCache, Record, Sets, Strict, Target, Timeout, Values
from promptkit.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command("try")
def try_(
    target: Target,
    values: Values = None,
    pin: Annotated[str | None, typer.Option("--pin", metavar="NAME", help="Add these values as a case.")] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="VALUE", help="The answer that the pinned case should have.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow the files; each save tries again.")] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Run the pinned cases and compare each answer with the one before, word by word.

    NAME=VALUE tries these values alone. Only what changed is asked again.
    """
    from promptkit.cli.session import run_to_end
    from promptkit.cli.trial import Trial, Watch
    from promptkit.cli.values import read_texts

    if expect is not None and pin is None:
        raise InputError("--expect belongs to a case that is pinned", hint="add --pin NAME")
    asking = Asking(
        model=model, sets=tuple(sets or ()), record=record, no_cache=no_cache, strict=strict, timeout=timeout
    )
    trial = (Watch if watch else Trial)(target, read_texts(values or ()), asking, json=json)
    if pin is not None:
        trial.pin(pin, expect)
    run_to_end(trial.follow() if isinstance(trial, Watch) else trial.once())
