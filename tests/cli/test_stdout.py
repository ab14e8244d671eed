"""stdout that cannot be written is told in one line, whatever the verb."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import environment

MAIN = f"'{sys.executable}' -c 'from promptkit.cli.main import main; main()'"
FULL = Path("/dev/full")
VERBS = [
    "run mail",
    "run mail --json",
    "run mail --input mails.jsonl",
    "render mail",
    "try mail",
    "try mail --json",
    "try mail --watch",
    "check --graph",
    "check --json",
    "models list",
    "init mine",
    "schema",
    "--help",
    "run --help",
    "--version",
]


def shell(command: str, project: Path) -> subprocess.CompletedProcess[str]:
    (project / "mails.jsonl").write_text('{"mail": "a"}\n{"mail": "b"}\n')
    return subprocess.run(
        command.replace("promptkit", MAIN),
        shell=True,
        cwd=project,
        env={**environment(), "OLLAMA_HOST": "127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.attack("disk")
@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_one_line_and_exit_code_3(project: Path, verb: str) -> None:
    done = shell(f"promptkit {verb} > {FULL}", project)
    told = [line for line in done.stderr.splitlines() if "stdout" in line]
    assert (done.returncode, told) == (3, ["error: stdout cannot be written: No space left on device"]), done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_closed_stdout_is_one_line_and_exit_code_3(project: Path) -> None:
    done = shell("promptkit run mail >&-", project)
    assert (done.returncode, done.stderr) == (3, "error: stdout cannot be written: it is closed\n")


@pytest.mark.parametrize(
    "stderr", ["2>&-", pytest.param(f"2> {FULL}", marks=pytest.mark.skipif(not FULL.exists(), reason="as above"))]
)
def test_without_stderr_the_result_comes_alone(project: Path, stderr: str) -> None:
    done = shell(f"promptkit run mail {stderr}", project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("{") and done.stdout.endswith("}\n")
