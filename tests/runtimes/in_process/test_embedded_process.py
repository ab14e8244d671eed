"""How the embedded runtime behaves in a process of its own: at its end, at ctrl-C, after a fork, without a library."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from promptkit.errors import ModelLoadFailed
from promptkit.runtimes.in_process import llama_cpp

SETUP = """
import asyncio, os, signal, sys, threading
from pathlib import Path
from promptkit.errors import RuntimeFailure
from promptkit.runtimes.base import Request
from promptkit.runtimes.in_process.embedded import Embedded
runtime = Embedded(Path(sys.argv[1]), reference="child", context=512, slots=2)
"""


def run(body: str, model_file: Path) -> subprocess.CompletedProcess[str]:
    """Run a program around a runtime; one that hangs is a failure."""
    command = [sys.executable, "-c", SETUP + textwrap.dedent(body), str(model_file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=40)


def test_a_program_that_never_closes_ends_cleanly_and_quietly(model_file: Path) -> None:
    ended = run("asyncio.run(runtime.model())", model_file)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_program_that_ends_while_answering_does_not_wait_for_the_answer(model_file: Path) -> None:
    body = """
    async def main():
        begun = asyncio.Event()
        task = asyncio.create_task(
            runtime.answer(Request(prompt="1, 2,", max_tokens=450), lambda piece: begun.set())
        )
        await begun.wait()
        return task
    task = asyncio.run(main())
    print(task.cancelled())
    """
    ended = run(body, model_file)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


def test_ctrl_c_ends_the_program_while_the_model_answers(model_file: Path) -> None:
    body = """
    def interrupt(piece, once=[]):
        if not once:
            once.append(piece)
            os.kill(os.getpid(), signal.SIGINT)
    try:
        asyncio.run(runtime.answer(Request(prompt="1, 2,", max_tokens=450), interrupt))
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(130)
    """
    ended = run(body, model_file)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "interrupted\n", "")


def test_a_forked_child_is_refused_and_ends_and_the_parent_goes_on(model_file: Path) -> None:
    body = """
    asyncio.run(runtime.model())
    llama = runtime._llamas[0]
    child = os.fork()
    if not child:
        try:
            llama.tokenize("a")
        except RuntimeFailure as error:
            sys.exit(7 if "fork" in str(error) else 1)
        sys.exit(2)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(asyncio.run(runtime.answer(Request(prompt="The capital of France is", max_tokens=1))).text)
    """
    assert run(body, model_file).stdout == "7\n Paris\n"


def test_threads_are_told_to_wait_passively(model_file: Path) -> None:
    assert run('asyncio.run(runtime.model()); print(os.environ["OMP_WAIT_POLICY"])', model_file).stdout == "passive\n"


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("libgomp.so.1: cannot open shared object file: No such file or directory", "apt-get install libgomp1"),
        ("something else", "pip install --force-reinstall xllamacpp"),
    ],
)
def test_a_library_that_is_missing_gets_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch, message: str, hint: str
) -> None:
    class Missing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "xllamacpp":
                raise ImportError(message)

    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ModelLoadFailed) as caught:
        llama_cpp.load_library()
    assert caught.value.hint == hint
    assert message in caught.value.message
