"""The skill file for agents: short, with commands and configurations that are right."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptkit.cli.serve import SKILL
from promptkit.server.mcp.verbs import VERBS
from tests.command import run_command
from tests.docs.commands import found_commands, parameters

TEXT = SKILL.read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Return the words of each promptkit command in the file, those of configurations among them."""
    lines = [shlex.split(line) for kind, body in BLOCKS if kind == "sh" for line in body.splitlines()]
    found = [words[words.index("--") + 1 :] if words[0] == "claude" else words for words in lines]
    return found + [["promptkit", *server["args"]] for server in configured()]


def configured() -> list[dict[str, Any]]:
    configurations = [json.loads(body) for kind, body in BLOCKS if kind == "json"]
    configurations += [tomllib.loads(body) for kind, body in BLOCKS if kind == "toml"]
    return [next(iter(configuration.values()))["promptkit"] for configuration in configurations]


def test_it_is_short_and_has_the_front_matter_of_a_skill() -> None:
    assert len(TEXT.splitlines()) < 80
    front = yaml.safe_load(TEXT.split("---")[1])
    assert front["name"] == "promptkit" and len(front["description"]) < 1_024


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_command_exists(words: list[str]) -> None:
    known = dict(found_commands())
    name = next(name for name in (" ".join(words[:3]), " ".join(words[:2])) if name in known)
    options = {option for written, _ in parameters(known[name]) for option in re.findall(r"--?[\w-]+", written)}
    assert {word for word in words if word.startswith("-")} <= options


def test_each_client_starts_the_server() -> None:
    assert len(configured()) == 3
    assert all(server["command"] == "promptkit" for server in configured())


def test_every_tool_is_named() -> None:
    assert all(f"`{verb}`" in TEXT for verb in VERBS)


def test_the_command_prints_it(tmp_path: Path) -> None:
    done = run_command("serve", "--skill", folder=tmp_path)
    assert (done.code, done.out) == (0, TEXT)
