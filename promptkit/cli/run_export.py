"""`promptkit runs export`: an evaluation or a run of rows for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.cli.run_find import OneVariant, RunName
from promptkit.errors import InputError

if TYPE_CHECKING:
    from promptkit.cli.run_find import Kept
    from promptkit.storage import Run

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

    JSONL and CSV hold all variants, JUnit and the baseline the first one, where none is named. Of a run of rows, named
    by its number, JSONL and CSV are as `run --out` writes them.
    """
    from promptkit.cli.run_find import find_batch, find_evaluation, open_kept
    from promptkit.evaluation import baseline_lines, named_variant
    from promptkit.reports import csv_parts, jsonl_parts, junit_parts
    from promptkit.storage import check_destination, reading_record

    for option, path in {"--jsonl": jsonl, "--csv": csv, "--junit": junit, "--baseline": baseline}.items():
        if path is not None and path != STDOUT:
            check_destination(path, f"{option} {path}", instead="`-` is stdout")
    with open_kept() as kept, reading_record(f"run {run}"):
        batch = find_batch(kept, run, rows=True) if run.isdigit() else None
        if batch is not None:
            if junit or baseline or variant:
                raise InputError(f"run {run} is of rows without scores: it is written as --csv or --jsonl")
            return write_batch(kept, batch, jsonl=jsonl, csv=csv)
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
        write_all(makers)


def write_batch(kept: Kept, run: Run, *, jsonl: Path | None, csv: Path | None) -> None:
    """Write the rows of a batch with their answers. Raises InputError."""
    from promptkit.reports import AnswerTable, answer_lines

    def rows() -> Iterator[Mapping[str, Any]]:
        return (record for _, record in kept.store.batches.rows(run.number))

    def lines(csv: bool) -> Iterator[str]:
        return answer_lines(rows(), AnswerTable((row["fields"] for row in rows()), run.inputs["output_keys"], csv=csv))

    write_all([(jsonl, lambda: lines(False)), (csv, lambda: lines(True))])


def write_all(makers: Iterable[tuple[Path | None, Callable[[], Iterable[str]]]]) -> None:
    """Write each file that is named. Raises InputError where none is, and for two to stdout."""
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
    from promptkit.storage import write_private

    if path == STDOUT:
        out = result_stream()
        for part in parts:
            out.write(part)
        out.flush()
        return
    write_private(path, _encoded(parts))
    note(f"written: {path}")


def _encoded(parts: Iterable[str]) -> Iterator[bytes]:
    return (part.encode("utf-8") for part in parts)
