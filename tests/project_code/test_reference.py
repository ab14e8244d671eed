"""Which Python a file may name: the project's own files, and modules that a person trusts. Nothing runs to be found."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from promptkit.engine.step_settings import resolve_model
from promptkit.errors import CodeFailed, InputError, PromptkitError, ServerFailed, TechniqueFailed, ToolFailed
from promptkit.evaluation.suite.data import Data, DataSpec
from promptkit.project import Project
from promptkit.project_code.reference import CodeReference, find_code, guarded, is_project_code
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.references import open_runtime
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.perform import perform
from promptkit.techniques.registry import find_technique
from promptkit.tools.functions import find_tool
from tests.engine.helpers import Folder, Given
from tests.evaluation.metrics.given import given, metric
from tests.techniques.steps import Bench

FUNCTION = "def f():\n    return 'the project'\n"
LEAVES_A_MARK = "from pathlib import Path\nPath(__file__).with_name('MARK').touch()\n"


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    paths, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def found(folder: Folder, reference: str) -> CodeReference:
    return find_code(reference, folder.root / "pipelines", folder.project, what="tool `t`")


def refused(folder: Folder, reference: str) -> str:
    with pytest.raises(InputError) as caught:
        found(folder, reference)
    return str(caught.value)


async def result(folder: Folder, reference: str) -> object:
    return await find_tool("t", reference, folder.root / "pipelines", folder.project).run({})


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, with `theirs`, whose modules leave a mark when they are run."""
    site = tmp_path_factory.mktemp("lib") / "site-packages"
    package = site / "theirs"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(LEAVES_A_MARK)
    (package / "prompts.py").write_text(LEAVES_A_MARK + "def f():\n    return 'theirs'\n")
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    "reference",
    [
        "os:system",
        "subprocess:getoutput",
        "builtins:eval",
        "sys:exit",
        "posix:abort",
        "importlib:import_module",
        "runpy:run_path",
        "ctypes:CDLL",
        "os.path:join",
        "json.decoder:scanner",
        "pydantic:create_model",
        "yaml:unsafe_load",
        "pip._internal:main",
        "promptkit.tools.functions:find_tool",
        "promptkit:tune",
        "__main__:main",
        "site:main",
        "antigravity:geohash",
        "nowhere:f",
    ],
)
def test_a_module_that_is_not_the_projects_is_refused_with_the_key_that_would_allow_it(
    folder: Folder, reference: str
) -> None:
    module = reference.partition(":")[0]
    told = refused(folder, reference)

    assert told.startswith(f"tool `t`: `{module}` is neither a file of the project nor a module that it may run")
    assert f"`trusted_modules: [{module}]` in promptkit.yaml" in told


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    "reference",
    [
        "tools.py",
        "f",
        ":f",
        "tools.py:",
        "tools.py:f()",
        "tools.py:f.g",
        "tools.py:os.system",
        ".tools:f",
        "..tools:f",
        "a..b:f",
        "a.b.:f",
        "a-b:f",
        "a/b:f",
        "a b:f",
        "a\0b:f",
        "os;import sys:f",
        "1a:f",
        "\u202eso:f",
        "tools.pyc:f",
        "tools.so:f",
    ],
)
def test_what_is_not_the_name_of_a_function_is_refused(folder: Folder, reference: str) -> None:
    folder.write("pipelines/tools.py", FUNCTION)
    told = refused(folder, reference)
    assert "FILE.py:FUNCTION" in told or "nor a module that it may run" in told


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    "reference",
    [
        "../../outside.py:f",
        "../link.py:f",
        "../folder/outside.py:f",
        "folder.outside:f",
        "link:f",
        "../loop.py:f",
        "loop:f",
        "a\0b.py:f",
        "/dev/null.py:f",
        f"{os.__file__}:system",
        "../" * 40 + "etc/passwd.py:f",
        f"{'x' * 5000}.py:f",
        "../fifo.py:f",
        "../dir.py:f",
        "../missing.py:f",
    ],
)
def test_a_file_that_is_not_the_projects_is_refused(tmp_path: Path, reference: str) -> None:
    folder = Folder(tmp_path / "project")
    (tmp_path / "outside.py").write_text(FUNCTION)
    (folder.root / "link.py").symlink_to(tmp_path / "outside.py")
    (folder.root / "folder").symlink_to(tmp_path)
    (folder.root / "loop.py").symlink_to(folder.root / "loop.py")
    (folder.root / "dir.py").mkdir()
    os.mkfifo(folder.root / "fifo.py")

    told = refused(folder, reference)

    assert told.startswith("tool `t`: ")
    assert (
        "leads out of the project" in told
        or "no such file" in told
        or "neither a file" in told
        or "cannot be read" in told
    )


@pytest.mark.attack("code")
@pytest.mark.parametrize("text", ["../lib/site-packages/theirs.py:f", "../.venv/lib/theirs.py:f", "venv.theirs:f"])
def test_a_package_that_is_installed_in_the_root_is_not_the_projects(folder: Folder, text: str) -> None:
    folder.write("lib/site-packages/theirs.py", FUNCTION)
    for name in (".venv", "venv"):
        folder.write(f"{name}/pyvenv.cfg", "home = /usr\n")
    folder.write(".venv/lib/theirs.py", FUNCTION)
    folder.write("venv/theirs.py", FUNCTION)
    folder.write("near.py", FUNCTION).unlink()
    (folder.root / "near.py").symlink_to(folder.root / "lib/site-packages/theirs.py")

    assert "is of an installed package, not of the project" in refused(folder, text)
    assert "is of an installed package" in refused(folder, "../near.py:f")
    assert "trusted_modules" in refused(folder, text)


def test_what_is_shipped_may_run_though_promptkit_is_installed_in_the_root(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = folder.write("lib/site-packages/promptkit/library/pipelines/parts.py", FUNCTION)
    monkeypatch.setattr("promptkit.project.LIBRARY", shipped.parents[1])
    assert is_project_code(shipped, folder.project)


@pytest.mark.parametrize(
    "written", ["tools.py:f", "../pipelines/tools.py:f", "../up.py:f", "pipelines.tools:f", "up:f"]
)
async def test_the_projects_own_files_run(folder: Folder, written: str) -> None:
    folder.write("pipelines/tools.py", FUNCTION)
    folder.write("up.py", FUNCTION)
    assert await result(folder, written) == "the project"


@pytest.mark.parametrize("name", ["os", "json", "promptkit", "yaml", "statistics"])
async def test_a_projects_file_never_stands_for_a_module_of_its_name_nor_that_for_it(folder: Folder, name: str) -> None:
    folder.write(f"{name}.py", FUNCTION)
    before = sys.modules.get(name)

    assert await result(folder, f"{name}:f") == "the project"
    assert sys.modules.get(name) is before
    assert "has no function `system`" in refused(folder, f"{name}:system")


@pytest.mark.attack("code")
async def test_a_folder_of_a_modules_name_makes_none_of_its_functions_the_projects(folder: Folder) -> None:
    folder.write("os/own.py", FUNCTION)
    assert await result(folder, "os.own:f") == "the project"
    assert "neither a file of the project" in refused(folder, "os:system")
    assert "neither a file of the project" in refused(folder, "os.path:join")


async def test_a_package_is_run_with_its_relative_imports_and_none_is_run_to_be_found(folder: Folder) -> None:
    folder.write("ours/__init__.py", LEAVES_A_MARK + "WHO = 'the project'\n")
    folder.write("ours/words.py", "WORD = 'words'\n")
    folder.write("ours/deep/tool.py", "from .. import WHO\nfrom ..words import WORD\ndef f():\n    return WHO, WORD\n")
    mark = folder.root / "ours/MARK"

    reference = found(folder, "ours.deep.tool:f")

    assert reference.file == folder.root / "ours/deep/tool.py" and not mark.exists()
    assert await result(folder, "ours.deep.tool:f") == ("the project", "words")
    assert mark.exists()


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    "source",
    [
        "from os import system as f",
        "from subprocess import *",
        "import json as f",
        "try:\n    from os import system as f\nexcept ImportError: ...",
        "from between import f",
        "from tools import f",
    ],
)
def test_a_name_that_a_file_only_imports_from_outside_cannot_be_named(folder: Folder, source: str) -> None:
    folder.write("tools.py", source)
    folder.write("between.py", "from os import system as f")
    assert "which is not of the project" in refused(folder, "../tools.py:f")


@pytest.mark.parametrize(
    "source",
    [
        "from between import f",
        "from between import *",
        "from .between import g as f",
        "try:\n    from os import system as f\nexcept ImportError: ...\ndef f(): return 'own'",
        "from os import system\nf = lambda: 'own'",
    ],
)
def test_a_name_that_a_file_imports_from_the_project_can_be_named(folder: Folder, source: str) -> None:
    folder.write("tools.py", source)
    folder.write("between.py", "def f(): return 'own'\ng = f")
    assert found(folder, "../tools.py:f").name == "f"


def test_what_a_file_does_not_define_is_told_with_the_nearest(folder: Folder) -> None:
    folder.write("pipelines/tools.py", "def count(text):\n    inner = 1\n")
    assert "did you mean `count`?" in refused(folder, "tools.py:cuont")
    assert "has no function `inner`" in refused(folder, "tools.py:inner")


@pytest.mark.parametrize("trusted", ["theirs", "theirs.prompts"])
async def test_a_module_that_the_settings_name_runs_and_is_not_run_to_be_found(
    folder: Folder, installed: Path, trusted: str
) -> None:
    folder.write("promptkit.yaml", f"trusted_modules: [{trusted}]\n")
    mark = installed / "theirs" / "MARK"

    reference = found(folder, "theirs.prompts:f")

    assert reference.file == installed / "theirs/prompts.py" and not mark.exists()
    assert await result(folder, "theirs.prompts:f") == "theirs"
    assert mark.exists()


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    ("trusted", "named"),
    [
        ("theirs.prompts", "theirs"),
        ("theirs.prompts", "theirs.other"),
        ("their", "theirs"),
        ("theirs.p", "theirs.prompts"),
    ],
)
def test_a_name_in_the_settings_covers_what_is_beneath_it_alone(
    folder: Folder, installed: Path, trusted: str, named: str
) -> None:
    folder.write("promptkit.yaml", f"trusted_modules: [{trusted}]\n")
    assert "neither a file of the project" in refused(folder, f"{named}:f")


@pytest.mark.parametrize("named", ["theirs.nowhere", "theirs.prompts.deeper", "theirs_too"])
def test_a_trusted_module_that_is_not_there_is_told(folder: Folder, installed: Path, named: str) -> None:
    folder.write("promptkit.yaml", "trusted_modules: [theirs, theirs_too]\n")
    assert f"there is no module `{named}`" in refused(folder, f"{named}:f")


def test_an_installed_package_may_name_its_modules_by_an_entry_point(folder: Folder, installed: Path) -> None:
    info = installed / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[promptkit.modules]\nprompts = theirs.prompts\n")

    assert found(folder, "theirs.prompts:f").file == installed / "theirs/prompts.py"
    assert "neither a file of the project" in refused(folder, "theirs:f")


@pytest.mark.attack("code")
def test_metadata_that_lies_in_the_project_names_no_module(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    folder.write("evil-1.0.dist-info/entry_points.txt", "[promptkit.modules]\nevil = os\n")
    monkeypatch.syspath_prepend(str(folder.root))  # As after a tool of the project was loaded.

    assert "neither a file of the project" in refused(folder, "os:system")


@pytest.mark.attack("code")
@pytest.mark.parametrize("reference", ["scripted:../../outside.py:f", "scripted:link.py:f", "scripted:../venv/a.py:f"])
def test_a_scripted_model_that_a_file_names_is_the_projects_own(tmp_path: Path, reference: str) -> None:
    folder = Folder(tmp_path / "project")
    (tmp_path / "outside.py").write_text(FUNCTION)
    folder.write("venv/pyvenv.cfg", "")
    pipelines = folder.write("venv/a.py", FUNCTION).parents[1] / "pipelines"
    pipelines.mkdir()
    (pipelines / "link.py").symlink_to(tmp_path / "outside.py")

    with pytest.raises(InputError, match=r"leaves the project's root|of an installed package"):
        resolve_model(reference, pipelines, folder.project)


def test_a_person_may_name_a_scripted_model_anywhere(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "project")
    (tmp_path / "outside.py").write_text(FUNCTION)
    folder.write("promptkit.yaml", "model: scripted:../outside.py:f\n")
    assert Project.find(folder.root).settings.model == "scripted:../outside.py:f"


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
    score = await metric("python", {"function": "code.py:f"}, folder=folder.root, name="mine").measure_async(
        CELL, NO_MODELS
    )
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
        find_technique("theirs", folder.project)

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
