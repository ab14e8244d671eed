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
    create_private,
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
    write_private,
    writing_text,
)
from promptkit.storage.imported import imported_files
from promptkit.storage.kept import Damage, fitting, read_kept, reading_record
from promptkit.storage.models import Problems, read_model, read_rest, wording
from promptkit.storage.paths import SETTINGS_FILE, check_destination, check_named, check_there, find_root, resolved
from promptkit.storage.repair import DAMAGED, Finding, damaged_run, find_damage
from promptkit.storage.repair import repair as repair_store
from promptkit.storage.rows import Numbered, read_numbered, read_rows
from promptkit.storage.shapes import (
    MOST_COUNT,
    CaseShape,
    HowShape,
    KeptScoreShape,
    OutcomeShape,
    ScoresShape,
)
from promptkit.storage.store import Run, Store
from promptkit.storage.strict_json import compact, parse_json, plain, refuse_constant, without_repeats
from promptkit.storage.yaml import Document, load, load_file

__all__ = [
    "DAMAGED",
    "MAX_FILE_BYTES",
    "MOST_COUNT",
    "SETTINGS_FILE",
    "TAKEN_AWAY",
    "CaseShape",
    "Cells",
    "Damage",
    "Document",
    "Finding",
    "HowShape",
    "KeptCell",
    "KeptScoreShape",
    "Numbered",
    "OutcomeShape",
    "Placed",
    "Problems",
    "Run",
    "RunCell",
    "ScoresShape",
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
    "create_private",
    "damaged_run",
    "file_stamp",
    "find_damage",
    "find_root",
    "fitting",
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
    "read_kept",
    "read_model",
    "read_now",
    "read_numbered",
    "read_rest",
    "read_rows",
    "read_text",
    "reading_record",
    "refuse_constant",
    "remove_file",
    "repair_store",
    "resolved",
    "set_value",
    "without_repeats",
    "wording",
    "write_atomic",
    "write_private",
    "writing_text",
]
