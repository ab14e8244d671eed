"""The head of a step: read, checked against the step and its model, and the digest of the prompt that it stands for."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.answers.constraints.forms import reply_form
from promptkit.answers.decide import score_needs
from promptkit.answers.head import Head, read_head
from promptkit.engine.pipeline import PromptCall
from promptkit.errors import InputError, Problem, place
from promptkit.project import Project
from promptkit.prompts.front_matter import cut_front_matter
from promptkit.runtimes.base import Model
from promptkit.storage.files import read_text
from promptkit.storage.strict_json import json_bytes
from promptkit.techniques.calls import read_call
from promptkit.techniques.spec import configure, with_nested


def step_head(call: PromptCall, target: str | None = None) -> Head:
    """Read the head of a step. `target` is the pipeline as a person types it where that is not its name.

    Raises InputError where there is none, where it is damaged, or where it has other labels than the step's answer.
    """
    assert call.head is not None and isinstance(call.answer, AnswerType), "checked when the step was read"
    pipeline, _, step = call.home.rpartition(".")
    again = f"promptkit train {target or pipeline} --head --step {step} --data FILE"
    if not os.path.exists(call.head):
        raise InputError(Problem(f"`decide: head`: the step has no head ({call.head.name})", hint=again))
    head = read_head(call.head)
    labels = call.answer.alternatives()
    if set(head.labels) != set(labels):
        message = f"the head has the labels {_listed(head.labels)}, the answer {_listed(labels)}"
        raise InputError(Problem(message, place(call.head), hint=f"{again} --force"))
    return head


def matching_head(call: PromptCall, model: Model) -> Head:
    """Return the head of a step. Raises InputError as `step_head` does, and for a head of another model's weights."""
    head = step_head(call)
    if head.weights != model.weights:
        message = f"the head was trained on {head.model}, and the vectors of {model.reference} are others"
        hint = f"train it on this model, answer by {head.model}, or set `decide: {call.decide}`"
        assert call.head is not None, "the step has a head"
        raise InputError(Problem(message, place(call.head), hint=hint))
    return head


def head_fallback(call: PromptCall, model: Model, project: Project) -> str | None:
    """Return the reason why a step's head of the step's model cannot decide; None where it can."""
    head = matching_head(call, model)
    needed = "embeddings" if head.layer is None else "hidden_states"
    if needed not in model.capabilities:
        return f"{model.reference} gives no vectors for the head (it lacks {needed})"
    if head.prompt != prompt_digest(call, model, project):
        return "the prompt has changed since the head was trained; `promptkit train --head --force` trains it again"
    return None


def undecidable_by_head(spec: Any, project: Project) -> str | None:
    """Return the technique whose answer is not that of one request, of a step's and those beneath it; None for none.

    An invalid `spec` has none.
    """
    try:
        found = [link.technique for link in with_nested(configure(spec, project), project)]
    except InputError:
        return None
    for technique in found:
        calls = [read_call(file) for file in technique.call_files]
        asks_once = len(calls) == 1 and technique.code is None and technique.calls in ("1", "over_calls")
        if not asks_once or any(call.thinks or not (call.answers or call.modifier) for call in calls):
            return technique.name
    return None


def prompt_digest(call: PromptCall, model: Model, project: Project) -> str:
    """Return 16 hexadecimal digits over all that a step sends beside its inputs.

    These are the texts of the prompt, its parents, includes, layout and technique, without front matter and whatever
    inputs do to them; the examples, the defaults of inputs, and the settings that change messages.
    """
    assert isinstance(call.answer, AnswerType), "the labels of a head are fixed"
    settings: dict[str, Any] = {
        "inline": dict(call.prompt.inline),
        "defaults": call.prompt.defaults,
        "technique": call.technique,
        "writing": _writing(call, model),
        "layout": "" if isinstance(call.layout, Path) else call.layout,
        "messages": call.messages,
        "cue": call.cue,
        "answer": call.answer.description(),
        "examples": [[example.inputs, example.output, example.thoughts] for example in call.examples.all],
        "nearest": call.examples.how_nearest,
    }
    texts = [_body(file) for file in _text_files(call, project)]
    data = json_bytes([settings, texts], sort_keys=True, default=str)
    return hashlib.sha256(data).hexdigest()[:16]


def _writing(call: PromptCall, model: Model) -> str:
    """Return the form in which the prompt asks for the answer: plain, or JSON."""
    assert isinstance(call.answer, AnswerType), "the labels of a head are fixed"
    is_scored = call.decide == "score" and not score_needs(call.answer) - model.capabilities
    if call.decide == "generate" or is_scored:
        return "plain"
    return reply_form(call.answer, model.capabilities).writing


def _text_files(call: PromptCall, project: Project) -> Iterator[Path]:
    """Yield the files whose texts are in a step's messages."""
    yield from (file for file in call.prompt.files if file.suffix not in (".yaml", ".yml"))
    if isinstance(call.layout, Path):
        yield call.layout
    for chosen in with_nested(configure(call.technique, project), project):
        yield from chosen.technique.call_files
    template = project.find_template("answers", call.answer_name)
    yield from (template,) if template is not None else ()


_OF_FILES: Final = re.compile(r"\{#.*?#\}|\{%-?\s*extends[^%]*%\}", re.DOTALL)
"""The parts of a prompt's file that reach no message: comments, and paths of parents, which change as files move."""


def _body(file: Path) -> str:
    return _OF_FILES.sub("", cut_front_matter(read_text(file))[1]).strip() if os.path.exists(file) else ""


def _listed(labels: Sequence[str]) -> str:
    shown = list(labels)
    more = [f"{len(shown) - 10} more"] if len(shown) > 10 else []
    return ", ".join([*(label[:40] for label in shown[:10]), *more])
