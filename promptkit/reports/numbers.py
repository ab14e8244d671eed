"""Counts, sizes and times in few characters."""

from __future__ import annotations


def seconds_text(seconds: float) -> str:
    """Return a time: `40 ms`, `1.2 s`, `3 min 20 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def size_text(size: int) -> str:
    """Return a number of bytes: `98 MB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def counted(count: int, what: str) -> str:
    """Return a number of things: `1 file`, `3 files`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def calls_text(calls: int, cached: int) -> str:
    """Return a number of requests and how many of them the store answered."""
    return counted(calls, "call") + (f" ({cached} cached)" if cached else "")


def tokens_text(tokens_in: int, tokens_out: int) -> str:
    """Return tokens read and written: `210+34 tokens`."""
    return f"{tokens_in}+{tokens_out} tokens"
