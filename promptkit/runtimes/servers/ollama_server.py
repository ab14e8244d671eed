"""An Ollama server: its address, its models, its errors, and the fetching of a model."""

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
from promptkit.runtimes.base import Capability, DownloadProgress
from promptkit.runtimes.reply_reader import protocol_errors, token_count
from promptkit.runtimes.servers.http import Server, error_text

DESCRIBE_SECONDS = 10.0
MOST_DESCRIBED = 200
"""Models of a list that are described. Of the others only name, digest and size are known."""
DESCRIBED_AT_ONCE = 8
LONGEST_NAME = 200
ALWAYS_THINKING = ("gptoss", "gpt-oss")
"""Families whose thoughts have an effort, but cannot be switched off."""
LARGE_LAYER = 2**20
"""Bytes of a layer from which its fetching is shown: a model has small ones too, such as its template and licence."""
GIVES_LOGPROBS = (0, 12, 11)
UNREACHABLE = "start it with `ollama serve`, or say where it is with OLLAMA_HOST"


class RunnerStopped(ServerFailed):
    """The process behind the model died. Ollama starts another, so one retry may help."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in the server's memory: the time until which it stays there, in seconds, and its window in tokens.

    `size` are the bytes that it takes in all, `gpu` those of them on a GPU; None where the server does not say.
    """

    until: float
    context: int | None
    size: int | None = None
    gpu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaModel:
    """A model of an Ollama server. `completes`: it can answer, which an embedding model cannot.

    `parameters`, `quantization` and `reported` are in the server's words: `8.2B`, `Q4_K_M`, and capabilities such as
    `tools`, `thinking`, `vision` and `embedding`.
    """

    name: str
    digest: str
    size: int | None
    context: int | None
    capabilities: frozenset[Capability]
    parameters: str = ""
    quantization: str = ""
    reported: tuple[str, ...] = ()
    loaded: Loaded | None = None

    @property
    def completes(self) -> bool:
        return "chat" in self.capabilities


def base_url_of_host(text: str | None) -> str:
    """Return the base URL that Ollama's own client derives from `OLLAMA_HOST` (None or empty: its default).

    The server binds to the same variable, so an address that means every interface becomes loopback.
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
    """An entry of the server's list of models. `used` is the time at which the model was fetched."""

    name: str
    digest: str
    size: int | None
    used: float


def open_server(host: str | None) -> Server:
    """Return the server at a host (None: the one of OLLAMA_HOST), with the key of OLLAMA_API_KEY."""
    url = base_url_of_host(os.environ.get("OLLAMA_HOST") if host is None else host)
    return Server(url, key=api_key_from_environment("OLLAMA_API_KEY"), explain=ollama_error, unreachable=UNREACHABLE)


def ollama_error(status: int, text: str) -> PromptkitError | None:
    """Return the error for a text of Ollama's, None where its status is enough. A stream has the status 200."""
    missing = re.search(r"model ['\"]([\w.:/-]+)['\"] not found", text)  # the name goes into a command
    if status == 404 and missing:
        return missing_model(missing[1])
    if status == 400 and "context" in text:
        return ContextOverflow(f"the prompt does not fit the model's window: {text}")
    if status == 400 and "does not support" in text:
        return Unsupported(f"Ollama says: {text}")
    if "runner" in text and status in (200, 500):
        return RunnerStopped(f"Ollama says: {text}", retry=True)
    return ServerFailed(f"Ollama says: {text}") if status == 200 else None


def missing_model(name: str) -> ModelMissing:
    """Return the error for a model that the server lacks, with the command that fetches it."""
    return ModelMissing(f"Ollama has no model `{name}`", hint=f"promptkit models pull ollama/{name}")


def stream_error(server: Server, error: Any) -> PromptkitError:
    """Return the error that an `error` in a stream stands for."""
    text = error_text(error)
    return server.refusal(400 if "context" in text else 200, {}, text)


def tagged_name(name: str) -> str:
    """Return a model's name with its tag, as the server lists it."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


async def installed_models(
    host: str | None = None, timeout: float = 0.3, *, one: bool = False
) -> list[OllamaModel] | None:
    """Return the models of the server, the most recently used first, or None where no server answers in time.

    Loaded models come first, then the most recently fetched. With `one` the list ends at the first that can answer.
    """
    server = open_server(host)
    try:
        async with asyncio.timeout(timeout):
            listed, loaded = await asyncio.gather(listed_models(server), loaded_models(server))
        order = sorted(listed, key=lambda model: _last_use(model, loaded.get(model.name)), reverse=True)
        # The server is there. Details of many models may take longer than `timeout`.
        async with asyncio.timeout(DESCRIBE_SECONDS):
            version = await server_version(server)
            if not one:
                return await _describe_all(server, order, version, loaded)
            found: list[OllamaModel] = []
            for model in order[:MOST_DESCRIBED]:
                found.append(await describe_model(server, model, version, loaded.get(model.name)))
                if found[-1].completes:
                    break
            return found
    except (PromptkitError, TimeoutError):
        return None
    finally:
        await server.close()


async def pull_ollama(name: str, progress: DownloadProgress | None = None, *, host: str | None = None) -> None:
    """Fetch a model; `progress` gets each stage, and the bytes of each large layer.

    A cancelled pull ends on the server too, and the next one resumes.

    Raises ServerFailed with Ollama's words, ConnectionFailed, or BadReply where Ollama did not report the end.
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
                if progress and total is None and status != "success":
                    progress(status, 0, None)
                elif progress and total and total >= LARGE_LAYER:
                    progress(f"{name}, {status.removeprefix('pulling ')}", min(done or 0, total), total)
    finally:
        await server.close()
    if status != "success":
        hint = f"promptkit models pull ollama/{name} resumes"
        raise BadReply(f"the fetching of `{name}` broke off", hint=hint, retry=True)


async def server_version(server: Server) -> str:
    """Return the server's version, empty where it gives none."""
    answer = await server.get("/api/version", within=DESCRIBE_SECONDS)
    version = answer.get("version") if isinstance(answer, dict) else None
    return server.redactor.quote(version) if isinstance(version, str) else ""


def version_at_least(version: str, least: tuple[int, ...]) -> bool:
    """Compare versions. One without numbers, or 0.0.0, is a build of one's own and counts as new."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return not any(numbers) or numbers >= least


async def listed_models(server: Server) -> list[ListedModel]:
    """Return the server's models, without those whose names cannot be typed."""
    answer = await server.get("/api/tags", within=DESCRIBE_SECONDS)
    with _understood(server):
        models = [_listed(model) for model in answer["models"] or ()]
    return [model for model in models if _is_name(model.name) and not server.redactor.finds(model.name)]


async def describe_model(
    server: Server, listed: ListedModel, version: str, loaded: Loaded | None = None
) -> OllamaModel:
    """Return the server's description of a model."""
    shown = await server.post("/api/show", {"model": listed.name}, within=DESCRIBE_SECONDS)
    with _understood(server):
        info = (shown.get("model_info") or {}).items()
        details = shown.get("details") or {}
        lengths = [token_count(value) for key, value in info if key.endswith(".context_length")]
        return OllamaModel(
            name=listed.name,
            digest=server.redactor.quote(listed.digest),
            size=listed.size,
            context=lengths[0] if lengths else None,
            capabilities=_capabilities(shown, version),
            parameters=server.redactor.quote(details.get("parameter_size") or ""),
            quantization=server.redactor.quote(details.get("quantization_level") or ""),
            reported=tuple(server.redactor.quote(name) for name in shown.get("capabilities") or ()),
            loaded=loaded,
        )


async def _describe_all(
    server: Server, order: Sequence[ListedModel], version: str, loaded: Mapping[str, Loaded]
) -> list[OllamaModel]:
    places = asyncio.Semaphore(DESCRIBED_AT_ONCE)

    async def describe(model: ListedModel) -> OllamaModel:
        async with places:
            return await describe_model(server, model, version, loaded.get(model.name))

    first = await asyncio.gather(*map(describe, order[:MOST_DESCRIBED]))
    unknown = (
        OllamaModel(
            name=model.name,
            digest=server.redactor.quote(model.digest),
            size=model.size,
            context=None,
            capabilities=frozenset(),
            loaded=loaded.get(model.name),
        )
        for model in order[MOST_DESCRIBED:]
    )
    return [*first, *unknown]


async def loaded_models(server: Server) -> dict[str, Loaded]:
    """Return the models in the server's memory by name."""
    answer = await server.get("/api/ps", within=DESCRIBE_SECONDS)
    with _understood(server):
        return {
            str(model["model"]): Loaded(
                server_time(model.get("expires_at")),
                token_count(model.get("context_length")),
                size=_bytes(model.get("size")),
                gpu=_bytes(model.get("size_vram")),
            )
            for model in answer["models"] or ()
        }


def _last_use(model: ListedModel, loaded: Loaded | None) -> tuple[bool, float]:
    """Return the key that sorts loaded models last, by the time until which they stay, and others by their fetching."""
    return loaded is not None, loaded.until if loaded else model.used


def _listed(model: Mapping[str, Any]) -> ListedModel:
    """Return an entry of the server's list. Raises TypeError, KeyError or AttributeError for anything else."""
    name, digest = model.get("model") or model["name"], model.get("digest") or ""
    return ListedModel(str(name), str(digest), _bytes(model.get("size")), server_time(model.get("modified_at")))


def _is_name(text: str) -> bool:
    return text.isprintable() and 0 < len(text) <= LONGEST_NAME


def _bytes(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def server_time(text: Any) -> float:
    """Return the server's time in seconds, 0 for anything else."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _understood(server: Server) -> AbstractContextManager[None]:
    return protocol_errors(f"what answers at {server.place} is not an Ollama server", hint="check OLLAMA_HOST")


def _capabilities(shown: Mapping[str, Any], version: str) -> frozenset[Capability]:
    """Return the capabilities that are certain without a probe. Old servers list none, but complete."""
    listed = shown.get("capabilities") or ["completion"]
    found: set[Capability] = set()
    if "completion" in listed:
        found |= {"chat", "complete", "schema", "sampling", "stop", "seed"}
        if re.search(r"system|\.role", shown.get("template") or "", re.IGNORECASE):
            found.add("system")
        if version_at_least(version, GIVES_LOGPROBS):
            found.add("logprobs")
        if "tools" in listed:
            found.add("function_calls")
    if "thinking" in listed:
        found |= {"thinks", "after_thoughts"}
        if (shown.get("details") or {}).get("family") not in ALWAYS_THINKING:
            found.add("think")
    if "embedding" in listed:
        found.add("embeddings")
    return frozenset(found)
