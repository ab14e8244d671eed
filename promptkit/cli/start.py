"""`promptkit start`: from one sentence to a project of plain files."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from shlex import join
from typing import Annotated, Any, cast, get_args

import typer

from promptkit.api.generate import GenerateOptions, plan_generation
from promptkit.api.session import ModelOptions
from promptkit.api.start.checks import (
    DEFINITION_LIMIT,
    EXAMPLE_LIMIT,
    NAME_LIMIT,
    clean_text,
    input_name,
    labels_fault,
    text_fault,
)
from promptkit.api.start.draft import Draft, settle_answer, settle_details
from promptkit.api.start.project import StartOptions, begin_draft, project_root, propose, write_project
from promptkit.api.start.vocabulary import Kind
from promptkit.cli.generate import write_rows
from promptkit.cli.options import Json, Model, NoCache, Record, Timeout
from promptkit.cli.session import run_to_end
from promptkit.errors import InputError, Interrupted, place
from promptkit.reports.output import emit, note
from promptkit.reports.progress import Progress
from promptkit.reports.text import json_text, one_line

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def start(
    sentence: Annotated[str, typer.Argument(metavar="SENTENCE", help="The task, in one sentence.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="Real rows: .jsonl, .json, .csv, .tsv, .yaml or .txt.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="FIELD", help="With --data: a field that is an input; repeatable."),
    ] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="FIELD", help="With --data: the field with the right answers.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The name of the files.")] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="The project's folder; created if it does not exist.")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", metavar="N", min=1, help="Generate N rows to train on at once, or label N of --data."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept what the model proposes, without asking.")] = False,
    no_model: Annotated[bool, typer.Option("--no-model", help="Ask no model: rules and defaults alone.")] = False,
    model: Model = None,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    timeout: Timeout = None,
) -> None:
    """Make a project from one sentence: a pipeline, a prompt, an answer type, cases and a suite, as files to edit.

    What the sentence says is read by rules; a model proposes the rest. Each choice is shown with its source. On a
    terminal proposals can be edited before they are written. No file is overwritten.
    """
    options = StartOptions(data=data, inputs=tuple(inputs or ()), expect=expect, name=name, into=into)
    if rows is not None and (no_model or json):
        raise InputError(f"--rows does not go with {'--no-model' if no_model else '--json'}")
    asking = ModelOptions(model=model, record=record, no_cache=no_cache, timeout=timeout)
    root = project_root(options)
    draft = begin_draft(sentence, options, root)
    note(f"understood: {one_line(draft.understood(), 200)}")
    editor = TerminalEditor() if is_terminal() and not (yes or json) else None
    if not no_model:
        run_to_end(propose(draft, root, asking, Progress(), editor))
    settle_answer(draft)
    settle_details(draft)
    if editor:
        editor.details(draft)
    written = write_project(draft, root)
    if rows is not None and is_labelled(draft):
        note("--rows is ignored: the rows have answers already")
        rows = None
    commands = list(next_commands(draft, options, model, generates=rows is None))
    if json:
        emit(json_text(json_record(draft, written, commands)))
        return
    show_choices(draft, is_accepted=editor is None)
    for path in written:
        emit(str(place(path)))
    if rows is not None:
        target = str(place(root / "evals" / f"{draft.name}.yaml"))
        asked = GenerateOptions(model=asking, rows=rows, label_only=draft.rows is not None)
        run_to_end(write_rows(plan_generation(target, asked), target, json=False, suggests=False))
    note("next:")
    for line in commands:
        note(f"  {line}")


def is_labelled(draft: Draft) -> bool:
    """Tell whether the draft has real rows with their right answers."""
    return draft.rows is not None and bool(draft.rows.expect or draft.rows.record)


def is_terminal() -> bool:
    """Tell whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class TerminalEditor:
    """Shows each proposal on the terminal, where Enter accepts it and a typed text replaces it."""

    def kind(self, draft: Draft) -> bool:
        """Let a person edit the kind of answer that the sentence leaves open. Return whether it was changed."""
        if draft.sources.get("kind") not in (None, "model"):
            return False
        kinds = get_args(Kind)
        typed = ask_text(
            f"kind of answer ({', '.join(kinds)})",
            draft.kind,
            lambda text: None if text in kinds else "not one of these",
        )
        if typed is None:
            return False
        draft.kind, draft.sources["kind"] = cast(Kind, typed), "person"
        return True

    def answer(self, draft: Draft) -> None:
        """Let a person edit the labels and the name of the input that are proposed."""
        if draft.sources.get("labels") in ("model", "default"):
            typed = ask_text("labels, with `;` between them", "; ".join(draft.labels), labels_text_fault)
            if typed is not None:
                draft.set_labels(split_labels(typed), "person")
        if draft.sources["inputs"] == "model":
            typed = ask_text("name of the input", ", ".join(draft.inputs), lambda text: text_fault(text, NAME_LIMIT))
            if typed is not None:
                word = input_name(typed)
                draft.set_inputs({word: f"the {word.replace('_', ' ')}"}, "person")

    def details(self, draft: Draft) -> None:
        """Let a person edit the definitions, the instructions and the cases that the model proposed."""
        for label, definition in draft.labels.items():
            if draft.sources.get(f"definition of {label}") != "model":
                continue
            typed = ask_text(f"{label} means", definition, lambda text: text_fault(text, DEFINITION_LIMIT))
            if typed is not None:
                draft.labels[label], draft.sources[f"definition of {label}"] = typed, "person"
        if draft.sources["instructions"] == "model":
            typed = ask_text("instructions", draft.instructions, lambda text: text_fault(text, 10_000))
            if typed is not None:
                draft.instructions, draft.sources["instructions"] = typed, "person"
        for at, case in enumerate(draft.cases):
            if case.source == "model":
                name = [*case.inputs][-1]
                typed = ask_text(
                    f"example for {case.name}", case.inputs[name], lambda text: text_fault(text, EXAMPLE_LIMIT)
                )
                if typed is not None:
                    draft.cases[at] = replace(case, inputs={**case.inputs, name: typed}, source="person")


def split_labels(text: str) -> list[str]:
    """Return the labels of a line, which a `;` separates, else a comma."""
    return [label for part in text.split(";" if ";" in text else ",") if (label := clean_text(part))]


def labels_text_fault(text: str) -> str | None:
    """Return the reason why a line does not hold labels, None where it does."""
    return labels_fault(split_labels(text))


def ask_text(what: str, proposed: str, fault: Callable[[str], str | None]) -> str | None:
    """Ask for a text on the terminal until it has no fault; None where what is proposed is accepted.

    Raises Interrupted: no file has been written then.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while True:
            typed = clean_text(typer.prompt(what, default=proposed, err=True))
            if typed == proposed:
                return None
            if (why := fault(typed)) is None:
                return typed
            note(f"not taken: {why}")
    except typer.Abort:
        raise Interrupted("\ninterrupted; nothing was written") from None
    finally:
        signal.signal(signal.SIGINT, before)


def show_choices(draft: Draft, *, is_accepted: bool) -> None:
    """Print each choice with its source, and the notes."""
    choices = list(draft.choices())
    width = min(max(len(choice.what) for choice in choices), 30)
    for choice in choices:
        note(
            f"{one_line(choice.what, 30):<{width}}  {one_line(choice.value, 60)}  ({draft.source_text(choice.source)})"
        )
    for text in dict.fromkeys(draft.notes):
        note(f"· {one_line(text, 300)}")
    if is_accepted and any(choice.source == "model" for choice in choices):
        note("· what the model proposed was accepted without asking: read it in the files")


LEAST_LABELLED = 60
"""The labelled rows that suffice to train on two in three, and to evaluate on the others."""


def next_commands(draft: Draft, options: StartOptions, model: str | None, *, generates: bool) -> Iterator[str]:
    """Yield the commands to type next, in order; with `generates` rows are still to be generated."""
    if options.into is not None:
        yield join(["cd", str(options.into)])
    asking = ["--model", model] if model else []
    suite = draft.name
    yield join(["promptkit", "run", draft.name, *asking])
    yield join(["promptkit", "try", draft.name, "--watch", *asking]) + "    # edit its prompt, see what changes"
    train = ["promptkit", "train", draft.name, "--head" if draft.kind in ("label", "boolean") else "--adapter"]
    evaluate = ["promptkit", "eval", suite]
    if draft.rows is not None and is_labelled(draft):
        if draft.rows.count < LEAST_LABELLED:
            yield join([*evaluate, *asking])
            return
        yield join([*train, "--suite", suite, "--limit", str(2 * draft.rows.count // 3), "--apply", *asking])
        yield join([*evaluate, "--unseen", *asking]) + "    # the rows that were not trained on"
        return
    if generates:
        how = ["--label-only"] if draft.rows else ["--rows", "200"]
        yield join(["promptkit", "generate", suite, *how, *asking])
    renamed = draft.rows is not None and any(name != of for name, of in draft.rows.fields.items())
    read_by = ["--suite", suite] if renamed else []
    yield join([*train, *read_by, "--data", f"evals/{draft.name}.generated.jsonl", "--apply", *asking])
    if draft.rows is None:
        yield join([*evaluate, *asking]) + f"    # with real rows in evals/{draft.name}.jsonl"
    else:
        yield join([*evaluate, "--unseen", *asking]) + "    # with answers in `expect` of rows that were not trained on"


def json_record(draft: Draft, written: list[Path], commands: list[str]) -> Mapping[str, Any]:
    """Return the started project as the documented JSON object."""
    return {
        "name": draft.name,
        "model": draft.model or None,
        "files": [str(place(path)) for path in written],
        "choices": [
            {"what": choice.what, "value": choice.value, "source": choice.source} for choice in draft.choices()
        ],
        "notes": list(dict.fromkeys(draft.notes)),
        "next": commands,
    }
