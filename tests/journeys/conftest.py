from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.reports.page.html import templates
from tests.journeys.commands import Place


@pytest.fixture(scope="session", autouse=True)
def compiled_page() -> None:
    """Compile the HTML page's templates before an event loop is watched: like imports, they are a first use's cost."""
    environment = templates()
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A small project that is the working folder."""
    return Place(tmp_path, monkeypatch)
