"""Each benchmark can be started by anyone."""

from __future__ import annotations

import importlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_explains_itself(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(FOLDER / script), run_name="__main__")
    assert left.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_every_benchmark_has_its_line_in_the_docs() -> None:
    text = (FOLDER.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [script for script in SCRIPTS if f"benchmarks/{script}" not in text] == []


def test_what_a_row_of_an_evaluation_costs_is_measured_on_rows_and_traces_that_are_in_the_store() -> None:
    command = [sys.executable, str(FOLDER / "eval.py"), "--rows", "10", "30", "--latency", "0", "--turns", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "in the store: 30 rows, 30 traces, from " in done.stdout
    assert "times the CPU of the bare client" in done.stdout


def test_techniques_are_measured_into_a_record_and_a_page_with_a_section_for_each_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    benchmark, rows = importlib.import_module("techniques_measured"), importlib.import_module("multi_hop").rows
    page, record = tmp_path / "page.md", tmp_path / "measured.jsonl"
    page.write_text("old\n\n## Conclusions\n\nKept.\n", "utf-8")
    (right, *_) = rows(1)
    for name, reply in (("right", right["answer"]), ("wrong", "Nowhere"), ("wrong", "Nowhere")):
        (tmp_path / f"{name}.yaml").write_text(f"otherwise: {reply}\n", "utf-8")
        options = ["--data", tmp_path, "--store", tmp_path, "--model", f"scripted:{tmp_path}/{name}.yaml", "--rows", 1]
        options += ["--tasks", "multi_hop", "--techniques", "vanilla,chain_of_thought", "--record", record]
        monkeypatch.setattr(sys, "argv", ["techniques_measured.py", *map(str, options), "--write", str(page)])
        benchmark.main()
    lines = [json.loads(line) for line in record.read_text("utf-8").splitlines()]
    assert [(line["task"], line["technique"], line["right"]) for line in lines] == [
        ("multi_hop", "vanilla", 1),
        ("multi_hop", "chain_of_thought", 1),
        ("multi_hop", "vanilla", 0),
        ("multi_hop", "chain_of_thought", 0),
    ]
    text = page.read_text("utf-8")
    assert text.index("/right.yaml\n") < text.index("/wrong.yaml\n") < text.index("## Conclusions\n\nKept.\n")
    assert "| `vanilla` | 100 % [21 %, 100 %] |" in text and "No technique pays here." in text


def test_the_rows_over_several_hops_are_always_the_same_and_hold_their_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    rows = importlib.import_module("multi_hop").rows
    found = list(rows(100))
    assert found == list(rows(100)) and len({row["question"] + row["answer"] for row in found}) > 80
    assert all(len(row["documents"]) == 8 and row["answer"] in " ".join(row["documents"]) for row in found)
