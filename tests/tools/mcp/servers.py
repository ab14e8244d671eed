"""Toolsets over the servers of these tests, and the processes that run them."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import ToolFailed
from promptkit.project import McpServer, Project, ProjectSettings
from promptkit.tools.mcp.toolset import McpToolset

HERE = Path(__file__).parent


def project_of(folder: Path, **servers: McpServer) -> Project:
    return Project(folder, ProjectSettings(mcp=servers))


def raw(wrong: str, *, timeout: float = 5.0) -> McpServer:
    return McpServer(command=[sys.executable, "-ISE", str(HERE / "raw_server.py"), wrong], timeout=timeout)


@asynccontextmanager
async def opened(server: McpServer, folder: Path) -> AsyncIterator[McpToolset]:
    tools = McpToolset.of("mcp:srv", None, folder, project_of(folder, srv=server))
    try:
        yield tools
    finally:
        await tools.close()
        assert not children(), "a process of the server is left"


def children() -> list[str]:
    """Return the processes that this one has started and that still run a server of these tests."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_text().rpartition(")")[2].split()[1]
            command = (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if parent == str(os.getpid()) and "server.py" in command:
            found.append(command)
    return found


async def failure(tools: McpToolset, **arguments: Any) -> str:
    with pytest.raises(ToolFailed) as failed:
        await next(iter((await tools.tools()).values())).call(arguments)
    return failed.value.message
