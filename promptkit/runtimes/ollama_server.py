"""An Ollama server: where it is, what it has, how it fails, and how a model is fetched."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from promptkit.errors import (
    BadReply,
    ContextOverflow,
    ModelMissing,
    PromptkitError,
    ServerFailed,
    Unsupported,
)
from promptkit.runtimes.base import Capability
from promptkit.runtimes.http import Server
from promptkit.runtimes.transport import BoundedTransport
from promptkit.runtimes.weights import Progress

if TYPE_CHECKING:
    import ollama

DESCRIBE_SECONDS = 10.0
GIVES_LOGPROBS = (0, 12, 11)
UNREACHABLE = "start it with `ollama serve`, or say where it is with OLLAMA_HOST"


class RunnerStopped(ServerFailed):
    """The process behind the model died. Ollama starts another, so one more try is worth it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A model that an Ollama server has. `completes` tells whether it can answer (an embedding model cannot)."""

    name: str
    digest: str
    size: int | None
    context: int | None
    capabilities: frozenset[Capability]
    loaded: bool

    @property
    def completes(self) -> bool:
        return "chat" in self.capabilities


def normal_host(text: str | None) -> str:
    """Return the base URL that Ollama's own client makes of `OLLAMA_HOST` (None or empty: its default).

    The variable is also what the server binds to, so an address that means every interface becomes loopback.
    """
    text = (text or "").strip().strip("\"'").strip()
    if text == "ollama.com":
        return "https://ollama.com:443"
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "http", text
    default = {"http": "80", "https": "443"}.get(scheme, "11434") if mark else "11434"
    place, slash, path = rest.partition("/")
    name, port = _split_port(place)
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        port = default
    return f"{scheme}://{_reachable(name)}:{port}{slash}{path}".rstrip("/")


def _split_port(place: str) -> tuple[str, str]:
    """Return host and port of `host:port`, `[v6]:port`, `v6`, `host` or nothing."""
    name, colon, port = place.rpartition(":")
    if not colon or place.endswith("]") or (":" in name and not name.endswith("]")):
        return place, ""
    return name, port


def _reachable(name: str) -> str:
    name = name.strip("[]") or "127.0.0.1"
    try:
        address = ip_address(name)
    except ValueError:
        return name
    if address.version == 4:
        return "127.0.0.1" if address.is_unspecified else str(address)
    return "[::1]" if address.is_unspecified else f"[{address}]"


class Connection:
    """Both ways to one Ollama server: the official client and plain HTTP."""

    def __init__(self, host: str | None) -> None:
        from ollama import AsyncClient

        url = normal_host(os.environ.get("OLLAMA_HOST") if host is None else host)
        self.server = Server(url, key=os.environ.get("OLLAMA_API_KEY"), explain=self.explain, unreachable=UNREACHABLE)
        self.place = self.server.place
        self._client = AsyncClient(
            host=url,
            transport=BoundedTransport(url),
            timeout=DESCRIBE_SECONDS,
            follow_redirects=False,
        )

    def explain(self, status: int, text: str) -> PromptkitError | None:
        """Return what an error of Ollama stands for, where its status alone does not tell."""
        missing = re.search(r"model ['\"](.+?)['\"] not found", text)
        if status == 404 and missing:
            return ModelMissing(f"Ollama has no model `{missing[1]}`", hint=f"ollama pull {missing[1]}")
        if status == 400 and "context" in text:
            return ContextOverflow(f"the prompt does not fit the model's window: {text}")
        if status == 400 and "does not support" in text:
            return Unsupported(f"Ollama says: {text}")
        if "runner" in text and status in (200, 500):
            return RunnerStopped(f"Ollama says: {text}", retry=True)
        return ServerFailed(f"Ollama says: {text}") if status == 200 else None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ollama.AsyncClient]:
        """Lend the official client; whatever it raises leaves as one of our errors."""
        import httpx
        from ollama import ResponseError

        try:
            yield self._client
        except ResponseError as error:
            status = 200 if error.status_code == -1 else error.status_code
            raise self.server.refusal(status, {}, error.error) from None
        except ConnectionError:
            raise self.server.fault(httpx.ConnectError("")) from None
        except httpx.HTTPError as error:
            raise self.server.fault(error) from None
        except (ValueError, RecursionError):
            raise BadReply(f"what answers at {self.place} is no Ollama", hint="check OLLAMA_HOST") from None

    async def close(self) -> None:
        await self.server.close()
        await self._client.close()  # type: ignore[no-untyped-call]


async def probe(host: str | None = None, timeout: float = 0.3) -> list[Installed] | None:
    """Return the models of the server, the most recently used first, or None where no server answers in time.

    What is loaded counts as used last; the rest is in the order in which it was fetched.
    """
    connection = Connection(host)
    try:
        async with asyncio.timeout(timeout), connection.client() as client:
            listed, running = await asyncio.gather(client.list(), client.ps())
        until = {model.model: model.expires_at for model in running.models if model.expires_at}

        def last_use(model: ollama.ListResponse.Model) -> tuple[bool, float]:
            when = until.get(model.model) or model.modified_at
            return model.model in until, when.timestamp() if when else 0.0

        order = sorted(listed.models, key=last_use, reverse=True)
        # The server is there; with many models its details may take longer than finding that out may.
        async with asyncio.timeout(DESCRIBE_SECONDS):
            version = await server_version(connection)
            shown = await asyncio.gather(*(shown_details(connection, model.model or "") for model in order))
        return [
            installed(model, details, version, loaded=model.model in until)
            for model, details in zip(order, shown, strict=True)
        ]
    except (PromptkitError, TimeoutError):
        return None
    finally:
        await connection.close()


async def pull(name: str, progress: Progress | None = None, *, host: str | None = None) -> None:
    """Fetch a model; `progress` gets bytes. Cancelling stops it, and a later pull goes on from there.

    Raises ServerFailed with Ollama's words, ConnectionFailed, or BadReply where the end was never reported.
    """
    connection = Connection(host)
    status = None
    try:
        async with connection.client() as client:
            async for part in await client.pull(name, stream=True):
                status = part.status
                if progress:
                    progress(part.status or "", part.completed or 0, part.total)
    finally:
        await connection.close()
    if status != "success":
        raise BadReply(f"the fetching of `{name}` broke off", hint=f"ollama pull {name}", retry=True)


async def server_version(connection: Connection) -> str:
    answer = await connection.server.get("/api/version", within=DESCRIBE_SECONDS)
    version = answer.get("version") if isinstance(answer, dict) else None
    return version if isinstance(version, str) else ""


def at_least(version: str, wanted: tuple[int, ...]) -> bool:
    """Compare versions; one that has no numbers, or 0.0.0, is somebody's own build and taken for new."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return not any(numbers) or numbers >= wanted


async def shown_details(connection: Connection, name: str) -> ollama.ShowResponse:
    async with connection.client() as client:
        return await client.show(name)


def installed(
    listed: ollama.ListResponse.Model, shown: ollama.ShowResponse, version: str, *, loaded: bool
) -> Installed:
    lengths = [value for key, value in (shown.modelinfo or {}).items() if key.endswith(".context_length")]
    return Installed(
        name=listed.model or "",
        digest=listed.digest or "",
        size=listed.size,
        context=lengths[0] if lengths and isinstance(lengths[0], int) else None,
        capabilities=_capabilities(shown, version),
        loaded=loaded,
    )


def control_tokens(shown: ollama.ShowResponse) -> tuple[str, ...]:
    """Return the control tokens that a model has by its kind of vocabulary, where they look like something else too.

    `<s>` and `</s>` are those of Llama 2, Mistral and their kin. Gemma, whose vocabulary is of this kind, has others.
    """
    told = shown.modelinfo or {}
    is_kin = told.get("tokenizer.ggml.model") == "llama" and not str(told.get("general.architecture")).startswith(
        "gemma"
    )
    return ("</s>", "<s>") if is_kin or told.get("tokenizer.ggml.pre") == "tekken" else ()


def _capabilities(shown: ollama.ShowResponse, version: str) -> frozenset[Capability]:
    """Return what is certain without asking the model; old servers do not list capabilities, but complete."""
    listed = shown.capabilities or ["completion"]
    found: set[Capability] = set()
    if "completion" in listed:
        found |= {"chat", "complete", "schema", "sampling", "stop", "seed"}
        if re.search(r"system|\.role", shown.template or "", re.IGNORECASE):
            found.add("system")
        if at_least(version, GIVES_LOGPROBS):
            found.add("logprobs")
    if "thinking" in listed:
        found.add("think")
    if "embedding" in listed:
        found.add("embeddings")
    return frozenset(found)
