"""A tuning that is killed or interrupted ends as if it had not been, and asks nothing twice that was finished."""

from __future__ import annotations

import json
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptkit.storage.store import Store
from tests.command import Done
from tests.journeys.project import finish, start
from tests.journeys.test_eval_death import mood_of
from tests.runtimes.servers.ollama_server import Answer, FakeModel, OllamaServer

ROWS = 40
IN_FLIGHT = 10
PAUSE = 0.02
KILLS = 2
AFTER = 0.3
"""Seconds after a request in which a kill may come: past the last one it meets what is reckoned and written."""
CALLS = 125
"""Too few to ask the start twice: a question that is asked again was not finished."""
ARGUMENTS = ["tune", "mood", "--suite", "moods", "--budget", f"calls={CALLS}", "--yes", "--model", "ollama/tiny"]
PROMPT = """\
---
inputs: {text: {}}
answer: {label: [positive, negative]}
decide: generate
cue: none
---
{% block instructions %}Say what mood the review is of.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
SUITE = f"""\
name: moods
data: rows.jsonl
target: mood
expect: "{{{{ row.mood }}}}"
metrics: {{right: exact}}
concurrency: {IN_FLIGHT}
"""
ROW = re.compile(r"review (\d+)")
OF_THE_RUN = {"run", "seconds", "latency", "front", "cached", "asked"}
"""What differs between two tunings of the same: times, and who is dominated, which times decide too."""


@dataclass(frozen=True)
class Ended:
    """What a tuning left: its record, its cells and the files it wrote."""

    record: Any
    cells: dict[tuple[str, int], Any]
    files: dict[str, str]


def make(folder: Path) -> Path:
    """Return a project with a prompt, of which a model gets far more right under a cue."""
    (folder / "templates" / "prompts").mkdir(parents=True)
    (folder / "evals").mkdir()
    (folder / "promptkit.yaml").touch()
    (folder / "templates" / "prompts" / "mood.j2").write_text(PROMPT)
    (folder / "evals" / "moods.yaml").write_text(SUITE)
    rows = [{"text": f"review {number}", "mood": mood_of(number)} for number in range(ROWS)]
    (folder / "evals" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tiny() -> FakeModel:
    async def respond(prompt: str, body: dict[str, Any]) -> Answer:
        numbers = ROW.findall(prompt)
        number = int(numbers[-1]) if numbers else 0
        is_right = random.Random(number).random() < (0.9 if "Mood:" in prompt else 0.5)
        return Answer(mood_of(number if is_right else number + 1), pause=PAUSE if numbers else 0)

    return FakeModel("tiny", respond=respond)


def asked(server: OllamaServer) -> list[str]:
    """Return what the server was asked, in order."""
    return [question(seen.body, scores=bool(seen.body.get("logprobs"))) for seen in server.asked]


def question(request: dict[str, Any], *, scores: bool) -> str:
    """Return what tells a request from others: its text, and whether it is the labels' scores that are wanted."""
    text = request.get("prompt") or tiny().prompt(request["messages"])
    return json.dumps([text, scores])


def in_store(folder: Path) -> tuple[dict[tuple[str, int], Any], set[str]]:
    """Return the finished cells of the last run by variant and row, and what was asked for those of any, from a store
    that is whole."""
    file = folder / ".promptkit" / "store.db"
    if not file.exists():
        return {}, set()
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    with Store.open(folder / ".promptkit") as store:
        cells, questions = {}, set[str]()
        for run in reversed(store.runs()):
            of_run = list(store.cells.of_run(run.number))
            cells = {(each.variant, each.row): (without_times(each.outcome), each.scores) for each in of_run}
            questions |= {call for each in of_run for call in calls(json.loads(store.cells.trace(each.number) or b""))}
    return cells, questions


def calls(trace: dict[str, Any]) -> Iterator[str]:
    """Yield what was asked for a cell."""
    for call in trace["calls"]:
        yield question(call, scores="alternatives" in call["options"])
    for part in trace["parts"]:
        yield from calls(part)


def without_times(value: Any) -> Any:
    """Return a record, or its text, without what differs between two tunings of the same."""
    if isinstance(value, str) and value.startswith("{"):
        return without_times(json.loads(value))
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in OF_THE_RUN}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def ended(folder: Path, done: Done) -> Ended:
    """Return what a tuning left that ended by itself."""
    assert done.code == 0, done.err
    record = json.loads(done.out)
    files = {name: (folder / name).read_text() for name in record["written"]}
    return Ended(without_times(record), in_store(folder)[0], files)


def wait_for(server: OllamaServer, count: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while len(server.asked) < count and process.poll() is None:
        assert time.monotonic() < end, "the server was not asked"
        time.sleep(0.01)


def killed(folder: Path, server: OllamaServer, chance: random.Random, left: int) -> bool:
    """Begin the tuning, kill it at a random moment of what is left of it, and tell whether it was still there."""
    victim = start(folder, server.url, *ARGUMENTS, "--json")
    wait_for(server, len(asked(server)) + chance.randint(1, left), victim)
    time.sleep(chance.uniform(0, AFTER))
    victim.kill()
    victim.communicate()
    time.sleep(0.1)  # until the server has read what was sent
    return victim.returncode == -signal.SIGKILL


@pytest.mark.attack("kill")
def test_killed_at_random_moments_it_ends_as_if_undisturbed_and_asks_again_what_was_in_flight_alone(
    tmp_path: Path,
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # shown where this fails
    chance = random.Random(seed)
    whole = make(tmp_path / "whole")
    with OllamaServer(tiny(), parallel=IN_FLIGHT) as server:
        undisturbed = ended(whole, finish(whole, server.url, *ARGUMENTS, "--json"))
        questions = set(asked(server))
        assert len(questions) == len(asked(server)) == undisturbed.record["calls"]
    assert undisturbed.record["verdict"] == "improved"

    kills = turn = 0
    while kills < KILLS:
        turn += 1  # one may end before it is killed, and then kills nothing
        folder = make(tmp_path / f"killed-{turn}")
        with OllamaServer(tiny(), parallel=IN_FLIGHT) as server:
            finished: set[str] = set()
            own = 0
            for _ in range(KILLS - kills):
                seen = len(asked(server))
                own += killed(folder, server, chance, max(1, len(questions - finished)))
                assert finished.isdisjoint(asked(server)[seen:])
                finished = in_store(folder)[1]
            seen = len(asked(server))
            again = finish(folder, server.url, *ARGUMENTS, "--json")
            last = asked(server)[seen:]

        assert ended(folder, again) == undisturbed
        assert finished.isdisjoint(last)
        assert len(set(last)) == len(last)
        assert set(asked(server)) == questions
        assert len(asked(server)) - len(questions) <= own * IN_FLIGHT
        kills += own


@pytest.mark.parametrize("calls", [30, 60], ids=["in the search", "in the confirmation"])
def test_interrupted_it_shows_the_best_so_far_and_the_same_command_goes_on(tmp_path: Path, calls: int) -> None:
    folder = make(tmp_path)
    with OllamaServer(tiny(), parallel=IN_FLIGHT) as server:
        victim = start(folder, server.url, *ARGUMENTS)
        wait_for(server, calls, victim)
        victim.send_signal(signal.SIGINT)
        said, complaint = victim.communicate(timeout=60)
        finished, seen = in_store(folder)[1], len(asked(server))
        kept = finish(folder, server.url, "runs", "show", "1", "--json")

        again = finish(folder, server.url, *ARGUMENTS, "--json")

        assert victim.returncode == 130
        assert len(finished) > calls / 3
        assert "Traceback" not in said + complaint
        assert "the same command asks only what is missing" in complaint
        assert again.code == 0, again.err
        assert finished.isdisjoint(asked(server)[seen:])
    assert "interrupted" in said
    assert "not shown" in said
    record = json.loads(kept.out)
    assert (record["status"], record["stopped_by"], record["verdict"]) == ("interrupted", "interrupted", "not shown")
    assert json.loads(again.out)["verdict"] == "improved"
