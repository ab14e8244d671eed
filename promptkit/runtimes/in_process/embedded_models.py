"""The catalog of embedded models: GGUF files pinned by their SHA-256, in `embedded_models.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

Task: TypeAlias = Literal["chat", "reasoning", "embedding"]

CATALOG_FILE: Final = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSource:
    """A member of a Python package's wheel. `package` pins the version, `download` is the wheel's size in bytes."""

    package: str
    member: str
    download: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A file in a repository of a model hub, at a commit."""

    repo: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedModel:
    """A model of the catalog: `file` is its file name, `size` its bytes, `licence` an SPDX identifier."""

    name: str
    task: Task
    licence: str
    file: str
    size: int
    sha256: str
    source: PackageSource | HubSource
    recommended: bool = False
    calls_functions: bool = False

    @property
    def reference(self) -> str:
        return f"embedded/{self.name}"


@cache
def embedded_models() -> Mapping[str, EmbeddedModel]:
    """Return the models of the catalog by name, the default first."""
    entries = tomllib.loads(CATALOG_FILE.read_text("utf-8"))
    return {name: _model(name, entry) for name, entry in entries.items()}


def default_model() -> EmbeddedModel:
    """Return the model that answers where no other is named."""
    return next(iter(embedded_models().values()))


def recommended_model() -> EmbeddedModel:
    """Return the model to suggest to a person who runs the default one."""
    return next(model for model in embedded_models().values() if model.recommended)


def _model(name: str, entry: dict[str, Any]) -> EmbeddedModel:
    kind = PackageSource if "package" in entry else HubSource
    source = kind(**{key: entry.pop(key) for key in kind.__dataclass_fields__})
    return EmbeddedModel(name=name, source=source, **entry)
