"""The result of a call of an MCP tool, as JSON."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types

from promptkit.tools.results import clean_text

MAX_FAILURE: Final = 2_000
"""Characters of a tool's error that are kept."""


def result_value(result: types.CallToolResult) -> Any:
    """Return the structured content where there is some, else the texts; images, sounds and files are only named."""
    if result.structured_content is not None:
        return result.structured_content
    return "\n".join(map(_block_text, result.content))


def failure_text(result: types.CallToolResult) -> str:
    """Return the message of a result that is an error."""
    text = clean_text("\n".join(map(_block_text, result.content))).strip() or "the tool failed and did not say why"
    return text if len(text) <= MAX_FAILURE else f"{text[: MAX_FAILURE - 1]}…"


def _block_text(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return f"[{block.type}, {block.mime_type}, {len(block.data) * 3 // 4:,} bytes]"
        case types.ResourceLink():
            return f"[resource {block.uri}]"
        case types.EmbeddedResource():
            return f"[resource {block.resource.uri}]"
