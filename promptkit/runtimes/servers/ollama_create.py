"""The creation of a model on an Ollama server, from a base and an adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from promptkit.errors import BadReply, InputError, Problem, RequestRefused, place
from promptkit.runtimes.base import DownloadProgress
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.runtimes.reply_reader import protocol_errors
from promptkit.runtimes.servers.http import Server
from promptkit.runtimes.servers.ollama_server import open_server, stream_error
from promptkit.storage.files import open_file

PIECE_BYTES = 2**20
NO_ADAPTERS_HINT = (
    "Ollama takes no adapters since 0.34.1: --model names the base as gguf:PATH or embedded/NAME, to merge them"
)


async def create_ollama(
    name: str,
    *,
    base: str | Path,
    adapter: Path | None = None,
    parameters: Mapping[str, Any],
    progress: DownloadProgress | None = None,
    host: str | None = None,
) -> None:
    """Create the model `name` of a base, with an adapter where one is given; one of that name is replaced.

    `base` is a model of the server or a GGUF file, which is sent unless the server has it, as the adapter is.
    `progress` gets the stages. Raises ServerFailed with Ollama's words, ConnectionFailed, RequestRefused, BadReply.
    """
    server = open_server(host)
    try:
        body: dict[str, Any] = {"model": name, "parameters": dict(parameters), "stream": True}
        if isinstance(base, Path):
            body["files"] = {base.name: await _send_file(server, base, progress)}
        else:
            body["from"] = base
        if adapter is not None:
            body["adapters"] = {adapter.name: await _send_file(server, adapter, progress)}
        await _create(server, body, progress)
    except RequestRefused as error:
        if adapter is not None and "adapter" in error.message:
            error.hint = NO_ADAPTERS_HINT
        raise
    finally:
        await server.close()


async def _create(server: Server, body: Mapping[str, Any], progress: DownloadProgress | None) -> None:
    status = ""
    async with aclosing(server.lines("/api/create", body)) as lines:
        async for line in lines:
            with protocol_errors(f"what answers at {server.place} is not an Ollama server"):
                part = server.parse(line)
                if part.get("error") is not None:
                    raise stream_error(server, part["error"])
                status = server.redactor.quote(part.get("status") or "")
            if progress and status != "success":
                progress(status, 0, None)
    if status != "success":
        raise BadReply(f"Ollama did not report that it created `{body['model']}`", retry=True)


async def _send_file(server: Server, file: Path, progress: DownloadProgress | None) -> str:
    """Return a file's digest as Ollama writes it, once the server has the file."""
    try:
        digest = f"sha256:{await asyncio.to_thread(file_digest, file)}"
        if not await server.has(f"/api/blobs/{digest}"):
            if progress:
                progress(f"sending {file.name}", 0, None)
            await server.upload(f"/api/blobs/{digest}", _pieces(file))
    except OSError as error:
        raise InputError(Problem(f"cannot read it: {error.strerror or error}", place(file))) from error
    return digest


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with open_file(file) as content:
        while piece := await asyncio.to_thread(content.read, PIECE_BYTES):
            yield piece
