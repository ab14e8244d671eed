"""Adapters of steps: the problems of their files, and getting the runtimes of their models ready for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from promptkit.engine.pipeline import Pipeline, Step, default_model
from promptkit.engine.session import Session
from promptkit.errors import InputError, Problem, RuntimeFailure, Unsupported
from promptkit.runtimes.references import local_weights, parse_reference
from promptkit.storage.models import Problems


def adapter_problems(step: Step, file: Path) -> Iterator[Problem]:
    """Yield the problems of an adapter's file, whichever model it is for."""
    from promptkit.runtimes.in_process.adapter_file import read_adapter

    try:
        read_adapter(file)
    except InputError as error:
        yield from (_of_step(problem, step) for problem in error.problems)


def misfit_adapters(pipeline: Pipeline) -> list[Problem]:
    """Return the adapters that do not fit the weights of their step's model, where these are on this machine.

    No model is loaded.
    """
    from promptkit.runtimes.in_process.adapter_file import check_fits, read_adapter

    problems = Problems()
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            problems.add(misfit_adapters(step.pipeline))
        file = step.prompt_call.adapter if step.prompt_call is not None else None
        if file is None:
            continue
        reference, _, base = default_model(pipeline.project, pipeline, step.model)
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
