"""`import promptkit`: the functions are there, and nothing is imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import promptkit


def test_nothing_is_imported_until_it_is_used() -> None:
    look = (
        "import sys, promptkit; print([n for n in sys.modules if n.startswith('promptkit.')]); promptkit.run;"
        " print('promptkit.api.run' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\nTrue False\n"


def test_every_name_is_there_and_no_other() -> None:
    assert sorted(promptkit._MODULES) == promptkit.__all__
    for name in promptkit.__all__:
        assert getattr(promptkit, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'tuna'"):
        _ = promptkit.tuna
