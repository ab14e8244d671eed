from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.commands import Place


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A small project that is the working folder."""
    return Place(tmp_path, monkeypatch)
