"""The real default model, loaded once for all tests that ask it.

Take it in by `from tests.embedded import embedded, model_file` in a `conftest.py`, or in a test module.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.in_process.weights import default_weights
from promptkit.runtimes.references import EMBEDDED


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The default model's file; `PROMPTKIT_TEST_GGUF` names one to take instead."""
    named = os.environ.get("PROMPTKIT_TEST_GGUF")
    return Path(named) if named else default_weights()


@pytest.fixture(scope="session")
def embedded(model_file: Path) -> Iterator[Embedded]:
    """The default model, in small windows that load fast."""
    runtime = Embedded(model_file, reference=EMBEDDED, context=1024, slots=4)
    yield runtime
    import asyncio

    asyncio.run(runtime.close())
