"""Facts that a server states of itself and its model, as far as they are part of a cache key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

LLAMA_FACTS = ("build_info", "model_path", "model_ftype", "chat_template", "bos_token", "eos_token", "modalities")
ENTRY_FACTS = ("owned_by", "root", "parent", "max_model_len", "meta")
LM_STUDIO_FACTS = ("type", "publisher", "arch", "compatibility_type", "quantization", "max_context_length")
"""Names of facts. Others are left out: times, ports and random ids change with each start, prices without one."""
_LOCAL_SUFFIXES = (".local", ".lan", ".internal", ".localhost", ".home.arpa")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """A server's descriptions of itself, as parsed JSON; None where it gives none.

    `listed` are the entries of `/v1/models`, `entry` the model's own, `llama` is llama-server's `/props`, `version`
    vLLM's `/version`, and `studio` the model's entry in LM Studio's `/api/v0/models`.
    """

    listed: Sequence[Mapping[str, Any]] = ()
    entry: Mapping[str, Any]
    llama: Mapping[str, Any] | None = None
    version: str | None = None
    studio: Mapping[str, Any] | None = None

    def lasting(self) -> dict[str, Any]:
        """Return the facts that stay the same when the server starts again with the same weights and settings."""
        facts = _picked(self.entry, ENTRY_FACTS) | _picked(self.studio or {}, LM_STUDIO_FACTS)
        if self.version is not None:
            facts["version"] = self.version
        if self.llama is not None:
            settings = self.llama["default_generation_settings"]
            facts |= _picked(self.llama, LLAMA_FACTS)
            facts["meta"] = [entry.get("meta") for entry in self.listed]
            facts["sampling"] = settings.get("params") if isinstance(settings, dict) else None
        return facts

    @property
    def is_self_run(self) -> bool:
        """True where the server shows itself to be a program that people run, not a hosted service."""
        return self.llama is not None or is_vllm(self.entry)


def is_vllm(entry: Mapping[str, Any]) -> bool:
    """Tell whether an entry of `/v1/models` is one of vLLM."""
    return entry.get("owned_by") == "vllm"


def entries(described: Any) -> list[Mapping[str, Any]]:
    """Return the models that a server lists; none where the list has another shape."""
    listed = described.get("data") if isinstance(described, dict) else None
    found = listed if isinstance(listed, list) else []
    return [entry for entry in found if isinstance(entry, dict) and "id" in entry]


def entry_named(listed: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """Return the entry of a model, or None."""
    return next((entry for entry in listed if entry["id"] == name), None)


def is_local(url: str) -> bool:
    """Tell whether people run what answers at an address: one without TLS, of this machine or of a private network."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return True
    try:
        return not ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_SUFFIXES)


def _picked(described: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: described[name] for name in names if described.get(name) is not None}
