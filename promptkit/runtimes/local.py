"""What can answer on this machine, and fetching what cannot yet."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptkit.errors import InputError
from promptkit.runtimes.references import EMBEDDED, FORMS, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from promptkit.runtimes.base import Capability
    from promptkit.runtimes.weights import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model as far as it is known without loading it. `ready` tells whether it is here, so that it can answer now."""

    reference: str
    digest: str | None = None
    size: int | None = None
    context: int | None = None
    capabilities: frozenset[Capability] = frozenset()
    ready: bool = True


async def local_models() -> list[LocalModel]:
    """Return the embedded default, the hub's files that are here, and what an Ollama server has, if one answers."""
    from promptkit.runtimes.embedded import CAPABILITIES
    from promptkit.runtimes.ollama import probe
    from promptkit.runtimes.weights import DEFAULT, default_path

    ready = await asyncio.to_thread(default_path) is not None
    embedded = LocalModel(
        reference=EMBEDDED,
        digest=DEFAULT.sha256,
        size=DEFAULT.size,
        capabilities=frozenset(CAPABILITIES),
        ready=ready,
    )
    installed = await probe() or ()
    served = (
        LocalModel(
            reference=f"ollama/{model.name}",
            digest=model.digest,
            size=model.size,
            context=model.context,
            capabilities=model.capabilities,
        )
        for model in installed
    )
    return [embedded, *_hub_models(), *served]


def _hub_models() -> Iterator[LocalModel]:
    """Yield the GGUF files in the hub's cache; none where the extra `hub` is not installed."""
    try:
        from huggingface_hub import scan_cache_dir
        from huggingface_hub.errors import CacheNotFound
    except ImportError:
        return
    with suppress(CacheNotFound):
        for repo in scan_cache_dir().repos:
            for file in {file for revision in repo.revisions for file in revision.files}:
                if file.file_name.endswith(".gguf"):
                    yield LocalModel(reference=f"hf/{repo.repo_id}/{file.file_name}", size=file.size_on_disk)


async def pull_model(reference: str, progress: Progress | None = None) -> None:
    """Fetch a model where it is not here yet. Raises InputError for one that cannot be fetched, or a RuntimeFailure."""
    from promptkit.runtimes.ollama import pull
    from promptkit.runtimes.weights import default_weights, pull_hub

    named = parse_reference(reference)
    match named.kind:
        case "embedded":
            await asyncio.to_thread(default_weights, progress)
        case "hf":
            await asyncio.to_thread(pull_hub, named.name, named.path, progress)
        case "ollama":
            await pull(named.name, progress)
        case _:
            kinds = ", ".join(FORMS[kind] for kind in ("embedded", "hf", "ollama"))
            raise InputError(f"`{reference}` is nothing that can be fetched", hint=f"what can: {kinds}")
