"""Whether a server goes on from a begun assistant turn."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from promptkit.errors import InputError, PromptkitError
from promptkit.project import cache_folder
from promptkit.runtimes.base import Message
from promptkit.storage import make_folder, read_now, write_atomic

CONTINUED = (Message("user", "Name a letter."), Message("assistant", "A"))


async def continues(count: Callable[[Sequence[Message]], Awaitable[int | None]]) -> bool:
    """Tell whether a last assistant message is gone on from, by the prompt tokens that the server counts.

    Where it is, one letter of it adds one token; where it is closed, the end of a turn and the next one's head
    come on top; where it is left out, nothing is added. No count, or a doubtful one, is taken for a no.
    """
    without, begun = await count(CONTINUED[:1]), await count(CONTINUED)
    return bool(without and begun and begun - without == 1)


async def continues_once(digest: str, count: Callable[[Sequence[Message]], Awaitable[int | None]]) -> bool:
    """As `continues`, asked once for weights and server of that digest and then kept in the user's cache folder.

    A file that cannot be read or written costs the asking, no more.
    """
    file = cache_folder() / "continues.json"
    known = _known(file)
    if digest not in known:
        # Read again after the asking: another process may have found out about another model meanwhile.
        found = await continues(count)
        known = {**_known(file), digest: found}
        with suppress(PromptkitError):
            make_folder(file.parent)
            write_atomic(file, json.dumps(known, indent=1, sort_keys=True))
    return known[digest]


def _known(file: Path) -> dict[str, bool]:
    with suppress(InputError, ValueError):
        known = json.loads(read_now(file))
        if isinstance(known, dict):
            return {digest: found is True for digest, found in known.items()}
    return {}
