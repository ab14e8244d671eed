"""The backends that run programs, as a JSON object and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from promptkit.tools.backends import Backend, importable, jail_fault

_BACKENDS: Final[tuple[Backend, ...]] = ("monty", "cpython")


def backend_records() -> list[dict[str, Any]]:
    """Return each backend as the documented JSON object. `problem` is why it does not run here."""
    problems = {"cpython": jail_fault()}
    return [
        {"backend": backend, "problem": problems.get(backend), "modules": list(importable(backend))}
        for backend in _BACKENDS
    ]


def backends_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the backends as text."""
    return "\n".join(f"{record['backend']:<9}{_described(record)}" for record in records)


def _described(record: Mapping[str, Any]) -> str:
    if record["problem"]:
        return f"does not run here: {record['problem']}"
    return f"runs here; programs may import {', '.join(record['modules'])}"
