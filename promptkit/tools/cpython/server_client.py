"""promptkit's side of the fork server: starting it, and the jailed processes that it forks."""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from promptkit.tools.backends import no_jail
from promptkit.tools.cpython.channel import Messages
from promptkit.tools.cpython.jail import NotJailed, missing_for_jail

START_SECONDS: Final = 60.0
"""The time limit for starting the server, and for loading modules in it."""

_PROGRAM: Final = (
    "import json, sys; sys.path += json.loads(sys.argv[2]); "
    "from promptkit.tools.cpython.fork_server import serve; serve(int(sys.argv[1]))"
)
# Sets are ordered alike in each process. A library that computes on several processors would start threads.
_ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_KEPT_VARIABLES: Final = ("LD_LIBRARY_PATH",)


class ProcessEnded(Exception):
    """A jailed process, or the server, has ended or broken the protocol; the message says how."""


class TimePassed(Exception):
    """A jailed process has not answered in time."""


class JailedProcess:
    """A fork of the server, which runs programs."""

    def __init__(self, server: ForkServer, number: int, channel: socket.socket) -> None:
        self._server = server
        self._number = number
        self._channel = channel
        self._messages = Messages()
        self._ended = threading.Lock()

    def send(self, message: bytes, seconds: float) -> None:
        """Send a message. Raises ProcessEnded and TimePassed."""
        self._channel.settimeout(max(seconds, 0.001))
        try:
            self._channel.sendall(message)
        except TimeoutError:
            raise TimePassed from None
        except OSError:
            raise ProcessEnded("the program ended its process") from None

    def receive(self, seconds: float) -> dict[str, Any]:
        """Return the next message. Raises ProcessEnded and TimePassed."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if (message := self._messages.next()) is not None:
                    return message
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimePassed
                self._channel.settimeout(left)
                piece = self._channel.recv(2**18)
            except TimeoutError:
                raise TimePassed from None
            except (OSError, ValueError) as error:
                raise ProcessEnded(f"the program broke its process: {error}") from None
            if not piece:
                raise ProcessEnded("the program ended its process")
            self._messages.add(piece)

    def end(self) -> None:
        """End the process, from any thread. Whoever waits for it gets ProcessEnded."""
        if self._ended.acquire(blocking=False):
            with suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)
            self._server.end(self._number)

    def close(self) -> None:
        """End the process, for which nobody waits."""
        self.end()
        self._channel.close()


class ForkServer:
    """The server process."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        python = [sys.executable, "-s", "-S", "-P", "-W", "ignore", "-c", _PROGRAM]
        with theirs:
            self._popen = subprocess.Popen(
                [*python, str(theirs.fileno()), json.dumps(_paths())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**kept, **_ENVIRONMENT},
                cwd="/",
                start_new_session=True,
            )
        self._control.settimeout(START_SECONDS)

    def fork(self, modules: Sequence[str], memory: int) -> JailedProcess:
        """Return a new jailed process, in which those of the modules are loaded that exist. Raises ProcessEnded."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = json.dumps({"modules": list(modules), "memory": memory}).encode()
        try:
            with self._lock, theirs:
                socket.send_fds(self._control, [request], [theirs.fileno()])
                number = int(self._control.recv(64) or b"-1")
        except OSError as error:
            ours.close()
            how = "does not answer" if isinstance(error, TimeoutError) else "has ended"
            raise ProcessEnded(f"the server of programs {how}") from None
        if number < 0:
            ours.close()
            raise ProcessEnded("the server of programs has ended")
        return JailedProcess(self, number, ours)

    def end(self, process: int) -> None:
        """End a fork. Only then is its number free for another process."""
        with suppress(OSError):  # the server has ended, and its forks with it
            self._control.send(json.dumps({"end": process}).encode())

    def close(self) -> None:
        """End the server, which ends its forks."""
        self._control.close()
        self._popen.kill()
        self._popen.wait()


def package_folders() -> list[str]:
    """Return the folders of installed packages that promptkit imports from, and not a project's own."""
    return [folder for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]


def _paths() -> list[str]:
    return [*package_folders(), str(Path(__file__).resolve().parents[3])]


_starting = threading.Lock()
_servers: list[ForkServer] = []


def start_process(modules: Sequence[str], memory: int) -> JailedProcess:
    """Return a jailed process that is ready for a program. Blocks. Raises Unsupported where it cannot be jailed."""
    try:
        return _start(modules, memory)
    except NotJailed as error:
        raise no_jail(str(error)) from None


@cache
def jail_fault() -> str | None:
    """Return the reason why processes cannot be jailed here, None where they can. Tried once. Blocks."""
    try:
        _start((), 64 * 2**20).close()
    except NotJailed as error:
        return str(error)
    return None


def _start(modules: Sequence[str], memory: int) -> JailedProcess:
    if (why := missing_for_jail()) is not None:
        raise NotJailed(why)
    try:
        return _ready(_fork(modules, memory))
    except (OSError, ProcessEnded, TimePassed) as error:
        raise NotJailed(str(error) or "the process does not answer") from None


def _ready(process: JailedProcess) -> JailedProcess:
    message: dict[str, Any] = {}
    try:
        message = process.receive(START_SECONDS)
    finally:
        if "ready" not in message:
            process.close()
    if "ready" not in message:
        raise NotJailed(str(message.get("refused")))
    return process


def _fork(modules: Sequence[str], memory: int) -> JailedProcess:
    """Return a fork of the server, or of a new one where it has ended."""
    server = _server()
    try:
        return server.fork(modules, memory)
    except ProcessEnded:
        with _starting:
            if server in _servers:
                _servers.remove(server)
                server.close()
        return _server().fork(modules, memory)


def _server() -> ForkServer:
    with _starting:
        if not _servers:
            _servers.append(ForkServer())
        return _servers[0]


@atexit.register
def _close() -> None:
    while _servers:
        _servers.pop().close()
