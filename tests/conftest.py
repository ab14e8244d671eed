"""Settings for every test: Hypothesis asserts behaviour, not time; CI draws the same examples each time; tests marked
`real_model` are left out unless `-m` names them."""

import os

import pytest
from hypothesis import settings

from tests.loop_watch import free_event_loop

__all__ = ["free_event_loop"]

settings.register_profile("promptkit", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "promptkit")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_model: asks the real embedded model what a recording answers by default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("real_model")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
