"""What holds for every test: Hypothesis asserts behaviour, not time, and CI draws the same examples each time."""

import os

from hypothesis import settings

from tests.loop_watch import free_event_loop

__all__ = ["free_event_loop"]

settings.register_profile("promptkit", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "promptkit")
