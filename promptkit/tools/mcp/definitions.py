"""The tools that an MCP server lists, as a model is shown them: bounded, with plain schemas and names of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

from promptkit.tools.results import clean_text

MAX_NAME: Final = 64
"""Characters in a tool's name for a model: the limit of the OpenAI protocol."""
MAX_DESCRIPTION: Final = 2_000
"""Characters of a description that are kept."""
MAX_SCHEMA: Final = 20_000
"""Characters of a tool's schema as JSON, its references resolved. A tool with a longer one is left out."""
LOCK_LENGTH: Final = 16
MAX_DEPTH: Final = 30
MAX_NODES: Final = 2_000

_DIGEST_LENGTH = 8
_UNNAMED = re.compile(r"[^A-Za-z0-9_-]")
_NOT_KEPT = frozenset({"$schema", "$id", "$anchor", "$comment", "$defs", "definitions"})
_OF_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas"})
"""Keywords whose value maps names to schemas."""
_OF_DATA = frozenset({"enum", "const", "default", "examples", "required"})
"""Keywords whose value is not a schema."""


class ListedTool(Protocol):
    """A tool as a server lists it."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str | None: ...
    @property
    def input_schema(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A tool of a server. `tool` is its name there, `name` that for models; `digest` changes with any of its parts."""

    tool: str
    name: str
    description: str
    parameters: Mapping[str, Any]
    digest: str


def read_definitions(server: str, listed: Iterable[ListedTool], notice: Callable[[str], None]) -> dict[str, Definition]:
    """Return the tools of a listing by their names on the server.

    A tool that cannot be offered to a model, and the second of one name, is left out with a `notice`.
    """
    found: dict[str, Definition] = {}
    names: set[str] = set()
    for tool in listed:
        shown = f"the tool `{clean_text(tool.name)[:MAX_NAME]}` of the MCP server `{server}`"
        if tool.name in found:
            notice(f"{shown} is listed twice: the first definition is used")
            continue
        try:
            parameters = plain_schema(tool.input_schema)
        except ValueError as error:
            notice(f"{shown} is left out: its schema {error}")
            continue
        name = _unique(f"{server}_{tool.name}", names)
        names.add(name)
        description = clean_text(tool.description or "").strip()
        if len(description) > MAX_DESCRIPTION:
            description = f"{description[: MAX_DESCRIPTION - 1]}…"
        found[tool.name] = Definition(
            tool=tool.name,
            name=name,
            description=description,
            parameters=parameters,
            digest=_digest(json.dumps([tool.name, description, parameters], sort_keys=True)),
        )
    return found


def lock_of(definitions: Mapping[str, Definition]) -> str:
    """Return the digest of tools that `lock:` of a server names: it changes with each part of each of them."""
    return _digest("\n".join(sorted(found.digest for found in definitions.values())))[:LOCK_LENGTH]


def _unique(name: str, taken: set[str]) -> str:
    """Return a name of the letters that models may write, short enough and not taken."""
    plain = _UNNAMED.sub("_", name)
    if len(plain) <= MAX_NAME and plain not in taken:
        return plain
    return f"{plain[: MAX_NAME - _DIGEST_LENGTH - 1]}_{_digest(name)[:_DIGEST_LENGTH]}"


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an object without references and without text that is not seen. Raises ValueError.

    References within the schema are put in their places. One that leads elsewhere or into itself, and a schema that is
    too large, are refused.
    """
    plain = _Resolver(schema).schema(schema, ())
    if not isinstance(plain, dict) or plain.get("type") != "object":
        raise ValueError("is not that of an object")
    required = plain.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ValueError("has a `required` that is not a list of names")
    if not isinstance(plain.get("properties", {}), dict):
        raise ValueError("has `properties` that are not named")
    if len(json.dumps(plain)) > MAX_SCHEMA:
        raise ValueError(f"has more than {MAX_SCHEMA:,} characters")
    return {**plain, "properties": plain.get("properties", {})}


class _Resolver:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._nodes = 0

    def schema(self, value: Any, within: tuple[str, ...], depth: int = 0) -> Any:
        """Return a schema; `within` are the references that lead to it."""
        self._count(depth)
        if isinstance(value, list):
            return [self.schema(item, within, depth + 1) for item in value]
        if not isinstance(value, Mapping):
            return self.data(value, depth)
        plain: dict[str, Any] = {}
        if "$ref" in value:
            reference = value["$ref"]
            if reference in within:
                raise ValueError("refers to itself")
            plain |= self.schema(self._target(reference), (*within, reference), depth + 1)
        for key, inner in value.items():
            if key == "$ref" or key in _NOT_KEPT:
                continue
            if key.startswith(("$dynamic", "$recursive")):
                raise ValueError(f"has `{clean_text(key)}`")
            if key in _OF_SCHEMAS and isinstance(inner, Mapping):
                plain[key] = {clean_text(name): self.schema(named, within, depth + 1) for name, named in inner.items()}
            else:
                plain[key] = self.data(inner, depth) if key in _OF_DATA else self.schema(inner, within, depth + 1)
        return plain

    def data(self, value: Any, depth: int) -> Any:
        """Return a value that is not a schema."""
        self._count(depth)
        if isinstance(value, str):
            return clean_text(value)
        if isinstance(value, list):
            return [self.data(item, depth + 1) for item in value]
        if isinstance(value, Mapping):
            return {clean_text(key): self.data(item, depth + 1) for key, item in value.items()}
        return value

    def _count(self, depth: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError("is too large or too deeply nested")

    def _target(self, reference: Any) -> Mapping[str, Any]:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise ValueError("refers to something outside of itself")
        found: Any = self._root
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            raise ValueError("refers to a definition that it does not have")
        return found
