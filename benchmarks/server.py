"""A loopback server of fixed latency, for measuring what stands in front of it: a little of Ollama's API and OpenAI's.

    with ollama_server(latency=0.05) as server:
        ...  # ask server.url; then server.requests() tells how many it answered

With `faults`, a share of the chats is answered by a fault: see FAULTS.

It runs in a process of its own, so that its CPU is not counted as the client's. `python benchmarks/server.py` serves
on a port of its own until it is ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen
from zlib import crc32

MODEL = "bench:latest"
VERSION = "0.33.0"
DIGEST = "0" * 64
CONTEXT = 8192
REASONS = {200: "OK", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Unavailable"}
LOGGED = 5_000
FAULTS = ("429", "500", "503", "reset", "cut", "garbage", "silence")
"""Too many requests; errors of the server; a connection that is reset; a reply that is cut in its middle; bytes that
are no reply; a connection that is closed without a word."""


@dataclass(frozen=True)
class Server:
    """A running server's address."""

    url: str

    def requests(self) -> int:
        """Return how many chats it has answered."""
        with urlopen(f"{self.url}/bench/requests") as response:
            return int(json.load(response)["requests"])

    def faults(self) -> dict[str, int]:
        """Return how many faults of each kind it threw."""
        with urlopen(f"{self.url}/bench/faults") as response:
            return dict(json.load(response))

    def log(self) -> list[tuple[float, str]]:
        """Return when each of the last chats came (seconds as `time.time` counts them), and its text."""
        with urlopen(f"{self.url}/bench/log") as response:
            return [(came, text) for came, text in json.load(response)["log"]]


@contextmanager
def ollama_server(
    *, latency: float = 0.0, answer: str | Sequence[str] = "positive", faults: float = 0.0, seed: int = 0
) -> Iterator[Server]:
    """Run the server in another process for as long as the block lasts. Of several answers a text gets always one."""
    answers = [answer] if isinstance(answer, str) else answer
    command = [sys.executable, __file__, "--latency", str(latency), "--faults", str(faults), "--seed", str(seed)]
    command += ["--answer", *answers]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(url=process.stdout.readline().strip())
    finally:
        process.terminate()
        process.communicate()


class Bench:
    """The server's state and answers."""

    def __init__(self, *, latency: float, answers: Sequence[str], faults: float = 0.0, seed: int = 0) -> None:
        self._latency = latency
        self._faults = faults
        self._chance = random.Random(seed)
        self._thrown: Counter[str] = Counter()
        self._answers = answers
        self._requests = 0
        self._log: deque[tuple[float, str]] = deque(maxlen=LOGGED)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = head.split(" ", 2)[1]
                body = await reader.readexactly(_length(head))
                status, content = await self._respond(path, json.loads(body) if body else {})
                whole = _response(status, content)
                fault = self._fault(path)
                if fault is not None:
                    self._thrown[fault] += 1
                    await _misbehave(writer, fault, whole)
                    break
                writer.write(whole)
                await writer.drain()
        writer.close()

    def _fault(self, path: str) -> str | None:
        if path not in ("/api/chat", "/v1/chat/completions") or self._chance.random() >= self._faults:
            return None
        return self._chance.choice(FAULTS)

    async def _respond(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        if path == "/api/chat":
            return 200, await self._chat(body)
        if path == "/v1/chat/completions":
            return 200, await self._completion(body)
        described = {
            "/api/version": {"version": VERSION},
            "/api/tags": {"models": [_listed()]},
            "/api/ps": {"models": []},
            "/api/show": {
                "capabilities": ["completion"],
                "template": "{{ .Prompt }}",
                "details": _listed()["details"],
                "model_info": {"general.architecture": "bench", "bench.context_length": CONTEXT},
            },
            "/v1/models": {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "bench"}]},
            "/bench/requests": {"requests": self._requests},
            "/bench/faults": self._thrown,
        }
        if path == "/bench/log":
            return 200, json.dumps({"log": list(self._log)}).encode()
        if path in described:
            return 200, json.dumps(described[path]).encode()
        return 404, json.dumps({"error": f"no route {path}"}).encode()

    async def _chat(self, body: dict[str, Any]) -> bytes:
        words, answer = await self._take(body)
        ended = {
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": words,
            "eval_count": 1,
            "total_duration": int(self._latency * 1e9),
        }
        said = {"model": MODEL, "message": {"role": "assistant", "content": answer}}
        if not body.get("stream", True):
            return json.dumps({**said, **ended}).encode()
        last = {"model": MODEL, "message": {"role": "assistant", "content": ""}, **ended}
        return b"".join(json.dumps(line).encode() + b"\n" for line in ({**said, "done": False}, last))

    async def _completion(self, body: dict[str, Any]) -> bytes:
        """Answer as OpenAI's servers do; none of the clients that are measured here has to stream."""
        words, answer = await self._take(body)
        message = {"role": "assistant", "content": answer}
        completion = {
            "id": f"chatcmpl-{self._requests}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": words, "completion_tokens": 1, "total_tokens": words + 1},
        }
        return json.dumps(completion).encode()

    async def _take(self, body: dict[str, Any]) -> tuple[int, str]:
        """Count and log a request, take its time, and return how many words it has, and its answer."""
        texts = [_text(message["content"]) for message in body["messages"]]
        text = "\n".join(texts)
        self._requests += 1
        self._log.append((time.time(), text))
        if self._latency:
            await asyncio.sleep(self._latency)
        return max(1, len(text.split())), self._answers[crc32(text.encode()) % len(self._answers)]


def _response(status: int, content: bytes, headers: str = "") -> bytes:
    kind = "application/x-ndjson" if content.count(b"\n") else "application/json"
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: {kind}\r\n{headers}"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def _misbehave(writer: asyncio.StreamWriter, fault: str, whole: bytes) -> None:
    """Answer a request by a fault; the connection is closed after it."""
    error = b'{"error": "this is a fault"}'
    said = {
        "429": _response(429, error, "Retry-After: 0\r\nConnection: close\r\n"),
        "500": _response(500, error, "Connection: close\r\n"),
        "503": _response(503, error, "Retry-After: 0\r\nConnection: close\r\n"),
        "reset": whole[: len(whole) // 3],
        "cut": whole[: -len(whole) // 4],
        "garbage": b"\x16\x03\x01 this is not HTTP\r\n\r\n\xff\xfe",
        "silence": b"",
    }[fault]
    writer.write(said)
    with suppress(ConnectionError):
        await writer.drain()
    if fault == "reset":
        writer.transport.abort()


def _text(content: Any) -> str:
    """Return the text of a message, which OpenAI's protocol may send in parts."""
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def _listed() -> dict[str, Any]:
    details = {"family": "bench", "parameter_size": "1B", "quantization_level": "Q4_0", "format": "gguf"}
    modified = "2026-01-01T00:00:00Z"
    return {
        "name": MODEL,
        "model": MODEL,
        "digest": DIGEST,
        "size": 1,
        "modified_at": modified,
        "details": details,
    }


def _length(head: str) -> int:
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


async def main(bench: Bench) -> None:
    """Serve on a free port, whose address is the first line printed."""
    server = await asyncio.start_server(bench.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that each answer takes")
    parser.add_argument("--answer", nargs="+", default=["positive"], help="what each answer says, by its request")
    parser.add_argument("--faults", type=float, default=0.0, help="the share of chats that are answered by a fault")
    parser.add_argument("--seed", type=int, default=0, help="which chats these are")
    arguments = parser.parse_args()
    bench = Bench(latency=arguments.latency, answers=arguments.answer, faults=arguments.faults, seed=arguments.seed)
    with suppress(KeyboardInterrupt):
        asyncio.run(main(bench))
