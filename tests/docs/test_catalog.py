"""The catalog of techniques is what the techniques say about themselves."""

from __future__ import annotations

from tests.docs.catalog import PAGE, catalog


def test_the_catalog_is_current() -> None:
    assert PAGE.read_text("utf-8") == catalog(), "write it anew: python -m tests.docs.refresh"
