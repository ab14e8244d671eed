"""The tests of CPython's sandbox need its jail."""

from __future__ import annotations

import pytest

from promptkit.tools.backends import jail_fault


@pytest.fixture
def jail() -> None:
    """Skip the test where processes cannot be jailed."""
    if why := jail_fault():
        pytest.skip(why)
