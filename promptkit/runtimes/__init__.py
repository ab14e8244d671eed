"""What answers requests: the adapters, and one `Asker` with limiter, retry, deadline and cache around them."""

from importlib import import_module
from typing import TYPE_CHECKING

from promptkit.runtimes.base import (
    Alternative,
    Capability,
    Finish,
    Message,
    Model,
    OnText,
    Reply,
    Request,
    Role,
    Runtime,
    Token,
)
from promptkit.runtimes.scripted import Scripted

if TYPE_CHECKING:
    from promptkit.runtimes.embedded import Embedded

__all__ = [
    "Alternative",
    "Capability",
    "Embedded",
    "Finish",
    "Message",
    "Model",
    "OnText",
    "Reply",
    "Request",
    "Role",
    "Runtime",
    "Scripted",
    "Token",
]

_LAZY = {"Embedded": "embedded"}


def __getattr__(name: str) -> object:
    """Import the heavy adapters where they are first used."""
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
