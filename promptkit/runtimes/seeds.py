"""Seeds of samples."""

from __future__ import annotations

import hashlib

from promptkit.runtimes.base import Request


def sample_seed(request: Request) -> int | None:
    """Return the seed of this sample: with one seed for all, every sample would be the same."""
    if request.seed is None or request.sample == "0":
        return request.seed
    digest = hashlib.sha256(f"{request.seed} {request.sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
