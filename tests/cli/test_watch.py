"""`try --watch`: each save asks again what it changed; mistakes and ctrl-C do not end it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.cli.conftest import REPLY, SORT
from tests.command import COMMAND, environment

PATIENCE = 20
Watching = Callable[..., "Screen"]


class Screen:
    """A watch in a process of its own; each `next` is one result as JSON."""

    def __init__(self, project: Path, *arguments: str) -> None:
        command = [*COMMAND, "try", "mail", "--watch", "--json", *arguments]
        self.process = subprocess.Popen(
            command, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=[self.process.stdout], daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line)

    def next(self) -> Any:
        return json.loads(self._lines.get(timeout=PATIENCE))

    def is_quiet(self) -> bool:
        try:
            self._lines.get(timeout=0.5)
        except queue.Empty:
            return True
        return False

    def press_ctrl_c(self) -> None:
        self.process.send_signal(signal.SIGINT)


@pytest.fixture
def watching(project: Path) -> Iterator[Watching]:
    screens: list[Screen] = []

    def watch(*arguments: str) -> Screen:
        screens.append(Screen(project, *arguments))
        return screens[-1]

    yield watch
    for screen in screens:
        screen.process.kill()
        screen.process.communicate()


@pytest.fixture
def reply_file(project: Path) -> Path:
    return project / "templates" / "prompts" / "write_reply.j2"


def asked(result: Any) -> int:
    """Return how many requests were sent, those answered by the store left out."""
    return int(result["tally"]["calls"] - result["tally"]["cached"])


def test_a_save_asks_only_what_it_changed(watching: Watching, reply_file: Path) -> None:
    screen = watching()
    assert asked(screen.next()) == 4
    reply_file.write_text(REPLY.replace("Reply about", "Answer about"))
    result = screen.next()
    assert asked(result) == 2
    assert [case["output"]["reply"] for case in result["cases"]] == ["We will answer."] * 2
    assert result["tally"]["changed"] == 2


def test_a_file_renamed_over_is_one_save(watching: Watching, reply_file: Path) -> None:
    screen = watching()
    screen.next()
    backup, new = reply_file.with_name("write_reply.j2~"), reply_file.with_name(".write_reply.j2.tmp")
    os.rename(reply_file, backup)
    new.write_text(REPLY.replace("Reply about", "Answer about"))
    os.rename(new, reply_file)
    assert screen.next()["tally"]["changed"] == 2
    assert screen.is_quiet()


def test_a_save_that_changes_nothing_asks_nothing(watching: Watching, reply_file: Path) -> None:
    screen = watching()
    screen.next()
    reply_file.write_text(REPLY)
    assert screen.is_quiet()


def test_a_broken_file_shows_what_is_wrong_until_it_is_whole_again(watching: Watching, reply_file: Path) -> None:
    screen = watching()
    screen.next()
    reply_file.write_text(REPLY.replace("{{ topic }}", "{{ topik }}"))
    error = screen.next()["error"]
    assert "write_reply.j2:4" in error and "did you mean `topic`?" in error
    reply_file.write_text(REPLY)
    assert screen.next()["tally"]["same"] == 2


def test_a_missing_prompt_is_seen_when_it_comes(watching: Watching, project: Path, reply_file: Path) -> None:
    reply_file.unlink()
    screen = watching()
    assert "write_reply" in screen.next()["error"]
    reply_file.write_text(REPLY)
    assert asked(screen.next()) == 4


def test_a_parent_that_an_edit_brings_in_is_followed_too(watching: Watching, project: Path) -> None:
    screen = watching()
    screen.next()
    prompts = project / "templates" / "prompts"
    (prompts / "parent.j2").write_text("{% block persona %}You are a clerk.{% endblock %}")
    (prompts / "sort_mail.j2").write_text(SORT.replace("{% block ins", "{% extends 'parent.j2' %}\n{% block ins"))
    assert asked(screen.next()) == 2
    (prompts / "parent.j2").write_text("{% block persona %}You are a judge.{% endblock %}")
    assert asked(screen.next()) == 2


SLOW = """\
import asyncio
from pathlib import Path


async def answer(request):
    Path("asked").touch()
    await asyncio.sleep(600)
"""


def test_ctrl_c_stops_the_answer_and_then_the_tool(watching: Watching, project: Path) -> None:
    (project / "slow.py").write_text(SLOW)
    screen = watching("--model", "scripted:slow.py:answer")
    deadline = time.monotonic() + PATIENCE
    while not (project / "asked").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    screen.press_ctrl_c()
    assert screen.next()["stopped"] is True
    assert screen.process.poll() is None
    screen.press_ctrl_c()
    assert screen.process.wait(PATIENCE) == 130
    assert "Traceback" not in screen.process.communicate()[1]
