"""A project: its root, its settings, and the files that names stand for."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from promptkit.errors import InputError, nearest
from promptkit.storage.files import (
    SETTINGS_FILE,
    STORE_FOLDER,
    check_named,
    check_there,
    find_root,
    first_found,
    read_bytes,
    resolved,
    resolved_once,
)
from promptkit.storage.models import read_model
from promptkit.storage.yaml import Document, load_file

_PACKAGE = Path(__file__).resolve().parent
# In the wheel the shipped files lie inside the package; in a checkout, beside it.
LIBRARY = _PACKAGE / "library" if (_PACKAGE / "library").is_dir() else _PACKAGE.parent

TemplateKind = Literal["layouts", "answers", "techniques", "generate"]
FileKind = Literal["prompts", "pipelines", "layouts", "answers", "techniques", "generate", "evals"]

_FOLDERS: dict[FileKind, str] = {
    "prompts": "templates/prompts",
    "pipelines": "pipelines",
    "layouts": "templates/layouts",
    "answers": "templates/answers",
    "techniques": "templates/techniques",
    "generate": "templates/generate",
    "evals": "evals",
}
TECHNIQUE_PIPELINES = "pipelines/techniques"
_TARGETS: tuple[FileKind, FileKind] = ("pipelines", "prompts")
_METRICS = re.compile(rb"^metrics\s*:", re.MULTILINE)
_FEED_NAME = re.compile(r"[\w.-]{1,40}")
# The template that every prompt extends is not a prompt itself.
_SECTIONS_TEMPLATE = "sections"


class CacheSettings(BaseModel):
    """The size of the cache of replies, in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int = Field(default=1_000_000_000, ge=0, lt=2**63)


def cache_folder() -> Path:
    """Return the folder for files that can be fetched again: `PROMPTKIT_CACHE`, else the user's cache folder."""
    named = os.environ.get("PROMPTKIT_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("promptkit")


def data_folder() -> Path:
    """Return the folder for what promptkit learns on this machine: `PROMPTKIT_DATA`, else the user's data folder."""
    named = os.environ.get("PROMPTKIT_DATA")
    return Path(named) if named else platformdirs.user_data_path("promptkit")


def _module_name(name: str) -> str:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError("must be the name of a module, such as `my_company.prompts`")
    return name


def _feed_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        is_address = False
    if not is_address or not url.isprintable() or " " in url:
        raise ValueError("must be the address of a feed, which begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must be an address without user and password")
    return url


def _feed_name(name: str) -> str:
    if not _FEED_NAME.fullmatch(name):
        raise ValueError("a feed is named by at most 40 letters, digits, dots, hyphens and underscores")
    return name


class FeedSettings(BaseModel):
    """The address of a feed. The host of a `private` one may be inside the machine or its network."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: Annotated[str, AfterValidator(_feed_address)]
    private: bool = Field(default=False, strict=True)


def _feed(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


def _word(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("a word of a command must not be empty, nor hold a NUL character")
    return text


def _address(text: str) -> str:
    if not re.match(r"https?://[^/\s]+", text):
        raise ValueError("must be an address such as `http://HOST:PORT/mcp`")
    if "@" in text.split("/")[2]:
        raise ValueError("must hold no name and password: `headers` may name them by environment variables")
    return text


class McpServer(BaseModel):
    """An MCP server: the `command` that starts it, or the `url` at which it runs. `timeout` is for each answer.

    With a `lock`, the digest of its tools, a server that lists others is refused.
    Values of `env` and `headers` may name environment variables: `$NAME`, `${NAME}`; `$$` is a dollar sign.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    command: list[Annotated[str, AfterValidator(_word)]] = []
    env: dict[str, str] = {}
    url: Annotated[str, AfterValidator(_address)] | None = None
    headers: dict[str, str] = {}
    timeout: float = Field(default=30.0, gt=0, le=3600, allow_inf_nan=False)
    lock: str | None = None

    @model_validator(mode="after")
    def _check_shape(self) -> McpServer:
        if bool(self.command) == bool(self.url):
            raise ValueError("has either a `command` that starts the server, or the `url` at which it runs")
        if self.env and not self.command:
            raise ValueError("`env` is for a server that is started by a `command`")
        if self.headers and not self.url:
            raise ValueError("`headers` are for a server with a `url`")
        for name, value in self.headers.items():
            if name.lower() in SECRET_HEADERS and "$" not in value:
                raise ValueError(f"`{name}` is a secret: name an environment variable, such as `$MY_TOKEN`")
        return self


def _server_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        raise ValueError("the name of a server has up to 32 letters, digits, `-` and `_`")
    return name


class ProjectSettings(BaseModel):
    """The settings in `promptkit.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str | None = None
    teacher: str | None = None
    concurrency: int | None = Field(default=None, ge=1)
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False, strict=True)
    cache: CacheSettings = CacheSettings()
    prices: dict[str, Any] = {}
    feeds: dict[Annotated[str, AfterValidator(_feed_name)], Annotated[FeedSettings, BeforeValidator(_feed)]] = {}
    mcp: dict[Annotated[str, AfterValidator(_server_name)], McpServer] = {}
    defaults: dict[str, Any] = {}
    trusted_modules: list[Annotated[str, AfterValidator(_module_name)]] = []


@dataclass(frozen=True)
class Project:
    """A folder with prompts and pipelines, with the shipped ones as a fallback.

    `source` is the text of the settings with its places, None where there is no `promptkit.yaml`.
    """

    root: Path
    settings: ProjectSettings = field(default_factory=ProjectSettings)
    source: Document | None = None

    @classmethod
    def find(cls, start: Path, *, otherwise: Path | None = None) -> Project:
        """Return the project of a file or folder: the nearest parent with `promptkit.yaml`.

        Without one the root is `otherwise`, by default the folder itself. Raises InputError for wrong settings.
        """
        start = resolved(start)
        folder = start if os.path.isdir(start) else start.parent
        root = find_root(folder)
        if root is None:
            return cls(folder if otherwise is None else resolved(otherwise))
        source = load_file(root / SETTINGS_FILE)
        return cls(root, read_model(source, ProjectSettings), source)

    @property
    def store_folder(self) -> Path:
        """The folder of the store: `.promptkit` in the root; for the installed library a folder of the user."""
        if self.root.is_relative_to(_PACKAGE):
            return cache_folder() / "store"
        return self.root / STORE_FOLDER

    def find_prompt(self, name: str, beside: Path | None = None) -> Path | None:
        """Return the file of a prompt by name or path, None where there is none.

        A name is searched beside the file (or in the folder) `beside`, then in the root, then among the shipped files.
        Raises InputError for a path that leaves the root, and for anything but a regular file.
        """
        return self._find("prompts", name, beside)

    def find_pipeline(self, name: str, beside: Path | None = None) -> Path | None:
        """Return the file of a pipeline by name or path, as `find_prompt` does."""
        return self._find("pipelines", name, beside)

    def find_template(self, kind: TemplateKind, name: str) -> Path | None:
        """Return the file (of a technique: the folder) of a template in the root, else among the shipped files."""
        return self._find(kind, name, None)

    def names(self, kind: FileKind) -> list[str]:
        """Return every name of a kind in the root and among the shipped files, sorted."""
        return sorted({name for folder in self._folders(kind) for name in _names_in(folder, kind)})

    def inside(self, path: Path) -> bool:
        """Tell whether a path, all symlinks followed, lies in the root or among the shipped files."""
        target = resolved(path)
        return target.is_relative_to(resolved(self.root)) or _is_shipped(target, LIBRARY)

    def owns(self, path: Path) -> bool:
        """Tell whether a path lies in the root, and not among the shipped files of another project."""
        root, target = resolved(self.root), resolved(path)
        return target.is_relative_to(root) and (root == LIBRARY or not _is_shipped(target, LIBRARY))

    def portable_name(self, path: Path) -> str:
        """Return a file's path within the project or promptkit, the same wherever these lie; else its name."""
        return first_found(("portable name", self.root, path), lambda: self._portable_name(path)) or path.name

    def _portable_name(self, path: Path) -> str:
        file = resolved_once(path)
        folder = next((folder for folder in (resolved_once(self.root), LIBRARY) if file.is_relative_to(folder)), None)
        return file.name if folder is None else file.relative_to(folder).as_posix()

    def target(self, name: str) -> Path:
        """Return the file that a command line names: a path, a pipeline or a prompt.

        Raises InputError with the nearest name. A path that a person types may lie anywhere.
        """
        if (typed := _existing_file(name)) is not None:
            return typed
        try:
            found = self.find_pipeline(name) or self.find_prompt(name)
        except InputError:
            if not _is_path(name):
                raise
            found = None  # A typed path may leave the root, but there is no file.
        if found is None:
            raise InputError(f"there is no pipeline or prompt `{name}`", hint=self._nearest_target(name))
        return found

    def suite(self, name: str) -> Path:
        """Return the file of a suite that a command line names: a path, or a name in `evals/`. Raises InputError."""
        if (typed := _existing_file(name)) is not None:
            return typed
        try:
            found = self._find("evals", name, None)
        except InputError:
            if not _is_path(name):
                raise
            found = None
        if found is None:
            raise InputError(f"there is no suite `{name}`", hint=nearest(name, self.names("evals")))
        return found

    def _nearest_target(self, name: str) -> str | None:
        if _is_path(name):
            path = Path(name)
            beside = {str(path.parent / file) for kind in _TARGETS for file in _files_in(path.parent, kind)}
            hint = nearest(name, beside)
            if hint:
                return hint
        return nearest(name, [*self.names("pipelines"), *self.names("prompts")])

    def _find(self, kind: FileKind, name: str, beside: Path | None) -> Path | None:
        key = (self.root, LIBRARY, kind, name, beside)
        return first_found(key, lambda: self._search(kind, name, beside))

    def _search(self, kind: FileKind, name: str, beside: Path | None) -> Path | None:
        if name in ("", ".", "..") or "\0" in name:
            return None
        folders = self._folders(kind)
        if beside is not None:
            folders = (beside if os.path.isdir(beside) else beside.parent, *folders)
        elif _is_path(name):
            folders = (self.root,)
        for folder in folders[:1] if _is_path(name) else folders:
            for path in _spellings(folder, name, kind):
                if not self.inside(path):
                    hint = f"its root is {self.root}"
                    raise InputError(f"the path `{name}` leaves the project", hint=hint)
                if _exists(path, kind):
                    return resolved(path)
                if os.path.lexists(path) and not os.path.isdir(path):
                    check_named(path)
        return None

    def _folders(self, kind: FileKind) -> tuple[Path, ...]:
        folders = (self.root / _FOLDERS[kind], LIBRARY / _FOLDERS[kind])
        return (*folders, LIBRARY / TECHNIQUE_PIPELINES) if kind == "pipelines" else folders


@lru_cache(maxsize=4)
def _shipped_folders(library: Path) -> frozenset[Path]:
    return frozenset(library / folder for folder in _FOLDERS.values())


def _is_shipped(path: Path, library: Path) -> bool:
    """Tell whether a resolved path lies in one of the shipped folders."""
    return not _shipped_folders(library).isdisjoint((path, *path.parents))


def is_artifact(path: Path) -> bool:
    """Tell whether a file beside pipelines is an artifact of a technique: `PIPELINE.STEP.TECHNIQUE.yaml`."""
    return path.stem.count(".") >= 2


def is_suite(path: Path) -> bool:
    """Tell a suite from other YAML files: it has metrics."""
    return path.suffix in (".yaml", ".yml") and os.path.isfile(path) and bool(_METRICS.search(read_bytes(path)))


def _is_path(name: str) -> bool:
    """Tell a path from a name, which has no slash."""
    return "/" in name or "\\" in name


def _endings(kind: FileKind) -> tuple[str, ...]:
    return {"pipelines": (".yaml", ".yml"), "evals": (".yaml", ".yml"), "techniques": ("",)}.get(kind, (".j2",))


def _spellings(folder: Path, name: str, kind: FileKind) -> Iterator[Path]:
    """Yield the paths that a name with or without its ending may mean. Only a path may have another ending."""
    endings = _endings(kind)
    if _is_path(name) or name.endswith(endings):
        yield folder / name
    yield from (folder / (name + ending) for ending in endings if ending)


def _existing_file(name: str) -> Path | None:
    """Return the file that a command line names by its path, None for a name and for a folder.

    Raises InputError for a pipe, a device, or a link that leads nowhere.
    """
    path = Path(name)
    if not name or not os.path.lexists(path) or os.path.isdir(path):
        return None
    if not os.path.isfile(path) and not (_is_path(name) or path.suffix):
        return None  # A name, such as a pipeline's, that a pipe has by chance.
    check_there(path)
    return resolved(path)


def _exists(path: Path, kind: FileKind) -> bool:
    # Unlike a Path's own methods, these do not fail for a name that is too long, or one with a NUL.
    return os.path.isdir(path) if kind == "techniques" else os.path.isfile(path)


def _files_in(folder: Path, kind: FileKind) -> Iterator[str]:
    try:
        names = [path.name for path in folder.iterdir()]
    except (OSError, ValueError):
        names = []
    yield from (name for name in names if name.endswith(_endings(kind)))


def _names_in(folder: Path, kind: FileKind) -> Iterator[str]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        ending = next((ending for ending in _endings(kind) if path.name.endswith(ending)), None)
        if ending is None or path.name.startswith((".", "_")) or not _exists(path, kind):
            continue
        name = path.name.removesuffix(ending)
        if kind == "pipelines" and is_artifact(path):
            continue
        if not (kind == "prompts" and name == _SECTIONS_TEMPLATE):
            yield name
