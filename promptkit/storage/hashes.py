"""Hashes that stand for texts in the store. They are on disk: a change here finds nothing that was kept."""

from __future__ import annotations

import hashlib
from typing import Final

PREFIX_BYTES: Final = 8
"""So many bytes of a hash are in an index; the row that is found has it whole."""

_HASH_BYTES: Final = 16


def text_hash(text: str) -> bytes:
    """Return the hash of any text, half characters too."""
    return bytes_hash(text.encode("utf-8", "surrogatepass"))


def bytes_hash(data: bytes) -> bytes:
    """Return the hash of a text's bytes."""
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).digest()
