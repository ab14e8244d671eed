"""Whatever project code raises, wherever it is called, is an error that names the function and its line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from promptkit.engine import find_tool
from promptkit.errors import CodeFailed, InputError, PromptkitError, ServerFailed, TechniqueFailed, ToolFailed
from promptkit.evaluation.data import Data, DataSpec
from promptkit.project_code import guarded
from promptkit.runtimes import Message, Request, Scripted, open_runtime
from promptkit.techniques import find, perform
from tests.engine.helpers import Folder, Given
from tests.evaluation.metrics.given import given, metric
from tests.techniques.steps import Bench

RAISED = [
    ("import sys; sys.exit()", "SystemExit"),
    ("import sys; sys.exit(0)", "SystemExit: 0"),
    ("raise SystemExit('enough')", "SystemExit: enough"),
    ("exit()", "SystemExit: None"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
    ("raise type('Odd', (BaseException,), {})('x')", "Odd: x"),
    ("raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})", "Mute: its text cannot be made"),
    ("raise type('Mute', (Exception,), {'__str__': lambda self: exit()})", "Mute: its text cannot be made"),
    ("raise type('Mute', (Exception,), {'__str__': lambda self: None})", "Mute: its text cannot be made"),
    ("raise RecursionError", "RecursionError"),
    ("1 / 0", "ZeroDivisionError: division by zero"),
]
CELL, NO_MODELS = given("a", "b"), Given(Scripted([]))
PLACES: dict[str, str] = {
    "when it is loaded": "BODY\ndef f(*args, **more):\n    return []\n",
    "when it is called": "\ndef f(*args, **more): BODY\n",
    "when it is called as a coroutine": "\nasync def f(*args, **more): BODY\n",
    "in a generator half-way": "def f(*args, **more):\n    yield {'a': 1}\n    BODY\n",
}


@pytest.fixture(autouse=True)
def kept_streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep stdin open, which `exit()` closes, and the path of imports."""
    paths = list(sys.path)
    with open("/dev/null") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield
    sys.path[:] = paths


async def call_tool(folder: Folder) -> None:
    await find_tool("mine", "code.py:f", folder.root, folder.project).call({})


async def call_metric(folder: Folder) -> None:
    score = await metric("python", {"function": "code.py:f"}, folder=folder.root, name="mine").judge(CELL, NO_MODELS)
    assert score.value is None
    raise ToolFailed(score.why)


async def read_rows(folder: Folder) -> None:
    function = find_tool("mine", "code.py:f", folder.root, folder.project, kind="function")
    where = InputError("").problems[0]
    list(Data(spec=DataSpec(python="code.py:f"), file=None, function=function, where=where).rows())


async def ask_script(folder: Folder) -> None:
    runtime = await open_runtime("scripted:code.py:f", base=folder.root)
    await runtime.answer(Request(messages=(Message("user", "hi"),)))


CALLERS: dict[Callable[[Folder], Awaitable[None]], tuple[type[PromptkitError], tuple[str, ...]]] = {
    call_tool: (ToolFailed, tuple(PLACES)[:3]),
    call_metric: (ToolFailed, tuple(PLACES)[:3]),
    read_rows: (InputError, (*tuple(PLACES)[:2], "in a generator half-way")),
    ask_script: (ServerFailed, tuple(PLACES)[:3]),
}
CASES = [(caller, where) for caller, (_, places) in CALLERS.items() for where in places]


@pytest.mark.attack("code")
@pytest.mark.parametrize(("code", "told"), RAISED)
@pytest.mark.parametrize(("caller", "where"), CASES, ids=[f"{caller.__name__}, {where}" for caller, where in CASES])
async def test_what_code_raises_is_an_error_with_its_line(
    folder: Folder, caller: Callable[[Folder], Awaitable[None]], where: str, code: str, told: str
) -> None:
    text = PLACES[where]
    file = folder.write("code.py", "# a line\n")
    file.write_text("# a line\n" + text.replace("BODY", code))
    line = 2 + text[: text.index("BODY")].count("\n")

    with pytest.raises(CALLERS[caller][0]) as caught:
        await caller(folder)

    verb = "cannot be loaded:" if where == "when it is loaded" else "raised"
    assert f"{verb} {told} ({file}:{line})" in str(caught.value)


TECHNIQUE = """\
from promptkit.techniques import Answer, Task, technique
TOP
@technique()
async def mine(task: Task) -> Answer:
    BODY
"""


@pytest.mark.attack("code")
@pytest.mark.parametrize(("code", "told"), RAISED)
@pytest.mark.parametrize(("place", "line", "verb"), [("TOP", 2, "cannot be loaded:"), ("BODY", 5, "raised")])
async def test_what_a_technique_raises_is_an_error_with_its_line(
    tmp_path: Path, place: str, line: int, verb: str, code: str, told: str
) -> None:
    file = Folder(tmp_path).write("techniques/mine.py", "")
    file.write_text(TECHNIQUE.replace(place, code).replace("TOP", "").replace("BODY", "return None"))

    with pytest.raises(TechniqueFailed) as caught:
        await perform("mine", Bench(tmp_path, []).step())

    assert str(caught.value) == f"technique `mine` {verb} {told} ({file}:{line})"


@pytest.mark.attack("code")
@pytest.mark.parametrize(("code", "told"), RAISED)
def test_what_an_installed_technique_raises_when_it_is_imported_is_an_error(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    site = tmp_path_factory.mktemp("site")
    info = site / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[promptkit.techniques]\ntheirs = theirs_of_a_test:theirs\n")
    (site / "theirs_of_a_test.py").write_text(f"{code}\n")
    monkeypatch.syspath_prepend(str(site))

    with pytest.raises(InputError) as caught:
        find("theirs", folder.project)

    assert f"technique `theirs` cannot be loaded: {told}" in str(caught.value)


async def test_cancelling_from_outside_stays_cancelling(folder: Folder) -> None:
    folder.write("code.py", "import asyncio\nasync def f():\n    await asyncio.sleep(60)\n")
    task = asyncio.ensure_future(call_tool(folder))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_of_the_code_that_is_cancelled_does_not_cancel_the_step(folder: Folder) -> None:
    body = "own = asyncio.ensure_future(asyncio.sleep(60))\n    own.cancel()\n    await own\n"
    folder.write("code.py", f"import asyncio\nasync def f():\n    {body}")
    with pytest.raises(ToolFailed, match="raised CancelledError"):
        await call_tool(folder)


def test_ctrl_c_stays_ctrl_c() -> None:
    def interrupt() -> None:
        import signal

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            signal.raise_signal(signal.SIGINT)
            [None for _ in range(10)]
        finally:
            signal.signal(signal.SIGINT, before)

    with pytest.raises(KeyboardInterrupt), guarded(CodeFailed):
        interrupt()


def test_a_generator_of_the_code_may_be_closed(folder: Folder) -> None:
    folder.write("code.py", "def f():\n    yield {'a': 1}\n    yield {'a': 2}\n")
    function = find_tool("mine", "code.py:f", folder.root, folder.project, kind="function")
    where = InputError("").problems[0]
    rows = Data(spec=DataSpec(python="code.py:f"), file=None, function=function, where=where).rows()
    assert next(rows).fields == {"a": 1}
    rows.close()  # type: ignore[attr-defined]
