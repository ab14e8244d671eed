"""`promptkit runs export`: an evaluation for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from promptkit.cli.run_find import OneVariant, RunName
from promptkit.errors import InputError

STDOUT = Path("-")


def export(
    run: RunName,
    jsonl: Annotated[
        Path | None, typer.Option("--jsonl", metavar="FILE", help="A cell a line, with all of it.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="A table for spreadsheets.")] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Test cases for a CI, a row each, in XML.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="What `eval --against` compares with.")
    ] = None,
    variant: OneVariant = None,
) -> None:
    """Write an evaluation to files; `-` is stdout. `last` is the newest evaluation.

    JSONL and CSV hold all variants, JUnit and the baseline the first one, where none is named.
    """
    from promptkit.cli.run_find import find_evaluation, open_kept
    from promptkit.evaluation import baseline_lines, named_variant
    from promptkit.reports import csv_parts, jsonl_parts, junit_parts
    from promptkit.storage import reading_record

    with open_kept() as kept, reading_record(f"run {run}"):
        view = find_evaluation(kept, run)
        chosen = named_variant(view, variant)
        if baseline is not None and chosen != view.variants[0]:
            raise InputError(f"a baseline is of the first variant, `{view.variants[0]}`", hint="leave out --variant")
        makers: list[tuple[Path | None, Callable[[], Iterable[str]]]] = [
            (jsonl, lambda: jsonl_parts(view.cells(variant))),
            (csv, lambda: csv_parts(view, variant)),
            (junit, lambda: junit_parts(view, kept.record(view), chosen)),
            (baseline, lambda: baseline_lines(view)),
        ]
        wanted = [(path, make) for path, make in makers if path is not None]
        if not wanted:
            raise InputError("nothing to write", hint="--jsonl FILE, --csv FILE, --junit FILE or --baseline FILE")
        if sum(path == STDOUT for path, _ in wanted) > 1:
            raise InputError("only one of them can go to stdout")
        for path, make in wanted:
            write(path, make())


def write(path: Path, parts: Iterable[str]) -> None:
    """Write text part by part to a file or to stdout. Raises StoreFailed where a file cannot be written."""
    from promptkit.reports import note, result_stream
    from promptkit.storage import write_atomic

    if path == STDOUT:
        out = result_stream()
        for part in parts:
            out.write(part)
        out.flush()
        return
    write_atomic(path, _encoded(parts))
    note(f"written: {path}")


def _encoded(parts: Iterable[str]) -> Iterator[bytes]:
    return (part.encode("utf-8") for part in parts)
