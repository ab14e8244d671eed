"""Count how many hostile cases hold, by kind: runs the tests that are marked `attack(KIND)`.

    python benchmarks/attacks.py [--kind sql] [--jobs 2]

Each case is one test, or one row of its table: programs that models write, templates, files, servers, kills. Prints a
line a kind: attempts, how many held, failed and were skipped, and the longest CPU time that one took in the tests' own
process; then the names of those that failed. Ends with 1 where one failed, or none was found.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
INTO = "PROMPTKIT_ATTACKS"
"""The environment variable that tells the plugin where its lines go: pytest may run in several processes."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Note how a marked test ended, and the CPU time that it took."""
    began = sum(os.times()[:4])
    try:
        return (yield)  # type: ignore[return-value]
    finally:
        ended: list[str] = item.stash.get(ENDED, [])
        for mark in item.iter_markers("attack"):
            seconds = sum(os.times()[:4]) - began
            line = json.dumps([mark.args[0], item.nodeid, _worst(ended), seconds]) + "\n"
            with open(os.environ[INTO], "a", encoding="utf-8") as file:
                file.write(line)


ENDED = pytest.StashKey[list[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Keep how each phase of a test ended."""
    report = yield
    item.stash.setdefault(ENDED, []).append(report.outcome)
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of other kinds than the one that is asked for."""
    if (kind := os.environ.get(f"{INTO}_KIND")) is not None:
        items[:] = [item for item in items if any(mark.args[0] == kind for mark in item.iter_markers("attack"))]


def _worst(ended: list[str]) -> str:
    return next((outcome for outcome in ("failed", "skipped") if outcome in ended), "passed")


@dataclass
class Count:
    """What became of the cases of a kind."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0


def count(kind: str | None, jobs: int) -> tuple[dict[str, Count], list[str]]:
    """Run the marked tests, and return the counts by kind and the names of those that failed."""
    counts: dict[str, Count] = defaultdict(Count)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder, "lines.jsonl")
        into.touch()
        plugin = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        given = {**os.environ, INTO: str(into), "PYTHONPATH": os.pathsep.join(filter(None, plugin))}
        if kind is not None:
            given[f"{INTO}_KIND"] = kind
        line = [sys.executable, "-m", "pytest", "-q", "-m", "attack", "-n", str(jobs), "-p", Path(__file__).stem]
        ended = subprocess.run([*line, "--no-header", "--tb=short"], cwd=ROOT, env=given, check=False)
        for text in into.read_text("utf-8").splitlines():
            of, name, outcome, seconds = json.loads(text)
            setattr(counts[of], outcome, getattr(counts[of], outcome) + 1)
            counts[of].seconds = max(counts[of].seconds, seconds)
            failed += [name] if outcome == "failed" else []
    if ended.returncode not in (0, 1):
        failed.append(f"pytest ended with {ended.returncode}")
    return counts, failed


def main(options: argparse.Namespace) -> int:
    """Print the table, and return how many failed."""
    counts, failed = count(options.kind, options.jobs)
    print(f"\n{'kind':<12}{'attempts':>9}{'held':>7}{'failed':>8}{'skipped':>9}{'longest CPU':>13}")
    for kind, each in sorted(counts.items()):
        attempts = each.passed + each.failed + each.skipped
        print(f"{kind:<12}{attempts:>9}{each.passed:>7}{each.failed:>8}{each.skipped:>9}{each.seconds:>11.2f} s")
    for name in failed:
        print(f"failed: {name}")
    return len(failed) or int(not counts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", help="the cases of this kind alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes of pytest")
    sys.exit(1 if main(parser.parse_args()) else 0)
