"""Runtimes of installed packages: found by entry point, and guarded against what their code raises or returns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.metadata import EntryPoint
from typing import Any

from promptkit.errors import InputError, PromptkitError, ServerFailed
from promptkit.project_code.entry_points import check_subclass, load_entry_point, load_entry_points
from promptkit.project_code.reference import guarded
from promptkit.runtimes.base import Message, Model, OnText, Reply, Request, Runtime, ToolDefinition
from promptkit.runtimes.reply_reader import checked_foreign_reply, finite_number, protocol_errors

ENTRY_POINT_GROUP = "promptkit.runtimes"


def installed_runtimes() -> dict[str, EntryPoint]:
    """Return the entry points of runtimes by the word that begins their references; nothing is loaded."""
    return load_entry_points(ENTRY_POINT_GROUP)


def open_installed(word: str, name: str) -> Runtime:
    """Return the runtime of the model `name` that the package behind `word` opens.

    Raises InputError for a class that is not a runtime, and for one that does not take the model's name.
    """
    entry = installed_runtimes()[word]
    kind = load_entry_point(entry, "runtime", lambda found: check_subclass(found, Runtime))  # type: ignore[type-abstract]
    reference = f"{word}/{name}"

    def failed(problem: str) -> InputError:
        return InputError(f"runtime `{word}` {problem}")

    with guarded(failed, verb=f"cannot open {reference}:", passing=(PromptkitError,)):
        return InstalledRuntime(kind(name), reference)  # type: ignore[call-arg]


class InstalledRuntime(Runtime):
    """A package's runtime. Whatever it raises, and a reply that cannot be true, becomes one of promptkit's errors."""

    def __init__(self, runtime: Runtime, reference: str) -> None:
        self._runtime = runtime
        self._reference = reference

    async def model(self) -> Model:
        """Return the package's description of the model."""
        with self._guarded():
            model: Any = await self._runtime.model()
        if not isinstance(model, Model):
            raise ServerFailed(f"{self._reference} described itself by {type(model).__name__}, not by a Model")
        return model

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Return the package's reply, checked."""
        with self._guarded():
            reply: Any = await self._runtime.answer(request, on_text)
        if not isinstance(reply, Reply):
            raise ServerFailed(f"{self._reference} returned {type(reply).__name__}, not a Reply")
        return checked_foreign_reply(reply, self._reference)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the package's vectors, checked."""
        with self._guarded():
            vectors = await self._runtime.embed(texts)
        with protocol_errors(f"{self._reference} gave no vector of finite numbers for each text"):
            return [[finite_number(number) for number in vector] for vector, _ in zip(vectors, texts, strict=True)]

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return the package's tokens."""
        with self._guarded():
            return await self._runtime.tokenize(text)

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        """Return the package's text of messages and tools."""
        with self._guarded():
            return await self._runtime.template(messages, begun, tools)

    async def count(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> int | None:
        """Return the package's count of the tokens of messages and tools."""
        with self._guarded():
            return await self._runtime.count(messages, begun, tools)

    async def close(self) -> None:
        """Close the package's runtime."""
        with self._guarded():
            await self._runtime.close()

    def _guarded(self) -> AbstractContextManager[None]:
        return guarded(lambda problem: ServerFailed(f"{self._reference} {problem}"), passing=(PromptkitError,))
