"""DSPy is there when it is asked for, and only then."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from promptkit.errors import MissingExtra
from promptkit.tuning.dspy_bridge import extra
from tests.command import environment

LOADED = """
import json, pkgutil, sys
import promptkit.tuning, promptkit.tuning.dspy_bridge.extra
for module in pkgutil.iter_modules(promptkit.tuning.__path__, "promptkit.tuning."):
    __import__(module.name)
print(json.dumps([name for name in ("dspy", "gepa", "litellm", "optuna") if name in sys.modules]))
"""
NO_NETWORK = """
import sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        print(event, arguments)
        raise SystemExit(1)
sys.addaudithook(watch)
from types import SimpleNamespace
from promptkit.tuning.dspy_bridge.extra import open_search
estimates = SimpleNamespace(evaluator=None)
open_search("gepa", SimpleNamespace(estimates=estimates, split=None), progress=None, models=None)
from dspy.clients._litellm import get_litellm
get_litellm(feature="a test").completion
"""


def test_nothing_of_dspy_is_loaded_before_it_is_asked_for() -> None:
    ran = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, env=environment(), check=True)

    assert json.loads(ran.stdout) == []


def test_nothing_is_looked_up_on_the_network_when_it_is_loaded() -> None:
    ran = subprocess.run([sys.executable, "-c", NO_NETWORK], capture_output=True, env=environment(), text=True)

    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


def test_without_the_extra_the_line_is_told_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None)

    with pytest.raises(MissingExtra, match=r"promptkit\[dspy\]"):
        extra.open_search("gepa", None, progress=None, models=None)  # type: ignore[arg-type]
