"""What a run came to: for a person, and as the documented JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptkit.cli.session import Session
    from promptkit.engine import Result
    from promptkit.reports import Progress


def show_result(result: Result, session: Session, progress: Progress, *, trace: bool) -> None:
    """Show the trace where it is wanted, what the run came to, and which model answered."""
    from promptkit.reports import calls_text, note, seconds_text, tokens_text, trace_text

    for message in result.notices:
        progress.notice(message)
    if trace:
        note(trace_text(result.trace))
    totals = result.totals
    spent = [calls_text(totals.calls, totals.cached), tokens_text(totals.tokens_in, totals.tokens_out)]
    note(f"{' · '.join(spent)} · {seconds_text(totals.seconds)}")
    show_models(result, session, progress)


def show_models(result: Result, session: Session, progress: Progress) -> None:
    """Show once each model that answered and why it was chosen, where a notice has not already said so."""
    announced = {model.reference for named, model in result.answered.items() if session.models.announced(named)}
    for model in model_records(result, session):
        if model["reference"] not in announced:
            progress.notice(f"answered by {model['reference']} (named by {model['why']})")


def model_records(result: Result, session: Session) -> list[dict[str, Any]]:
    """Return each model that answered with why it was chosen, the default first."""
    records = [
        {"reference": model.reference, "digest": model.digest, "why": session.models.why(named)}
        for named, model in result.answered.items()
    ]
    return records or [{"reference": session.reference, "digest": None, "why": session.models.why()}]


def json_line(result: Result, session: Session, *, indent: int | None = None) -> str:
    """Return the run as the documented JSON object."""
    from promptkit.engine import trace_record
    from promptkit.reports import json_text

    models = model_records(result, session)
    error = {"error": str(result.error)} if result.error else {}
    record = {"run": result.run, "target": result.target, "model": models[0], **result.record(), **error}
    record["trace"] = trace_record(result.trace)["parts"]
    if len(models) > 1:
        record["models"] = models
    return json_text(record, indent=indent)
