"""The adapters that a llama-server was started with."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from promptkit.errors import Unsupported

MOST_ADAPTERS = 1000


def find_adapter(path: Path, listed: Any, *, server: str, quote: Callable[[str], str]) -> int:
    """Return the number of the adapter whose file has the name of `path`, among those that a server lists.

    `quote` makes a server's text fit for a message. Raises Unsupported where there is none, or more than one;
    TypeError, ValueError or LookupError for a list that llama-server does not give.
    """
    names = _names(listed)
    found = [number for number, name in names if name == path.name]
    if len(found) == 1:
        return found[0]
    if found:
        raise Unsupported(f"the server at {server} has {len(found)} adapters named {path.name}")
    loaded = quote(", ".join(name for _, name in names)) or "none"
    raise Unsupported(
        f"the server at {server} was started without the adapter {path.name}; it has {loaded}", hint=_command(path)
    )


def _names(listed: Any) -> Sequence[tuple[int, str]]:
    if not isinstance(listed, list) or len(listed) > MOST_ADAPTERS:
        raise TypeError(listed)
    found = []
    for entry in listed:
        number, file = entry["id"], entry["path"]
        if type(number) is not int or number < 0 or not isinstance(file, str):
            raise TypeError(entry)
        found.append((number, (PureWindowsPath if "\\" in file else PurePosixPath)(file).name[:200]))
    return found


def _command(path: Path) -> str:
    return f"llama-server -m MODEL.gguf --lora {shlex.quote(path.name)} --lora-init-without-apply --cache-ram 0"
