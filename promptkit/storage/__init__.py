"""What is kept in files: YAML with positions, rows of data, atomic writes, and the SQLite store."""

from __future__ import annotations
