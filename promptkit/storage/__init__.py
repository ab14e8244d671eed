"""Files and the store: YAML with positions, rows of data, atomic writes, and the SQLite database."""

from __future__ import annotations
