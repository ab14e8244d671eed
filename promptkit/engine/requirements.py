"""Requirements of steps that models cannot meet, and the fallbacks that run instead. No request is sent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, replace
from typing import get_args

from promptkit.answers.base import AnswerType
from promptkit.answers.build import build_answer_type
from promptkit.answers.calibration import read_calibration
from promptkit.answers.constraints.forms import reply_form
from promptkit.answers.decide import score_needs
from promptkit.engine.adapters import adapter_problems, add_adapters
from promptkit.engine.heads import head_fallback, matching_head, step_head
from promptkit.engine.pipeline import Pipeline, PromptCall
from promptkit.engine.session import ClientProvider, Session
from promptkit.engine.step_settings import WITH_TOOLS
from promptkit.errors import InputError, ModelMissing, Problem, Unsupported, place
from promptkit.project import Project
from promptkit.runtimes.base import Capability, Model
from promptkit.storage.models import Problems
from promptkit.techniques.artifacts import read_artifact
from promptkit.techniques.definition import configured_problems
from promptkit.techniques.needs import HOW_TO_PROVIDE, ROWS, Available, not_prepared
from promptkit.techniques.spec import ConfiguredTechnique, configure, with_nested
from promptkit.techniques.thinking import unmet_setting
from promptkit.tools.backends import jail_fault, no_jail
from promptkit.tools.search import Documents


def unmet_requirements(pipeline: Pipeline) -> list[Problem]:
    """Return the requirements of steps' techniques that no model can meet: an artifact, documents, tools, a role.

    Problems in artifacts are included.
    """
    problems = Problems()
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            problems.add(unmet_requirements(step.pipeline))
        if step.prompt_call is not None:
            found = _unmet_of_step(step.prompt_call, pipeline)
            problems.add(replace(step.place, message=f"step `{step.name}`: {text}", hint=hint) for text, hint in found)
            for file in step.prompt_call.artifacts.values():
                with problems.gather():
                    read_artifact(file)
            problems.add(adapter_problems(step.prompt_call, step, _target_argument(pipeline)))
    return problems.found


def technique_problems(pipeline: Pipeline) -> list[Problem]:
    """Return the problems in the formulas of steps' techniques, which a run would not meet."""
    problems = Problems()
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            problems.add(technique_problems(step.pipeline))
        if step.prompt_call is not None:
            chosen = configure(step.prompt_call.technique, pipeline.project)
            problems.add(configured_problems(chosen, pipeline.project))
    return problems.found


async def check_requirements(pipeline: Pipeline, session: Session, *, model: str | None = None) -> None:
    """Check all requirements, opening the model of each step.

    Raises InputError for those that no model can meet, and Unsupported with everything that these models cannot do.
    """
    problems = unmet_requirements(pipeline)
    if problems:
        raise InputError(problems)
    await _check_programs(pipeline)
    await add_adapters(pipeline, session, model)
    missing = [text async for text in _missing_capabilities(pipeline, session, model)]
    if missing:
        hint = "promptkit models show MODEL lists what a model can do"
        raise Unsupported("\n".join(dict.fromkeys(missing)), hint=hint)


async def _check_programs(pipeline: Pipeline) -> None:
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            await _check_programs(step.pipeline)
        is_jailed = step.prompt_call is not None and step.prompt_call.programs == "cpython"
        if is_jailed and (why := await asyncio.to_thread(jail_fault)):
            raise no_jail(why, f"step `{step.name}`: ")


async def _missing_capabilities(pipeline: Pipeline, session: Session, inherited: str | None) -> AsyncIterator[str]:
    for step in pipeline.steps.values():
        reference = step.model or inherited
        if step.pipeline is not None:
            async for text in _missing_capabilities(step.pipeline, session, step.pipeline.model or reference):
                yield text
        if step.prompt_call is not None:
            try:
                model = await (await session.client(reference)).model()
            except ModelMissing as missing:
                if step.model is None:
                    raise
                raise ModelMissing(f"step `{step.name}`: {missing.message}", hint=missing.hint) from missing
            for other in step.prompt_call.other_models:
                await session.client(other)
            for what in _unsupported(step.prompt_call, model, session):
                yield f"step `{step.name}`: {model.reference} cannot do what {what}"


def _target_argument(pipeline: Pipeline) -> str:
    """Return a pipeline or prompt as a command line argument: its name where that is enough, else its path."""
    name, project = pipeline.file.stem, pipeline.project
    found = project.find_pipeline(name) or project.find_prompt(name)
    return name if found == pipeline.file else str(place(pipeline.file))


def _unmet_of_step(call: PromptCall, pipeline: Pipeline) -> Iterator[tuple[str, str | None]]:
    """Yield each unmet requirement of a step that does not depend on its model, with a hint."""
    if call.head is not None:
        try:
            step_head(call, _target_argument(pipeline))
        except InputError as error:
            yield from ((problem.message, problem.hint) for problem in error.problems)
    available = _available(call, get_args(Capability))
    for chosen in with_nested(configure(call.technique, pipeline.project), pipeline.project):
        name = chosen.technique.name
        for need in available.unmet(chosen):
            if need == ROWS:
                problem = not_prepared(name, call.home, _target_argument(pipeline)).problems[0]
                yield problem.message, problem.hint
            else:
                yield f"technique `{name}` needs {need}", HOW_TO_PROVIDE.get(need)
        if chosen.documents:
            try:
                Documents.read(call.technique_folder / chosen.documents)
            except InputError as error:
                yield from ((f"technique `{name}`: {problem.message}", problem.hint) for problem in error.problems)


def _available(call: PromptCall, capabilities: Collection[str]) -> Available:
    return Available(
        capabilities=capabilities,
        inputs=call.inputs,
        has_tools=bool(call.tools),
        prepared=[name for name, file in call.artifacts.items() if os.path.isfile(file)],
    )


def _unsupported(call: PromptCall, model: Model, session: Session) -> Iterator[str]:
    """Yield the requirements of a step that its model does not meet."""
    available = _available(call, model.capabilities)
    for chosen in with_nested(configure(call.technique, session.project), session.project):
        for need in available.unmet(chosen):
            yield f"technique `{chosen.technique.name}` needs: {need}"
    if call.head is not None:
        matching_head(call, model)
    if session.settings.strict:
        if call.head is not None and (reason := head_fallback(call, model, session.project)) is not None:
            yield f"`decide: head` needs: {reason}"
        found = decide_fallback(call, model)
        if found is not None:
            yield f"`decide: {call.decide}` needs: {found[1]}"
        if _falls_back_on_react(call, model, session.project):
            yield f"technique `{WITH_TOOLS}` needs: function_calls"
    options = call.options
    requested = {
        "sampling": bool(options.temperature),
        "stop": bool(options.stop),
        "seed": options.seed is not None,
    }
    for capability, is_requested in requested.items():
        if is_requested and capability not in model.capabilities:
            yield f"`options` need: {capability}"
    unmet = unmet_setting(options.think, model.capabilities)
    if unmet is not None:
        yield unmet


_ANY_LABELS = {"label": ["a", "b"]}
"""Stands for labels that only a row brings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A setting that a step cannot run with: the `wanted` one, the one that runs `instead`, and the reason.

    `step` is its name, `outer.inner` in a sub-pipeline.
    """

    step: str
    wanted: str
    instead: str
    reason: str

    def __str__(self) -> str:
        return f"step {self.step} runs with `{self.instead}` in place of `{self.wanted}`: {self.reason}"


async def fallbacks(
    pipeline: Pipeline, models: ClientProvider, *, model: str | None = None, prefix: str = ""
) -> list[Fallback]:
    """Return the fallbacks of a pipeline's steps on the models that answer them. No request is sent.

    `model` answers steps that name none; `prefix` precedes the names of steps. Raises the errors of missing models.
    """
    found: list[Fallback] = []
    for step in pipeline.steps.values():
        named, name = step.model or model, f"{prefix}{step.name}"
        if step.pipeline is not None:
            inner = step.pipeline.model or named
            found += await fallbacks(step.pipeline, models, model=inner, prefix=f"{name}.")
        if step.prompt_call is not None:
            answering = await (await models.get(named)).model()
            found += step_fallbacks(name, step.prompt_call, answering, pipeline.project)
    return found


def step_fallbacks(name: str, call: PromptCall, model: Model, project: Project) -> Iterator[Fallback]:
    """Yield the fallbacks of a step on a model."""
    if _falls_back_on_react(call, model, project):
        wanted, instead = f"technique: {WITH_TOOLS}", "technique: react"
        reason = f"{model.reference} does not call functions"
        yield Fallback(step=name, wanted=wanted, instead=instead, reason=reason)
    unused = None if call.head is None else head_fallback(call, model, project)
    if unused is not None:
        yield Fallback(step=name, wanted="decide: head", instead=f"decide: {call.decide}", reason=unused)
    decides = decide_fallback(call, model)
    if decides is not None:
        instead, reason = decides
        yield Fallback(step=name, wanted=f"decide: {call.decide}", instead=f"decide: {instead}", reason=reason)
    elif call.decide == "score" and call.calibrate is not None and isinstance(call.answer, AnswerType):
        calibration = read_calibration(call.calibrate, call.answer.alternatives())
        if not calibration.holds_for(model.reference):
            requested, reason = f"calibrate: offsets of {calibration.model}", f"{model.reference} answers"
            yield Fallback(step=name, wanted=requested, instead="calibrate: none", reason=reason)
    if call.messages == "system" and "system" not in model.capabilities:
        reason = "the model's chat template has no system role"
        yield Fallback(step=name, wanted="messages: system", instead="messages: one", reason=reason)


def _falls_back_on_react(call: PromptCall, model: Model, project: Project) -> bool:
    if "function_calls" in model.capabilities:
        return False
    chain = with_nested(configure(call.technique, project), project)
    return any(chosen.technique.name == WITH_TOOLS for chosen in chain)


def unused_tools(pipeline: Pipeline) -> Iterator[str]:
    """Yield a line on each step whose tools are not used, since its technique calls none."""
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            yield from unused_tools(step.pipeline)
        call = step.prompt_call
        if call is None or not call.tools:
            continue
        chain = list(with_nested(configure(call.technique, pipeline.project), pipeline.project))
        if not any(_may_call_tools(chosen) for chosen in chain):
            yield (
                f"{pipeline.name}: step `{step.name}` has tools that technique `{chain[0].technique.name}` does not "
                f"call; without a `technique:` it is `{WITH_TOOLS}`, which does"
            )


def _may_call_tools(chosen: ConfiguredTechnique) -> bool:
    technique = chosen.technique
    return "tools" in technique.needs or "tools" in technique.card.soft or technique.code is not None


def decide_fallback(call: PromptCall, model: Model) -> tuple[str, str] | None:
    """Return the `decide` that a step falls back on, and the reason; None where the model supports its own."""
    answer = call.answer if isinstance(call.answer, AnswerType) else build_answer_type(_ANY_LABELS)
    lacking = sorted(score_needs(answer) - model.capabilities) if call.decide == "score" else []
    if call.decide == "generate" or (call.decide == "score" and not lacking):
        return None
    notice = reply_form(answer, model.capabilities).notice
    if not lacking:
        return ("generate", notice) if notice else None
    return ("generate" if notice else "constrain"), f"the model lacks {' and '.join(lacking)}"
