"""A streamed chat completion: server-sent events, with comments that keep the connection open meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from promptkit.engine.pipeline import Pipeline
from promptkit.engine.results import Result
from promptkit.engine.session import Event, OnEvent
from promptkit.server.http.access import HEADERS
from promptkit.server.http.chat import ChatRequest, Completion, answer_text, finish_reason
from promptkit.server.http.errors import HttpError
from promptkit.server.http.live_text import LiveText, live_step
from promptkit.storage.strict_json import compact

KEEP_ALIVE_SECONDS = 10.0
"""Seconds after which a comment is sent, so that no proxy takes the connection for dead."""
LAST_EVENT_SECONDS = 5.0
"""Seconds that a client has to take the event of an error."""
_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class ChatStream:
    """The response of one streamed completion. `run` runs the pipeline, and raises HttpError.

    Its head is sent with the first piece, or after KEEP_ALIVE_SECONDS, so that what fails before has a status.
    """

    def __init__(
        self,
        request: web.Request,
        pipeline: Pipeline,
        asked: ChatRequest,
        run: Callable[[OnEvent | None], Awaitable[Result]],
    ) -> None:
        self._request = request
        self._asked = asked
        self._run = run
        self._completion = Completion(pipeline.name)
        self._response = web.StreamResponse(headers=request[HEADERS] | _HEADERS)
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        step = None if asked.is_object else live_step(pipeline)
        self._live = None if step is None else LiveText(step)

    async def answer(self) -> web.StreamResponse:
        """Run the pipeline and stream its answer.

        Raises HttpError before the head is sent; later an error is an event.
        """
        running = asyncio.ensure_future(self._run(self._listener()))
        running.add_done_callback(lambda _: self._pieces.put_nowait(None))
        try:
            await self._stream(running)
        except HttpError as error:
            await self.fail(error)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return self._response

    async def fail(self, error: HttpError) -> web.StreamResponse:
        """Send an error as the last event. Raises it where the head is not sent yet."""
        if not self._response.prepared:
            raise error
        try:
            async with asyncio.timeout(LAST_EVENT_SECONDS):
                await self._send(error.record())
                await self._end()
        except TimeoutError:  # the client does not read
            if self._request.transport is not None:
                self._request.transport.abort()
        return self._response

    async def _stream(self, running: Awaitable[Result]) -> None:
        while (piece := await self._next_piece()) is not None:
            if piece:
                await self._send(self._completion.chunk({"content": piece}))
        result = await running
        text = answer_text(result.output, self._asked)
        rest = text if self._live is None else self._live.rest(text)
        if rest is None:
            raise HttpError(500, "the answer is not the text that was streamed; ask without `stream`", "stream_changed")
        if rest:
            await self._send(self._completion.chunk({"content": rest}))
        await self._send(self._completion.chunk({}, finish_reason(result)))
        if self._asked.include_usage:
            await self._send(self._completion.usage_chunk(result.totals))
        await self._end()

    def _listener(self) -> OnEvent | None:
        live = self._live
        if live is None:
            return None

        def listen(event: Event) -> None:
            if piece := live.feed(event):
                self._pieces.put_nowait(piece)

        return listen

    async def _next_piece(self) -> str | None:
        """Return the next piece, None at the end; empty after a comment."""
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                return await self._pieces.get()
        except TimeoutError:
            await self._open()
            await self._response.write(b": keep-alive\n\n")
            return ""

    async def _open(self) -> None:
        if not self._response.prepared:
            await self._response.prepare(self._request)
            await self._send(self._completion.chunk({"role": "assistant", "content": ""}))

    async def _send(self, record: Mapping[str, object]) -> None:
        await self._open()
        await self._response.write(f"data: {compact(record)}\n\n".encode())

    async def _end(self) -> None:
        await self._response.write(b"data: [DONE]\n\n")
        await self._response.write_eof()
