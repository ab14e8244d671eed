"""`promptkit export ollama`: a model of Ollama for each step that answers with an adapter."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from promptkit.engine.pipeline import Pipeline, Step, default_model
from promptkit.errors import InputError, Problem, place
from promptkit.runtimes.base import DownloadProgress
from promptkit.runtimes.in_process.adapter_file import check_fits, read_adapter
from promptkit.runtimes.references import local_weights, parse_reference
from promptkit.storage.files import check_destination, make_folder, write_atomic
from promptkit.training.gguf_copies import write_copy


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterModel:
    """A model of Ollama to be: its name, the step that it answers, its base, adapter and parameters.

    `base` is a GGUF file on this machine, into a copy of which the adapter is merged: Ollama has not taken adapters
    since 0.34.1. Where `base` is the name of another model of Ollama, only an older server can create the model.
    """

    name: str
    step: str
    base: str | Path
    adapter: Path
    parameters: Mapping[str, Any]

    @property
    def file(self) -> str:
        """The name of the file beside the Modelfile: the merged copy of the base, or the adapter."""
        name = self.adapter.name
        return name if isinstance(self.base, str) else f"{name.removesuffix('.gguf').removesuffix('.lora')}.merged.gguf"

    @property
    def modelfile(self) -> str:
        """The text of its Modelfile, which stands beside `file`.

        It has neither system message nor template: promptkit sends the whole prompt, and Ollama has the template from
        the base.
        """
        lines = (
            [f"FROM {self.base}", f"ADAPTER ./{self.file}"] if isinstance(self.base, str) else [f"FROM ./{self.file}"]
        )
        lines += [f"PARAMETER {name} {value:g}" for name, value in self.parameters.items()]
        return "".join(f"{line}\n" for line in lines)


def adapter_models(pipeline: Pipeline, name: str, *, model: str | None = None) -> list[AdapterModel]:
    """Return a model for each step with an adapter: `name`, or `name-STEP` where there are several.

    `model` is the model of the command line. Raises InputError where no step has an adapter, for an adapter that does
    not fit its base, and for a base that Ollama cannot run.
    """
    adapted = list(_adapted_steps(pipeline))
    if not adapted:
        inner = (step.pipeline for step in pipeline.steps.values() if step.pipeline is not None)
        within = [target.file.stem for target in inner if any(_adapted_steps(target))]
        hint = f"train one: promptkit train {pipeline.file.stem} --adapter"
        if within:
            hint = f"a pipeline within has: promptkit export ollama {within[0]} --name NAME"
        raise InputError(f"no step of `{pipeline.name}` has an adapter", hint=hint)
    return [
        AdapterModel(
            name=name if len(adapted) == 1 else f"{name}-{step.name}",
            step=step.name,
            base=_base(pipeline, step, file, model),
            adapter=file,
            parameters={"temperature": temperature},
        )
        for step, file, temperature in adapted
    ]


def _adapted_steps(pipeline: Pipeline) -> Iterator[tuple[Step, Path, float]]:
    """Yield each step with an adapter, its file and the step's temperature.

    Those of sub-pipelines are left out: these are targets of their own.
    """
    for step in pipeline.steps.values():
        call = step.prompt_call
        if call is not None and call.adapter is not None:
            yield step, call.adapter, float(call.options.temperature or 0.0)


def _base(pipeline: Pipeline, step: Step, file: Path, model: str | None) -> str | Path:
    """Return the base of a step's adapter, once the adapter fits it as far as that can be told here."""
    reference, _, folder = default_model(pipeline.project, pipeline, model or step.model)
    named = parse_reference(reference).beside(folder)
    adapter = read_adapter(file)
    if named.kind == "ollama":
        return named.name
    weights = local_weights(named)
    if weights is None:
        raise InputError(
            f"step `{step.name}`: the weights of `{reference}` are not on this machine, so Ollama cannot get them here",
            hint="--model names the model that the adapter was trained on: embedded/NAME, gguf:PATH or ollama/NAME",
        )
    check_fits(adapter, weights, reference)
    return weights


def write_models(models: list[AdapterModel], folder: Path) -> list[Path]:
    """Write a Modelfile for each model, and the file that it names, into a folder. Returns the Modelfiles.

    Raises InputError where the folder has other files in their place, and as `write_copy`.
    """
    written = []
    make_folder(folder)
    for model in models:
        file = folder / ("Modelfile" if len(models) == 1 else f"{model.step}.Modelfile")
        check_destination(file, f"--out {folder}")
        copy = folder / model.file
        if isinstance(model.base, Path):
            write_copy(model.base, copy, adapter=model.adapter)
        elif not (os.path.exists(copy) and os.path.samefile(copy, model.adapter)):
            try:
                shutil.copyfile(model.adapter, copy)
            except OSError as error:
                raise InputError(Problem(f"cannot write it: {error.strerror or error}", place(copy))) from error
        write_atomic(file, model.modelfile)
        written.append(file)
    return written


async def create_models(models: list[AdapterModel], progress: DownloadProgress | None = None) -> None:
    """Create the models on the Ollama server that OLLAMA_HOST names. Raises as `create_ollama` and `write_copy`."""
    from promptkit.runtimes.servers.ollama_create import create_ollama

    for model in models:
        if isinstance(model.base, str):
            await create_ollama(
                model.name, base=model.base, adapter=model.adapter, parameters=model.parameters, progress=progress
            )
            continue
        with TemporaryDirectory(prefix="promptkit-") as folder:
            copy = Path(folder) / model.file
            await asyncio.to_thread(write_copy, model.base, copy, adapter=model.adapter)
            await create_ollama(model.name, base=copy, parameters=model.parameters, progress=progress)
