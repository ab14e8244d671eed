"""Content keys: hashes that stand for a text. They are on disk: after a change here nothing that was kept is found."""

from __future__ import annotations

import hashlib
from typing import Final

KEY_BYTES: Final = 16
"""Of most keys in the store: two contents that share one by chance are not to be feared."""

PREFIX_BYTES: Final = 8
"""So many bytes of a key are in an index; the row that is found has it whole."""


def content_key(content: str | bytes, size: int = KEY_BYTES, *, salt: bytes = b"") -> bytes:
    """Return the key of a content, `size` bytes long; a text may hold half characters."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.blake2b(data, digest_size=size, salt=salt).digest()
