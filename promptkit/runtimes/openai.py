"""A model behind any server that speaks OpenAI's protocol."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.runtimes.base import Message, Model, OnText, Reply, Request


class OpenAI:
    """A `Runtime` over `base_url` (it ends in `/v1`). The key comes from the environment only."""

    def __init__(self, name: str, *, base_url: str, key_env: str | None = None) -> None:
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
