"""What answers requests: the adapters, and one `Asker` with limiter, retry, deadline and cache around all."""

from importlib import import_module
from typing import TYPE_CHECKING

from promptkit.runtimes.ask import Asker, Cache, Statistics, needs
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
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.control_tokens import backslashed
from promptkit.runtimes.models import Choice, Models, choose, default_reference
from promptkit.runtimes.references import Reference, open_runtime, parse_reference
from promptkit.runtimes.scripted import Scripted
from promptkit.runtimes.wire import reply_from, reply_record, request_from, request_key, request_record

if TYPE_CHECKING:
    from promptkit.runtimes.embedded import Embedded
    from promptkit.runtimes.local import LocalModel, local_models, pull_model
    from promptkit.runtimes.ollama import Ollama
    from promptkit.runtimes.openai import OpenAI
    from promptkit.runtimes.replay import Recorder, Replay

__all__ = [
    "Alternative",
    "Asker",
    "Budget",
    "Cache",
    "Capability",
    "Choice",
    "Embedded",
    "Finish",
    "LocalModel",
    "Message",
    "Model",
    "Models",
    "Ollama",
    "OnText",
    "OpenAI",
    "Recorder",
    "Reference",
    "Replay",
    "Reply",
    "Request",
    "Role",
    "Runtime",
    "Scripted",
    "Statistics",
    "Token",
    "backslashed",
    "choose",
    "default_reference",
    "local_models",
    "needs",
    "open_runtime",
    "parse_reference",
    "pull_model",
    "reply_from",
    "reply_record",
    "request_from",
    "request_key",
    "request_record",
]

_LAZY = {
    "Embedded": "embedded",
    "LocalModel": "local",
    "Ollama": "ollama",
    "OpenAI": "openai",
    "Recorder": "replay",
    "Replay": "replay",
    "local_models": "local",
    "pull_model": "local",
}


def __getattr__(name: str) -> object:
    """Import what is heavy, or seldom used, at its first use."""
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
