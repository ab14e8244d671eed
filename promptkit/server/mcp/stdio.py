"""The MCP server over standard input and output."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stdout, suppress
from typing import Any, Final

from mcp.server.stdio import stdio_server

from promptkit.api.session import ModelOptions
from promptkit.reports.output import note
from promptkit.server.mcp.server import ProjectServer

MAX_LINE: Final = 16 * 2**20
"""Bytes of a message of the client."""


async def serve_stdio(targets: Sequence[str], options: ModelOptions) -> None:
    """Serve the project in the working folder over standard input and output, until the input ends or a signal comes.

    Only the protocol goes to stdout: what the project's Python prints goes to stderr. Raises InputError.
    """
    server = ProjectServer(targets, options).protocol()
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with (
        _input_lines() as lines,
        stdio_server(stdin=lines) as (reading, writing),
    ):
        with redirect_stdout(sys.stderr):
            await server.run(reading, writing, server.create_initialization_options())


@asynccontextmanager
async def _input_lines() -> AsyncIterator[Any]:
    """Give the lines of standard input, which is empty for all others meanwhile.

    The package's own reader waits in a thread, which no signal ends. None where it need not wait, or the system has
    nothing better.
    """
    if sys.platform == "win32" or not _can_wait():
        yield None
        return
    private = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    reader = asyncio.StreamReader(limit=MAX_LINE)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(private, "rb")
    )
    try:
        yield _lines(reader)
    finally:
        transport.close()


def _can_wait() -> bool:
    """Tell whether standard input can keep its reader waiting; a file and the null device cannot."""
    mode = os.fstat(0).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0)


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[str]:
    try:
        while line := await reader.readline():
            yield line.decode("utf-8", "replace")
    except ValueError:
        note(f"the client sent a message of more than {MAX_LINE // 2**20} MB: its connection is closed")
