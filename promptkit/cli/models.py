"""`promptkit models`: list, fetch and describe models."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from promptkit.cli.options import Json, complete_model
from promptkit.cli.session import run_to_end
from promptkit.errors import Interrupted
from promptkit.reports.models import absent_model_text, model_text, models_text
from promptkit.reports.output import emit, emit_folded, note
from promptkit.reports.progress import Progress
from promptkit.reports.text import json_text
from promptkit.runtimes.base import Model
from promptkit.runtimes.models import LocalModel, Models, catalog_model, licence_of, local_models, pull_model
from promptkit.runtimes.references import parse_reference

Reference = Annotated[str, typer.Argument(metavar="REF", help="A model reference.", autocompletion=complete_model)]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, fetch and describe models.",
)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the models that are here or can be fetched by name."""
    models = run_to_end(local_models())
    if json:
        emit(json_text([listed_record(model) for model in models]))
    else:
        emit_folded(models_text(models))


@app.command()
def pull(
    reference: Reference,
    file: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Keep this file as the weights of embedded/NAME, if it is them."),
    ] = None,
) -> None:
    """Fetch a model: embedded/NAME, ollama/NAME or hf/OWNER/REPO/FILE.gguf.

    The weights of embedded/NAME are checked by their SHA-256. An interrupted download resumes.
    """
    progress = Progress()
    try:
        with progress.showing():
            run_to_end(pull_model(reference, progress.fetching, file=file))
    except Interrupted:
        raise Interrupted("interrupted", hint="the same command resumes") from None
    note(f"{reference} is here")


@app.command()
def show(reference: Reference, json: Json = False) -> None:
    """Load a model and show its capabilities. An embedded model that is not here is shown and not fetched."""
    if absent := absent_model(reference):
        return emit(json_text(record(absent, ready=False))) if json else emit_folded(absent_model_text(absent))
    model = run_to_end(describe(reference))
    if json:
        emit(json_text(record(model, ready=True)))
    else:
        emit_folded(model_text(model))


def absent_model(reference: str) -> LocalModel | None:
    """Return the facts of an embedded model whose weights are not on this machine; None for any other model."""
    named = parse_reference(reference)
    model = catalog_model(named.name) if named.kind == "embedded" else None
    return model if model is not None and not model.ready else None


async def describe(reference: str) -> Model:
    """Return the description of a model, which is loaded where that is needed."""
    progress = Progress()
    with progress.showing():
        async with Models(
            reference, why="--model", progress=progress.fetching, notice=progress.notice, offer=progress.offer
        ) as models:
            return await (await models.get()).model()


def listed_record(model: LocalModel) -> dict[str, Any]:
    """Return a model of the list as the documented JSON object."""
    until = model.loaded_until
    return {
        **record(model, ready=model.ready),
        "parameters": model.parameters or None,
        "quantization": model.quantization or None,
        "reported": list(model.reported),
        "loaded_until": None if until is None else datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds"),
        "loaded_context": model.loaded_context,
    }


def record(model: LocalModel | Model, *, ready: bool) -> dict[str, Any]:
    """Return a model as the documented JSON object."""
    return {
        "reference": model.reference,
        "digest": model.digest,
        "size": model.size,
        "context": model.context,
        "capabilities": sorted(model.capabilities),
        "licence": licence_of(model.reference),
        "ready": ready,
    }
