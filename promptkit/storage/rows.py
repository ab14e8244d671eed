"""Rows of data from JSONL, JSON, CSV, TSV, YAML and plain text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_rows(path: Path, *, select: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, by its ending: .jsonl .json .csv .tsv .yaml .yml .txt.

    `select` is the dotted path of the list in a JSON or YAML file. Rows of .csv and .tsv hold text, rows of .txt are
    `{"text": line}`. Raises InputError: after the first wrong row no more rows come, and the error names all
    that are wrong, up to 20.
    """
    raise NotImplementedError
