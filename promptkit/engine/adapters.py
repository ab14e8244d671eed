"""Adapters of steps: the problems of their files, and getting the runtimes of their models ready for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from promptkit.engine.pipeline import Pipeline, PromptCall, Step, default_model
from promptkit.engine.session import Session
from promptkit.errors import InputError, Problem, RuntimeFailure, Unsupported
from promptkit.runtimes.references import local_weights, parse_reference
from promptkit.storage.models import Problems


def adapter_problems(call: PromptCall, step: Step, target: str) -> Iterator[Problem]:
    """Yield the problems of the file of a step's adapter, if any, whichever model it is for.

    `target` is the pipeline as a person types it.
    """
    from promptkit.runtimes.in_process.adapter_file import read_adapter

    if call.adapter is None:
        return
    try:
        read_adapter(call.adapter)
    except InputError as error:
        problems = [_of_step(problem, step) for problem in error.problems]
        if call.adapter.name == f"{call.home}.lora.gguf" and not os.path.exists(call.adapter):
            hint = f"promptkit train {target} --adapter --step {step.name} --data FILE"
            problems = [replace(problem, hint=hint) for problem in problems]
        yield from problems


def misfit_adapters(pipeline: Pipeline, inherited: str | None = None) -> list[Problem]:
    """Return the adapters that do not fit the weights of their step's model, where these are on this machine.

    No model is loaded. `inherited` answers steps that name no model.
    """
    from promptkit.runtimes.in_process.adapter_file import check_fits, read_adapter

    problems = Problems()
    for step in pipeline.steps.values():
        chosen = step.model or inherited
        if step.pipeline is not None:
            problems.add(misfit_adapters(step.pipeline, step.pipeline.model or chosen or pipeline.model))
        file = step.prompt_call.adapter if step.prompt_call is not None else None
        if file is None:
            continue
        reference, _, base = default_model(pipeline.project, pipeline, chosen)
        named = parse_reference(reference).beside(base)
        weights = local_weights(named)
        with suppress(InputError):  # the file's own problems are unmet requirements
            adapter = read_adapter(file)
            with problems.gather():
                if weights is not None:
                    check_fits(adapter, weights, reference)
    return problems.found


async def add_adapters(pipeline: Pipeline, session: Session, inherited: str | None) -> None:
    """Name all adapters to the runtimes of their steps' models, so that each model is loaded once with all of its own.

    `inherited` answers steps that name no model. Raises InputError, Unsupported and RuntimeFailure with the step's
    name.
    """
    for step in pipeline.steps.values():
        reference = step.model or inherited
        if step.pipeline is not None:
            await add_adapters(step.pipeline, session, step.pipeline.model or reference)
        if step.prompt_call is None or step.prompt_call.adapter is None:
            continue
        try:
            await session.adapter(step.prompt_call.adapter, reference)
        except InputError as error:
            raise InputError(_of_step(problem, step) for problem in error.problems) from None
        except (Unsupported, RuntimeFailure) as error:
            error.message = f"step `{step.name}`: {error.message}"
            raise


def _of_step(problem: Problem, step: Step) -> Problem:
    return replace(problem, message=f"step `{step.name}`: {problem.message}")
