"""stdout that cannot be written is told in one line, whatever the verb."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import environment, run_command

MAIN = f"'{sys.executable}' -c 'from promptkit.cli.main import main; main()'"
FULL = Path("/dev/full")
PROCESSES = ["run mail", "try mail --watch", "--help"]
"""Verbs that are tried as a process, which writes once more when it ends."""
VERBS = [
    "run mail --json",
    "run mail --input mails.jsonl",
    "render mail",
    "try mail",
    "try mail --json",
    "check --graph",
    "check --json",
    "models list",
    "init mine",
    "schema",
    "run --help",
    "--version",
]


def shell(command: str, project: Path) -> subprocess.CompletedProcess[str]:
    (project / "mails.jsonl").write_text('{"mail": "a"}\n{"mail": "b"}\n')
    return subprocess.run(
        command.replace("promptkit", MAIN),
        shell=True,
        executable="/bin/bash",
        cwd=project,
        env={**environment(), "OLLAMA_HOST": "127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.attack("disk")
@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("verb", PROCESSES)
def test_a_process_on_a_full_disk_ends_with_one_line_and_exit_code_3(project: Path, verb: str) -> None:
    done = shell(f"promptkit {verb} > {FULL}", project)
    told = [line for line in done.stderr.splitlines() if "stdout" in line]
    assert (done.returncode, told) == (3, ["error: stdout cannot be written: No space left on device"]), done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.attack("disk")
@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_is_one_line_and_exit_code_3(project: Path, verb: str) -> None:
    (project / "mails.jsonl").write_text('{"mail": "a"}\n{"mail": "b"}\n')
    done = run_command(*verb.split(), folder=project, stdout=FULL, variables={"OLLAMA_HOST": "127.0.0.1:9"})
    told = [line for line in done.err.splitlines() if "stdout" in line]
    assert (done.code, told) == (3, ["error: stdout cannot be written: No space left on device"]), done.err


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


SLOW = """\
import asyncio
async def reply(request):
    await asyncio.sleep(0.2)
    return "delivery" if "Sort" in str(request) else "We are sorry."
"""


@pytest.mark.attack("process")
@pytest.mark.parametrize(
    "verb",
    [
        "run mail --input many.jsonl --json --trace MODEL",
        "try mail --watch MODEL",
        "render mail",
        "eval s --json && runs export last --csv -",
        "check --graph",
        "techniques list",
        "--help",
    ],
)
def test_a_reader_that_goes_ends_the_command_quietly(project: Path, verb: str) -> None:
    (project / "slow.py").write_text(SLOW)
    (project / "many.jsonl").write_text("".join(json.dumps({"mail": f"box {number}"}) + "\n" for number in range(40)))
    (project / "evals").mkdir()
    (project / "evals" / "s.yaml").write_text("target: sort_mail\ndata: ../many.jsonl\nmetrics: {tokens: tokens}\n")
    commands = verb.replace("MODEL", "--model scripted:slow.py:reply").split(" && ")
    # Nothing is read: the reader is gone before the first line.
    done = shell("; ".join(f"promptkit {each} | true; echo ${{PIPESTATUS[0]}} >&2" for each in commands), project)
    assert [line for line in done.stderr.splitlines() if line.isdigit()] == ["141"] * len(commands), done.stderr
    assert not [part for part in ("Traceback", "unhandled", "Exception ignored", "is closed") if part in done.stderr]


def test_rows_that_were_answered_before_the_reader_went_are_kept_in_one_run(project: Path) -> None:
    (project / "slow.py").write_text(SLOW)
    (project / "many.jsonl").write_text("".join(json.dumps({"mail": f"box {number}"}) + "\n" for number in range(40)))
    command = "promptkit run sort_mail --input many.jsonl --model scripted:slow.py:reply"
    done = shell(f"{command} | head -1; promptkit runs list --json; {command} >/dev/null", project)
    answer, *listed = done.stdout.splitlines()
    assert answer == "delivery"
    (run,) = json.loads("\n".join(listed))
    assert (run["kind"], run["status"]) == ("batch", "interrupted")
    assert "cached)" in done.stderr and "Traceback" not in done.stderr


def test_a_page_is_written_although_nobody_reads_stdout(project: Path) -> None:
    (project / "evals").mkdir(exist_ok=True)
    (project / "evals/two.yaml").write_text(
        "data: [{mail: a, expect: x}, {mail: b, expect: y}]\ntarget: mail\nmetrics: {accuracy: exact}\n"
    )
    shell("promptkit eval two --html page.html > /dev/full", project)
    assert "</html>" in (project / "page.html").read_text()
