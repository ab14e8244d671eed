"""`promptkit init`: create a small working project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from promptkit.errors import InputError, Problem, StoreFailed
from promptkit.project import LIBRARY
from promptkit.reports.output import emit, note
from promptkit.reports.text import json_text
from promptkit.storage.files import write_new_files

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Its folder; created if it does not exist.")] = Path(),
) -> None:
    """Create a small working project: a pipeline of two steps, its prompts, its cases and a suite."""
    for path in make_project(folder):
        emit(str(path))
    for line in (
        "next:",
        *([f"  cd {folder}"] if folder != Path() else []),
        "  promptkit run mail",
        "  promptkit eval mail",
        "  promptkit check",
    ):
        note(line)


def make_project(folder: Path) -> list[Path]:
    """Write the files of a new project and return their paths. Raises InputError if one of them exists."""
    from promptkit.cli.schema import Format, json_schema

    source = LIBRARY / "templates" / "init"
    files = {path.relative_to(source): path.read_text("utf-8") for path in source.rglob("*") if path.is_file()}
    # The wheel would not contain a file of that name.
    files[Path(".gitignore")] = files.pop(Path("gitignore"))
    files |= {Path("schemas", f"{of}.json"): json_text(json_schema(of)) + "\n" for of in get_args(Format)}
    try:
        return write_new_files({folder / name: text for name, text in sorted(files.items())})
    except StoreFailed as error:
        raise InputError(Problem(f"no project can be made here: {error.message}", str(folder))) from error
