"""The tool `search`: passages of documents, found by their words and, with an embedding model, by their meaning."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from promptkit.errors import InputError, ToolFailed, nearest, nearest_match
from promptkit.project import Project
from promptkit.project_code.file_reads import note_reads
from promptkit.storage.file_digests import file_digest
from promptkit.storage.files import check_named, misplaced, reason, resolved
from promptkit.tools.base import ClientOf, Tool
from promptkit.tools.search import ENDINGS, Documents, Passage, document_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.runtimes.client import Client

DEFAULT_COUNT: Final = 5
MOST_COUNT: Final = 10
LONGEST_PASSAGE: Final = 2_000
"""Characters of a passage that is found; it has at most 100 words."""
LONGEST_READING: Final = 4_000
"""Characters that are read on in a source."""

_FUSED: Final = 50
"""The passages of each ranking that are fused."""
_RANK_OFFSET: Final = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009)."""
_EMBEDDED_AT_ONCE: Final = 64
_READ_AT_ONCE: Final = 1_000_000
"""The bytes of documents that are read when the tool is set up, so that a fault in them is known before a run."""
_LARGEST: Final = 256_000_000
_MOST_FILES: Final = 10_000
_MOST_NAMED: Final = 12
_KEYS: Final = ("documents", "model")
_HINT: Final = "write a folder, as in `{search: handbook/}`, or `{search: {documents: [handbook/, faq.md], model: …}}`"
_LOCKS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()
"""A lock for each event loop, so that calls that run concurrently embed documents once."""


@dataclass(eq=False)
class _Vectors:
    """The unit vectors of the passages of documents, (passages, dimensions), as the model with a digest made them."""

    documents: Documents | None = None
    digest: str = ""
    rows: NDArray[np.float32] | None = field(default=None, repr=False)


class SearchTool(Tool):
    """Finds passages, and reads on in the document of one."""

    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for: a question, or the words that matter."},
            "count": {
                "type": "integer",
                "minimum": 1,
                "maximum": MOST_COUNT,
                "description": f"How many passages to return; {DEFAULT_COUNT} by default.",
            },
            "source": {"type": "string", "description": "Instead of a query: a source to read, as a passage names it."},
            "from": {"type": "integer", "minimum": 1, "description": "The line of the source to read from."},
        },
        "additionalProperties": False,
    }

    def __init__(
        self,
        name: str,
        files: Mapping[str, Path],
        model: str | None,
        project: Project,
        client_of: ClientOf | None = None,
    ) -> None:
        """Set up the tool over files, by the names of their documents; `model` is the one that embeds."""
        self.name = name
        self._files = files
        self._model = model
        self._project = project
        self._client_of = client_of
        self._vectors = _Vectors()
        listed = list(files)[:_MOST_NAMED]
        more = f" and {len(files) - len(listed):,} more" if len(files) > len(listed) else ""
        shown = ", ".join("".join(sign if sign.isprintable() else " " for sign in file) for file in listed)
        self.description = (
            "Search documents and return the passages that fit a query best, each with its source and line. To read "
            f"on, give `source` and `from` instead of `query`. The documents: {shown}{more}."
        )

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> SearchTool:
        """Return the tool over a folder or a file, a list of these, or a mapping of `documents` and `model`.

        Paths are relative to `folder`. Raises InputError.
        """
        given = settings if isinstance(settings, Mapping) else {"documents": settings}
        for key in given:
            if key not in _KEYS:
                raise InputError(f"`search` has no setting `{key}`", hint=nearest(str(key), _KEYS))
        model = given.get("model")
        if model is not None and not isinstance(model, str):
            raise InputError("`model` must be the reference of an embedding model", hint="such as embedded/bge-small")
        documents = given.get("documents")
        paths = [documents] if isinstance(documents, str) else documents
        if not isinstance(paths, list | tuple) or not paths or not all(isinstance(path, str) for path in paths):
            raise InputError("`search` needs the documents that it searches", hint=_HINT)
        files = _files(paths, folder, project)
        if sum(path.stat().st_size for path in files.values()) <= _READ_AT_ONCE:
            _read(files)
        return cls(name, files, model, project)

    def bound(self, client_of: ClientOf) -> SearchTool:
        """Return this tool with the clients of models; it shares the vectors."""
        tool = SearchTool(self.name, self._files, self._model, self._project, client_of)
        tool._vectors = self._vectors
        return tool

    @property
    def identity(self) -> Mapping[str, Any]:
        """The embedding model, and the documents within the project."""
        names = {name: self._project.portable_name(path) for name, path in self._files.items()}
        return {"model": self._model, "documents": names}

    @property
    def files(self) -> tuple[Path, ...]:
        """The documents."""
        return tuple(self._files.values())

    async def call(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `passages` that fit a `query`, or the `text` of a `source` from a line on.

        Raises ToolFailed; and RuntimeFailure where the embedding model cannot be reached.
        """
        documents = await asyncio.to_thread(self._documents)
        if source := arguments.get("source"):
            return _reading(documents, source, arguments.get("from", 1))
        query = arguments.get("query", "").strip()[:LONGEST_PASSAGE]
        if not query:
            raise ToolFailed("give a `query` to search, or a `source` to read")
        ranked = await asyncio.to_thread(documents.ranked, query, _FUSED)
        if self._model is not None:
            ranked = _fused(ranked, await self._nearest(self._model, documents, query))
        passages = [documents.passages[place] for place in ranked[: arguments.get("count", DEFAULT_COUNT)]]
        if not passages:
            return {"passages": [], "note": "no passage has a word of the query: try other words for it"}
        return {"passages": [_found(rank, passage) for rank, passage in enumerate(passages, start=1)]}

    def _documents(self) -> Documents:
        """Read the documents, again only where one has changed, and note what was read."""
        for name, path in self._files.items():
            if resolved(path) != path:
                raise ToolFailed(f"the document `{name}` is now a link to another file")
        note_reads({str(path): file_digest(path) for path in self._files.values()})
        try:
            documents = _read(self._files)
        except InputError as error:
            raise ToolFailed(error.problems[0].message) from None
        except OSError as error:
            raise ToolFailed(f"a document cannot be read: {reason(error)}") from None
        note_reads({str(path): file_digest(path) for path in self._files.values()})
        return documents

    async def _nearest(self, reference: str, documents: Documents, query: str) -> list[int]:
        """Return the places of the passages whose vectors are nearest to the query's, the nearest first."""
        if self._client_of is None:
            raise ToolFailed(f"the embedding model {reference} cannot be asked here")
        client = await self._client_of(reference)
        async with _LOCKS.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            digest = (await client.model()).digest
            if self._vectors.documents is not documents or self._vectors.digest != digest:
                self._vectors.rows = await _unit_vectors([passage.text for passage in documents.passages], client)
                self._vectors.documents, self._vectors.digest = documents, digest
        rows = self._vectors.rows
        assert rows is not None
        (vector,) = await _unit_vectors([query], client)
        best = (-(rows @ vector)).argsort(kind="stable")[:_FUSED]
        return [int(place) for place in best]


def _files(paths: Sequence[str], folder: Path, project: Project) -> dict[str, Path]:
    """Return the files of folders and files by the names of their documents, which are all different."""
    files: dict[str, Path] = {}
    for path in paths:
        if not project.inside(folder / path):
            raise InputError(f"`{path}` is outside of the project")
        found = _files_at(path, folder)
        if not found:
            raise InputError(f"the folder `{path}` has no documents", hint=f"documents end in {', '.join(ENDINGS)}")
        for name, file in found.items():
            if not project.inside(file):
                raise InputError(f"the document `{name}` of `{path}` is a link that leads out of the project")
            files[f"{path.rstrip('/')}/{name}" if name in files else name] = resolved(file)
    if len(files) > _MOST_FILES or sum(file.stat().st_size for file in files.values()) > _LARGEST:
        raise InputError(f"`search` reads at most {_MOST_FILES:,} documents of {_LARGEST // 10**6} MB in all")
    return files


def _files_at(path: str, folder: Path) -> dict[str, Path]:
    at = folder / path
    if os.path.isdir(at):
        return document_files(at)
    if at.suffix.lower() not in ENDINGS:
        is_missing = not os.path.exists(at)
        what = f"there is no folder `{path}`" if is_missing else f"`{path}` is not a document"
        raise InputError(what, hint=(misplaced(at) if is_missing else None) or f"documents end in {', '.join(ENDINGS)}")
    check_named(at)
    return {at.name: at}


def _read(files: Mapping[str, Path]) -> Documents:
    """Read documents. Raises InputError, without a place, for one that cannot be read and where there is no text."""
    try:
        documents = Documents.of_files(files)
    except InputError as error:
        wrong = error.problems[0]
        line = f" line {wrong.line}" if wrong.line else ""
        raise InputError(f"`{Path(wrong.file or '').name}`{line}: {wrong.message}", hint=wrong.hint) from None
    if not documents.passages:
        raise InputError("the documents hold no text")
    return documents


async def _unit_vectors(texts: Sequence[str], client: Client) -> NDArray[np.float32]:
    """Return a unit vector of each text; those that the store has are taken from there."""
    import numpy as np  # loaded where vectors are used: the start of each command would pay for it

    rows = []
    for start in range(0, len(texts), _EMBEDDED_AT_ONCE):
        vectors = await client.embed(texts[start : start + _EMBEDDED_AT_ONCE])
        rows.append(np.asarray(vectors, dtype=np.float32))
        await asyncio.sleep(0)  # vectors of the store come without a pause
    array = np.concatenate(rows)
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    units: NDArray[np.float32] = array / lengths
    return units


def _fused(*rankings: Sequence[int]) -> list[int]:
    """Fuse rankings by reciprocal rank."""
    scores: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, place in enumerate(ranking, start=1):
            scores[place] += 1 / (_RANK_OFFSET + rank)
    return sorted(scores, key=lambda place: (-scores[place], place))


def _found(rank: int, passage: Passage) -> dict[str, Any]:
    text = passage.text if len(passage.text) <= LONGEST_PASSAGE else f"{passage.text[:LONGEST_PASSAGE]}…"
    return {"rank": rank, "source": passage.source, "line": passage.line, "text": text}


def _reading(documents: Documents, source: str, line: int) -> dict[str, Any]:
    """Return a source's text from the passage on that holds a line; `next` is the line of the first one left out."""
    passages = [passage for passage in documents.passages if passage.source == source]
    if not passages:
        near = nearest_match(source, {passage.source for passage in documents.passages})
        raise ToolFailed(f"there is no source `{source[:200]}`; {near or 'a search gives the names of sources'}")
    begin = max((place for place, passage in enumerate(passages) if passage.line <= line), default=0)
    end, length = begin + 1, len(passages[begin].text)
    while end < len(passages) and (length := length + 2 + len(passages[end].text)) <= LONGEST_READING:
        end += 1
    text = "\n\n".join(passage.text for passage in passages[begin:end])[:LONGEST_READING]
    reading = {"source": source, "line": passages[begin].line, "text": text}
    return reading | {"next": passages[end].line} if end < len(passages) else reading
