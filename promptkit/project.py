"""Where a project's files are: its root, its settings, and how a name becomes a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

SETTINGS_FILE = "promptkit.yaml"
LIBRARY = Path(__file__).parent

TemplateKind = Literal["layouts", "answers", "techniques"]
Kind = Literal["prompts", "pipelines", "layouts", "answers", "techniques"]


class CacheSettings(BaseModel):
    """How much of the answers is kept, in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int = 1_000_000_000


class ProjectSettings(BaseModel):
    """What `promptkit.yaml` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str | None = None
    concurrency: int | None = None
    cache: CacheSettings = CacheSettings()
    prices: dict[str, Any] = {}
    feeds: dict[str, Any] | list[Any] = {}
    defaults: dict[str, Any] = {}


@dataclass(frozen=True)
class Project:
    """A folder with prompts and pipelines, and the shipped ones behind it."""

    root: Path
    settings: ProjectSettings = ProjectSettings()

    @classmethod
    def find(cls, start: Path) -> Project:
        """Return the project of a file or folder: the nearest parent with `promptkit.yaml`, else its folder itself.

        Raises InputError for settings that are wrong.
        """
        raise NotImplementedError

    @property
    def store_folder(self) -> Path:
        """The folder of the store: `.promptkit` in the root; a folder of the user's own for the installed library."""
        raise NotImplementedError

    def find_prompt(self, name: str, beside: Path | None = None) -> Path | None:
        """Return the file of a prompt by name or path: beside a file or folder, in the root, among the shipped."""
        raise NotImplementedError

    def find_pipeline(self, name: str, beside: Path | None = None) -> Path | None:
        """Return the file of a pipeline by name or path: beside a file or folder, in the root, among the shipped."""
        raise NotImplementedError

    def find_template(self, kind: TemplateKind, name: str) -> Path | None:
        """Return the file of a template: in the root, else among the shipped."""
        raise NotImplementedError

    def names(self, kind: Kind) -> list[str]:
        """Return every name of a kind, in the root and among the shipped, sorted."""
        raise NotImplementedError

    def inside(self, path: Path) -> bool:
        """Tell whether a path, all symlinks followed, lies in the root or among the shipped files."""
        raise NotImplementedError

    def target(self, name: str) -> Path:
        """Return the file that a command line names: a path, a pipeline or a prompt. Raises InputError with hints."""
        raise NotImplementedError
