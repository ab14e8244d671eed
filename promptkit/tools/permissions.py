"""Permissions: which tools with effects a pipeline's `allow:` lets a model or a step call."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, get_args

from promptkit.tools.base import Effect, Tool

EFFECTS: Final[tuple[Effect, ...]] = get_args(Effect)
_DOES: Final[dict[Effect, str]] = {
    "network": "uses the network",
    "writes": "can change data outside of promptkit",
    "spends": "can cost money",
}


def refusal(tool: Tool, allow: Collection[str]) -> str | None:
    """Return the reason why a tool may not be called; None where it may.

    A tool without effects may always be called. Any other needs one of its `permission_names`, or all of its effects,
    among the entries of `allow`.
    """
    if not tool.effects or any(name in allow for name in tool.permission_names):
        return None
    lacking = [effect for effect in EFFECTS if effect in tool.effects and effect not in allow]
    if not lacking:
        return None
    return f"the tool `{tool.name}` is not allowed here: it {' and '.join(_DOES[effect] for effect in lacking)}"


def permission_hint(tool: Tool) -> str:
    """Return the line that allows a tool in a pipeline."""
    return f"add `allow: [{tool.permission_names[-1]}]` to the pipeline to allow it"
