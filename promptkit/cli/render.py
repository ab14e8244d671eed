"""`promptkit render`: the messages that each step would send."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from promptkit.api.run import render_target
from promptkit.api.session import ModelOptions, load
from promptkit.cli.inputs import read_texts
from promptkit.cli.options import Json, Model, Sets, Strict, Target, Timeout, Values
from promptkit.cli.results import code_lines
from promptkit.cli.session import run_to_end
from promptkit.engine.dependencies import code_of, steps_with_code
from promptkit.engine.inputs import fill_inputs
from promptkit.errors import InputError
from promptkit.reports.output import emit, note
from promptkit.reports.progress import Progress
from promptkit.reports.trace import rendered_text
from promptkit.storage.strict_json import parse_json

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def render(
    target: Target,
    values: Values = None,
    step: Annotated[str | None, typer.Option("--step", metavar="STEP", help="Show only this step.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Show the text after the chat template, where known.")] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Show the exact messages, grammar and token count of each step; no model is asked, none of your Python is run.

    The results that a later step needs come from NAME=VALUE, from the last run, or from examples.
    """
    options = ModelOptions(model=model, sets=tuple(sets or ()), strict=strict, timeout=timeout)
    pipeline = load(target, sets=options.sets)
    for line in code_lines(code_of(pipeline, model=model)):
        note(line)
    for name, code in steps_with_code(pipeline).items():
        if step in (None, name):
            note(f"{name}: not shown, as {code.shown} makes its requests: promptkit run --trace shows them")
    texts = read_texts(values or ())
    inputs = {name: text for name, text in texts.items() if name not in pipeline.steps}
    filled = fill_inputs(pipeline, texts=inputs)
    if filled.examples:
        note(f"the example of {', '.join(filled.examples)} is used")
    results = {name: result_value(texts[name]) for name in texts.keys() - inputs.keys()}
    rendered = run_to_end(render_target(pipeline, filled.values, options, Progress(), step=step, results=results))
    for shown in rendered:
        for name, source in shown.assumed.items():
            note(f"{shown.step}: {name} is from the {source}")
        for notice in shown.notices:
            note(notice)
    emit(rendered.to_json() if json else rendered_text(rendered, template=text))


def result_value(text: str) -> Any:
    """Read a typed result of a step: JSON where it is JSON, else text."""
    try:
        return parse_json(text)
    except (InputError, ValueError):
        return text
