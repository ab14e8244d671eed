"""The models of a run, with one `Client` for each, and the models that this machine can run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from promptkit.errors import InputError, ModelMissing, PromptkitError
from promptkit.runtimes.base import Capability, DownloadProgress, Runtime
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.client import DEADLINE, Cache, Client
from promptkit.runtimes.references import AUTO, EMBEDDED, REFERENCE_FORMS, open_runtime, parse_reference
from promptkit.runtimes.replay import Recorder

MODEL_OPTION = "--model"
MODEL_VARIABLE = "PROMPTKIT_MODEL"
PROBE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A chosen model: its reference, the reason for the choice, and a notice for a person."""

    reference: str
    why: str
    notice: str | None = None


def default_reference(option: str | None, pipeline: str | None, settings: str | None) -> tuple[str, str]:
    """Return the model of a run and its source: `--model`, the pipeline, the environment, the project, or `auto`."""
    named = [
        (option, MODEL_OPTION),
        (pipeline, "the pipeline"),
        (os.environ.get(MODEL_VARIABLE), MODEL_VARIABLE),
        (settings, "promptkit.yaml"),
    ]
    return next(((reference, why) for reference, why in named if reference), (AUTO, AUTO))


async def choose_model(reference: str, why: str) -> ModelChoice:
    """Return the model that a reference names. `auto` means the Ollama model used last, else the embedded model.

    Waits for an Ollama server at most PROBE_SECONDS. Raises InputError for a wrong reference.
    """
    if parse_reference(reference).kind != AUTO:
        return ModelChoice(reference, why)
    from promptkit.runtimes.servers.ollama_server import installed_models

    found = await installed_models(timeout=PROBE_SECONDS, one=True)
    for model in found or ():
        if model.completes:
            named = f"ollama/{model.name}"
            notice = f"{named} answers: the Ollama model used last. To keep to it: --model {named}"
            return ModelChoice(named, f"{AUTO}: the Ollama model used last", notice)
    absence = "no Ollama server answers" if found is None else "the Ollama server has no model that can answer"
    notice = f"{EMBEDDED} answers, as {absence}: it shows that promptkit works, not how good a prompt is"
    return ModelChoice(EMBEDDED, f"{AUTO}: {absence}", notice)


class Models:
    """The models of a run: its default, and those that steps name. Opened at first use, closed together.

    `why` names the source of the default. A default from `--model` replaces every other model but those in `apart`:
    variants that are compared, and judges. `no_cache` ignores the store's replies. `timeout` is the seconds for a
    request; a step's `options` may change it, unless it is `firm`. Paths in references are relative to `base`. `notice`
    gets lines for a person, `progress` the bytes of weights that are fetched. `offer` asks a person whether to fetch a
    model that an Ollama server lacks.
    """

    def __init__(
        self,
        default: str | None = None,
        *,
        why: str = AUTO,
        store: Cache | None = None,
        concurrency: int | None = None,
        timeout: float | None = None,
        firm: bool = False,
        no_cache: bool = False,
        recorder: Recorder | None = None,
        progress: DownloadProgress | None = None,
        notice: Callable[[str], None] | None = None,
        offer: Callable[[str], bool] | None = None,
        base: Path | None = None,
        apart: Collection[str] = (),
    ) -> None:
        self._apart = frozenset(apart)
        self._default = default or AUTO
        self._why = why
        self._store = None if no_cache else store
        self._concurrency = concurrency
        self._timeout = timeout or DEADLINE
        self._firm = firm
        self._recorder = recorder
        self._progress = progress
        self._notice = notice
        self._offer = offer
        self._base = base or Path()
        self._budget: Budget | None = None
        self._opening = asyncio.Lock()
        self._runtimes: dict[tuple[str, str | None], Runtime] = {}
        self._clients: dict[str | None, Client] = {}
        self._choices: dict[str | None, ModelChoice] = {}

    async def get(self, reference: str | None = None) -> Client:
        """Return the client of a model (None: the run's default), always the same one.

        Raises InputError, MissingExtra or a RuntimeFailure where it cannot be opened.
        """
        name = self._name(reference)
        if name not in self._clients:
            async with self._opening:
                if name not in self._clients:
                    self._clients[name] = await self._open(name)
        client = self._clients[name]
        if self._budget is None:
            return client
        await client.model()
        return client.within(self._budget)

    def within(self, budget: Budget) -> Self:
        """Return these models with their requests counted against a budget. They share what is open."""
        other = copy(self)
        other._budget = budget
        return other

    def why(self, reference: str | None = None) -> str:
        """Return the reason why this model answers."""
        name = self._name(reference)
        if name in self._choices:
            return self._choices[name].why
        return self._why if name is None or self._stands_for(name) else "the step"

    def announced(self, reference: str | None = None) -> bool:
        """Tell whether a notice has already named this model and the reason for it."""
        choice = self._choices.get(self._name(reference))
        return self._notice is not None and choice is not None and choice.notice is not None

    def replayed(self, reference: str | None = None) -> str | None:
        """Return the reference of the recording that answers for this model, if one does."""
        choice = self._choices.get(self._name(reference))
        return choice.reference if choice and choice.reference.startswith("replay:") else None

    async def close(self) -> None:
        """Release every model. Safe to call twice."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _overrides(self) -> bool:
        return self._why == MODEL_OPTION

    @property
    def _replays(self) -> bool:
        return self._default.startswith("replay:")

    def _name(self, reference: str | None) -> str | None:
        """Return the name under which a model is opened and recorded. A recording keeps every model's own name."""
        if reference == self._default or (self._stands_for(reference) and not self._replays):
            return None
        return reference

    def _stands_for(self, reference: str | None) -> bool:
        """Tell whether the default replaces a model."""
        return self._overrides and (self._replays or reference not in self._apart)

    async def _open(self, name: str | None) -> Client:
        stands_in = name is None or self._stands_for(name)
        choice = await choose_model(self._default if stands_in else name or AUTO, self.why(name))
        if choice.notice and self._notice:
            self._notice(choice.notice)
        self._choices[name] = choice
        client = Client(
            await self._runtime(choice.reference, of=name if stands_in else None),
            # Cached replies would hide that a recording lacks the answer to a changed prompt.
            store=None if choice.reference.startswith("replay:") else self._store,
            concurrency=self._concurrency,
            deadline=self._timeout,
            firm=self._firm,
            recorder=self._recorder,
            name=name,
        )
        if self._offer:
            await self._fetch_missing(client, choice.reference, self._offer)
        return client

    async def _fetch_missing(self, client: Client, reference: str, offer: Callable[[str], bool]) -> None:
        """Fetch a model that an Ollama server lacks, where a person agrees. Raises the failures of fetching it.

        Any other failure is the first request's to raise.
        """
        if parse_reference(reference).kind != "ollama":
            return
        try:
            await client.model()
        except ModelMissing as missing:
            try:
                if offer(f"{missing.message}; fetch it?"):
                    await pull_model(reference, self._progress)
            except BaseException:
                await client.close()  # nothing else would: it is not among the open ones yet
                raise
        except PromptkitError:
            return

    async def _runtime(self, reference: str, *, of: str | None) -> Runtime:
        """Return the runtime of a reference. One that another name has opened is shared, so weights are loaded once."""
        runtime = self._runtimes.get((reference, of))
        if runtime is None:
            runtime = await open_runtime(
                reference, base=self._base, progress=self._progress, notice=self._notice, of=of
            )
            self._runtimes[reference, of] = runtime
        return runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model's facts that are known without loading it. `ready`: its weights are on this machine.

    `parameters`, `quantization` and `reported` (capabilities) are a server's own words. `loaded_until` is the time in
    seconds until which a server keeps the model in memory, with a window of `loaded_context` tokens. `licence` is an
    SPDX identifier, `source` the place that the weights come from; None where unknown.
    """

    reference: str
    digest: str | None = None
    size: int | None = None
    context: int | None = None
    capabilities: frozenset[Capability] = frozenset()
    ready: bool = True
    parameters: str = ""
    quantization: str = ""
    reported: tuple[str, ...] = ()
    loaded_until: float | None = None
    loaded_context: int | None = None
    licence: str | None = None
    source: str | None = None


async def local_models() -> list[LocalModel]:
    """Return the embedded models, the hub's files on this machine, and the models of an Ollama server that answers."""
    from promptkit.runtimes.servers.ollama_server import installed_models

    found = await installed_models() or ()
    served = (
        LocalModel(
            reference=f"ollama/{model.name}",
            digest=model.digest,
            size=model.size,
            context=model.context,
            capabilities=model.capabilities,
            parameters=model.parameters,
            quantization=model.quantization,
            reported=model.reported,
            loaded_until=model.loaded.until if model.loaded else None,
            loaded_context=model.loaded.context if model.loaded else None,
        )
        for model in found
    )
    return [*await asyncio.to_thread(catalog_models), *_hub_models(), *served]


REPORTED: Mapping[str, tuple[str, ...]] = {"chat": (), "reasoning": ("thinking",), "embedding": ("embedding",)}
"""Capabilities of a catalog's model by its task, in the words of servers."""


def catalog_models() -> list[LocalModel]:
    """Return the models of the catalog, the default first."""
    from promptkit.runtimes.in_process.embedded_models import embedded_models

    return [catalog_model(name) for name in embedded_models()]


def catalog_model(name: str) -> LocalModel:
    """Return an embedded model's facts. Reads the weights once where they are here, to check them."""
    from promptkit.runtimes.in_process.embedded import CAPABILITIES
    from promptkit.runtimes.in_process.embedded_models import HubSource, embedded_models
    from promptkit.runtimes.in_process.embedding_model import EMBEDDING_CAPABILITIES
    from promptkit.runtimes.in_process.weights import find_weights

    model = embedded_models()[name]
    source = model.source
    capabilities: set[Capability] = {*(EMBEDDING_CAPABILITIES if model.task == "embedding" else CAPABILITIES)}
    if model.task == "reasoning":
        capabilities |= {"think", "thinks"}
    if model.calls_functions:
        capabilities.add("function_calls")
    return LocalModel(
        reference=model.reference,
        digest=model.sha256,
        size=model.size,
        capabilities=frozenset(capabilities),
        ready=find_weights(model) is not None,
        reported=REPORTED[model.task],
        licence=model.licence,
        source=f"hf/{source.repo}/{model.file}" if isinstance(source, HubSource) else source.package,
    )


def licence_of(reference: str) -> str | None:
    """Return the licence of an embedded model; None for any other, whose licence is not known."""
    from promptkit.runtimes.in_process.embedded_models import embedded_models

    return next((model.licence for model in embedded_models().values() if model.reference == reference), None)


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


async def pull_model(reference: str, progress: DownloadProgress | None = None, *, file: Path | None = None) -> None:
    """Fetch a model unless it is here, or keep `file` as an embedded model's weights.

    Raises InputError for a model that cannot be fetched and for a wrong file, or a RuntimeFailure.
    """
    from promptkit.runtimes.in_process.embedded_models import embedded_models
    from promptkit.runtimes.in_process.hub import pull_hub
    from promptkit.runtimes.in_process.weights import adopt_weights, fetch_weights, in_thread
    from promptkit.runtimes.servers.ollama_server import pull_ollama

    named = parse_reference(reference)
    if file is not None and named.kind != "embedded":
        raise InputError(f"a file can be kept for {REFERENCE_FORMS['embedded']} only", hint=f"--model gguf:{file}")
    match named.kind:
        case "embedded" if file is not None:
            await asyncio.to_thread(adopt_weights, embedded_models()[named.name], file)
        case "embedded":
            await in_thread(partial(fetch_weights, embedded_models()[named.name]), progress)
        case "hf":
            await in_thread(partial(pull_hub, named.name, named.path), progress)
        case "ollama":
            await pull_ollama(named.name, progress)
        case _:
            kinds = ", ".join(REFERENCE_FORMS[kind] for kind in ("embedded", "hf", "ollama"))
            raise InputError(f"`{reference}` is nothing that can be fetched", hint=f"what can: {kinds}")
