"""`promptkit export`: a target as a folder, a container or a model of Ollama, and weights with an adapter merged."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Annotated, get_args

import typer

from promptkit.api.export.docker import export_docker
from promptkit.api.export.folder import ExportedFolder, export_folder
from promptkit.api.export.gguf import Quantization, export_gguf
from promptkit.api.export.modelfile import export_modelfile
from promptkit.api.export.ollama import adapter_models, create_models, write_models
from promptkit.api.session import load
from promptkit.cli.options import Model, Target
from promptkit.cli.session import run_to_end
from promptkit.reports.output import emit, note
from promptkit.reports.progress import Progress
from promptkit.storage.files import check_destination, write_atomic

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The new folder.")]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Write a pipeline or its model for use elsewhere: a folder, a container, a Modelfile, a GGUF file.",
)


@app.command()
def folder(target: Target, to: Folder, model: Model = None) -> None:
    """Write a target with all that it needs as a project of its own, which runs where promptkit is installed."""
    exported = export_folder(load(target), to, model=model)
    _show(exported, ["pip install -r requirements.txt", f"promptkit run {exported.target}"])


@app.command()
def docker(target: Target, to: Folder, model: Model = None) -> None:
    """Write a target with a Dockerfile that serves it over HTTP."""
    exported = export_docker(load(target), to, model=model)
    _show(exported, ["docker build -t pipeline .", "docker run -p 8000:8000 -e PROMPTKIT_SERVE_TOKEN=… pipeline"])


@app.command()
def modelfile(
    target: Target,
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it to a file; default: stdout.")
    ] = None,
) -> None:
    """Write a prompt as a Modelfile, from which `ollama create` makes a model; no model is asked."""
    if out is not None:
        check_destination(out, f"--out {out}")
    written = asyncio.run(export_modelfile(target, model=model))
    for line in written.notes:
        note(f"not in the Modelfile: {line}")
    if out is None:
        emit(written.text.rstrip("\n"))
        return
    write_atomic(out, written.text)
    note(f"written: {out}; next: ollama create NAME -f {out}")


@app.command()
def gguf(
    source: Annotated[
        str, typer.Argument(metavar="TARGET|MODEL", help="A target with adapters, or gguf:PATH, embedded/NAME, …")
    ],
    to: Annotated[Path, typer.Argument(metavar="OUT", help="The new file, .gguf.")],
    adapter: Annotated[
        Path | None, typer.Option("--adapter", metavar="FILE", help="The adapter to merge; default: the step's.")
    ] = None,
    step: Annotated[str | None, typer.Option("--step", metavar="STEP", help="The step of a target.")] = None,
    model: Model = None,
    quantize: Annotated[
        Quantization | None, typer.Option("--quantize", metavar="TYPE", help=f"{', '.join(get_args(Quantization))}.")
    ] = None,
) -> None:
    """Write a copy of a model's weights with an adapter merged, quantised, or both; no model is asked."""
    progress = Progress()
    with progress.showing():
        written = export_gguf(
            source, to, adapter=adapter, step=step, model=model, quantize=quantize, progress=progress.fetching
        )
    emit(str(written.file))
    merged = f" with {written.adapter.name} merged" if written.adapter else ""
    note(f"{written.model}{merged}: {written.size / 1e6:,.1f} MB, the original {written.original_size / 1e6:,.1f} MB")
    note(f"next: --model gguf:{written.file}")


@app.command()
def ollama(
    target: Target,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The name of the new model.")],
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The folder to write; default: NAME.")
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Create it on the Ollama server; write no files.")] = False,
) -> None:
    """Make a model of Ollama for each step that answers with an adapter."""
    models = adapter_models(load(target), name, model=model)
    if create:
        progress = Progress()
        with progress.showing():
            run_to_end(create_models(models, progress.fetching))
        for made in models:
            note(f"created: {made.name}")
    else:
        files = write_models(models, out or Path(name.replace("/", "_").replace(":", "_")))
        for file in files:
            emit(str(file))
        note("next:")
        for made, file in zip(models, files, strict=True):
            note(f"  {shlex.join(['ollama', 'create', made.name, '-f', str(file)])}")
        if any(isinstance(made.base, str) for made in models):
            from promptkit.runtimes.servers.ollama_create import NO_ADAPTERS_HINT

            note(NO_ADAPTERS_HINT)
    note("in the pipeline, in place of `adapter:`")
    for made in models:
        emit(f"{made.step}: {{model: ollama/{made.name}}}")


def _show(exported: ExportedFolder, commands: list[str]) -> None:
    """Print the written files, what a person must know, and the commands to type in the folder."""
    for path in exported.files:
        emit(str(path))
    for line in exported.notes:
        note(line)
    note("next:")
    for command in (f"cd {exported.folder}", *commands):
        note(f"  {command}")
