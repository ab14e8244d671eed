"""Conversations as data: lists of `{role, content}`, their faults, and their messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from promptkit.runtimes.base import Message, Role

ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant")
"""Roles of turns in data: a turn with a tool's result belongs to a call, which data does not have."""


def messages_fault(value: Any) -> str | None:
    """Return the reason why a value is not a conversation, a list of `{role, content}`; None where it is one."""
    if not isinstance(value, list | tuple):
        return "must be a list of messages, each `{role: user, content: TEXT}`"
    for number, message in enumerate(value, start=1):
        if not isinstance(message, Mapping):
            return f"has a message {number} that is not `{{role: …, content: TEXT}}`: {message!r:.60}"
        if message.get("role") not in ROLES:
            return f"has a message {number} of the role {message.get('role')!r:.40}; roles are {', '.join(ROLES)}"
        if not isinstance(message.get("content"), str):
            return f"has a message {number} whose `content` is not a text: {message.get('content')!r:.60}"
    return None


def read_messages(value: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Return a conversation without faults as messages."""
    return tuple(Message(message["role"], message["content"]) for message in value)
