"""No line of a verb is wider than its terminal, but for answers in JSON, paths, and prompts as they are sent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.runs_project import Here, make_project
from tests.command import COMMAND, environment

LONG = (
    "A text that is longer than any terminal that is looked at here, with many words, all of which must be read. " * 2
)
FILES = {
    "evals/rows.jsonl": "".join(
        f'{{"text": "{LONG}{at} {word}", "expect": "bad"}}\n' for at, word in enumerate("abcd")
    ),
    "script.yaml": "rules: [{contains: '1 b', reply: {error: " + LONG + "}}]\notherwise: good\n",
    "pipelines/broken.yaml": f"name: broken\nsteps: {{mood: {{promt: mood, when: {{a: '{LONG}'}}}}}}\n",
}
VERBS = """
run mood text=fine --trace
run mood --input evals/rows.jsonl
try mood text=fine
runs list
runs show 1
runs show 1 --row 1
runs show 1 --failures
runs show 3
runs compare 2 1
runs errors 1
label mood --agreement
techniques list
techniques show self_consistency
techniques recommend mood
models show scripted:script.yaml
check
run nothing
eval mood --set mood.layout=markdown
tune mood --suite mood --dry-run
"""
"""Each in one interpreter: starting one costs more than all that it prints."""
DRIVER = """\
import sys, shlex, typer
from promptkit.cli.main import app, open_streams
from promptkit.errors import PromptkitError
from promptkit.reports.output import print_error
open_streams()
for line in sys.argv[1].strip().splitlines():
    sys.stdout.write(f"$ {line}\\n")
    sys.stdout.flush()
    try:
        typer.main.get_command(app)(shlex.split(line), standalone_mode=False)
    except PromptkitError as error:
        print_error(error)
    except SystemExit:
        pass
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    here = make_project(tmp_path_factory.mktemp("widths"), FILES)
    here("eval", "mood")
    here("eval", "mood", "--model", "scripted:other.yaml")
    here("run", "mood", "--input", "evals/rows.jsonl")
    return here


def in_terminal(folder: Path, width: int) -> str:
    import pty

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    command = [COMMAND[0], "-c", DRIVER, VERBS]
    env = {**environment(), "TERM": "xterm"}
    with subprocess.Popen(command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        parts = []
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                parts.append(part)
        os.close(ours)
    return b"".join(parts).decode()


def too_wide(text: str, width: int) -> list[str]:
    """Return the lines that are wider than a terminal, each under the verb that printed it."""
    found, verb = [], ""
    for raw in text.replace("\r\n", "\n").split("\n"):
        line = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw).rpartition("\r")[2]
        verb = line if line.startswith("$ ") else verb
        if cell_len(line) > width and not line.startswith(("{", "$ ")):
            found.append(f"{verb}: {line}")
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
@pytest.mark.parametrize("width", [80, 60])
def test_no_line_is_wider_than_the_terminal(here: Here, width: int) -> None:
    shown = in_terminal(here.root, width)
    assert shown.count("\n$ ") + shown.startswith("$ ") >= len(VERBS.strip().splitlines()) and "Traceback" not in shown
    assert too_wide(shown, width) == []
    assert "└─ call answer" in shown


@pytest.mark.parametrize("verb", ["runs list", "techniques list", "runs show 1", "runs errors 1"])
def test_tables_in_a_pipe_are_80_wide(here: Here, verb: str) -> None:
    assert too_wide(here(*verb.split()).out, 80) == []
