"""Tools as text: the shipped kinds, and the tools of a target with their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from promptkit.reports.layout import columns
from promptkit.reports.text import display_text, one_line, visible

_ABOUT: Final = 300
"""Characters of a description that a list shows."""


def kinds_text(kinds: Sequence[Mapping[str, Any]], sources: Mapping[str, Sequence[str]]) -> str:
    """Return a line for each shipped kind, and the MCP servers and feeds of the project."""
    lines = columns((kind["kind"], kind["about"], f"tools: [{kind['form']}]") for kind in kinds)
    servers = ", ".join(sources["servers"]) or "none; `mcp: {NAME: {command: […]}}` in promptkit.yaml names them"
    feeds = ", ".join(sources["feeds"]) or "none; `feeds: {NAME: URL}` in promptkit.yaml names them"
    return visible("\n".join([*lines, "", f"MCP servers: {servers}", f"feeds: {feeds}"]))


def tools_text(tools: Sequence[Mapping[str, Any]]) -> str:
    """Return tools with their effects, the steps that may call them, what they do, and their parameters."""
    return visible("\n".join(line for tool in tools for line in _tool_lines(tool))) or "no tools"


def _tool_lines(tool: Mapping[str, Any]) -> Iterator[str]:
    facts = [", ".join(tool["effects"])] if tool["effects"] else []
    facts += [] if tool["allowed"] else ["not allowed"]
    facts += [f"step {', '.join(tool['steps'])}"] if tool["steps"] else []
    name, entry = tool["name"], tool["entry"]
    shown = name if name == entry else f"{name}  from {entry}" if name else entry
    yield f"{shown}  ({'; '.join(facts)})" if facts else shown
    if tool["problem"] is not None:
        yield f"  {tool['problem']}"
        return
    if tool["description"]:
        yield f"  {one_line(tool['description'], _ABOUT)}"
    parameters = tool["parameters"] or {}
    required = parameters.get("required", ())
    for name, schema in parameters.get("properties", {}).items():
        kind = type_text(schema)
        needed = "" if name in required else _default_text(schema)
        about = one_line(schema.get("description", ""), _ABOUT) if isinstance(schema, Mapping) else ""
        yield f"    {name}: {', '.join(filter(None, (kind, needed)))}{f' – {about}' if about else ''}"


def type_text(schema: Any) -> str:
    """Return the type of a parameter as a person reads it: `string`, `array of string`, `a or b`."""
    if not isinstance(schema, Mapping):
        return "any"
    if isinstance(values := schema.get("enum"), list):
        return " or ".join(display_text(value) for value in values)
    if isinstance(options := schema.get("anyOf"), list):
        return " or ".join(type_text(option) for option in options)
    kind = schema.get("type", "any")
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f"array of {type_text(schema['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _default_text(schema: Any) -> str:
    given = schema.get("default") if isinstance(schema, Mapping) else None
    return "optional" if given is None else f"default {display_text(given)}"
