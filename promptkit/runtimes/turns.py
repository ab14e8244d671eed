"""Whether a server goes on from a begun assistant turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from promptkit.runtimes.base import Message

CONTINUED = (Message("user", "Name a letter."), Message("assistant", "A"))


async def continues(count: Callable[[Sequence[Message]], Awaitable[int | None]]) -> bool:
    """Tell whether a last assistant message is gone on from, by the prompt tokens that the server counts.

    Where it is, one letter of it adds one token; where it is closed, the end of a turn and the next one's head
    come on top; where it is left out, nothing is added. No count, or a doubtful one, is taken for a no.
    """
    without, begun = await count(CONTINUED[:1]), await count(CONTINUED)
    return bool(without and begun and begun - without == 1)
