"""The tools of a step when it runs: toolsets are opened at their first use, and closed when their session ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakKeyDictionary

from promptkit.errors import ToolFailed, nearest
from promptkit.tools.base import ClientOf, Tool, Toolset
from promptkit.tools.permissions import refusal


class OpenToolsets:
    """The toolsets that are open in an event loop, one of each project and name, and how many sessions use them."""

    def __init__(self) -> None:
        self.users = 0
        self._opened: dict[tuple[Path, str], Toolset] = {}

    def shared(self, toolset: Toolset, root: Path) -> Toolset:
        """Return the toolset of this name that is in use in the project of a root; this one where there is none."""
        return self._opened.setdefault((root, toolset.name), toolset)

    async def close(self) -> None:
        """Close all of them; one that fails leaves none of the others open."""
        opened, self._opened = list(self._opened.values()), {}
        await asyncio.gather(*(toolset.close() for toolset in opened), return_exceptions=True)


_open: WeakKeyDictionary[asyncio.AbstractEventLoop, OpenToolsets] = WeakKeyDictionary()


@asynccontextmanager
async def sharing_toolsets() -> AsyncIterator[None]:
    """Open each toolset once inside the block, in all tasks of the event loop, and close them at its end.

    Of blocks that overlap the last one closes them.
    """
    loop = asyncio.get_running_loop()
    toolsets = _open.setdefault(loop, OpenToolsets())
    toolsets.users += 1
    try:
        yield
    finally:
        toolsets.users -= 1
        if not toolsets.users:
            del _open[loop]
            await toolsets.close()


async def open_tools(
    tools: Mapping[str, Tool | Toolset],
    *,
    root: Path,
    allow: Collection[str],
    client_of: ClientOf,
    notice: Callable[[str], None],
) -> dict[str, Tool]:
    """Return a step's tools by name, those of toolsets among them. It is called inside `sharing_toolsets`.

    `root` is the project's. Of all tools of a toolset those that `allow` does not let be called are left out, with a
    `notice`. Raises ToolFailed for a toolset that cannot be opened, and for two tools of one name.
    """
    opened: dict[str, Tool] = {}
    for entry, tool in tools.items():
        if isinstance(tool, Tool):
            found: Mapping[str, Tool] = {entry: tool}
        else:
            found = await _tools_of(_open[asyncio.get_running_loop()].shared(tool, root), entry, allow, notice)
        for name, one in found.items():
            if name in opened and opened[name].permission_names != one.permission_names:
                raise ToolFailed(f"two tools of the step have the name `{name}`")
            opened[name] = one.bound(client_of)
    return opened


def without_toolsets(tools: Mapping[str, Tool | Toolset], notice: Callable[[str], None]) -> dict[str, Tool | Toolset]:
    """Return the tools that are known without a connection, with a `notice` of the others."""
    left_out = [f"`{entry}`" for entry, tool in tools.items() if isinstance(tool, Toolset)]
    if left_out:
        notice(f"without the tools of {', '.join(left_out)}: no connection is opened here")
    return {name: tool for name, tool in tools.items() if isinstance(tool, Tool)}


async def _tools_of(
    toolset: Toolset, entry: str, allow: Collection[str], notice: Callable[[str], None]
) -> Mapping[str, Tool]:
    """Return the tools that a step's entry takes from a toolset: all that are allowed, or one."""
    tools = await toolset.tools()
    for text in toolset.notices:
        notice(text)
    if entry != toolset.name:
        chosen = {name: tool for name, tool in tools.items() if entry in tool.permission_names}
        if not chosen:
            known = {name for tool in tools.values() for name in tool.permission_names[1:]}
            raise ToolFailed(f"there is no tool `{entry}`", hint=nearest(entry, known))
        return chosen
    allowed = {name: tool for name, tool in tools.items() if refusal(tool, allow) is None}
    if len(allowed) < len(tools):
        left_out = len(tools) - len(allowed)
        notice(f"{left_out} of the {len(tools)} tools of `{entry}` are not offered: `allow` does not name them")
    return allowed
