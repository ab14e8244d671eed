"""Tools that a step or a model calls: `Tool`, one of them, and `Toolset`, a source of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from promptkit.runtimes.client import Client

ClientOf = Callable[[str], "Awaitable[Client]"]
"""Returns the client of a model by its reference."""

Effect = Literal["network", "writes", "spends"]
"""An effect of a call besides computing: to leave the machine, to change something, to cost money."""


class Tool(ABC):
    """A function that is called by its name, with JSON in and JSON out.

    `description` says to a model what it does. `parameters` is the JSON Schema of its arguments, an object. Its
    `effects` need the pipeline's `allow:`. `extra` is the extra of promptkit that it needs. All methods may be called
    concurrently.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    effects: frozenset[Effect] = frozenset()
    extra: str | None = None

    @abstractmethod
    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """Return the result as plain JSON data.

        The arguments fit `parameters`. Cancelling ends the work. Raises ToolFailed with a text for the model and for a
        person: neither a path of the machine nor a secret stands in it.
        """

    @property
    def identity(self) -> Mapping[str, Any]:
        """The settings on which results depend besides the arguments: JSON for the keys of stored cells."""
        return {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the results depend on."""
        return ()

    @property
    def permission_names(self) -> tuple[str, ...]:
        """The names by which `allow:` lets this tool be called in spite of its effects; the last is the narrowest."""
        return (self.name,)

    def bound(self, client_of: ClientOf) -> Tool:
        """Return this tool with the clients of models, for one that needs them."""
        return self


class Toolset(ABC):
    """A source of tools that are known only when it is asked, such as an MCP server. It is opened at the first use.

    A session opens one of each name. `effects` are those that its tools may have, `extra` the extra of promptkit that
    it needs.
    """

    name: str
    effects: frozenset[Effect] = frozenset({"network", "writes"})
    extra: str | None = None

    @abstractmethod
    async def tools(self) -> Mapping[str, Tool]:
        """Return the tools by name, connecting first. Raises ToolFailed where the source is not there."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The settings on which its tools depend, known without a connection: JSON for the keys of stored cells."""
        return {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that its tools depend on, as far as they are known without a connection."""
        return ()

    @property
    def notices(self) -> tuple[str, ...]:
        """Lines about the source that a person should see."""
        return ()

    @abstractmethod
    async def close(self) -> None:
        """Close the connection. Safe to call twice."""
