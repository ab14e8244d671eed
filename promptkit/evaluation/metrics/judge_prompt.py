"""A judge as a pipeline that is asked for a verdict, and the values of a row that it gets."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from promptkit.engine.dependencies import code_in, hashed_files
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Input, Pipeline
from promptkit.engine.results import Result, Trace
from promptkit.engine.run import Runner
from promptkit.engine.scope import CompiledValue, Location, Unplaced, compile_value
from promptkit.engine.session import RunSettings
from promptkit.engine.step_settings import resolve_model
from promptkit.errors import InputError, PromptkitError, UnparsedAnswer, nearest
from promptkit.evaluation.metrics.base import Clients, MetricContext, MetricInput
from promptkit.evaluation.metrics.values import shown_value, text_of
from promptkit.project import LIBRARY
from promptkit.project_code.reference import CodeReference
from promptkit.prompts.expressions import Expression
from promptkit.prompts.filters import transcript
from promptkit.storage.models import Problems
from promptkit.storage.strict_json import plain

SAME_MODEL: Final = "the judge is the model under test, and models prefer their own answers; set another one by `model`"
SCOPE: Final = frozenset({"row", "output", "expected", "steps", "turn"})
VANILLA: Final = "vanilla"
_BEGINNING: Final = 120


@dataclass(frozen=True, slots=True)
class JudgeVerdict:
    """The verdict of a judge, with the log-probabilities of its choices where the runtime gives them.

    `value` is a choice of the judge's prompt, or the output of its pipeline. `reason` is empty where it gave none.
    `exchange` is a record for people: its prompt and reply, or its steps, and the calls and tokens used.
    """

    value: Any
    logprobs: Mapping[str, float] | None
    exchange: Mapping[str, Any]
    reason: str = ""


class NoVerdict(Exception):
    """The judge's reply is not a verdict; the message has its beginning."""


class JudgePipeline:
    """A pipeline that judges. It gets only the values that it takes as inputs.

    `gives` are the names of the values that `ask` gets, `changes` those of the target, as in `--set`. Raises InputError
    for a target that is broken, or needs another input.
    """

    def __init__(
        self,
        target: Path,
        model: str | None,
        context: MetricContext,
        gives: frozenset[str],
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = None if model is None else resolve_model(model, context.folder, context.project)
        self.pipeline = _with_model(load_target(target, context.project, changes=changes), self.model)
        lacking = [
            name for name, declared in self.pipeline.inputs.items() if name not in gives and not declared.has_default
        ]
        if lacking:
            message = f"`{target.stem}` needs {', '.join(f'`{name}`' for name in lacking)}, which a judge does not get"
            raise InputError(message, hint=nearest(lacking[0], gives) or "`with` gives it further values")
        self._clients: Clients | None = None
        self._opening: asyncio.Task[tuple[Runner, bool]] | None = None

    @cached_property
    def key(self) -> str:
        """A hash of all files that the judge is made of."""
        return _pipeline_hash(self.pipeline)

    @property
    def code(self) -> tuple[CodeReference, ...]:
        """The Python of the project that the judge needs, without that of its `model`."""
        return tuple(found.code for found in code_in(self.pipeline, with_models=self.model is None))

    async def ask(self, values: Mapping[str, Any], clients: Clients, *, sample: str = "0") -> JudgeVerdict:
        """Ask once. Raises NoVerdict, and what asking raises."""
        result = await self._run(values, clients, sample)
        if result.error is not None:
            if isinstance(result.error, UnparsedAnswer | InputError):
                raise NoVerdict(f"the judge `{self.pipeline.name}` gave no verdict: {result.error}")
            raise result.error
        steps = {name: plain(step.value) for name, step in result.steps.items()}
        output = result.output
        reason = output.get("reason") if isinstance(output, Mapping) else None
        return JudgeVerdict(output, None, {"steps": steps, **_usage(result)}, str(reason or ""))

    async def is_judged(self, clients: Clients) -> bool:
        """Tell whether the judge is the model of the run."""
        return (await self._opened(clients))[1]

    async def _run(self, values: Mapping[str, Any], clients: Clients, sample: str) -> Result:
        runner, _ = await self._opened(clients)
        inputs = {
            name: _as_input(declared, values.get(name, declared.default))
            for name, declared in self.pipeline.inputs.items()
        }
        return await runner.run(inputs, sample=sample)

    async def _opened(self, clients: Clients) -> tuple[Runner, bool]:
        if self._opening is None or self._clients is not clients:
            self._clients = clients
            self._opening = asyncio.ensure_future(self._open(clients))
        return await asyncio.shield(self._opening)

    async def _open(self, clients: Clients) -> tuple[Runner, bool]:
        runner = Runner(self.pipeline, models=clients, settings=RunSettings(repairs=0))
        await runner.open()
        digests = {model.digest for model in runner.session.answered.values()}
        try:
            default = (await (await clients.get(None)).model()).digest
        except PromptkitError:  # steps name their models, and the default one is not there
            return runner, False
        return runner, default in digests


class JudgePrompt(JudgePipeline):
    """The prompt of a judge, as a pipeline of one step.

    `changes` are settings of that step (`technique`, `options.temperature`). Raises InputError for a prompt that does
    not exist, is broken, or needs another input.
    """

    def __init__(
        self,
        prompt: str,
        model: str | None,
        context: MetricContext,
        gives: frozenset[str],
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        path = context.project.find_prompt(prompt, beside=context.folder)
        if path is None:
            raise InputError(f"there is no prompt `{prompt}`", hint=nearest(prompt, context.project.names("prompts")))
        of_step = {f"{path.stem}.{key}": value for key, value in (changes or {}).items()}
        super().__init__(path, model, context, gives, of_step)
        self._technique = next(
            (step.prompt_call.technique for step in self.pipeline.steps.values() if step.prompt_call), VANILLA
        )

    @property
    def thinks(self) -> bool:
        """True if the judge has a technique, which may think before the verdict."""
        return bool(self._technique != VANILLA)

    async def ask(self, values: Mapping[str, Any], clients: Clients, *, sample: str = "0") -> JudgeVerdict:
        """Ask once. Raises NoVerdict, and what asking raises."""
        result = await self._run(values, clients, sample)
        if result.error is not None and not isinstance(result.error, UnparsedAnswer):
            raise result.error
        step = result.trace.children[0]
        if result.error is not None or not self._is_verdict(step, result.output):
            raise NoVerdict(f"the judge's reply is not a verdict: {shown_value(step.calls[-1].reply.text, _BEGINNING)}")
        last = step.calls[-1]
        asked = [*(message.content for message in last.request.messages), last.request.begun]
        exchange = {"asked": "\n\n".join(filter(None, asked)), "reply": last.reply.text, **_usage(result)}
        reason = step.calls[0].reply.text.strip() if self.thinks else ""
        return JudgeVerdict(result.output, step.extra.get("scores"), exchange, reason)

    def _is_verdict(self, step: Trace, value: Any) -> bool:
        """Tell whether a reply is a verdict: it was constrained, may come after thoughts, or begins with a choice."""
        request = step.calls[-1].request
        held = "scores" in step.extra or request.constrained
        return held or self.thinks or _begins_with(step.calls[-1].reply.text, value)


def _usage(result: Result) -> dict[str, int]:
    spent = result.totals
    return {"calls": spent.calls, "tokens": spent.tokens_in + spent.tokens_out}


def _as_input(declared: Input, value: Any) -> Any:
    """Return a value as an input takes it: as text where it is a text, of a question its texts by name."""
    if declared.type != "text" or isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return text_of(value)
    return (
        next(iter(value.values())) if len(value) == 1 else "\n".join(f"{name}: {text}" for name, text in value.items())
    )


def _begins_with(reply: str, value: Any) -> bool:
    """Tell whether a free reply begins with a verdict, perhaps after a cue (`Level: good`).

    A reply that only mentions one (`I cannot say whether it is good`) is not a verdict, though it would parse as one.
    """
    return (
        re.match(rf"[\W_]*(?:\w[\w ]{{0,30}}:[\W_]*)?{re.escape(str(value))}(?!\w)", reply, re.IGNORECASE) is not None
    )


def question_of(given: MetricInput, question: str | None, hidden: frozenset[str]) -> dict[str, str]:
    """Return the question as texts by name: the value of `question`, else the fields of the row, else, of the turn of a
    conversation, the messages up to it.

    The `hidden` fields and the expected answer are left out. Raises InputError for an expression that fails, ValueError
    for a field that the row lacks.
    """
    if question is not None:
        if "{{" not in question and question not in given.cell.fields:
            raise ValueError(f"the row has no field `{question}`, which `question` names")
        value = read_value(question, given)
        fields = value if isinstance(value, Mapping) else {"question": value}
    elif given.cell.turn is not None:
        fields = {"conversation": transcript(given.cell.turn["messages"])}
    else:
        expected = given.expected
        row = given.cell.fields
        fields = {name: row[name] for name in row if name not in hidden and (expected is None or row[name] != expected)}
    return {str(name): text_of(value) for name, value in fields.items() if value is not None}


def read_value(text: str, given: MetricInput) -> Any:
    """Return the value of an expression over `row`, `output`, `expected` and `steps`, or of a field of the row.

    A field that the row lacks is None. Raises InputError for an expression that fails.
    """
    if "{{" not in text:
        return given.cell.fields.get(text)
    cell = given.cell
    scope = {
        "row": cell.fields,
        "output": given.got,
        "expected": given.expected,
        "steps": cell.steps,
        "turn": cell.turn,
    }
    return Expression.parse(text).evaluate(scope)


def fields_read(text: str | None) -> Iterator[str]:
    """Yield the fields of the row that a template reads. Raises InputError where `read_value` could not evaluate it."""
    if text is None:
        return
    if "{{" not in text:
        yield text
        return
    yield from (attribute for name, attribute in _compiled(text).attributes if name == "row")


def names_read(text: str) -> frozenset[str]:
    """Return the names of SCOPE that a template reads; a field of the row reads `row`. Raises InputError."""
    return frozenset({"row"}) if "{{" not in text else frozenset(_compiled(text).names)


def _compiled(text: str) -> CompiledValue:
    problems = Problems()
    value = compile_value(text, Location(Unplaced()), problems)
    problems.check()
    for unknown in sorted(value.names - SCOPE):
        raise InputError(f"`{text}`: unknown name `{unknown}`", hint=nearest(unknown, SCOPE))
    return value


def _with_model(pipeline: Pipeline, model: str | None) -> Pipeline:
    """Return a pipeline whose steps ask this model rather than the project's defaults."""
    if model is None:
        return pipeline
    return replace(pipeline, steps={name: replace(step, model=model) for name, step in pipeline.steps.items()})


def _pipeline_hash(pipeline: Pipeline) -> str:
    """Return a hash of all files that a pipeline's messages are made of."""
    digest = hashlib.sha256()
    for path, content in sorted(hashed_files(pipeline).items()):
        inside = path.is_relative_to(LIBRARY)
        digest.update(str(path.relative_to(LIBRARY) if inside else path.name).encode())
        digest.update(content)
    return digest.hexdigest()
