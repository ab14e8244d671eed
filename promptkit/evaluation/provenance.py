"""The origin of a stored cell: the files, model and version of promptkit that its answer was made of, and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.record import AnsweringModel
from promptkit.evaluation.stored_run import StoredRun
from promptkit.storage.file_digests import CurrentDigests


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The origin of a cell. `models` maps references to digests.

    `files` maps the target's own files to their digests; shipped files are those of the `release`. `reads` are the
    files and environment variables that the project's Python read for the cell; `changed` are those that differ now.
    `asked` and `release` are None and empty where an earlier promptkit did not keep them.
    """

    asked: float | None
    release: str
    models: Mapping[str, str | None]
    files: Mapping[str, str]
    reads: Mapping[str, str]
    changed: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return the origin as JSON data."""
        return {
            "asked": self.asked,
            "promptkit": self.release,
            "models": dict(self.models),
            "files": dict(self.files),
            "reads": dict(self.reads),
            "changed": list(self.changed),
        }


def provenance_of(view: StoredRun, cell: Cell, current: CurrentDigests) -> Provenance:
    """Return the origin of a cell of a run; `current` are the digests of the project's files as they are now."""
    files: Mapping[str, Mapping[str, str]] = view.how.get("files", {})
    models, first = view.how.get("models", {}), view.variants[0]
    different, shared = files.get(cell.variant, {}), files.get(first, {})
    model = AnsweringModel.model_validate(models.get(cell.variant) or models.get(first) or view.model)
    return Provenance(
        asked=cell.asked,
        release=view.how.get("release", ""),
        models={model.reference: model.digest, **model.others},
        files={name: digest for name, digest in {**shared, **different}.items() if digest},
        reads=cell.reads,
        changed=tuple(current.changed(cell.reads)),
    )


def shared_files(variants: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return each variant's files with their digests, of all but the first only what differs from the first's.

    The digest of a file that only the first has is empty.
    """
    first: Mapping[str, str] | None = None
    shown: dict[str, dict[str, str]] = {}
    for name, files in variants.items():
        if first is None:
            first, shown[name] = files, dict(files)
            continue
        gone = {file: "" for file in first if file not in files}
        changed = {file: digest for file, digest in files.items() if first.get(file) != digest}
        shown[name] = {**changed, **gone}
    return shown
