"""Search in a user's documents: cut into passages, ranked by BM25 (Robertson et al. 1994)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promptkit.errors import InputError, Problem, place
from promptkit.storage.files import read_text
from promptkit.storage.rows import read_rows

if TYPE_CHECKING:
    from bm25s import BM25

ENDINGS: Final = (".txt", ".md", ".jsonl")
_MOST_CACHED: Final = 8

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document. `source` names the document, such as `notes/rome.md` or `rows.jsonl:3`.

    `line` is the line of the document's text in which it begins, from 1.
    """

    text: str
    source: str
    line: int = field(default=1, compare=False)


@dataclass(frozen=True)
class Documents:
    """The passages of documents, searched by BM25."""

    passages: tuple[Passage, ...]

    @classmethod
    def of(cls, documents: Sequence[str | Mapping[str, Any]]) -> Documents:
        """Return the passages of documents given as texts, or as mappings with `text` and optionally `source` or
        `title`.

        A document without a source is named by its number, from 1. Raises InputError for other values.
        """
        found: list[Passage] = []
        for number, document in enumerate(documents, start=1):
            if isinstance(document, str):
                document = {"text": document}
            if not isinstance(document, Mapping) or not isinstance(document.get("text"), str):
                raise InputError(f"document {number} must be a text, or a mapping with a `text`")
            found.extend(_passages(document, str(number)))
        return cls(tuple(found))

    @classmethod
    def read(cls, folder: Path) -> Documents:
        """Return the passages of the .txt, .md and .jsonl files (rows with a `text`) in a folder and its subfolders.

        An unchanged folder is read once in a process. Raises InputError for a missing folder, one without text, and a
        file that cannot be read.
        """
        folder = folder.absolute()
        found = cls.of_files(document_files(folder))
        if not found.passages:
            endings = ", ".join(ENDINGS)
            raise InputError(f"the folder {place(folder)} holds no text", hint=f"documents end in {endings}")
        return found

    @classmethod
    def of_files(cls, files: Mapping[str, Path]) -> Documents:
        """Return the passages of files, by the names of their documents.

        Unchanged files are read once in a process. Raises InputError for a file that cannot be read.
        """
        key = tuple(files.items())
        stamp = tuple((name, path.stat().st_mtime_ns, path.stat().st_size) for name, path in files.items())
        kept = _cache.pop(key, None)
        if kept is None or kept[0] != stamp:
            kept = (stamp, cls(tuple(_read(files))))
        _cache[key] = kept
        while len(_cache) > _MOST_CACHED:
            del _cache[next(iter(_cache))]
        return kept[1]

    def retrieve(self, query: str, count: int = 3) -> list[Passage]:
        """Return the passages that match a query best, the best first; only those that share a word with it."""
        return [self.passages[place] for place in self.ranked(query, count)]

    def ranked(self, query: str, count: int) -> list[int]:
        """Return the places in `passages` of those that match a query best, as `retrieve` does."""
        known = [word for word in words(query) if word in self._ranking.vocab_dict] if self.passages else []
        if not known or count < 1:
            return []
        scores = self._ranking.get_scores(known)
        best = (-scores).argsort(kind="stable")[:count]
        return [int(place) for place in best if scores[place] > 0]

    @cached_property
    def _ranking(self) -> BM25:
        from bm25s import BM25

        ranking = BM25()
        ranking.index([words(passage.text) for passage in self.passages], show_progress=False)
        return ranking


_cache: dict[tuple[tuple[str, Path], ...], tuple[Stamp, Documents]] = {}


def document_files(folder: Path) -> dict[str, Path]:
    """Return the .txt, .md and .jsonl files in a folder and its subfolders, by their paths from it, sorted.

    Hidden ones are left out. Raises InputError where there is no such folder.
    """
    if not os.path.isdir(folder):
        raise InputError(f"there is no folder {place(folder)} with documents")
    return {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if _is_document(path, folder)
    }


def _is_document(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in ENDINGS and not hidden and path.is_file()


def _read(files: Mapping[str, Path]) -> Iterator[Passage]:
    for name, path in files.items():
        if path.suffix.lower() == ".jsonl":
            yield from _read_lines(path, name)
        else:
            yield from _passages({"text": read_text(path)}, name)


def _read_lines(path: Path, name: str) -> Iterator[Passage]:
    for number, row in enumerate(read_rows(path), start=1):
        if not isinstance(row.get("text"), str):
            raise InputError(Problem(f"row {number} must have a `text`", file=place(path)))
        yield from _passages(row, f"{name}:{number}")


def _passages(document: Mapping[str, Any], name: str) -> Iterator[Passage]:
    source = str(document.get("source") or document.get("title") or name)
    text = document["text"]
    at, line = 0, 1
    for begin, passage in _cut(text):
        line += text.count("\n", at, begin)
        at = begin
        yield Passage(passage, source, line)


_LEAST = 60
_MOST = 100
# Chinese and Japanese have no spaces between words: each character counts as a word.
_SIGN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SIGN}]|[^\W{_SIGN}]+")
_PARAGRAPH_END = re.compile(r"\n\s*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n(?=[-*#>|\d])")
_HEADING = re.compile(r"#{1,6}\s")


def words(text: str) -> list[str]:
    """Return the words of a text, without regard to case."""
    return _WORD.findall(text.casefold())


def cut_passages(text: str) -> list[str]:
    """Return a text's passages in order; a text of at most 100 words is one. A heading begins a passage."""
    return [passage for _, passage in _cut(text)]


def _cut(text: str) -> Iterator[tuple[int, str]]:
    """Yield passages, each with the place in the text where it begins."""
    if _size(text) <= _MOST:
        if words(text):
            yield len(text) - len(text.lstrip()), text.strip()
        return
    held, size, begin = "", 0, 0
    for joint, part, at in _parts(text):
        more = _size(part)
        new_section = _HEADING.match(part) and not _HEADING.match(held)
        full = size + more > _MOST or (size >= _LEAST and joint != " ")
        if held and (new_section or (full and not _is_heading(held))):
            if words(held):
                yield begin, held
            held, size, begin = part, more, at
        else:
            begin = begin if held else at
            held, size = f"{held}{joint}{part}" if held else part, size + more
    if words(held):
        yield begin, held


def _parts(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield sentences, and pieces of those that are too long, each with the text that joins it to the one before, and
    its place in the text.
    """
    at = 0
    for paragraph in _PARAGRAPH_END.split(text.strip()):
        joint = "\n"
        for sentence in _SENTENCE_END.split(paragraph):
            for piece in _pieces(sentence.strip()):
                at = text.index(piece, at)
                yield joint, piece, at
                at += len(piece)
                joint = " "


def _pieces(sentence: str) -> Iterator[str]:
    """Yield a sentence in pieces of at most 100 words."""
    begin = 0
    for number, word in enumerate(_WORD.finditer(sentence)):
        if number and number % _MOST == 0:
            yield sentence[begin : word.start()].strip()
            begin = word.start()
    if rest := sentence[begin:].strip():
        yield rest


def _is_heading(text: str) -> bool:
    return "\n" not in text and _HEADING.match(text) is not None


def _size(text: str) -> int:
    return len(_WORD.findall(text))
