"""Each benchmark can be started by anyone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_explains_itself(script: str) -> None:
    command = [sys.executable, str(FOLDER / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_every_benchmark_has_its_line_in_the_docs() -> None:
    text = (FOLDER.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [script for script in SCRIPTS if f"benchmarks/{script}" not in text] == []


def test_what_a_row_of_an_evaluation_costs_is_measured_on_rows_and_traces_that_are_in_the_store() -> None:
    command = [sys.executable, str(FOLDER / "eval.py"), "--rows", "10", "30", "--latency", "0", "--turns", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "in the store: 30 rows, 30 traces, from " in done.stdout
    assert "times the CPU of the bare client" in done.stdout
