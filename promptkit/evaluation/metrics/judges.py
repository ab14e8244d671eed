"""What pointwise and pairwise judges share: the prompt that the judge reads, the model that reads it, what it said."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from promptkit.engine import (
    Pipeline,
    Runner,
    Settings,
    Trace,
    code_in,
    compile_value,
    files,
    load_target,
    model_named,
)
from promptkit.errors import InputError, Problem, PromptkitError, UnparsedAnswer, nearest
from promptkit.evaluation.metrics.base import Around, Askers, Given
from promptkit.evaluation.metrics.values import shown, text_of
from promptkit.project import LIBRARY
from promptkit.project_code import CodeReference
from promptkit.prompts import Expression
from promptkit.storage import read_bytes

SAME_MODEL: Final = "the judge is the model that is judged: models like their own answers; name another by `model`"
SCOPE: Final = frozenset({"row", "output", "expected", "steps"})
_BEGINNING = 120


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge answered, and the log-probabilities of its choices where the runtime gives them.

    `said` is, for people, what it was asked and what it replied, with the calls and tokens that it took.
    """

    value: Any
    logprobs: Mapping[str, float] | None
    said: Mapping[str, Any]


class Babble(Exception):
    """The judge's reply is no verdict; the message has its beginning."""


class JudgePrompt:
    """A prompt as a pipeline of one step, run by a judge's model. What a prompt does not take it is not given.

    `gives` are the names of the values that `ask` gets. Raises InputError for a prompt that is not there, is broken, or
    needs another input.
    """

    def __init__(self, prompt: str, model: str | None, around: Around, gives: frozenset[str]) -> None:
        path = around.project.find_prompt(prompt, beside=around.folder)
        if path is None:
            raise InputError(f"there is no prompt `{prompt}`", hint=nearest(prompt, around.project.names("prompts")))
        self.model = None if model is None else model_named(model, around.folder, around.project)
        self._pipeline = _with_model(load_target(path, around.project), self.model)
        lacking = [name for name, each in self._pipeline.inputs.items() if name not in gives and not each.has_default]
        if lacking:
            told = (
                f"the prompt `{prompt}` needs {', '.join(f'`{name}`' for name in lacking)}, which a judge is not given"
            )
            raise InputError(told, hint=nearest(lacking[0], gives))
        # A project's own prompt may have a technique that thinks first.
        self._thinks = any(step.asking and step.asking.technique != "vanilla" for step in self._pipeline.steps.values())
        self._askers: Askers | None = None
        self._opening: asyncio.Task[tuple[Runner, bool]] | None = None

    @cached_property
    def key(self) -> str:
        """Changes with any file that the judge's prompt is made of."""
        return _hash(self._pipeline)

    @property
    def code(self) -> tuple[CodeReference, ...]:
        """The project's own Python that the prompt needs, that of the judge's `model` left aside."""
        return tuple(each.code for each in code_in(self._pipeline, with_models=self.model is None))

    async def ask(self, values: Mapping[str, Any], askers: Askers) -> Verdict:
        """Ask once. Raises Babble, and what asking raises."""
        runner, _ = await self._opened(askers)
        inputs = {name: values.get(name, each.default) for name, each in self._pipeline.inputs.items()}
        result = await runner.run(inputs)
        if result.error is not None and not isinstance(result.error, UnparsedAnswer):
            raise result.error
        step = result.trace.children[0]
        if result.error is not None or not self._is_verdict(step, result.output):
            raise Babble(f"the judge's reply is no verdict: {shown(step.calls[-1].reply.text, _BEGINNING)}")
        last = step.calls[-1]
        asked = [*(message.content for message in last.request.messages), last.request.begun]
        spent = result.totals
        said = {
            "asked": "\n\n".join(filter(None, asked)),
            "reply": last.reply.text,
            "calls": spent.calls,
            "tokens": spent.tokens_in + spent.tokens_out,
        }
        return Verdict(result.output, step.extra.get("scores"), said)

    async def is_judged(self, askers: Askers) -> bool:
        """Tell whether the judge is the run's own model."""
        return (await self._opened(askers))[1]

    def _is_verdict(self, step: Trace, value: Any) -> bool:
        """Tell whether a reply that nothing held to the choices begins with one; thoughts may come before it."""
        request = step.calls[-1].request
        held = "scores" in step.extra or request.grammar is not None or request.schema is not None
        return held or self._thinks or _begins_with(step.calls[-1].reply.text, value)

    async def _opened(self, askers: Askers) -> tuple[Runner, bool]:
        if self._opening is None or self._askers is not askers:
            self._askers = askers
            self._opening = asyncio.ensure_future(self._open(askers))
        return await asyncio.shield(self._opening)

    async def _open(self, askers: Askers) -> tuple[Runner, bool]:
        runner = Runner(self._pipeline, models=askers, settings=Settings(repairs=0))
        await runner.open()
        digests = {model.digest for model in runner.session.answered.values()}
        try:
            own = (await (await askers.get(None)).model()).digest
        except PromptkitError:  # steps name their models, and the default one is not there
            return runner, False
        return runner, own in digests


def _begins_with(reply: str, value: Any) -> bool:
    """Tell whether a free reply begins with a verdict, perhaps after a cue (`Level: good`).

    One that only mentions it (`I cannot say whether it is good`) is none, though an answer would be read from it.
    """
    return (
        re.match(rf"[\W_]*(?:\w[\w ]{{0,30}}:[\W_]*)?{re.escape(str(value))}(?!\w)", reply, re.IGNORECASE) is not None
    )


def question_of(given: Given, question: str | None, hidden: frozenset[str]) -> dict[str, str]:
    """Return what was asked, by name, as texts: what `question` is of the row, else the row's fields.

    Left out of these are the `hidden` ones, and what is expected. Raises InputError for an expression that
    fails, ValueError for a field that is not there.
    """
    if question is not None:
        if "{{" not in question and question not in given.cell.row:
            raise ValueError(f"the row has no field `{question}`, which `question` names")
        value = read_of(question, given)
        fields = value if isinstance(value, Mapping) else {"question": value}
    else:
        told = given.expected
        row = given.cell.row
        fields = {name: row[name] for name in row if name not in hidden and (told is None or row[name] != told)}
    return {str(name): text_of(value) for name, value in fields.items() if value is not None}


def read_of(text: str, given: Given) -> Any:
    """Return the value of an expression over `row`, `output`, `expected` and `steps`, or of a field of the row.

    A field that the row lacks is None. Raises InputError for an expression that fails.
    """
    if "{{" not in text:
        return given.cell.row.get(text)
    cell = given.cell
    scope = {"row": cell.row, "output": given.got, "expected": given.expected, "steps": cell.steps}
    return Expression.parse(text).evaluate(scope)


def fields_read(text: str | None) -> Iterator[str]:
    """Yield the fields of the row that such a text reads. Raises InputError for what `read_of` could not evaluate."""
    if text is None:
        return
    if "{{" not in text:
        yield text
        return
    value = compile_value(text, lambda path: Problem(""))
    for unknown in sorted(value.names - SCOPE):
        raise InputError(f"`{text}`: unknown name `{unknown}`", hint=nearest(unknown, SCOPE))
    yield from (attribute for name, attribute in value.attributes if name == "row")


def _with_model(pipeline: Pipeline, model: str | None) -> Pipeline:
    """Return a pipeline whose steps ask this model, whatever the project's defaults say."""
    if model is None:
        return pipeline
    return replace(pipeline, steps={name: replace(step, model=model) for name, step in pipeline.steps.items()})


def _hash(pipeline: Pipeline) -> str:
    """Return a hash of all that a pipeline's messages are made of."""
    digest = hashlib.sha256()
    for path in sorted(files(pipeline)):
        inside = path.is_relative_to(LIBRARY)
        digest.update(str(path.relative_to(LIBRARY) if inside else path.name).encode())
        digest.update(read_bytes(path))
    return digest.hexdigest()
