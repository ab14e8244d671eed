"""Several processes on one store, and processes that are killed: each cell is asked once, and none is lost."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from promptkit.storage.store import Store

SEED = 11
WORKERS = 6
KEYS = 300

# An eval in small: what is not kept is claimed, asked (a line in a file, one write each), and saved.
EVAL = """
    import asyncio, os, sys
    from pathlib import Path
    from promptkit.storage import key_index
    from promptkit.storage.cells import CellRecord
    from promptkit.storage.store import Store

    key_index.LEAST_ROWS = 10  # else so few rows would never be put into an index

    def key(row):
        return row.to_bytes(16, "big")

    def number(key):
        return int.from_bytes(key, "big")

    def placed(row, **given):
        place = {"variant": "v", "row": row, "repeat": 0, "key": key(row)}
        return CellRecord(**place, row_key=key(row), fields=str(row), scores="{}", **given)

    async def work(store, asked, count):
        run = store.begin_run("eval", sys.argv[3], model={})
        print("run", run, flush=True)
        missing = set(range(count))
        while missing:
            kept = store.cells.find([key(row) for row in missing])
            await store.cells.save(run, [placed(number(key), number=cell.number) for key, cell in kept.items()])
            missing -= {number(key) for key in kept}
            mine = store.cells.claim([key(row) for row in sorted(missing)[:20]])
            for row in sorted(map(number, mine)):
                os.write(asked, b"%d\\n" % row)
                await store.cells.save(run, [placed(row, outcome=str(row), trace=b"t" * row)])
                missing.discard(row)
                print(row, flush=True)
            if not mine:
                await asyncio.sleep(0.005)
        store.end_run(run, "done", {})

    asked = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Store.open(Path(sys.argv[1])) as store:
        asyncio.run(work(store, asked, int(sys.argv[4])))
"""


def start(folder: Path, name: str) -> subprocess.Popen[str]:
    arguments = [str(folder / "store"), str(folder / "asked"), name, str(KEYS)]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(EVAL), *arguments], stdout=subprocess.PIPE, text=True
    )


def asked(folder: Path) -> Counter[int]:
    return Counter(int(line) for line in (folder / "asked").read_text().split())


def check_whole(store: Store, folder: Path, run: int) -> None:
    """Every cell of the run is there once, with its row and its trace, and no claim is left."""
    cells = list(store.cells.of_run(run))
    assert [cell.row for cell in cells] == list(range(KEYS))
    assert all(cell.outcome == cell.fields == str(cell.row) for cell in cells)
    assert all(store.cells.trace(cell.number) == b"t" * cell.row for cell in cells)
    with closing(sqlite3.connect(folder / "store" / "store.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert connection.execute("select count(*) from claims").fetchone() == (0,)


@pytest.mark.attack("process")
def test_six_processes_ask_each_cell_once_and_lose_none(tmp_path: Path) -> None:
    processes = [start(tmp_path, str(worker)) for worker in range(WORKERS)]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * WORKERS
    assert asked(tmp_path) == Counter(range(KEYS))
    with Store.open(tmp_path / "store") as store:
        runs = store.runs(limit=100)
        assert [run.status for run in runs] == ["done"] * WORKERS
        for run in runs:
            check_whole(store, tmp_path, run.number)
        numbers = {tuple(cell.number for cell in store.cells.of_run(run.number)) for run in runs}
        assert len(numbers) == 1


@pytest.mark.attack("kill")
def test_after_each_kill_only_what_is_missing_is_asked(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    acknowledged: set[int] = set()
    kills = 0
    while True:
        process = start(tmp_path, "killed")
        assert process.stdout is not None
        with process:
            lines = iter(process.stdout)
            next(lines)
            for _, line in zip(range(chance.randrange(10, 50)), lines, strict=False):
                acknowledged.add(int(line))
            if len(acknowledged) < KEYS:
                process.send_signal(signal.SIGKILL)
                kills += 1
            acknowledged |= {int(line) for line in lines if line.endswith("\n")}
        with Store.open(tmp_path / "store") as store:
            keys = [row.to_bytes(16, "big") for row in acknowledged]
            assert store.cells.find(keys).keys() == set(keys), f"seed {SEED}"
            dead = store.close_dead_runs()
            last = store.run("last")
            assert last is not None
            assert last.status == ("interrupted" if dead else "done")
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
    assert kills >= 5
    times = asked(tmp_path)
    assert set(times) == set(range(KEYS))
    # One was in flight at each kill, at most.
    assert sum(times.values()) - KEYS <= kills, f"seed {SEED}"
    with Store.open(tmp_path / "store") as store:
        check_whole(store, tmp_path, last.number)


@pytest.mark.attack("kill")
def test_claims_and_runs_are_held_while_their_process_lives_and_free_once_it_is_killed(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from promptkit.storage.store import Store
        with Store.open(Path(sys.argv[1])) as store:
            store.begin_run("eval", "t", model={})
            store.cells.claim([b"a", b"b"])
            print("claimed", flush=True)
            sys.stdin.read()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process, Store.open(tmp_path) as store:
        try:
            process.stdout.readline()
            assert store.cells.claim([b"a", b"b", b"c"]) == {b"c"}
            assert store.close_dead_runs() == []
        finally:
            process.kill()
            process.wait()
        assert store.cells.claim([b"a"]) == {b"a"}
        assert store.close_dead_runs() == [1]
