"""Secrets of MCP servers: environment variables that `promptkit.yaml` names, and their removal from texts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from string import Template
from typing import Any

from promptkit.errors import ToolFailed
from promptkit.runtimes.api_keys import Redactor


class Secrets:
    """The values of the environment variables that a server is given."""

    def __init__(self, server: str, texts: Iterable[str]) -> None:
        """`texts` are values of `env` and `headers`. Raises ToolFailed for a variable that is not set."""
        self._values: dict[str, str] = {}
        for text in texts:
            template = Template(text)
            if not template.is_valid():
                raise ToolFailed(
                    f"the MCP server `{server}`: a `$` in `env` or `headers` names no environment variable",
                    hint="write `$NAME`, or `$$` for a dollar sign",
                )
            for name in template.get_identifiers():
                if not os.environ.get(name):
                    raise ToolFailed(
                        f"the MCP server `{server}` needs the environment variable `{name}`, which is not set"
                    )
                self._values[name] = os.environ[name]
        self._redactors = [Redactor(value) for value in self._values.values()] or [Redactor()]

    def filled(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return texts with the values of the variables that they name."""
        return {name: Template(text).substitute(self._values) for name, text in texts.items()}

    def quote(self, text: str) -> str:
        """Return a server's text for a message: one short line without secrets."""
        for redactor in self._redactors:
            text = redactor.quote(text)
        return text

    def clean(self, value: Any) -> Any:
        """Return a JSON value whose texts hold no secret."""
        if isinstance(value, str):
            for redactor in self._redactors:
                value = redactor.clean(value)
        elif isinstance(value, list):
            return [self.clean(item) for item in value]
        elif isinstance(value, dict):
            return {self.clean(name): self.clean(item) for name, item in value.items()}
        return value
