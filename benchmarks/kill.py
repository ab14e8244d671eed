"""Kill an evaluation or a tuning at random moments, again and again: nothing is lost and nothing is asked twice.

    python benchmarks/kill.py eval --kills 100 --rows 500 [--latency 0.05] [--in-flight 20] [--seed N]
    python benchmarks/kill.py tune [--kills 30] [--rows 200] [--calls 1200] [--latency 0.05] …

The suite of `eval`, its settings and its traces are those of `benchmarks/eval.py`; `tune` is of the same prompt, on a
server that draws what it answers by the text of the request. One run goes to its end undisturbed. Then, until there
are so many kills, a run with a store of its own gets `kill -9` at a moment drawn from the time between its first
request and its end, and the same command is given again, which may be killed too, until one comes to its end.

After each kill the store must be whole, and the server must not be asked again for what a cell in it was asked; after
each end, the record, every cell and all that was written must be those of the undisturbed run, but for the number of
the run, the seconds, and what was known. Prints the seed, and at the end what was asked more than once: what was in
flight at a kill, that is sent, or answered and not yet on disk.

Bound: so many requests a kill as may be in flight. Ends with 1 beyond it.
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
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from eval import REFERENCE, write_suite
from server import LOGGED, Server, ollama_server

from promptkit.storage.store import Store

ROW = re.compile(r"Review (\d+):")
LABELS = ("positive", "negative")
OF_THE_RUN = {"run", "seconds", "known", "cached", "latency", "front", "asked", "asked_apart"}
"""What differs between two runs of the same: whom no other candidate of a tuning dominates is a matter of time too."""
SETTLE_SECONDS = 0.2
"""How long a server may still read what a killed client sent."""


@dataclass
class Killed:
    """What happened: the seconds after a first request at which kills came, and what was asked more than once."""

    moments: list[float] = field(default_factory=list)
    again: int = 0
    runs: int = 0


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run gave: its record, all that it left, how often it asked for what, and the seconds from its
    first request to its end."""

    record: Any
    left: Any
    asked: Counter[Hashable]
    seconds: float


@dataclass(frozen=True)
class Kept:
    """What a store holds: the finished cells by what tells them apart, each with what it gave, and what the server was
    asked for them, as often as it was."""

    cells: dict[Hashable, Any] = field(default_factory=dict)
    asked: Counter[Hashable] = field(default_factory=Counter)


class Command(Protocol):
    """A command on a project of its own, with what its server may answer."""

    folder: Path
    line: Sequence[str]
    answers: Sequence[str]

    def asked(self, server: Server) -> list[Hashable]:
        """Return what the server was asked for, in order."""

    def kept(self) -> Kept:
        """Return what is in the store, which must be whole."""

    def left(self) -> Any:
        """Return what an ended run leaves: its cells, and what it wrote."""


class Eval:
    """`promptkit eval`: each row is one request."""

    answers = LABELS[:1]

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.line = ("eval", write_suite(folder, options.rows).name, "-j", str(options.in_flight), "--json")

    def asked(self, server: Server) -> list[Hashable]:
        return [int(match[1]) for _, text in server.log() if (match := ROW.search(text))]

    def kept(self) -> Kept:
        found = whole_store(
            self.folder,
            "select fields, outcome, scores, trace is not null from run_cells"
            " join cells on cells.number = run_cells.cell join data_rows on data_rows.number = row_number"
            " left join traces on traces.cell = cells.number order by run",
        )
        cells = {_row(fields.decode()): _given(outcome, scores, traced) for fields, outcome, scores, traced in found}
        return Kept(cells, Counter(list(cells)))

    def left(self) -> Any:
        return self.kept().cells


class Tune:
    """`promptkit tune`: requests are told apart by what they say. Several may say the same: samples of an answer."""

    answers = LABELS

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        suite, data = write_suite(folder, options.rows), folder / "rows.jsonl"
        rows = [json.loads(line) for line in data.read_text().splitlines()]
        labelled = ({**row, "label": LABELS[number % 2]} for number, row in enumerate(rows))
        data.write_text("".join(json.dumps(row) + "\n" for row in labelled))
        suite.write_text(f"{suite.read_text()}concurrency: {options.in_flight}\n")
        self.folder = folder
        limits = ("--budget", f"calls={options.calls}", "--only", "examples,layout,technique,wording")
        self.line = ("tune", "mood.j2", "--suite", suite.name, *limits, "--yes", "--json")

    def asked(self, server: Server) -> list[Hashable]:
        return [text for _, text in server.log() if ROW.search(text)]

    def kept(self) -> Kept:
        found = whole_store(self.folder, "select number, key, outcome from cells order by number")
        kept = Kept()
        if found:
            with Store.open(self.folder / ".promptkit") as store:
                for number, key, outcome in found:
                    kept.cells[key] = without_times(json.loads(outcome))
                    kept.asked.update(_said(json.loads(store.cells.trace(number) or b"{}")))
        return kept

    def left(self) -> Any:
        cells = whole_store(
            self.folder,
            "select name, row, outcome, scores, trace is not null from run_cells"
            " join run_variants on run_variants.run = run_cells.run and run_variants.number = variant"
            " join cells on cells.number = run_cells.cell left join traces on traces.cell = cells.number"
            " where run_cells.run = (select max(number) from runs)",
        )
        given = {(name, row): _given(outcome, scores, traced) for name, row, outcome, scores, traced in cells}
        return given, {str(file.relative_to(self.folder)): file.read_text() for file in self.folder.rglob("*.tuned.*")}


KINDS: dict[str, type[Eval] | type[Tune]] = {"eval": Eval, "tune": Tune}


def start(command: Command, server: Server) -> subprocess.Popen[str]:
    """Start it; what it prints goes into a file."""
    given = {**os.environ, "OLLAMA_HOST": server.url, "PROMPTKIT_MODEL": REFERENCE}
    line = [sys.executable, "-m", "promptkit", *command.line]
    with said(command).open("w") as out, said(command).with_suffix(".err").open("w") as err:
        return subprocess.Popen(line, cwd=command.folder, env=given, stdout=out, stderr=err, text=True)


def said(command: Command) -> Path:
    """Return the file with what it printed."""
    return command.folder / "said.json"


def whole_store(folder: Path, query: str) -> list[Any]:
    """Return what a query finds in a project's store, which must be whole; nothing while there are no cells."""
    file = folder / ".promptkit" / "store.db"
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",), "the store is damaged"
        if not store.execute("select 1 from sqlite_master where name = 'run_cells'").fetchone():
            return []
        return store.execute(query).fetchall()


def _row(text: str) -> int:
    match = ROW.search(text)
    assert match is not None, text
    return int(match[1])


def _given(outcome: bytes, scores: bytes, traced: int) -> Any:
    return without_times(json.loads(outcome)), json.loads(scores), bool(traced)


def _said(trace: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of each request of a trace that the server answered, as the server logs it."""
    for call in (call for call in trace.get("calls", ()) if not call["cached"]):
        yield "\n".join([*(message["content"] for message in call["messages"]), *filter(None, [call["begun"]])])
    for part in trace.get("parts", ()):
        yield from _said(part)


def without_times(value: Any) -> Any:
    """Return a record without what differs between two runs of the same."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in OF_THE_RUN}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def undisturbed(command: Command, latency: float) -> Whole:
    """Run it to its end."""
    with ollama_server(latency=latency, answer=command.answers) as server:
        process = start(command, server)
        wait_for_first(server, process, 0)
        began = time.monotonic()
        assert process.wait() == 0, said(command).with_suffix(".err").read_text()
        seconds = time.monotonic() - began
        asked = Counter(command.asked(server))
        assert server.requests() < LOGGED, "the server's log is too short for so many requests"
        assert asked == command.kept().asked, "all is for cells, and each once"
    return Whole(without_times(json.loads(said(command).read_text())), command.left(), asked, seconds)


def wait_for_first(server: Server, process: subprocess.Popen[str], before: int) -> None:
    """Wait until the server is asked once more, or the process has ended."""
    while server.requests() == before and process.poll() is None:
        time.sleep(0.005)


def one_run(command: Command, whole: Whole, options: argparse.Namespace, chance: random.Random, told: Killed) -> None:
    """Kill a run until one of its lives comes to its end, or there were enough kills; look at all that it left."""
    with ollama_server(latency=options.latency, answer=command.answers) as server:
        kept = Kept()
        while True:
            before = command.asked(server)
            process = start(command, server)
            was_killed = False
            if len(told.moments) < options.kills:
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
            life = command.asked(server)[len(before) :]
            twice = Counter(life) + kept.asked - whole.asked
            assert not twice, f"asked twice in one life, or again after it was finished: {twice}"
            if not was_killed:
                break
            before_kill, kept = kept, command.kept()
            lost = [each for each, given in before_kill.cells.items() if kept.cells.get(each) != given]
            assert not lost, f"finished before, and no longer or otherwise in the store: {lost}"
        assert code == 0, said(command).with_suffix(".err").read_text()
        assert server.requests() < LOGGED, "the server's log is too short for so many requests"
        told.again += (Counter(command.asked(server)) - whole.asked).total()
    record = without_times(json.loads(said(command).read_text()))
    others = {key: (record.get(key), each) for key, each in whole.record.items() if record.get(key) != each}
    assert not others, f"the record is another: {others}"
    assert command.left() == whole.left, "the cells, or what was written, are others"
    told.runs += 1


def main(options: argparse.Namespace) -> int:
    """Kill so often, print what was found, and return 1 where more was asked again than was in flight."""
    print(f"seed {options.seed}", flush=True)
    chance, told, kind = random.Random(options.seed), Killed(), KINDS[options.what]
    with tempfile.TemporaryDirectory() as parent:
        os.environ["PROMPTKIT_CACHE"] = str(Path(parent, "cache"))
        whole = undisturbed(kind(Path(parent, "whole"), options), options.latency)
        while len(told.moments) < options.kills:
            one_run(kind(Path(parent, f"run-{told.runs}"), options), whole, options, chance, told)
    kills = len(told.moments)
    print(f"{kills} kills at {min(told.moments):.2f} to {max(told.moments):.2f} s of {whole.seconds:.2f} s", end=", ")
    print(f"{told.runs} runs of {options.rows} rows: each ended with the record and the cells of the undisturbed run")
    print(f"asked again: 0 finished cells, {told.again / kills:.1f} requests a kill", end=" ")
    print(f"(bound: the {options.in_flight} in flight); every store whole")
    return int(told.again > kills * options.in_flight)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=KINDS)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--calls", type=int, default=1200, help="the budget of a tuning")
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that the server takes to answer")
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    sys.exit(main(parser.parse_args()))
