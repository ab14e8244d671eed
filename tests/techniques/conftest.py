"""Fixtures of techniques beside the bench: the real model, and a sandbox that does not wait long."""

import pytest

from promptkit.tools.sandbox import Limits
from tests.embedded import embedded, model_file

__all__ = ["embedded", "impatient", "model_file"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program that does not end be stopped after half a second."""
    monkeypatch.setattr("promptkit.tools.python.Limits", lambda: Limits(seconds=0.5))
