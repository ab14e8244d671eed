"""The command starts fast, says what it can do, and turns mistakes into text and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from promptkit.cli.main import VERBS
from tests.cli.conftest import Run
from tests.command import environment

# What help and version may load besides the standard library.
ALLOWED = {"annotated_doc", "promptkit", "shellingham", "typer", "typing_extensions"}
LOADED = """
import json, sys
sys.argv = ["promptkit", *sys.argv[1:]]
from promptkit.cli.main import main
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    bare = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, env=environment(), check=True
    )
    loaded = set(json.loads(bare.stdout.splitlines()[-1]))
    empty = "import json, sys; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    at_start = json.loads(subprocess.run([sys.executable, "-c", empty], capture_output=True, check=True).stdout)
    assert set() == loaded - set(sys.stdlib_module_names) - set(at_start) - ALLOWED


def test_a_run_loads_neither_the_evaluation_nor_what_it_calculates_with(project: Path) -> None:
    look = LOADED.replace('name.partition(".")[0] for', "name for")
    done = subprocess.run(
        [sys.executable, "-c", look, "run", "mail"], capture_output=True, env=environment(), cwd=project, check=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "promptkit.engine.run" in loaded
    heavy = ("numpy", "scipy", "rich.table", "promptkit.evaluation", "promptkit.tuning")
    assert [name for name in loaded if name.startswith(heavy)] == []


def test_each_verb_has_help_of_its_own(promptkit: Run) -> None:
    listing = promptkit("--help").out
    for verb, about in VERBS.items():
        assert f"  {verb} " in listing and about in " ".join(listing.split())
        help_of_verb = promptkit(verb, "--help")
        assert (help_of_verb.code, help_of_verb.err) == (0, "")
        assert help_of_verb.out.startswith(f"Usage: promptkit {verb}")


def test_a_misspelt_verb_gets_the_nearest(promptkit: Run) -> None:
    done = promptkit("rnu")
    assert (done.code, done.out) == (2, "")
    assert "did you mean `run`?" in done.err


def test_a_misspelt_option_is_a_wrong_command_line(promptkit: Run) -> None:
    done = promptkit("run", "mail", "--modell", "x")
    assert done.code == 2
    assert "--model" in done.err and "Traceback" not in done.err


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    command = f"'{sys.executable}' -c 'from promptkit.cli.main import main; main()' schema | head -c 1"
    done = subprocess.run(command, shell=True, cwd=project, env=environment(), capture_output=True)
    assert (done.stdout, done.stderr) == (b"{", b"")


def test_the_shell_completes_verbs_and_targets(promptkit: Run) -> None:
    def complete(words: str) -> list[str]:
        done = promptkit(
            _PROMPTKIT_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split(" ")) - 1)
        )
        return done.out.split()

    assert complete("promptkit ren") == ["render"]
    assert complete("promptkit run mail") == ["mail"]
    assert complete("promptkit run pipe") == ["pipelines/"]
    assert complete("promptkit run mail --model gg") == ["gguf:PATH"]
