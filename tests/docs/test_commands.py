"""The command reference is what the commands say about themselves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.docs.commands import PAGE, found_commands, parameters, reference


def test_the_command_reference_is_current() -> None:
    assert PAGE.read_text("utf-8") == reference(), "write it anew: python -m tests.docs.refresh"


@pytest.mark.parametrize(("name", "command"), list(found_commands()), ids=lambda value: str(value)[:40])
def test_every_command_and_option_has_help(name: str, command: Any) -> None:
    assert command.help
    assert [written for written, text in parameters(command) if not text] == []
