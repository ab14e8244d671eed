"""An MCP server as a child process. Its output is bounded, and it always ends.

The package's own transport keeps a line without an end in memory, and copies it with each chunk that arrives.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import anyio
import orjson
from mcp.client._transport import TransportStreams
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCMessage, JSONRPCResponse, jsonrpc_message_adapter
from pydantic import ValidationError

from promptkit.tools.mcp.screen import MAX_MESSAGE, ServerFault

GRACE_SECONDS: Final = 2.0
"""Time to end by itself after its input is closed, and again after it was asked to terminate."""
MAX_LOG: Final = 4_000
"""Last bytes of stderr that are kept."""
_POLL_SECONDS: Final = 0.01


class ChildProcess:
    """A transport of the package: entered, it starts the command and gives the streams of its messages.

    `log` is the end of what the process wrote to stderr. `fault` says why the connection ended, where the server is at
    fault.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._command = command
        self._environment = {**get_default_environment(), **environment}
        self._folder = folder
        self._tasks: list[asyncio.Task[None]] = []
        self._log = b""
        self.fault: str | None = None

    @property
    def log(self) -> str:
        return self._log.decode("utf-8", "replace")

    def streams(self) -> ChildProcess:
        """Return the context manager that starts the process, gives its streams and ends it."""
        return self

    async def __aenter__(self) -> TransportStreams:
        """Start the process. Raises ServerFault."""
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
                limit=MAX_MESSAGE,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its command holds a NUL character"
            raise ServerFault(f"cannot be started: `{self._command[0]}`: {reason}") from None
        self._to_session, to_read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        to_write, self._from_session = anyio.create_memory_object_stream[SessionMessage](0)
        self._ends = (self._to_session, self._from_session, to_read, to_write)
        self._tasks = [self._start(work) for work in (self._read(), self._write(), self._keep_log())]
        return to_read, to_write

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process: close its input, then terminate it, then kill it with what it started."""
        reader, _, logger = self._tasks
        try:
            if reader.done() and self.fault is None:  # its output ended first
                await self._exits()
                await asyncio.wait([logger], timeout=GRACE_SECONDS)
                self.fault = self._ending()
            if self._process.stdin is not None:
                self._process.stdin.close()
            if not await self._exits():
                self._signal(signal.SIGTERM)
                await self._exits()
        finally:
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))  # what it left behind, too
            for task in self._tasks:
                task.cancel()
            for stream in self._ends:
                stream.close()
            # Nothing public closes the pipes while a process that got away holds them.
            self._process._transport.close()  # type: ignore[attr-defined]
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work)

    async def _exits(self) -> bool:
        """Tell whether the process ends in time. `wait()` would also wait for its pipes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                while self._process.returncode is None:
                    await asyncio.sleep(_POLL_SECONDS)
        return self._process.returncode is not None

    def _ending(self) -> str:
        code = self._process.returncode
        if code is None:
            return "closed its output"
        return f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, number)  # it is the first of its group
            elif self._process.returncode is None:
                self._process.send_signal(number)

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            while True:
                await self._to_session.send(_message(await stdout.readuntil(b"\n")))
        except asyncio.LimitOverrunError:
            self.fault = f"sent a message of more than {MAX_MESSAGE / 2**20:g} MB"
        except (asyncio.IncompleteReadError, ConnectionError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self._to_session.close()

    async def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            async for item in self._from_session:
                stdin.write(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await stdin.drain()
        except (ConnectionError, anyio.ClosedResourceError):
            self._to_session.close()

    async def _keep_log(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while chunk := await stderr.read(2**16):
            self._log = (self._log + chunk)[-MAX_LOG:]


def _message(line: bytes) -> SessionMessage | Exception:
    """Return the message in a line; for a line that is none, the error.

    Answers, which may be long, are read in a way that takes a fifth of the adapter's time.
    """
    try:
        value = orjson.loads(line)
        answers = isinstance(value, dict) and "result" in value
        message: JSONRPCMessage = (
            JSONRPCResponse.model_validate(value, by_name=False)
            if answers
            else jsonrpc_message_adapter.validate_python(value, by_name=False)
        )
    except (orjson.JSONDecodeError, ValidationError, RecursionError) as error:
        return ValueError(str(error)[:200])
    return SessionMessage(message)
