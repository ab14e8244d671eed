"""Permissions: which tools with effects a pipeline's `allow:` lets a model or a step call."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, get_args

from promptkit.tools.base import Effect, Tool, Toolset

EFFECTS: Final[tuple[Effect, ...]] = get_args(Effect)
_DOES: Final[dict[Effect, str]] = {
    "network": "may use the network",
    "writes": "may change data",
    "spends": "may cost money",
}


def refusal(tool: Tool, allow: Collection[str]) -> str | None:
    """Return the reason why a tool may not be called; None where it may.

    A tool without effects may always be called. Any other needs one of its `permission_names`, or all of its effects,
    among the entries of `allow`.
    """
    if any(name in allow for name in tool.permission_names if name not in EFFECTS):
        return None
    return _reason(tool.name, [effect for effect in tool.effects if effect not in allow])


def toolset_refusal(toolset: Toolset, entry: str, allow: Collection[str]) -> str | None:
    """Return the reason why none of the tools that a step takes from a toolset may be called, before it is opened.

    `entry` is the name of the toolset (`mcp:github`) or of one of its tools (`mcp:github/create_issue`).
    """
    is_one = entry != toolset.name
    below = entry if is_one else f"{toolset.name}/"
    if toolset.name in allow or any(name == below if is_one else name.startswith(below) for name in allow):
        return None
    return _reason(entry, [effect for effect in toolset.effects if effect not in allow])


def permission_hint(name: str, allow: Collection[str] = ()) -> str:
    """Return the line that allows a tool in a pipeline which has the entries `allow`."""
    return f"`allow: [{', '.join([*sorted(allow), name])}]` in the pipeline allows it"


def _reason(name: str, lacking: Collection[Effect]) -> str | None:
    if not lacking:
        return None
    does = " and ".join(_DOES[effect] for effect in EFFECTS if effect in lacking)
    return f"the tool `{name}` is not allowed here: it {does}"
