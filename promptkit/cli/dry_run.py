"""`promptkit run --dry-run`: what would run, without asking a model or running the project's own Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.errors import place

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Step
    from promptkit.project_code import CodeUse


def show_dry_run(
    pipeline: Pipeline, texts: Mapping[str, str], *, rows: Path | None, model: str | None, json: bool
) -> None:
    """Print the model, the inputs, the steps and the Python files of a run. Raises InputError for wrong inputs."""
    from promptkit.reports import emit, json_text, visible

    record = dry_run_record(pipeline, texts, rows=rows, model=model)
    emit(json_text(record, indent=2) if json else visible("\n".join(_lines(record))))


def dry_run_record(
    pipeline: Pipeline, texts: Mapping[str, str], *, rows: Path | None, model: str | None
) -> dict[str, Any]:
    """Return what a run would do as the documented JSON object. Raises InputError for wrong inputs."""
    from promptkit import engine
    from promptkit.cli.row_inputs import read_filled

    reference, why, _ = engine.default_model(pipeline.project, pipeline, model)
    record: dict[str, Any] = {
        "target": pipeline.name,
        "file": place(pipeline.file),
        "model": {"reference": reference, "why": why},
    }
    if rows is None:
        filled = engine.fill(pipeline, texts=texts)
        record |= {"inputs": dict(filled.values), "examples": list(filled.examples)}
    else:
        record |= {"rows": {"file": place(rows), "count": len(read_filled(pipeline, rows))}}
    return {
        **record,
        "steps": [_step_record(step, pipeline) for step in pipeline.steps.values()],
        "code": [each.record() for each in engine.code_of(pipeline, model=model)],
    }


def code_lines(uses: Sequence[CodeUse]) -> list[str]:
    """Return a line for each Python function that would run."""
    return [f"would run {each.shown}" for each in uses]


def _step_record(step: Step, pipeline: Pipeline) -> dict[str, Any]:
    from promptkit.techniques import parse_spec

    record: dict[str, Any] = {"name": step.name}
    if step.asking is not None:
        record["prompt"] = step.asking.prompt.name if step.asking.prompt.file else "(inline)"
        record["technique"] = parse_spec(step.asking.technique)[0]
    elif step.tool is not None:
        record["tool"] = step.tool.name
    elif step.pipeline is not None:
        record["pipeline"] = step.pipeline.name
    if step.model is not None:
        record["model"] = step.model
    needs = {edge.needs: None for edge in pipeline.edges if edge.step == step.name}
    return record | {"after": list(needs)}


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    from promptkit.reports import one_line

    yield f"target  {record['target']} ({record['file']})"
    yield f"model   {record['model']['reference']} ({record['model']['why']})"
    if "rows" in record:
        yield f"inputs  {record['rows']['count']} rows of {record['rows']['file']}"
    for name, value in record.get("inputs", {}).items():
        yield f"input   {name}: {one_line(value)}{' (example)' if name in record['examples'] else ''}"
    for step in record["steps"]:
        kind = next(key for key in ("prompt", "tool", "pipeline") if key in step)
        parts = [f"{kind} {step[kind]}"]
        parts += [f"{key} {step[key]}" for key in ("technique", "model") if key in step]
        parts += [f"after {', '.join(step['after'])}"] if step["after"] else []
        yield f"step    {step['name']}: {', '.join(parts)}"
    for each in record["code"]:
        yield f"python  {each['file'] or each['module']}:{each['function']} ({each['named_by']})"
