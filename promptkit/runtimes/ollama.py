"""A model that an Ollama server runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from promptkit.runtimes.base import Message, Model, OnText, Reply, Request

Progress = Callable[[str, int | None, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A model that an Ollama server has. `completes` tells whether it can answer (an embedding model cannot)."""

    name: str
    digest: str
    size: int
    used: datetime | None
    completes: bool
    loaded: bool = False


def normal_host(text: str | None) -> str:
    """Return the base URL that Ollama's own client makes of `OLLAMA_HOST` (unset or empty: its default)."""
    raise NotImplementedError


async def probe(host: str | None = None, timeout: float = 0.3) -> list[Installed] | None:
    """Return the models of the server, the most recently used first, or None where no server answers in time."""
    raise NotImplementedError


async def pull(name: str, progress: Progress, *, host: str | None = None) -> None:
    """Fetch a model; `progress(what, done, total)` gets bytes, None where unknown. Cancelling stops it."""
    raise NotImplementedError


class Ollama:
    """A `Runtime` over one model of an Ollama server."""

    def __init__(
        self,
        name: str,
        *,
        host: str | None = None,
        context: int | None = None,
        keep_alive: str | float | None = None,
    ) -> None:
        raise NotImplementedError

    async def model(self) -> Model:
        raise NotImplementedError

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        raise NotImplementedError

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise NotImplementedError

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        raise NotImplementedError

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError
