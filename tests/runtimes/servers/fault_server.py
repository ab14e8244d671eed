"""A real socket server with one fault: it reads a request and then does what it was told, byte for byte."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Misdeed = Callable[[asyncio.StreamWriter], Awaitable[None]]


class FaultServer:
    """Counts the requests it saw and keeps their heads."""

    def __init__(self, misdeed: Misdeed) -> None:
        self.url = ""
        self.heads: list[str] = []
        self.misdeed = misdeed

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            lengths = [
                line.partition(":")[2] for line in head.split("\r\n") if line.lower().startswith("content-length")
            ]
            await reader.readexactly(int(lengths[0]) if lengths else 0)
            await self.misdeed(writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def faulty(misdeed: Misdeed) -> AsyncIterator[FaultServer]:
    """Run a server with a fault on loopback."""
    faults = FaultServer(misdeed)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(faults.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    faults.url = f"http://{host}:{port}/v1"
    try:
        yield faults
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def sends(data: bytes) -> Misdeed:
    """Send these bytes and hang up."""

    async def misdeed(writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return misdeed


def answers(body: bytes, *, status: str = "200 OK", **headers: str) -> Misdeed:
    """Send a well-formed response; an underscore in a header's name stands for a hyphen."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return sends("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


async def silence(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(60)


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then, so that no read ever takes long."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(writer: asyncio.StreamWriter) -> None:
    """Send a body without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


def again_and_again(head: bytes, part: bytes, pause: float) -> Misdeed:
    """Send a head, and then a part without an end, with a pause before each."""

    async def misdeed(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)

    return misdeed


def gzip_bomb(size: int) -> bytes:
    """Return a small body that unpacks to `size` blanks."""
    return gzip.compress(b" " * size, compresslevel=9)
