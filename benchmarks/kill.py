"""Kill an evaluation at random moments, again and again, and see that nothing is lost and nothing is asked twice.

    python benchmarks/kill.py [--kills 100] [--rows 500] [--latency 0.05] [--in-flight 20] [--seed N]

The suite, its settings and its traces are those of `benchmarks/eval.py`. One run goes to its end undisturbed. Then,
until there are so many kills, a run with a store of its own gets `kill -9` at a moment drawn from the time between
its first request and its end, and the same command is given again, which may be killed too, until one comes to its
end.

After each kill the store must be whole, and the server must not be asked again for a row whose cell was in it; after
each end, the record and every cell must be those of the undisturbed run, but for the number of the run, the seconds,
and what was known. Prints the seed, and at the end what was asked more than once: what was on its way at a kill, that
is sent, or answered and not yet on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval import REFERENCE, write_suite
from server import LOGGED, Server, ollama_server

ROW = re.compile(r"Review (\d+):")
OF_THE_RUN = {"run", "seconds", "known", "cached"}
SETTLE_SECONDS = 0.2
"""How long a server may still read what a killed client sent."""


@dataclass
class Killed:
    """What happened: kills, the seconds after the first request at which they came, and rows asked again for each."""

    moments: list[float] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    runs: int = 0


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run gave: its record, its cells, and the seconds from its first request to its end."""

    record: Any
    cells: dict[int, Any]
    seconds: float


class Command:
    """`promptkit eval` on a project of its own."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self.suite = write_suite(folder, arguments.rows)
        self._in_flight = str(arguments.in_flight)
        self._rows: int = arguments.rows

    def start(self, server: Server, said: Path) -> subprocess.Popen[str]:
        """Start it; what it prints goes into a file."""
        command = [sys.executable, "-m", "promptkit", "eval", self.suite.name, "-j", self._in_flight, "--json"]
        given = {**os.environ, "OLLAMA_HOST": server.url, "PROMPTKIT_MODEL": REFERENCE}
        with said.open("w") as out, said.with_suffix(".err").open("w") as err:
            return subprocess.Popen(command, cwd=self.suite.parent, env=given, stdout=out, stderr=err, text=True)

    @property
    def store(self) -> Path:
        return self.suite.parent / ".promptkit" / "store.db"

    def cells(self) -> dict[int, Any]:
        """Return the finished cells in the store by their row: what each gave, without what it took."""
        if not self.store.exists():
            return {}
        with closing(sqlite3.connect(self.store)) as store:
            assert store.execute("pragma integrity_check").fetchone() == ("ok",), "the store is damaged"
            if not store.execute("select 1 from sqlite_master where name = 'run_cells'").fetchone():
                return {}
            found = store.execute(
                "select fields, outcome, scores, trace is not null from run_cells"
                " join cells on cells.number = run_cells.cell join data_rows on data_rows.number = row_number"
                " left join traces on traces.cell = cells.number order by run"
            ).fetchall()
        return {_row(fields.decode()): _given(outcome, scores, traced) for fields, outcome, scores, traced in found}


def _row(text: str) -> int:
    match = ROW.search(text)
    assert match is not None, text
    return int(match[1])


def _given(outcome: bytes, scores: bytes, traced: int) -> Any:
    return without_times(json.loads(outcome)), json.loads(scores), bool(traced)


def without_times(value: Any) -> Any:
    """Return a record without what differs between two runs of the same."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in OF_THE_RUN}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def asked(server: Server) -> list[int]:
    """Return the rows that the server was asked for, in order."""
    return [int(match[1]) for _, text in server.log() if (match := ROW.search(text))]


def undisturbed(command: Command, arguments: argparse.Namespace) -> Whole:
    """Run it to its end."""
    with ollama_server(latency=arguments.latency) as server:
        said = command.suite.parent / "said.json"
        process = command.start(server, said)
        wait_for_first(server, process, 0)
        began = time.monotonic()
        assert process.wait() == 0, said.with_suffix(".err").read_text()
        seconds = time.monotonic() - began
        assert sorted(asked(server)) == list(range(arguments.rows)), "each row once"
    return Whole(without_times(json.loads(said.read_text())), command.cells(), seconds)


def wait_for_first(server: Server, process: subprocess.Popen[str], before: int) -> None:
    """Wait until the server is asked once more, or the process has ended."""
    while server.requests() == before and process.poll() is None:
        time.sleep(0.005)


def one_run(command: Command, whole: Whole, arguments: argparse.Namespace, chance: random.Random, told: Killed) -> None:
    """Kill a run until one of its lives comes to its end, or there were enough kills; look at all that it left."""
    with ollama_server(latency=arguments.latency) as server:
        said = command.suite.parent / "said.json"
        finished: dict[int, Any] = {}
        while True:
            before = asked(server)
            process = command.start(server, said)
            was_killed = False
            if len(told.moments) < arguments.kills:
                wait_for_first(server, process, server.requests())
                moment = chance.uniform(0, whole.seconds)
                try:
                    process.wait(timeout=moment)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    was_killed = True
                    told.moments.append(moment)
            code = process.wait()
            time.sleep(SETTLE_SECONDS if was_killed else 0)
            life = asked(server)[len(before) :]
            twice = sorted(set(life) & finished.keys())
            assert not twice, f"finished before the kill and asked again: {twice}"
            assert len(set(life)) == len(life), "a row asked twice in one life"
            if before:
                told.again.append(len(set(before) & set(life)))
            if not was_killed:
                break
            kept = command.cells()
            lost = [row for row in finished if kept.get(row) != finished[row]]
            assert not lost, f"finished before, and no longer or otherwise in the store: {lost}"
            finished = kept
        assert code == 0, said.with_suffix(".err").read_text()
        assert len(asked(server)) < LOGGED, "the server's log is too short for so many rows"
    assert without_times(json.loads(said.read_text())) == whole.record, "the record is another"
    assert command.cells() == whole.cells, "the cells are others"
    told.runs += 1


def main(arguments: argparse.Namespace) -> None:
    """Kill so often, and print what was found."""
    print(f"seed {arguments.seed}", flush=True)
    chance, told = random.Random(arguments.seed), Killed()
    with tempfile.TemporaryDirectory() as parent:
        os.environ["PROMPTKIT_CACHE"] = str(Path(parent, "cache"))
        whole = undisturbed(Command(Path(parent, "whole"), arguments), arguments)
        while len(told.moments) < arguments.kills:
            one_run(Command(Path(parent, f"run-{told.runs}"), arguments), whole, arguments, chance, told)
    kills = len(told.moments)
    print(f"{kills} kills at {min(told.moments):.2f} to {max(told.moments):.2f} s of {whole.seconds:.2f} s", end=", ")
    print(f"{told.runs} runs of {arguments.rows} rows: each ended with the record and the cells of the undisturbed run")
    print(f"asked again: 0 finished cells; at a kill {sum(told.again) / kills:.1f} on their way, at most", end=" ")
    print(f"{max(told.again)} (in flight {arguments.in_flight}); every store whole")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that the server takes to answer")
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    main(parser.parse_args())
