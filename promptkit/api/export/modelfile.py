"""`promptkit export modelfile`: a prompt as a model of Ollama, as far as a Modelfile can say it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.api.session import load
from promptkit.engine.pipeline import Input, Pipeline, Step, default_model
from promptkit.engine.render import render
from promptkit.errors import InputError
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.references import parse_reference
from promptkit.runtimes.scripted import CAPABILITIES, Scripted

INPUT = "⟦input⟧"
"""The text that stands for the user's message while the prompt is rendered."""
IN_ITS_PLACE = "[the message of the user]"
"""The text in the place of the input, where the instructions hold it."""
MARKS = '"""'


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The text of a Modelfile, and what of the target it cannot say."""

    text: str
    notes: tuple[str, ...]


async def export_modelfile(target: str | Path, *, model: str | None = None) -> Modelfile:
    """Return the Modelfile of a prompt, or of a pipeline of one prompt, for the model that would answer it.

    Instructions become its SYSTEM, examples its MESSAGEs; the user's message is the value of the one text input.
    Raises InputError for a target that is more than one request, and for a model that Ollama cannot run.
    """
    step = _only_step(load(target))
    pipeline = load(target, sets=[f"{step.name}.messages=turns", f"{step.name}.cue=none"])
    step = pipeline.steps[step.name]
    asked = _asked_input(pipeline)
    reference, _, base = default_model(pipeline.project, pipeline, model or step.model)
    origin = _origin(reference, base)
    request = await _rendered(pipeline, asked)
    *turns, last = request.messages
    notes = list(_notes(pipeline, step, last, has_system=bool(turns)))
    if not turns and last.content.strip() != INPUT:
        turns = [Message("system", last.content.replace(INPUT, IN_ITS_PLACE))]
    lines = [
        f"# {' '.join(pipeline.name.split())}, exported by promptkit",
        *(f"# {note}" for note in notes),
        f"FROM {origin}",
        *_parameters(request),
        *(f"{_instruction(turn)} {_quoted(_bare(turn, last))}" for turn in turns),
    ]
    return Modelfile("\n".join(lines) + "\n", tuple(notes))


def _bare(turn: Message, last: Message) -> str:
    """Return the text of a turn; of the user's, without what the prompt puts around the input, as users type it."""
    before, _, after = last.content.partition(INPUT)
    return turn.content.removeprefix(before).removesuffix(after) if turn.role == "user" else turn.content


def _instruction(turn: Message) -> str:
    return "SYSTEM" if turn.role == "system" else f"MESSAGE {turn.role}"


def _only_step(pipeline: Pipeline) -> Step:
    """Return the only step of a pipeline. Raises InputError where a run is more than one request of it."""
    step = next(iter(pipeline.steps.values()))
    call = step.prompt_call
    if len(pipeline.steps) != 1 or call is None:
        raise InputError(
            f"a Modelfile is one prompt, and `{pipeline.name}` has the steps {', '.join(pipeline.steps)}",
            hint=f"promptkit export folder {pipeline.file.stem} DIR",
        )
    if step.for_each is not None or step.repeat is not None or call.technique != "vanilla":
        raise InputError(
            f"a Modelfile is one request, and the step `{step.name}` makes others by its loop or technique",
            hint=f"promptkit export folder {pipeline.file.stem} DIR",
        )
    return step


def _asked_input(pipeline: Pipeline) -> Input:
    """Return the input that the user's message is. Raises InputError where there is not just one."""
    texts = [spec for spec in pipeline.inputs.values() if spec.type == "text"]
    asked = [spec for spec in texts if not spec.has_default] or texts[:1]
    needed = (spec for spec in pipeline.inputs.values() if not spec.has_default)
    others = [spec for spec in needed if spec.type not in ("text", "messages")]
    if len(asked) != 1 or others:
        names = ", ".join(f"`{spec.name}`" for spec in (*asked, *others)) or "none"
        raise InputError(f"a model of Ollama takes one text, and `{pipeline.name}` takes {names}")
    return asked[0]


def _origin(reference: str, base: Path) -> str:
    """Return the value of FROM. Raises InputError for a model that Ollama cannot run."""
    named = parse_reference(reference).beside(base)
    match named.kind:
        case "ollama":
            return named.name
        case "gguf":
            return named.path
        case "hf":
            return f"hf.co/{named.name}:{named.path}"
    raise InputError(f"Ollama cannot run `{reference}`", hint="--model ollama/NAME names the model to build on")


class _RenderingModels(Models):
    """A model that takes a system message, and is never asked."""

    async def get(self, reference: str | None = None) -> Client:
        return Client(Scripted([], capabilities=CAPABILITIES - {"continue", "grammar", "regex", "schema"}))


async def _rendered(pipeline: Pipeline, asked: Input) -> Request:
    values: dict[str, Any] = {spec.name: spec.default for spec in pipeline.inputs.values() if spec.has_default}
    values |= {spec.name: [] for spec in pipeline.inputs.values() if spec.type == "messages"}
    [rendered] = await render(pipeline, {**values, asked.name: INPUT}, models=_RenderingModels())
    if any(INPUT in message.content for message in rendered.request.messages[:-1]):
        raise InputError(f"the input `{asked.name}` stands in the instructions, which a Modelfile holds without it")
    return rendered.request


def _parameters(request: Request) -> Iterator[str]:
    yield f"PARAMETER temperature {request.temperature:g}"
    yield f"PARAMETER num_predict {request.max_tokens}"
    for name, value in (("top_p", request.top_p), ("seed", request.seed), ("num_ctx", request.context)):
        if value is not None:
            yield f"PARAMETER {name} {value:g}" if isinstance(value, float) else f"PARAMETER {name} {value}"
    for stop in request.stop:
        yield f"PARAMETER stop {_quoted(stop)}"


def _notes(pipeline: Pipeline, step: Step, last: Message, *, has_system: bool) -> Iterator[str]:
    """Yield a note on each part of a target that a Modelfile cannot express. `last` is the turn with the input."""
    before, _, after = last.content.partition(INPUT)
    if (before.strip() or after.strip()) and has_system:
        around = " … ".join(" ".join(part.split()) for part in (before, after))
        yield f"the prompt puts this around the input, and the message of a user comes without it: {around}"
    elif before.strip() or after.strip():
        yield f"the instructions hold the input; here they hold {IN_ITS_PLACE} in its place"
    call = step.prompt_call
    if call is not None and call.answer_name != "text":
        yield f"the reply is not held to the answer type `{call.answer_name}`, nor repaired where it does not parse"
    if step.guard is not None:
        yield "the guard of the step is not checked"
    if fixed := [spec.name for spec in pipeline.inputs.values() if spec.has_default and spec.type != "messages"]:
        yield f"these inputs are fixed to their defaults: {', '.join(fixed)}"
    if call is not None and call.examples.nearest is not None:
        yield "the examples are not chosen anew for each input"


def _quoted(text: str) -> str:
    """Return a text as a Modelfile has it. Raises InputError for one that ends the quotes."""
    if MARKS in text:
        raise InputError(f"a Modelfile cannot hold a text with {MARKS}")
    return f"{MARKS}{text}{MARKS}"
