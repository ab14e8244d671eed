"""A run that is killed loses nothing it was given, and asks for nothing twice."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.project import finish, make_project, start
from tests.runtimes.servers.ollama_server import Answer, FakeModel, OllamaServer

WORDS = [f"word-{number:02}" for number in range(12)]


def asked(server: OllamaServer) -> list[str]:
    """Return the words that the server was asked to shout, in order."""
    return [word for seen in server.asked for word in WORDS if word in json.dumps(seen.body)]


async def slow(prompt: str, body: dict[str, Any]) -> Answer:
    word = next((word for word in WORDS if word in prompt), "none")
    return Answer(word.upper(), pause=0.1)


def wait_for(server: OllamaServer, count: int) -> None:
    end = time.monotonic() + 30
    while len(asked(server)) < count:
        assert time.monotonic() < end, "the server was not asked"
        time.sleep(0.01)


@pytest.mark.attack("kill")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_killed_run_asks_only_for_what_is_missing_when_it_is_run_again(
    tmp_path: Path, how: signal.Signals, code: int
) -> None:
    folder = make_project(tmp_path)
    with OllamaServer(FakeModel("tiny", respond=slow)) as server:
        arguments = ["run", "shout", f"words={json.dumps(WORDS)}", "--model", "ollama/tiny"]
        victim = start(folder, server.url, *arguments)
        wait_for(server, 6)
        victim.send_signal(how)
        _, said = victim.communicate(timeout=30)
        before = len(asked(server))

        again = finish(folder, server.url, *arguments)

        assert victim.returncode == code
        assert "Traceback" not in said
        assert again.code == 0, again.err
        assert json.loads(again.out) == [word.upper() for word in WORDS]
        most_in_flight = 5
        assert len(asked(server)) <= len(WORDS) + most_in_flight
        assert len(asked(server)) - before < len(WORDS)
    with sqlite3.connect(next((folder / ".promptkit").glob("*.db*"))) as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)
    store.close()


def test_ctrl_c_stops_the_generation_on_the_server(tmp_path: Path) -> None:
    async def endless(prompt: str, body: dict[str, Any]) -> Answer:
        return Answer("on and on " * 1000, pause=0.05)

    folder = make_project(tmp_path)
    with OllamaServer(FakeModel("tiny", respond=endless)) as server:
        victim = start(folder, server.url, "run", "shout", 'words=["word-00"]', "--model", "ollama/tiny")
        wait_for(server, 1)
        assert server.cancelled == 0
        victim.send_signal(signal.SIGINT)
        _, errors = victim.communicate(timeout=30)
        end = time.monotonic() + 10
        while not server.cancelled:
            assert time.monotonic() < end, "the server still generates"
            time.sleep(0.01)
    assert victim.returncode == 130
    last = ["interrupted; what was answered is kept", "  hint: the same command asks only what is missing"]
    assert errors.splitlines()[-2:] == last


def test_a_second_run_is_answered_from_the_store_and_no_cache_asks_anew(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    with OllamaServer(FakeModel("tiny", respond=slow)) as server:
        arguments = ["run", "shout", f"words={json.dumps(WORDS[:3])}", "--model", "ollama/tiny"]
        first = finish(folder, server.url, *arguments)
        second = finish(folder, server.url, *arguments)

        assert first.out == second.out
        assert len(asked(server)) == 3

        third = finish(folder, server.url, *arguments, "--no-cache")

        assert third.out == first.out
        assert len(asked(server)) == 6


def test_a_changed_model_is_never_answered_from_the_store(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    words = f"words={json.dumps(WORDS[:2])}"
    for template in ("one", "two"):
        with OllamaServer(FakeModel("tiny", respond=slow, template=template)) as server:
            finish(folder, server.url, "run", "shout", words, "--model", "ollama/tiny")

            assert len(asked(server)) == 2
