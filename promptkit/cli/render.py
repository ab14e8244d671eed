"""`promptkit render`: what each step would send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.cli.options import Json, Model, ModelOptions, Sets, Strict, Target, Timeout, Values

if TYPE_CHECKING:
    from promptkit.cli.session import Session
    from promptkit.engine.pipeline import Pipeline
    from promptkit.engine.render import Rendered

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def render(
    target: Target,
    values: Values = None,
    step: Annotated[str | None, typer.Option("--step", metavar="STEP", help="This step alone.")] = None,
    text: Annotated[bool, typer.Option("--text", help="The text after the chat template, where it is known.")] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Show the exact messages, grammar and token count of each step; no model is asked, and no Python of yours is run.

    What a later step needs comes from NAME=VALUE, from the last run, or from examples.
    """
    from promptkit.cli.inputs import read_texts
    from promptkit.cli.run import code_lines
    from promptkit.cli.session import find_project, load, run_to_end
    from promptkit.engine.dependencies import code_of, steps_with_code
    from promptkit.reports.output import emit, note
    from promptkit.reports.text import json_text
    from promptkit.reports.trace import rendered_text

    asking = ModelOptions(model=model, sets=tuple(sets or ()), strict=strict, timeout=timeout)
    pipeline = load(target, find_project(target), asking)
    for line in code_lines(code_of(pipeline, model=model)):
        note(line)
    for name, code in steps_with_code(pipeline).items():
        if step in (None, name):
            note(f"{name}: not shown, as {code.shown} makes its requests: promptkit run --trace shows them")
    steps = run_to_end(render_steps(pipeline, read_texts(values or ()), asking, step))
    for each in steps:
        for name, source in each.assumed.items():
            note(f"{each.step}: {name} is from the {source}")
        for notice in each.notices:
            note(notice)
    emit(json_text({"steps": [record(each) for each in steps]}) if json else rendered_text(steps, template=text))


async def render_steps(
    pipeline: Pipeline, texts: Mapping[str, str], asking: ModelOptions, step: str | None
) -> list[Rendered]:
    """Return the first request of each step (or of `step`); typed names of steps stand for their results."""
    from promptkit.cli.session import open_session
    from promptkit.engine.inputs import fill_inputs
    from promptkit.engine.render import render as engine_render
    from promptkit.reports.output import note
    from promptkit.reports.progress import Progress

    inputs = {name: text for name, text in texts.items() if name not in pipeline.steps}
    filled = fill_inputs(pipeline, texts=inputs)
    if filled.examples:
        note(f"the example of {', '.join(filled.examples)} is used")
    async with open_session(pipeline, asking, Progress()) as session:
        return await engine_render(
            pipeline,
            filled.values,
            models=session.models,
            step=step,
            typed={name: typed(texts[name]) for name in texts.keys() - inputs.keys()},
            known=last_results(pipeline, session),
            settings=session.settings,
        )


def last_results(pipeline: Pipeline, session: Session) -> dict[str, Any]:
    """Return what each step gave in the last run of the target that went through."""
    from promptkit.storage.records import reading_record

    last = session.store.run("last", kind="run", target=pipeline.name, status="done")
    if last is not None:
        with session.store.damage.skipping(), reading_record(f"runs {last.number}, `record`"):
            steps = last.record.get("steps", {})
            return {name: step["value"] for name, step in steps.items() if "value" in step and name in pipeline.steps}
    return {}


def typed(text: str) -> Any:
    """Return a step's result as it was typed: JSON where it is JSON, else text."""
    from promptkit.errors import InputError
    from promptkit.storage.strict_json import parse_json

    try:
        return parse_json(text)
    except (InputError, ValueError):
        return text


def record(rendered: Rendered) -> dict[str, Any]:
    """Return a rendered step as the documented JSON object."""
    request = rendered.request
    shape = {"grammar": request.grammar, "schema": request.schema}
    return {
        "step": rendered.step,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "cue": request.begun,
        **{name: value for name, value in shape.items() if value is not None},
        "options": {"max_tokens": request.max_tokens, "temperature": request.temperature, "stop": list(request.stop)},
        "text": rendered.text,
        "tokens": rendered.tokens,
        "assumed": dict(rendered.assumed),
    }
