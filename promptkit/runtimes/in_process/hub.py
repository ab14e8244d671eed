"""A model hub, spoken to by the hub's own package (the extra `hub`). `HF_ENDPOINT` names another hub."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from promptkit.errors import AccessDenied, MissingExtra, ModelLoadFailed, ModelMissing, nearest
from promptkit.runtimes.api_keys import Redactor
from promptkit.runtimes.base import DownloadProgress

OWN_FILE_HINT = "a file of your own works too: --model gguf:PATH"
PUBLIC_HUB = "https://huggingface.co"


def no_progress(what: str, done: int, total: int | None) -> None:
    """Ignore the progress."""


def hub_path(repo: str, file: str) -> Path | None:
    """Return a model hub's file if it is in the hub's own cache, else None. Fetches nothing.

    Raises MissingExtra without the extra `hub`.
    """
    found = _hub().try_to_load_from_cache(repo, file)
    return Path(found) if isinstance(found, str) else None


def pull_hub(repo: str, file: str, progress: DownloadProgress = no_progress) -> Path:
    """Fetch a file from a model hub into the hub's own cache, and return its path.

    Raises MissingExtra without the extra `hub`, ModelMissing where there is no such file, AccessDenied where it
    needs permission, ModelLoadFailed where it cannot be fetched.
    """
    hub = _hub()
    with _hub_errors(hub, repo, file, hint=OWN_FILE_HINT):
        # Unlike the download, this does not retry: offline, it fails immediately.
        hub.get_hf_file_metadata(hub.hf_hub_url(repo, file, endpoint=_endpoint()))
        bar = _bar(file, progress)
        return Path(hub.hf_hub_download(repo, file, endpoint=_endpoint(), tqdm_class=bar))


def download_file(repo: str, file: str, revision: str, part: Path, progress: DownloadProgress, *, hint: str) -> None:
    """Fetch a file from a model hub at a commit into the file `part`, from where `part` ends.

    The hub's own download would begin again after an interruption. Raises as `pull_hub`; `hint` says what to do
    without a network.
    """
    hub = _hub()
    url = hub.hf_hub_url(repo, file, revision=revision, endpoint=_endpoint())
    with _hub_errors(hub, repo, file, hint=hint), part.open("ab") as target:
        hub.get_hf_file_metadata(url)
        hub.file_download.http_get(
            url,
            target,
            resume_size=target.tell(),
            headers=hub.utils.build_hf_headers(),
            tqdm_class=_bar(file, progress),
        )


def public_url(repo: str, file: str, revision: str) -> str:
    """Return the address of a file on the public hub, for a person who fetches it by other means."""
    return f"{PUBLIC_HUB}/{repo}/resolve/{revision}/{file}"


def last_line(text: str) -> str:
    """Return the last line of a hub's or an installer's output, redacted for a message."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _quoted(lines[-1]) if lines else ""


@contextmanager
def _hub_errors(hub: Any, repo: str, file: str, *, hint: str) -> Iterator[None]:
    """Turn the errors of the hub's package into ours. `hint` is for a file that cannot be fetched."""
    name = f"hf/{repo}/{file}"
    try:
        yield
    except hub.errors.GatedRepoError as error:
        raise AccessDenied(f"{name} asks for a permission", hint="hf auth login") from error
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise ModelMissing(f"the model hub has no {repo}", hint="hf/OWNER/REPO/FILE.gguf") from error
    except hub.errors.RemoteEntryNotFoundError as error:
        files: list[str] = []
        with suppress(OSError, hub.errors.HTTPError):
            files = hub.HfApi(endpoint=_endpoint()).list_repo_files(repo)
        nearby = nearest(file, [one for one in files if one.endswith(".gguf")])
        raise ModelMissing(f"{repo} has no {file}", hint=nearby and _quoted(nearby)) from error
    except (OSError, hub.errors.HTTPError) as error:
        raise ModelLoadFailed(f"cannot fetch {name}: {last_line(str(error))}", hint=hint) from error


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _quoted(text: str) -> str:
    return Redactor(os.environ.get("HF_TOKEN")).quote(text)


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.file_download
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
