"""An Ollama server: where it is, what it has, how it fails, and how a model is fetched."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from promptkit.errors import BadReply, ContextOverflow, ModelMissing, PromptkitError, ServerFailed, Unsupported
from promptkit.runtimes.api_keys import api_key_from_environment
from promptkit.runtimes.base import Capability
from promptkit.runtimes.http import Server, error_text
from promptkit.runtimes.reply_reader import protocol_errors, token_count
from promptkit.runtimes.weights import DownloadProgress

DESCRIBE_SECONDS = 10.0
MOST_DESCRIBED = 200
"""Models of a list that are asked about one by one; of the others only the name, digest and size are known."""
DESCRIBED_AT_ONCE = 8
LONGEST_NAME = 200
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
    return f"{scheme}://{_reachable_host(name)}:{port}{slash}{path}".rstrip("/")


def _split_port(place: str) -> tuple[str, str]:
    """Return host and port of `host:port`, `[v6]:port`, `v6`, `host` or nothing."""
    name, colon, port = place.rpartition(":")
    if not colon or place.endswith("]") or (":" in name and not name.endswith("]")):
        return place, ""
    return name, port


def _reachable_host(name: str) -> str:
    name = name.strip("[]") or "127.0.0.1"
    try:
        address = ip_address(name)
    except ValueError:
        return name
    if address.version == 4:
        return "127.0.0.1" if address.is_unspecified else str(address)
    return "[::1]" if address.is_unspecified else f"[{address}]"


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as the server's list gives it. `used` orders models by when they were fetched."""

    name: str
    digest: str
    size: int | None
    used: float


def open_server(host: str | None) -> Server:
    """Return the server at a host (None: the one of OLLAMA_HOST), with the key of OLLAMA_API_KEY."""
    url = normal_host(os.environ.get("OLLAMA_HOST") if host is None else host)
    return Server(url, key=api_key_from_environment("OLLAMA_API_KEY"), explain=ollama_error, unreachable=UNREACHABLE)


def ollama_error(status: int, text: str) -> PromptkitError | None:
    """Return what an error of Ollama stands for, where its status alone does not tell; 200 is that of a stream."""
    missing = re.search(r"model ['\"]([\w.:/-]+)['\"] not found", text)  # it becomes a line to type
    if status == 404 and missing:
        return ModelMissing(f"Ollama has no model `{missing[1]}`", hint=f"ollama pull {missing[1]}")
    if status == 400 and "context" in text:
        return ContextOverflow(f"the prompt does not fit the model's window: {text}")
    if status == 400 and "does not support" in text:
        return Unsupported(f"Ollama says: {text}")
    if "runner" in text and status in (200, 500):
        return RunnerStopped(f"Ollama says: {text}", retry=True)
    return ServerFailed(f"Ollama says: {text}") if status == 200 else None


def stream_error(server: Server, error: Any) -> PromptkitError:
    """Return what an `error` in a stream stands for."""
    text = error_text(error)
    return server.refusal(400 if "context" in text else 200, {}, text)


def tagged_name(name: str) -> str:
    """Return a model's name with its tag, as the server lists it."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


async def probe(host: str | None = None, timeout: float = 0.3, *, one: bool = False) -> list[Installed] | None:
    """Return the models of the server, the most recently used first, or None where no server answers in time.

    What is loaded counts as used last; the rest is in the order in which it was fetched. `one`: only as many as it
    takes to find one that can answer.
    """
    server = open_server(host)
    try:
        async with asyncio.timeout(timeout):
            listed, loaded = await asyncio.gather(listed_models(server), _loaded_until(server))
        order = sorted(
            listed, key=lambda model: (model.name in loaded, loaded.get(model.name, model.used)), reverse=True
        )
        # The server is there; with many models its details may take longer than finding that out may.
        async with asyncio.timeout(DESCRIBE_SECONDS):
            version = await server_version(server)
            if not one:
                return await _describe_all(server, order, version, loaded)
            found: list[Installed] = []
            for model in order[:MOST_DESCRIBED]:
                found.append(await describe_model(server, model, version, loaded=model.name in loaded))
                if found[-1].completes:
                    break
            return found
    except (PromptkitError, TimeoutError):
        return None
    finally:
        await server.close()


async def pull(name: str, progress: DownloadProgress | None = None, *, host: str | None = None) -> None:
    """Fetch a model; `progress` gets bytes. Cancelling stops it, and a later pull goes on from there.

    Raises ServerFailed with Ollama's words, ConnectionFailed, or BadReply where the end was never reported.
    """
    server = open_server(host)
    status = ""
    try:
        async with aclosing(server.lines("/api/pull", {"model": name, "stream": True})) as lines:
            async for line in lines:
                with _understood(server):
                    part = server.parse(line)
                    if part.get("error") is not None:
                        raise stream_error(server, part["error"])
                    status = server.redactor.quote(part.get("status") or "")
                    done, total = _bytes(part.get("completed")), _bytes(part.get("total"))
                if progress:
                    progress(status, done or 0, total)
    finally:
        await server.close()
    if status != "success":
        raise BadReply(f"the fetching of `{name}` broke off", hint=f"ollama pull {name}", retry=True)


async def server_version(server: Server) -> str:
    """Return the server's version, empty where it gives none."""
    answer = await server.get("/api/version", within=DESCRIBE_SECONDS)
    version = answer.get("version") if isinstance(answer, dict) else None
    return server.redactor.quote(version) if isinstance(version, str) else ""


def version_at_least(version: str, wanted: tuple[int, ...]) -> bool:
    """Compare versions; one that has no numbers, or 0.0.0, is somebody's own build and taken for new."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return not any(numbers) or numbers >= wanted


async def listed_models(server: Server) -> list[ListedModel]:
    """Return the models that the server lists, but for those whose names no person could type."""
    answer = await server.get("/api/tags", within=DESCRIBE_SECONDS)
    with _understood(server):
        models = [_listed(model) for model in answer["models"] or ()]
    return [model for model in models if _is_name(model.name) and not server.redactor.finds(model.name)]


async def describe_model(server: Server, listed: ListedModel, version: str, *, loaded: bool = False) -> Installed:
    """Return a model with what the server says of it."""
    shown = await server.post("/api/show", {"model": listed.name}, within=DESCRIBE_SECONDS)
    with _understood(server):
        told = (shown.get("model_info") or {}).items()
        lengths = [token_count(value) for key, value in told if key.endswith(".context_length")]
        return Installed(
            name=listed.name,
            digest=server.redactor.quote(listed.digest),
            size=listed.size,
            context=lengths[0] if lengths else None,
            capabilities=_capabilities(shown, version),
            loaded=loaded,
        )


async def _describe_all(
    server: Server, order: Sequence[ListedModel], version: str, loaded: Mapping[str, float]
) -> list[Installed]:
    places = asyncio.Semaphore(DESCRIBED_AT_ONCE)

    async def describe(model: ListedModel) -> Installed:
        async with places:
            return await describe_model(server, model, version, loaded=model.name in loaded)

    first = await asyncio.gather(*map(describe, order[:MOST_DESCRIBED]))
    unknown = (
        Installed(
            name=model.name,
            digest=server.redactor.quote(model.digest),
            size=model.size,
            context=None,
            capabilities=frozenset(),
            loaded=model.name in loaded,
        )
        for model in order[MOST_DESCRIBED:]
    )
    return [*first, *unknown]


async def _loaded_until(server: Server) -> dict[str, float]:
    """Return which models are loaded, and until when."""
    answer = await server.get("/api/ps", within=DESCRIBE_SECONDS)
    with _understood(server):
        return {str(model["model"]): _time(model.get("expires_at")) for model in answer["models"] or ()}


def _listed(model: Mapping[str, Any]) -> ListedModel:
    """Return a model of the server's list. Raises TypeError and the like where it is none."""
    name, digest = model.get("model") or model["name"], model.get("digest") or ""
    return ListedModel(str(name), str(digest), _bytes(model.get("size")), _time(model.get("modified_at")))


def _is_name(text: str) -> bool:
    return text.isprintable() and 0 < len(text) <= LONGEST_NAME


def _bytes(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _time(text: Any) -> float:
    """Return a time as the server writes it in seconds, 0 for anything else."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _understood(server: Server) -> AbstractContextManager[None]:
    return protocol_errors(f"what answers at {server.place} is not an Ollama server", hint="check OLLAMA_HOST")


def _capabilities(shown: Mapping[str, Any], version: str) -> frozenset[Capability]:
    """Return what is certain without asking the model; old servers do not list capabilities, but complete."""
    listed = shown.get("capabilities") or ["completion"]
    found: set[Capability] = set()
    if "completion" in listed:
        found |= {"chat", "complete", "schema", "sampling", "stop", "seed"}
        if re.search(r"system|\.role", shown.get("template") or "", re.IGNORECASE):
            found.add("system")
        if version_at_least(version, GIVES_LOGPROBS):
            found.add("logprobs")
    if "thinking" in listed:
        found.add("think")
    if "embedding" in listed:
        found.add("embeddings")
    return frozenset(found)
