"""The number of requests that an Ollama server answers concurrently, which it does not report (OLLAMA_NUM_PARALLEL)."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import date
from typing import Any

from promptkit.errors import RuntimeFailure
from promptkit.runtimes.reply_reader import protocol_errors
from promptkit.runtimes.servers.http import Server
from promptkit.runtimes.servers.ollama_server import server_time
from promptkit.runtimes.servers.probes import cached_probe

MOST_SLOTS = 8
"""Requests that are sent together, and so the most that are found."""
PROBE_TOKENS = 8
GRACE_SECONDS = 0.02
"""Seconds to read what the server had sent before the first answer's end."""
COUNTING = "1, 2, 3, 4, 5, 6, 7, 8, 9,"
"""A text that every model goes on from, so that no answer ends after its first token."""


async def slots(server: Server, name: str, weights: str, options: dict[str, Any]) -> int:
    """Return the number of requests that the server answers concurrently with a model, 1 to MOST_SLOTS.

    The result is kept for a day, because a restarted server may have another number. `weights` are what tells models
    apart, `options` what the model was loaded with.
    """
    key = f"{date.today()} {server.place} {weights}"
    try:
        return max(1, await cached_probe("slots", key, lambda: concurrent_answers(server, name, options)))
    except RuntimeFailure:
        return 1


async def concurrent_answers(server: Server, name: str, options: dict[str, Any]) -> int:
    """Return the number of MOST_SLOTS equal requests that had begun, by the server's clock, when the first ended.

    A request without a slot begins only then. The others are cancelled. Raises RuntimeFailure where the first fails.
    """
    body = {"model": name, "prompt": COUNTING, "raw": True, "truncate": False, "shift": False}
    body["options"] = {**options, "temperature": 0, "num_predict": PROBE_TOKENS}
    begun: list[float] = []

    async def answer() -> float:
        """Note the time of the first part and return that of the last."""
        last: float | None = None
        async with aclosing(server.lines("/api/generate", body)) as lines:
            async for line in lines:
                with protocol_errors(f"what answers at {server.place} is not an Ollama server"):
                    time = server_time(server.parse(line).get("created_at"))
                if last is None:
                    begun.append(time)
                last = time
        return last or 0.0

    tasks = [asyncio.create_task(answer()) for _ in range(MOST_SLOTS)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = min(task.result() for task in done)
        await asyncio.sleep(GRACE_SECONDS)
        return sum(time < ended for time in begun)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
