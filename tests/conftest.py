"""Settings for every test: Hypothesis asserts behaviour, not time; CI draws the same examples each time; tests marked
`real_model` are left out unless `-m` names them."""

import gc
import os
import sqlite3
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from promptkit.storage import database
from tests.loop_watch import free_event_loop

__all__ = ["free_event_loop"]

# What JAX compiles in tests computes little: half of the time of compiling is saved.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

CI_EXAMPLES = 40
"""Of a property that names no number itself: they are the same each time, so more find nothing new the next time."""

settings.register_profile("promptkit", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, max_examples=CI_EXAMPLES)
settings.load_profile("ci" if os.environ.get("CI") else "promptkit")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_model: asks the real embedded model what a recording answers by default")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Let no collection of garbage walk through the thousands of collected tests, which stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def stores_without_waiting_for_the_disk() -> Iterator[None]:
    """Let stores wait for no disk: no power is lost here, and there are thousands of stores."""
    real = database.connect

    def quick(path: Path) -> sqlite3.Connection:
        connection = real(path)
        connection.execute("pragma synchronous = off")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "connect", quick)
        yield


@pytest.fixture(scope="session")
def data_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield paths for data folders; a folder is made only by what writes into it."""
    parent = tmp_path_factory.mktemp("data")
    return (parent / str(number) for number in count())


@pytest.fixture(scope="module", autouse=True)
def data_folder_of_a_module(data_folders: Iterator[Path]) -> Iterator[None]:
    """Let what is set up for all tests of a module, too, read nothing that other tunings have found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPTKIT_DATA", str(next(data_folders)))
        yield


@pytest.fixture(autouse=True)
def data_folder_of_its_own(data_folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test read nothing that the developer's tunings, or other tests', have found."""
    monkeypatch.setenv("PROMPTKIT_DATA", str(next(data_folders)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("real_model")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
