"""The origin of a cell as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from promptkit.evaluation.provenance import Provenance
from promptkit.evaluation.record import shortened_digest
from promptkit.reports.text import one_line, when_text


def provenance_lines(origin: Provenance) -> Iterator[str]:
    """Yield the time of a cell and what answered it, and the files that it was made of, with their digests."""
    when = "at a time that is not recorded" if origin.asked is None else when_text(origin.asked)
    by = f" by promptkit {origin.release}" if origin.release else ""
    yield f"  asked {when}{by}"
    for reference, digest in origin.models.items():
        yield f"    model {one_line(reference)} {shortened_digest(digest or '') or 'without a digest'}"
    yield from _named_files("of", origin.files, ())
    yield from _named_files("read", origin.reads, origin.changed)


def _named_files(word: str, files: Mapping[str, str], changed: tuple[str, ...]) -> Iterator[str]:
    for name, digest in files.items():
        since = ", changed since" if name in changed else ""
        yield f"    {word} {one_line(name)} {shortened_digest(digest)}{since}"
