"""Model references, by which a person names a model. A name follows `/`, a path follows `:`."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from promptkit.errors import InputError, ModelMissing, nearest
from promptkit.runtimes.base import DownloadProgress, Runtime

ReferenceKind: TypeAlias = Literal[
    "auto", "embedded", "gguf", "hf", "installed", "ollama", "openai", "replay", "scripted"
]

AUTO = "auto"
EMBEDDED = "embedded/smollm2"
REFERENCE_FORMS: dict[ReferenceKind, str] = {
    "auto": "auto",
    "embedded": "embedded/NAME",
    "gguf": "gguf:PATH",
    "hf": "hf/OWNER/REPO/FILE.gguf",
    "ollama": "ollama/NAME",
    "openai": "openai/NAME@http://HOST:PORT/v1",
    "replay": "replay:PATH",
    "scripted": "scripted:FILE.yaml or scripted:FILE.py:FUNCTION",
}

_REFERENCE = re.compile(r"(?P<kind>[a-z]+)(?P<sign>[/:])(?P<rest>.*)", re.DOTALL)
_HUB = re.compile(r"(?P<name>[^/]+/[^/]+)/(?P<path>.+\.gguf)")
_SERVER = re.compile(r"(?P<name>.+)@(?P<url>https?://.+)", re.DOTALL)
_SCRIPT = re.compile(r"(?P<path>.+\.(?:ya?ml|py(?=:)))(?::(?P<function>\w+))?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """A reference in its parts; `name` is a model's or, for `hf`, a repository's, `path` as it was written.

    `runtime` is the word of an installed package's runtime.
    """

    text: str
    kind: ReferenceKind
    name: str = ""
    path: str = ""
    url: str = ""
    function: str = ""
    runtime: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def is_local(self) -> bool:
        """True where `path` is a file on this machine."""
        return bool(self.path) and self.kind != "hf"

    def beside(self, folder: Path) -> ModelReference:
        """Return the reference with an absolute path; a relative one is relative to `folder`."""
        if not self.is_local:
            return self
        from promptkit.storage.files import resolved

        path = resolved(folder / self.path)
        text = f"{self.kind}:{path}" + (f":{self.function}" if self.function else "")
        return replace(self, text=text, path=str(path))


def parse_reference(text: str) -> ModelReference:
    """Parse a model reference. Raises InputError with the right form in its hint."""
    if text == AUTO:
        return ModelReference(text=text, kind="auto")
    found = _REFERENCE.fullmatch(text)
    kind = found["kind"] if found else ""
    if found is None or kind not in REFERENCE_FORMS or kind == AUTO:
        if found and found["sign"] == "/" and found["rest"].strip() and _is_installed(kind):
            return ModelReference(text=text, kind="installed", name=found["rest"], runtime=kind)
        raise InputError(f"`{text}` is not a model reference", hint=_likely_meaning(text, kind))
    for known in REFERENCE_FORMS:
        if known == kind and found["sign"] == REFERENCE_FORMS[known][len(known)]:
            reference = _parts(known, found["rest"], text)
            if reference is not None:
                return reference
    raise InputError(
        f"`{text}` has not the form of this kind of model", hint=_whole_openai_form(text, kind) or _form_hint(kind)
    )


async def open_runtime(
    reference: str | ModelReference,
    *,
    base: Path,
    progress: DownloadProgress | None = None,
    notice: Callable[[str], None] | None = None,
    of: str | None = None,
) -> Runtime:
    """Return the runtime that a reference names (not `auto`), fetching weights that are not on this machine.

    A path is relative to `base`; `of` names the recorded model that a replay answers for; `notice` gets lines for a
    person. Raises InputError, MissingExtra or ModelLoadFailed.
    """
    named = parse_reference(reference) if isinstance(reference, str) else reference
    path = base / named.path
    match named.kind:
        case "ollama":
            from promptkit.runtimes.servers.ollama import Ollama

            return Ollama(named.name, notice=notice)
        case "openai":
            from promptkit.runtimes.servers.openai import OpenAI

            return OpenAI(named.name, base_url=named.url, notice=notice)
        case "replay":
            from promptkit.runtimes.replay import Replay

            return Replay(path, of=of)
        case "scripted":
            from promptkit.runtimes.scripted import load_function, load_script

            if named.function:
                return load_function(path, named.function, named.text)
            return load_script(path, named.text)
        case "installed":
            from promptkit.runtimes.installed import open_installed

            return open_installed(named.runtime, named.name)
        case "auto":
            raise InputError("`auto` does not name one model", hint="call `choose_model` first")
    return await _embedded(named, path, progress)


async def _embedded(named: ModelReference, path: Path, progress: DownloadProgress | None) -> Runtime:
    if named.kind == "gguf":
        from promptkit.storage.files import check_there

        check_there(path)
    from promptkit.runtimes.in_process.embedded import open_embedded
    from promptkit.runtimes.in_process.weights import in_thread

    if named.kind == "embedded":
        path = await in_thread(partial(_catalog_file, named.name), progress)
    elif named.kind == "hf":
        from promptkit.runtimes.in_process.hub import hub_path, pull_hub

        here = hub_path(named.name, named.path)
        path = await in_thread(partial(pull_hub, named.name, named.path), progress) if here is None else here

    return await asyncio.to_thread(open_embedded, path, named.text)


def local_weights(named: ModelReference) -> Path | None:
    """Return the GGUF file of an embedded model if it is on this machine, else None; also for any other runtime."""
    match named.kind:
        case "gguf":
            return Path(named.path) if os.path.isfile(named.path) else None
        case "embedded":
            from promptkit.runtimes.in_process.embedded_models import embedded_models
            from promptkit.runtimes.in_process.weights import find_weights

            return find_weights(embedded_models()[named.name])
        case "hf":
            from promptkit.runtimes.in_process.hub import hub_path

            return hub_path(named.name, named.path)
    return None


def _catalog_file(name: str, progress: DownloadProgress) -> Path:
    """Return the file of an embedded model. Only the default model is fetched here; others may have gigabytes."""
    from promptkit.runtimes.in_process.embedded_models import default_model, embedded_models
    from promptkit.runtimes.in_process.weights import default_weights, find_weights

    model = embedded_models()[name]
    if model == default_model():
        return default_weights(progress)
    if path := find_weights(model):
        return path
    raise ModelMissing(
        f"{model.reference} is not on this machine ({model.size / 1e6:,.0f} MB)",
        hint=f"promptkit models pull {model.reference}",
    )


def _is_installed(word: str) -> bool:
    from promptkit.runtimes.installed import installed_runtimes

    return word in installed_runtimes()


def _parts(kind: ReferenceKind, rest: str, text: str) -> ModelReference | None:
    """Parse the part after the sign. Returns None where it does not have the form of its kind."""
    match kind:
        case "hf" if found := _HUB.fullmatch(rest):
            return ModelReference(text=text, kind=kind, name=found["name"], path=found["path"])
        case "scripted" if found := _SCRIPT.fullmatch(rest):
            return ModelReference(text=text, kind=kind, path=found["path"], function=found["function"] or "")
        case "openai" if found := _SERVER.fullmatch(rest):
            _check_url(found["url"])
            return ModelReference(text=text, kind=kind, name=found["name"], url=found["url"].rstrip("/"))
        case "embedded" if rest.strip():
            _check_embedded(rest)
            return ModelReference(text=text, kind=kind, name=rest)
        case "ollama" if _SERVER.fullmatch(rest):
            raise InputError("the name of an Ollama model holds no address", hint="put the address into OLLAMA_HOST")
        case "ollama" if rest.strip():
            return ModelReference(text=text, kind=kind, name=rest)
        case "gguf" | "replay" if rest.strip():
            return ModelReference(text=text, kind=kind, path=rest)
    return None


def _check_embedded(name: str) -> None:
    """Raise InputError for a model that is not in the catalog, which is not read for the default one."""
    if f"embedded/{name}" == EMBEDDED:
        return
    from promptkit.runtimes.in_process.embedded_models import embedded_models

    if name not in embedded_models():
        raise InputError(f"there is no embedded model `{name}`", hint=nearest(name, embedded_models()))


def _check_url(url: str) -> None:
    """Raise InputError for a wrong address, and for one with a key, which would be printed and stored."""
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = False
    if not whole:
        raise InputError("the address of the server is not complete", hint=_form_hint("openai"))
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "the address of a server must not hold a key or a query", hint="put the key into OPENAI_API_KEY"
        )


def _form_hint(kind: str) -> str | None:
    return next((f"write {form}" for known, form in REFERENCE_FORMS.items() if known == kind), None)


def _whole_openai_form(text: str, kind: str) -> str | None:
    """Return the hint for a model of a server without its address."""
    name = text.removeprefix("openai").strip("/:").partition("@")[0]
    return f"write openai/{name}@http://HOST:PORT/v1" if kind == "openai" and name else None


def _likely_meaning(text: str, kind: str) -> str | None:
    if text.endswith(".gguf"):
        return f"did you mean `gguf:{text}`?"
    if kind and (close := get_close_matches(kind, REFERENCE_FORMS, n=1)):
        return f"did you mean `{close[0]}{text[len(kind) :]}`?"
    for form in get_close_matches(text, REFERENCE_FORMS, n=1, cutoff=0.75):
        return f"did you mean `{form}`?" if form == AUTO else _form_hint(form)
    from promptkit.runtimes.in_process.embedded_models import embedded_models

    embedded = f"`embedded/{text}`, " if text in embedded_models() else ""
    likely = f"{embedded}`ollama/{text}`, or `openai/{text}@http://HOST:PORT/v1`"
    return f"did you mean {likely}? Known forms: {', '.join(REFERENCE_FORMS.values())}"
