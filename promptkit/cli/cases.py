"""The pinned cases of a target: which to run, running them, and what the store remembers of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.cli.order import in_order
from promptkit.errors import InputError, Problem, place

if TYPE_CHECKING:
    from promptkit.cli.session import Session
    from promptkit.engine import Case, Pipeline
    from promptkit.reports import Outcome, Progress
    from promptkit.storage import Store

EXAMPLE = "example"
TYPED = "values"


def cases_of(pipeline: Pipeline, texts: Mapping[str, str]) -> tuple[Case, ...]:
    """Return the cases to try: the typed values, else those pinned, else the inputs' examples. Raises InputError."""
    from promptkit import engine

    if texts or not pipeline.cases:
        filled = engine.fill(pipeline, texts=texts)
        return (engine.Case(name=TYPED if texts else EXAMPLE, inputs=filled.values),)
    return pipeline.cases


async def try_cases(
    pipeline: Pipeline, cases: Sequence[Case], session: Session, progress: Progress
) -> tuple[Outcome, ...]:
    """Run the cases, several at once, and return them with the answers before; the store remembers the new ones."""
    from promptkit import engine
    from promptkit.cli.results import announced, answered_by
    from promptkit.reports import Outcome, answer_record

    target = os.path.relpath(pipeline.file, pipeline.project.root)

    async def answer(case: Case) -> Outcome:
        result = await engine.run(
            pipeline,
            case.inputs,
            models=session.models,
            settings=session.settings,
            on_event=progress.listener(prefix=f"{case.name}/", steps=False),
        )
        before = answer_before(session.store, target, case)
        why = answered_by(result, session)
        told = announced(result, session)
        return Outcome(case=case, answer=answer_record(result), before=before, why=why, told=told)

    with progress.showing():
        outcomes = [outcome async for outcome in in_order(answer, cases)]
    # Only now, and only answers: what was stopped half-way or failed must not stand for the answer before.
    for outcome in (outcome for outcome in outcomes if outcome.answer["error"] is None):
        record = {"inputs": dict(outcome.case.inputs), "answer": outcome.answer}
        session.store.remember(target, outcome.case.name, record)
    return tuple(outcomes)


def answer_before(store: Store, target: str, case: Case) -> Mapping[str, Any] | None:
    """Return the answer to a case before, where its inputs are the same; a damaged one counts as none."""
    from promptkit.storage import CaseShape, fitting

    remembered = store.remembered(target, case.name)
    if remembered is not None:
        with store.damage.skipping():
            found = fitting(remembered, CaseShape, f"cases {target} {case.name}")
            return found["answer"] if found["inputs"] == case.inputs else None
    return None


def pin(pipeline: Pipeline, name: str, inputs: Mapping[str, Any], expect: str | None) -> Path:
    """Add a case to the target's file, which stays as it is otherwise, and return the file. Raises InputError."""
    from promptkit.storage import append_item, read_text, write_atomic

    if any(case.name == name for case in pipeline.cases):
        problem = Problem(f"there is a case `{name}` already", place(pipeline.file), hint="pin it under another name")
        raise InputError(problem)
    case: dict[str, Any] = {"name": name, "inputs": dict(inputs)}
    if expect is not None:
        case["expect"] = _value(expect)
    text = read_text(pipeline.file)
    write_atomic(pipeline.file, append_item(text, ("cases",), case, file=str(place(pipeline.file))))
    return pipeline.file


def _value(text: str) -> Any:
    """Return an expected answer as it was typed, read as YAML is; what is not YAML is text."""
    from promptkit.storage import load

    try:
        return load(text, file="--expect").value
    except InputError:
        return text
