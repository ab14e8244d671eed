"""What is kept in files: YAML with positions, rows of data, atomic writes, and the SQLite store."""

from __future__ import annotations

from promptkit.storage.cells import Cells, KeptCell, Placed, RunCell
from promptkit.storage.edit import append_item, block_text
from promptkit.storage.edit_values import TAKEN_AWAY, set_value
from promptkit.storage.files import (
    Stamp,
    append_line,
    check_there,
    file_stamp,
    holding_files,
    make_folder,
    read_bytes,
    read_text,
    write_atomic,
    writing_text,
)
from promptkit.storage.imported import imported_files
from promptkit.storage.models import Problems, read_model, read_rest, wording
from promptkit.storage.rows import Numbered, read_numbered, read_rows
from promptkit.storage.store import Run, Store
from promptkit.storage.strict_json import compact, parse_json, plain
from promptkit.storage.yaml import Document, load, load_file

__all__ = [
    "TAKEN_AWAY",
    "Cells",
    "Document",
    "KeptCell",
    "Numbered",
    "Placed",
    "Problems",
    "Run",
    "RunCell",
    "Stamp",
    "Store",
    "append_item",
    "append_line",
    "block_text",
    "check_there",
    "compact",
    "file_stamp",
    "holding_files",
    "imported_files",
    "load",
    "load_file",
    "make_folder",
    "parse_json",
    "plain",
    "read_bytes",
    "read_model",
    "read_numbered",
    "read_rest",
    "read_rows",
    "read_text",
    "set_value",
    "wording",
    "write_atomic",
    "writing_text",
]
