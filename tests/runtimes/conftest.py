"""What the tests of the runtimes share."""

from pathlib import Path

import pytest

from tests.embedded import embedded, model_file

__all__ = ["embedded", "model_file"]


@pytest.fixture(autouse=True)
def no_kept_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test find out for itself what a server can do."""
    for module in ("probes", "server_identity"):
        monkeypatch.setattr(f"promptkit.runtimes.servers.{module}.cache_folder", lambda: tmp_path)
