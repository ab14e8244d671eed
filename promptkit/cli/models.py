"""`promptkit models`: list, fetch and describe models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from promptkit.cli.options import Json, complete_model
from promptkit.cli.session import run_to_end
from promptkit.errors import Interrupted
from promptkit.reports.models import model_text, models_text
from promptkit.reports.output import emit, emit_folded, note
from promptkit.reports.progress import Progress
from promptkit.reports.text import json_text
from promptkit.runtimes.base import Model
from promptkit.runtimes.models import LocalModel, Models, local_models, pull_model

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
def pull(reference: Reference) -> None:
    """Fetch a model: embedded/smollm2, ollama/NAME or hf/OWNER/REPO/FILE.gguf."""
    progress = Progress()
    try:
        with progress.showing():
            run_to_end(pull_model(reference, progress.fetching))
    except Interrupted:
        raise Interrupted("interrupted", hint="the same command resumes") from None
    note(f"{reference} is here")


@app.command()
def show(reference: Reference, json: Json = False) -> None:
    """Load a model and show its capabilities."""
    model = run_to_end(describe(reference))
    if json:
        emit(json_text(record(model, ready=True)))
    else:
        emit_folded(model_text(model))


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
        "ready": ready,
    }
