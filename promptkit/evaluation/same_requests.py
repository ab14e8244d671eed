"""Variants of a run that sent the same requests, by the requests that the store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from promptkit.engine.results import calls_of
from promptkit.evaluation.cells.cell import RunView
from promptkit.storage.hashes import content_key
from promptkit.storage.strict_json import json_bytes

MOST_COMPARED_CELLS = 200
"""Cells of each variant that are compared."""

FIRST_CELLS = 4
"""Cells that are read of every variant: most pairs differ in the first one."""

_REQUEST_PARTS = ("messages", "prompt", "begun", "grammar", "schema", "options")

_Digests = Mapping[tuple[int, int], bytes | None]


def same_requests(view: RunView, models: Mapping[str, object]) -> dict[str, str]:
    """Map each variant to the first before it that sent the same requests, as far as MOST_COMPARED_CELLS reach.

    `models` are those that answered each variant; only variants with the same ones are compared. Cells in whose trace
    there is no request say nothing; variants without any other are not found.
    """
    found: dict[str, str] = {}
    heads: dict[str, _Digests] = {}
    wholes: dict[str, _Digests] = {}

    def agree(one: str, other: str) -> bool:
        if not _agree(heads[one], heads[other]):
            return False
        for name in (one, other):
            if name not in wholes:
                wholes[name] = _digests(view, name, MOST_COMPARED_CELLS)
        return _agree(wholes[one], wholes[other]) and any(wholes[one][at] and wholes[other][at] for at in wholes[one])

    for name in view.variants:
        heads[name] = _digests(view, name, FIRST_CELLS)
        earlier = (other for other in heads if other != name and other not in found and models[other] == models[name])
        if (twin := next((other for other in earlier if agree(name, other)), None)) is not None:
            found[name] = twin
    return found


def _digests(view: RunView, variant: str, cells: int) -> _Digests:
    """Return the digests of the requests of a variant's first cells, by row and repeat; None without any."""
    traces = ((cell, view.trace(cell.number)) for cell in islice(view.cells(variant), cells))
    return {(cell.row, cell.repeat): None if trace is None else _requests(trace) for cell, trace in traces}


def _agree(one: _Digests, other: _Digests) -> bool:
    if one.keys() != other.keys():
        return False
    return all(digest == other[at] for at, digest in one.items() if digest is not None and other[at] is not None)


def _requests(trace: Mapping[str, Any]) -> bytes | None:
    requests = [[call.get(name) for name in _REQUEST_PARTS] for call in calls_of(trace)]
    if not requests:
        return None
    return content_key(json_bytes(requests, allow_nan=True, default=str))
