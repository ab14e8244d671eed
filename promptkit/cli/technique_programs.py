"""`promptkit techniques programs`: the backends that run the programs of models."""

from __future__ import annotations

from promptkit.cli.options import Json


def programs(json: Json = False) -> None:
    """Show the backends of `programs: {backend: …}`: whether each runs here, and what programs may import in it."""
    from promptkit.reports.output import emit, emit_folded
    from promptkit.reports.programs import backend_records, backends_text
    from promptkit.reports.text import json_text

    records = backend_records()
    if json:
        emit(json_text(records))
    else:
        emit_folded(backends_text(records))
