"""The backends of the sandbox; CPython's where it can be jailed."""

from __future__ import annotations

from typing import cast

import pytest

from promptkit.tools.backends import Backend, jail_fault


@pytest.fixture(params=["monty", "cpython"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """A backend that runs here."""
    if request.param == "cpython":
        request.getfixturevalue("jail")
    return cast("Backend", request.param)


@pytest.fixture
def jail() -> None:
    """Skip the test where processes cannot be jailed."""
    if why := jail_fault():
        pytest.skip(why)
