"""`promptkit export gguf`: a copy of a model's weights with an adapter merged, or quantised."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from promptkit.api.session import load
from promptkit.engine.pipeline import Pipeline, Step, default_model
from promptkit.errors import InputError, Problem, Unsupported, place
from promptkit.runtimes.base import DownloadProgress
from promptkit.runtimes.in_process.runtime import InProcessRuntime
from promptkit.runtimes.models import MODEL_OPTION, choose_model
from promptkit.runtimes.references import AUTO, ReferenceKind, open_runtime, parse_reference
from promptkit.storage.files import check_destination
from promptkit.training.gguf_copies import write_copy
from promptkit.training.kinds import AdapterKind

Quantization: TypeAlias = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
"""The types of matrices that a copy can have."""
_WEIGHTS: tuple[ReferenceKind, ...] = ("embedded", "gguf", "hf")


@dataclass(frozen=True, slots=True)
class ExportedGguf:
    """A written copy: its model, the adapter that was merged, and the bytes of both files of weights."""

    file: Path
    model: str
    adapter: Path | None
    size: int
    original_size: int


@dataclass(frozen=True, slots=True)
class _Source:
    """The weights to copy, by a model reference relative to `base`, and the adapter to merge."""

    reference: str
    why: str
    base: Path
    adapter: Path | None


def export_gguf(
    source: str,
    to: Path,
    *,
    adapter: Path | None = None,
    step: str | None = None,
    model: str | None = None,
    quantize: Quantization | None = None,
    progress: DownloadProgress | None = None,
) -> ExportedGguf:
    """Write a copy of a model's weights to the file `to`; `source` is a target, or a model reference or file.

    A target's model is that of its `step`, and so is the adapter, unless another file is named. Blocks for as long as
    writing takes. Raises InputError for what does not fit together, MissingExtra without the package `gguf`,
    ModelLoadFailed, and StoreFailed where the copy cannot be written.
    """
    check_destination(to, f"OUT {place(to)}")
    if to.suffix != ".gguf":
        raise InputError(f"the copy is a GGUF file, and `{place(to)}` does not end in .gguf", hint=f"{to.name}.gguf")
    found = _source(source, adapter, step, model)
    if found.adapter is None and quantize is None:
        raise InputError("nothing to change in the copy", hint="name an adapter, --step STEP, or --quantize q8_0")
    reference, weights = asyncio.run(_weights(found, progress))
    if progress is not None:
        progress(f"writing {to.name}", 0, None)
    write_copy(weights, to, adapter=found.adapter, quantization=quantize)
    return ExportedGguf(to, reference, found.adapter, to.stat().st_size, weights.stat().st_size)


def _source(source: str, adapter: Path | None, step: str | None, model: str | None) -> _Source:
    if (reference := _model_reference(source)) is None:
        pipeline = load(source)
        chosen = _step_with_adapter(pipeline, step, adapter)
        if adapter is None and chosen is not None:
            adapter = _adapter_of(pipeline, chosen)
        return _Source(*default_model(pipeline.project, pipeline, model or (chosen.model if chosen else None)), adapter)
    if step is not None or model is not None:
        raise InputError(
            f"`{source}` is a model, and {'--step' if step else '--model'} is for a target",
            hint="name an adapter by --adapter FILE",
        )
    return _Source(reference, MODEL_OPTION, Path(), adapter)


def _model_reference(source: str) -> str | None:
    """Return the reference of a model, None for a target."""
    if source.endswith(".gguf") and ":" not in source and not source.startswith("hf/"):
        return f"gguf:{source}"
    try:
        named = parse_reference(source)
    except InputError:
        return None
    return None if named.kind == AUTO else source


def _adapter_of(pipeline: Pipeline, step: Step) -> Path:
    """Return the adapter that a step names, else the path at which training leaves one beside the pipeline."""
    call = step.prompt_call
    if call is not None and call.adapter is not None:
        return call.adapter
    return pipeline.file.parent / f"{call.home if call else step.name}{AdapterKind().suffix}"


def _step_with_adapter(pipeline: Pipeline, name: str | None, adapter: Path | None) -> Step | None:
    """Return the step whose adapter is merged, None where none has one and none is named."""
    if name is not None:
        step = pipeline.steps.get(name)
        if step is None:
            raise InputError(f"`{pipeline.name}` has no step `{name}`", hint=f"its steps: {', '.join(pipeline.steps)}")
        if adapter is None and not _adapter_of(pipeline, step).exists():
            raise InputError(
                Problem(
                    f"the step `{name}` has no adapter beside it: {_adapter_of(pipeline, step).name}",
                    place(pipeline.file),
                    hint=f"promptkit train {pipeline.file.stem} --adapter --step {name}",
                )
            )
        return step
    if adapter is not None:
        return None
    trained = [step for step in pipeline.steps.values() if _adapter_of(pipeline, step).exists()]
    if len(trained) > 1:
        names = ", ".join(step.name for step in trained)
        raise InputError(f"several steps have an adapter ({names})", hint=f"--step {trained[0].name}")
    return trained[0] if trained else None


async def _weights(source: _Source, progress: DownloadProgress | None) -> tuple[str, Path]:
    """Return the reference and the file of the weights, which are fetched if they are not here."""
    choice = await choose_model(source.reference, source.why)
    kind = parse_reference(choice.reference).kind
    if kind not in _WEIGHTS:
        raise Unsupported(
            f"{choice.reference} has no file of weights here that could be copied",
            hint="name its weights: gguf:PATH",
        )
    runtime = await open_runtime(choice.reference, base=source.base, progress=progress)
    try:
        assert isinstance(runtime, InProcessRuntime)
        return f"gguf:{place(runtime.weights)}" if kind == "gguf" else choice.reference, runtime.weights
    finally:
        await runtime.close()
