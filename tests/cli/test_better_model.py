"""The line that names a better model: where it is written, and where not."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from promptkit.cli.better_model import suggest_better_model
from promptkit.runtimes.in_process.embedded_models import embedded_models
from promptkit.runtimes.references import EMBEDDED
from tests.cli.conftest import Run

PULL = "promptkit models pull embedded/qwen2.5-1.5b (1.1 GB)"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs the suggestion with streams of these kinds, and returns what it wrote."""
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def suggest(
        *, answered: str = EMBEDDED, out: type[io.StringIO] = Terminal, err: type[io.StringIO] = Terminal
    ) -> str:
        stdout, stderr = out(), err()
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        suggest_better_model([answered])
        assert stdout.getvalue() == ""
        return stderr.getvalue()

    return suggest


def test_a_terminal_gets_the_command_once_on_a_machine(written: Callable[..., str]) -> None:
    assert written() == f"for better answers: {PULL}, then --model embedded/qwen2.5-1.5b\n"
    assert written() == ""


def test_pipes_and_other_models_get_none_and_do_not_count(written: Callable[..., str]) -> None:
    assert written(out=io.StringIO) == written(err=io.StringIO) == written(answered="ollama/qwen") == ""
    assert PULL in written()


@pytest.mark.parametrize(("name", "silent"), [("smollm2-1.7b", True), ("bge-small", False), ("smollm2", False)])
def test_where_a_better_model_is_here_there_is_nothing_to_suggest(
    written: Callable[..., str], tmp_path: Path, name: str, silent: bool
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / embedded_models()[name].file).touch()
    assert (written() == "") is silent


def test_without_the_hub_package_the_line_installs_it(
    written: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptkit.cli.better_model.find_spec", lambda name: None)
    assert f"pip install 'promptkit[hub]'; {PULL}" in written()


def test_where_nothing_can_be_remembered_nothing_is_suggested(
    written: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "file" / "cache"))
    assert written() == ""


SUITE = "target: mail\ndata: mails.jsonl\nmetrics: {right: exact}\n"
ROW = '{"mail": "The parcel came late.", "expect": "delivery"}\n'


@pytest.mark.parametrize(("verb", "target"), [("run", "mail"), ("try", "mail"), ("eval", "mails")])
def test_run_try_and_eval_pass_on_what_answered_unless_they_print_json(
    promptkit: Run, project: Path, monkeypatch: pytest.MonkeyPatch, verb: str, target: str
) -> None:
    (project / "evals").mkdir()
    (project / "evals/mails.yaml").write_text(SUITE)
    (project / "evals/mails.jsonl").write_text(ROW)
    passed: list[set[str]] = []
    module = {"run": "run", "try": "try_", "eval": "eval_"}[verb]
    monkeypatch.setattr(f"promptkit.cli.{module}.suggest_better_model", lambda answered: passed.append(set(answered)))
    assert promptkit(verb, target).code == 0
    assert promptkit(verb, target, "--json").code == 0
    assert passed == [{"scripted:script.yaml"}]
