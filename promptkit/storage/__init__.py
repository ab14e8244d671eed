"""What is kept in files: YAML with positions, rows of data, atomic writes, and the SQLite store."""

from __future__ import annotations

from promptkit.storage.cells import Cells, KeptCell, Placed, RunCell
from promptkit.storage.edit import append_item, block_text
from promptkit.storage.edit_values import TAKEN_AWAY, set_value
from promptkit.storage.files import (
    MAX_FILE_BYTES,
    Stamp,
    append_line,
    check_writable,
    file_stamp,
    holding_files,
    make_folder,
    open_file,
    open_to_append,
    read_bytes,
    read_now,
    read_text,
    remove_file,
    write_atomic,
)
from promptkit.storage.imported import imported_files
from promptkit.storage.models import Problems, read_model, read_rest, wording
from promptkit.storage.paths import SETTINGS_FILE, check_destination, check_named, check_there, find_root, resolved
from promptkit.storage.rows import Numbered, read_numbered, read_rows
from promptkit.storage.store import Run, Store
from promptkit.storage.strict_json import compact, parse_json, plain
from promptkit.storage.yaml import Document, load, load_file

__all__ = [
    "MAX_FILE_BYTES",
    "SETTINGS_FILE",
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
    "check_destination",
    "check_named",
    "check_there",
    "check_writable",
    "compact",
    "file_stamp",
    "find_root",
    "holding_files",
    "imported_files",
    "load",
    "load_file",
    "make_folder",
    "open_file",
    "open_to_append",
    "parse_json",
    "plain",
    "read_bytes",
    "read_model",
    "read_now",
    "read_numbered",
    "read_rest",
    "read_rows",
    "read_text",
    "remove_file",
    "resolved",
    "set_value",
    "wording",
    "write_atomic",
]
