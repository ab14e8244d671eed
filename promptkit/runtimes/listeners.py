"""Telling an answer's text once, however often it was begun."""

from __future__ import annotations

from collections.abc import Callable

from promptkit.runtimes.base import OnText


def listeners(on_text: OnText | None) -> Callable[[], OnText | None]:
    """Make a listener for each attempt; a further one is silent until it has more to say than those before."""
    said = 0

    def listener() -> OnText | None:
        if on_text is None:
            return None
        heard = 0

        def tell(piece: str) -> None:
            nonlocal said, heard
            heard += len(piece)
            if heard > said:
                on_text(piece[said - heard :])
                said = heard

        return tell

    return listener
