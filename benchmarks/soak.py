"""Two evaluations at once in one project, on a server that throws faults, killed at random, for as long as you like.

    python benchmarks/soak.py --minutes 30 [--rows 1000] [--in-flight 8] [--faults 0.05] [--kill-within 15] [--seed N]

Two processes go through the same suites, one after the other, over one store. The server answers a share of the
requests by 429, 500, 503, a reset, a cut reply, garbage or nothing; every few seconds one of the processes gets
`kill -9`, and the same command is given again. When the time is over: the store must be whole, `runs list` must work,
and an undisturbed run of each suite must complete it, with the answers of an undisturbed run in a fresh store.
Prints the seed, a line a minute, and what happened: kills, runs by exit code, cells, requests, faults.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

from eval import REFERENCE, SUITE, write_suite
from server import Server, ollama_server

from promptkit.evaluation.stored_run import StoredRun
from promptkit.reports.export import jsonl_parts
from promptkit.storage.store import Store

PROMPTKIT = [sys.executable, "-m", "promptkit"]
PROCESSES = 2
LABELS = ("positive", "negative")
COMPARED = ("variant", "row", "repeat", "fields", "expect", "output", "flag", "scores", "steps")
ENDED = (0, 1, 3)
"""Exit codes of a run that ended by itself: complete, or with answers that are missing for the server's faults."""


@dataclass
class Life:
    """A process that goes through the suites: what runs now, and of which suite."""

    running: subprocess.Popen[bytes]
    suite: int
    said: IO[str]


@dataclass
class Soak:
    """What happened."""

    kills: int = 0
    suites: int = 1
    codes: Counter[int] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)


def make_project(folder: Path) -> None:
    """Write a project without suites."""
    suite = write_suite(folder, 0)
    suite.unlink()
    (folder / "evals").mkdir()


def add_suite(folder: Path, number: int, rows: int) -> None:
    """Write a suite with rows of its own into a project."""
    name = f"suite{number}"
    with (folder / "evals" / f"{name}.jsonl").open("w") as file:
        for row in range(rows):
            text = f"Review {number}.{row}: a fine film with a slow middle and a moving end."
            file.write(json.dumps({"text": text, "label": LABELS[row % 2]}) + "\n")
    text = SUITE.replace("name: bench", f"name: {name}").replace("rows.jsonl", f"{name}.jsonl")
    (folder / "evals" / f"{name}.yaml").write_text(text.replace("mood.j2", "../mood.j2"))


def environment(server: Server) -> dict[str, str]:
    return {**os.environ, "OLLAMA_HOST": server.url, "PROMPTKIT_MODEL": REFERENCE}


def begin(folder: Path, server: Server, suite: int, in_flight: int) -> Life:
    """Start an evaluation; what it says to a person is kept."""
    line = ("eval", f"suite{suite}", "-j", str(in_flight), "--retry-errors", "--json")
    said = TemporaryFile("w+")  # noqa: SIM115
    running = subprocess.Popen(
        [*PROMPTKIT, *line], cwd=folder, env=environment(server), stdout=subprocess.DEVNULL, stderr=said
    )
    return Life(running, suite, said)


def finished(folder: Path, server: Server, *line: str) -> str:
    """Run promptkit to its end, which must be a good one, and return what it printed."""
    ended = subprocess.run(
        [*PROMPTKIT, *line], cwd=folder, env=environment(server), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{' '.join(line)} ended with {ended.returncode}: {ended.stderr}"
    return ended.stdout


def soak(folder: Path, server: Server, options: argparse.Namespace, chance: random.Random) -> Soak:
    """Run, kill and run again until the time is over."""
    told = Soak()
    add_suite(folder, 0, options.rows)

    lives = [begin(folder, server, 0, options.in_flight) for _ in range(PROCESSES)]
    end = time.monotonic() + options.minutes * 60
    kill_at, shown_at = time.monotonic() + chance.uniform(1, options.kill_within), time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.05)
        if time.monotonic() > shown_at:
            shown_at += 60
            print(f"{server.requests()} requests, {told.kills} kills, {told.suites} suites", flush=True)
        for number, life in enumerate(lives):
            if life.running.poll() is not None:
                ended_by_itself(life, told)
                if life.suite + 1 == told.suites:
                    add_suite(folder, told.suites, options.rows)
                    told.suites += 1
                lives[number] = begin(folder, server, life.suite + 1, options.in_flight)
        if time.monotonic() > kill_at:
            kill_at = time.monotonic() + chance.uniform(1, options.kill_within)
            number = chance.randrange(PROCESSES)
            kill(lives[number].running, told)
            lives[number] = begin(folder, server, lives[number].suite, options.in_flight)
    for life in lives:
        kill(life.running, told)
    return told


def kill(process: subprocess.Popen[bytes], told: Soak) -> None:
    """End a process at once, without a word to it."""
    process.send_signal(signal.SIGKILL)
    told.kills += process.wait() == -signal.SIGKILL


def ended_by_itself(life: Life, told: Soak) -> None:
    """Count an end; one that no fault of the server explains is kept to be shown."""
    life.said.seek(0)
    code, said = life.running.returncode, life.said.read()
    told.codes[code] += 1
    if code not in ENDED or "Traceback" in said:
        told.strange.append(f"exit code {code}: {said[-2000:]}")


def answers(folder: Path, server: Server) -> dict[str, list[dict[str, Any]]]:
    """Run all suites undisturbed, which must complete them, and return the cells of each, without what differs between
    two runs."""
    found = {}
    with Store.open(folder / ".promptkit") as store:
        for line in finished(folder, server, "eval", "--retry-errors", "--json").splitlines():
            record = json.loads(line)
            missing = sum(variant["missing"] for variant in record["variants"])
            told = f"{record['suite']} is {record['status']}, {missing} missing"
            assert record["status"] == "done" and not missing, told
            run = store.run(str(record["run"]))
            assert run is not None
            cells = map(json.loads, "".join(jsonl_parts(StoredRun(store, run).cells())).splitlines())
            found[record["suite"]] = [{key: cell[key] for key in COMPARED} for cell in cells]
    return found


def check_whole(folder: Path) -> None:
    """See that SQLite finds the store whole."""
    with closing(sqlite3.connect(folder / ".promptkit" / "store.db")) as store:
        found = store.execute("pragma integrity_check").fetchall()
    assert found == [("ok",)], f"the store is damaged: {found[:5]}"


def main(options: argparse.Namespace) -> None:
    """Soak, look at what is left, and print what happened."""
    print(f"seed {options.seed}", flush=True)
    chance = random.Random(options.seed)
    with TemporaryDirectory() as parent:
        os.environ["PROMPTKIT_CACHE"] = str(Path(parent, "cache"))
        folder, fresh = Path(parent, "soaked"), Path(parent, "fresh")
        for each in (folder, fresh):
            make_project(each)
        with ollama_server(latency=options.latency, answer=LABELS, faults=options.faults, seed=options.seed) as server:
            told = soak(folder, server, options, chance)
            requests, faults = server.requests(), server.faults()
        check_whole(folder)
        with ollama_server(answer=LABELS) as server:
            finished(folder, server, "runs", "list")
            add_suite(folder, told.suites, options.rows)  # so that there are several, which print a line each
            for number in range(told.suites + 1):
                add_suite(fresh, number, options.rows)
            soaked, undisturbed = answers(folder, server), answers(fresh, server)
            assert len(soaked) == told.suites + 1
            differ = [name for name, cells in undisturbed.items() if soaked[name] != cells]
            assert not differ, f"the answers differ: {', '.join(differ)}"
            check_whole(folder)
        print(f"{told.kills} kills in {options.minutes:g} minutes; {requests} requests, of which", end=" ")
        print(", ".join(f"{count} × {fault}" for fault, count in sorted(faults.items())) or "none with a fault")
        ends = ", ".join(f"{count} × {code}" for code, count in sorted(told.codes.items()))
        print(f"{told.suites} suites of {options.rows} rows by {PROCESSES} processes; runs ended with {ends or 'none'}")
        print(f"the store is whole; {told.suites * options.rows} cells are those of an undisturbed run")
    for each in told.strange:
        print(f"strange: {each}")
    sys.exit(1 if told.strange else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rows", type=int, default=1000, help="of a suite")
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that the server takes to answer")
    parser.add_argument("--faults", type=float, default=0.05, help="the share of requests that are answered by a fault")
    parser.add_argument(
        "--kill-within", type=float, default=15.0, help="seconds at most from a kill to the next, at least 1"
    )
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    main(parser.parse_args())
