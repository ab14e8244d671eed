"""An evaluation that is killed, interrupted or left by its server loses nothing that was finished, and asks it once."""

from __future__ import annotations

import json
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import stamina

from tests.journeys.project import finish, start
from tests.runtimes.servers.ollama_server import Answer, FakeModel, OllamaServer

ROWS = 80
IN_FLIGHT = 10
PAUSE = 0.05
KILLS = 3
ARGUMENTS = ["eval", "evals/moods.yaml", "--model", "ollama/tiny", "-j", str(IN_FLIGHT), "--json"]
PROMPT = """\
---
inputs: {text: {}}
answer: {label: [positive, negative]}
decide: generate
---
{% block instructions %}Say what mood the review is of.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
SUITE = """\
name: moods
data: rows.jsonl
target: mood
expect: "{{ row.mood }}"
metrics: {right: exact}
"""
ROW = re.compile(r"review (\d+)")
Make = Callable[[str], Path]
OF_THE_RUN = {"run", "seconds", "known", "cached", "asked"}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a project of a name, with a suite of so many rows of which a model gets a third wrong."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        (folder / "templates" / "prompts").mkdir(parents=True)
        (folder / "evals").mkdir()
        (folder / "promptkit.yaml").touch()
        (folder / "templates" / "prompts" / "mood.j2").write_text(PROMPT)
        (folder / "evals" / "moods.yaml").write_text(SUITE)
        rows = [{"text": f"review {number}", "mood": mood_of(number)} for number in range(ROWS)]
        (folder / "evals" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return make


def mood_of(number: int) -> str:
    return "positive" if number % 2 else "negative"


def tiny() -> FakeModel:
    async def respond(prompt: str, body: dict[str, Any]) -> Answer:
        match = ROW.search(prompt)
        number = int(match[1]) if match else 0
        return Answer("positive" if number % 3 == 0 else mood_of(number), pause=PAUSE if match else 0)

    return FakeModel("tiny", respond=respond)


def asked(server: OllamaServer) -> list[int]:
    """Return the rows that the server was asked for, in order."""
    return [int(match[1]) for seen in server.asked if (match := ROW.search(json.dumps(seen.body)))]


def wait_for(server: OllamaServer, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 30
    while len(asked(server)) < count and process.poll() is None:
        assert time.monotonic() < end, "the server was not asked"
        time.sleep(0.005)


def in_store(folder: Path) -> dict[int, Any]:
    """Return the finished cells by row, without what they took, from a store that is whole."""
    file = folder / ".promptkit" / "store.db"
    if not file.exists():
        return {}
    with closing(sqlite3.connect(file)) as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)
        found = store.execute(
            "select fields, outcome, scores from run_cells join cells on cells.number = run_cells.cell"
            " join data_rows on data_rows.number = row_number join traces on traces.cell = cells.number order by run"
        ).fetchall()
    return {
        int(match[1]): (without_times(json.loads(outcome)), json.loads(scores))
        for fields, outcome, scores in found
        if (match := ROW.search(fields.decode()))
    }


def without_times(value: Any) -> Any:
    """Return a record without what differs between two runs of the same."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in OF_THE_RUN}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def killed(folder: Path, server: OllamaServer, chance: random.Random) -> bool:
    """Begin the evaluation and kill it at a random moment after its first request; tell whether it was still there."""
    victim = start(folder, server.url, *ARGUMENTS)
    wait_for(server, len(asked(server)) + 1, victim)
    time.sleep(chance.uniform(0, ROWS * PAUSE / IN_FLIGHT))
    victim.kill()
    victim.communicate()
    time.sleep(0.1)  # until the server has read what was sent
    return victim.returncode == -signal.SIGKILL


@pytest.mark.attack("kill")
def test_killed_at_random_moments_it_ends_as_if_undisturbed_and_asks_again_what_was_in_flight_alone(
    make: Make,
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # shown where this fails
    chance = random.Random(seed)
    whole = make("whole")
    with OllamaServer(tiny(), parallel=IN_FLIGHT) as server:
        undisturbed = finish(whole, server.url, *ARGUMENTS)
        assert undisturbed.code == 0, undisturbed.err
        assert sorted(asked(server)) == list(range(ROWS))

    kills = turn = 0
    while kills < KILLS:
        turn += 1  # one may end before it is killed, and then kills nothing
        folder = make(f"killed-{turn}")
        with OllamaServer(tiny(), parallel=IN_FLIGHT) as server:
            finished: dict[int, Any] = {}
            own = 0
            for _ in range(chance.randint(1, 3)):
                seen = len(asked(server))
                own += killed(folder, server, chance)
                assert finished.keys().isdisjoint(asked(server)[seen:])
                finished = in_store(folder)
            seen = len(asked(server))
            again = finish(folder, server.url, *ARGUMENTS)
            last = asked(server)[seen:]

        assert again.code == 0, again.err
        assert finished.keys().isdisjoint(last)
        assert len(set(last)) == len(last)
        assert len(asked(server)) - ROWS <= own * IN_FLIGHT
        kills += own
        assert without_times(json.loads(again.out)) == without_times(json.loads(undisturbed.out))
        assert in_store(folder) == in_store(whole)


def test_interrupted_it_says_so_keeps_what_was_answered_and_goes_on_from_there(make: Make) -> None:
    folder = make("interrupted")
    with OllamaServer(tiny(), parallel=IN_FLIGHT) as server:
        victim = start(folder, server.url, *ARGUMENTS)
        wait_for(server, ROWS // 2, victim)
        victim.send_signal(signal.SIGINT)
        said, complaint = victim.communicate(timeout=30)
        finished, seen = in_store(folder), len(asked(server))

        again = finish(folder, server.url, *ARGUMENTS)

        assert victim.returncode == 130
        assert "Traceback" not in said + complaint
        assert "the same command asks only what is missing" in complaint
        assert len(finished) >= ROWS // 2 - 2 * IN_FLIGHT
        assert again.code == 0, again.err
        missing, last = set(range(ROWS)) - finished.keys(), asked(server)[seen:]
        assert len(set(last)) == len(last)
        assert missing.issuperset(last)
        assert len(missing) - len(last) <= IN_FLIGHT  # replies that were kept just before their cells
    record = json.loads(again.out)
    assert (record["status"], record["known"]) == ("done", len(finished))


def test_left_by_its_server_it_ends_incomplete_and_the_same_command_completes_it(make: Make) -> None:
    folder = make("left")
    model = tiny()

    async def respond(prompt: str, body: dict[str, Any]) -> Answer:
        if len(asked(server)) > ROWS // 2:
            server.stop()
        return await tiny().respond(prompt, body)

    model.respond = respond
    with OllamaServer(model, parallel=IN_FLIGHT) as server, stamina.set_testing(True, attempts=4):
        left = finish(folder, server.url, *ARGUMENTS)
    finished = in_store(folder)
    with OllamaServer(tiny(), parallel=IN_FLIGHT) as server:
        again = finish(folder, server.url, *ARGUMENTS)
        missing = asked(server)

    assert left.code == 3
    record = json.loads(left.out)
    assert record["status"] == "incomplete"
    assert record["variants"][0]["missing"] == ROWS - len(finished) > 0
    assert again.code == 0, again.err
    assert json.loads(again.out)["status"] == "done"
    assert sorted(missing) == sorted(set(range(ROWS)) - finished.keys())
