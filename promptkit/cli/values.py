"""Inputs from the command line: `NAME=VALUE`, from stdin, from files, and rows of data."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, Problem


def read_texts(arguments: Iterable[str]) -> dict[str, str]:
    """Return the text of each `NAME=VALUE`; `-` is stdin and `@FILE` a file, both without their last line break.

    Raises InputError with everything that is wrong.
    """
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not separator or not name:
            problems.append(Problem(f"`{argument}` is no input", hint="write NAME=VALUE"))
        elif name in texts:
            problems.append(Problem(f"input `{name}` is given twice"))
        else:
            try:
                texts[name] = _text(value)
            except InputError as error:
                problems += error.problems
    if problems:
        raise InputError(problems)
    return texts


def _text(value: str) -> str:
    if value == "-":
        from promptkit.storage import MAX_FILE_BYTES

        given = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        if len(given) > MAX_FILE_BYTES:
            raise InputError(f"stdin gives more than {MAX_FILE_BYTES // 1_000_000} MB")
        try:
            return given.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise InputError(f"stdin is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    if value.startswith("@"):
        from promptkit.storage import read_text

        return read_text(Path(value[1:])).removesuffix("\n").removesuffix("\r")
    return value


def read_inputs(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the inputs of each run in a file: one mapping, or rows of data. Raises InputError."""
    from promptkit.storage import load_file, read_rows

    if path.suffix in {".json", ".yaml", ".yml"} and isinstance(value := load_file(path).value, dict):
        yield value
        return
    yield from read_rows(path)
