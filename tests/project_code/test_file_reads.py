"""The files that a project's Python reads are seen, whoever opens them and whenever."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import sqlite3
from typing import Any

import pytest

from promptkit.errors import ToolFailed
from promptkit.project_code.file_reads import collecting_reads
from promptkit.project_code.reference import find_code
from promptkit.storage.file_digests import ABSENT, CHANGING, MOST_FILES, digest_of
from tests.engine.helpers import Folder

HERE = "import pathlib\nHERE = pathlib.Path(__file__).parent\n"


async def reads(folder: Folder, source: str, *, name: str = "tool", **arguments: Any) -> dict[str, str]:
    """Return what a call of `act` in a file reads."""
    path = folder.root / f"{name}.py"
    if not path.exists() or path.read_text() != HERE + source:
        path.write_text(HERE + source)
    code = find_code(f"{name}.py:act", folder.root, folder.project, what="tool")
    with collecting_reads() as found:
        await code.call(arguments, ToolFailed)
    return found.record(folder.root)


READ = "def act(name='a.txt'):\n    return (HERE / name).read_text()\n"


async def test_a_file_that_a_function_opens_is_named_within_the_project_with_the_digest_of_its_content(
    folder: Folder,
) -> None:
    folder.write("a.txt", "one")
    found = await reads(folder, READ)
    assert found == {"a.txt": digest_of("a.txt", folder.root)}
    folder.write("a.txt", "two")
    assert (await reads(folder, READ))["a.txt"] != found["a.txt"]


async def test_a_file_that_a_module_reads_once_is_read_by_every_call(folder: Folder) -> None:
    folder.write("a.txt", "one")
    at_load = "TEXT = (HERE / 'a.txt').read_text()\ndef act():\n    return TEXT\n"
    lazily = "KEPT = {}\ndef act():\n    KEPT.setdefault('a', None) or KEPT.update(a=(HERE / 'a.txt').read_text())\n"
    for name, source in {"at_load": at_load, "lazily": lazily}.items():
        first, second = [await reads(folder, source, name=name) for _ in range(2)]
        assert first == second == {"a.txt": digest_of("a.txt", folder.root)}


async def test_what_a_module_keeps_of_a_file_that_has_changed_since_is_of_the_content_that_it_read(
    folder: Folder,
) -> None:
    folder.write("a.txt", "one")
    source = "TEXT = (HERE / 'a.txt').read_text()\ndef act():\n    return TEXT\n"
    first = await reads(folder, source)
    folder.write("a.txt", "another")
    assert await reads(folder, source) == first
    assert digest_of("a.txt", folder.root) != first["a.txt"]


async def test_a_file_that_an_imported_module_reads_is_read_by_the_one_that_imports_it(folder: Folder) -> None:
    folder.write("a.txt", "one")
    folder.write("helper.py", HERE + "def text():\n    return (HERE / 'a.txt').read_text()\n")
    await reads(folder, "import helper\ndef act():\n    return helper.text()\n")
    other = await reads(folder, "import helper\ndef act():\n    return 1\n", name="other")
    assert other == {name: digest_of(name, folder.root) for name in ("a.txt", "helper.py")}


@pytest.mark.parametrize("keeps_bytecode", [True, False])
async def test_a_module_that_is_imported_by_a_string_and_the_files_that_it_reads_are_read(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, keeps_bytecode: bool
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", not keeps_bytecode)
    module = f"late_{keeps_bytecode}"  # A module that is loaded already would be the other case's.
    folder.write("a.txt", "one")
    folder.write(f"{module}.py", HERE + "TEXT = (HERE / 'a.txt').read_text()\n")
    source = f"import importlib\ndef act():\n    return importlib.import_module('{module}').TEXT\n"
    assert (await reads(folder, source)).keys() == {"a.txt", f"{module}.py"}
    assert (await reads(folder, source)).keys() == {"a.txt", f"{module}.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\nasync def act():\n    return await asyncio.to_thread((HERE / 'a.txt').read_text)\n",
        "from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "def act():\n    with Pool(1) as pool:\n        return pool.submit((HERE / 'a.txt').read_text).result()\n",
        "import os\ndef act():\n    os.close(os.open(HERE / 'a.txt', os.O_RDONLY))\n",
        "async def act():\n    return (HERE / 'a.txt').read_text()\n",
    ],
    ids=["asyncio thread", "thread pool", "descriptor", "async"],
)
async def test_a_file_is_seen_however_it_is_opened(folder: Folder, source: str) -> None:
    folder.write("a.txt", "one")
    assert (await reads(folder, source)).keys() == {"a.txt"}


async def test_a_database_is_read_and_one_that_the_code_itself_changes_is_not(folder: Folder) -> None:
    with sqlite3.connect(folder.root / "a.db") as made:
        made.execute("create table words (word text)")
    made.close()
    opened = (
        "import sqlite3, contextlib\ndef act():\n    with contextlib.closing(sqlite3.connect(HERE / 'a.db')) as db:\n"
    )
    look = f"{opened}        db.execute('select * from words').fetchall()\n"
    assert (await reads(folder, look)).keys() == {"a.db"}
    change = f"{opened}        db.execute('insert into words values (1)')\n        db.commit()\n"
    assert await reads(folder, change, name="other") == {}


async def test_what_a_function_lists_is_the_names_in_a_folder(folder: Folder) -> None:
    folder.write("data/a.txt", "one")
    source = "def act():\n    return sorted(path.name for path in (HERE / 'data').iterdir())\n"
    found = await reads(folder, source)
    assert found.keys() == {"data/"}
    folder.write("data/a.txt", "another")
    assert await reads(folder, source) == found
    folder.write("data/b.txt", "one")
    assert await reads(folder, source) != found


async def test_many_files_of_one_folder_are_one_group_by_their_ending(folder: Folder) -> None:
    names = [f"data/{number}.txt" for number in range(MOST_FILES + 1)]
    for name in names:
        folder.write(name, name)
    source = "def act(names):\n    return [(HERE / name).read_text() for name in names]\n"
    assert (await reads(folder, source, names=names[:-1])).keys() == set(names[:-1])
    found = await reads(folder, source, names=names)
    assert found == {"data/*.txt": digest_of("data/*.txt", folder.root)}
    folder.write("data/added.txt", "more")
    assert digest_of("data/*.txt", folder.root) != found["data/*.txt"]


async def test_a_file_that_is_not_there_is_read_as_absent(folder: Folder) -> None:
    source = "def act():\n    try:\n        return open(HERE / 'a.txt').read()\n    except OSError:\n        return 1\n"
    assert await reads(folder, source) == {"a.txt": ABSENT}


async def test_what_a_script_of_the_project_writes_between_two_calls_is_read(folder: Folder) -> None:
    script = folder.write("script.py", HERE + "(HERE / 'a.txt').write_text(text)\n")
    runpy.run_path(str(script), {"text": "one"})
    first = await reads(folder, READ)
    runpy.run_path(str(script), {"text": "two"})
    second = await reads(folder, READ)

    assert first["a.txt"] != second["a.txt"] == digest_of("a.txt", folder.root)


async def test_what_the_code_writes_and_what_lies_elsewhere_or_in_the_store_is_not_read(folder: Folder) -> None:
    folder.write(".promptkit/a.txt", "one")
    source = (
        "import os\ndef act():\n    (HERE / 'log.txt').write_text('x')\n    (HERE / 'log.txt').read_text()\n"
        "    os.replace(HERE / 'log.txt', HERE / 'kept.txt')\n    (HERE / 'kept.txt').read_text()\n"
        "    (HERE / '.promptkit/a.txt').read_text()\n    open(os.devnull).close()\n"
    )
    assert await reads(folder, source) == {}


async def test_what_the_code_writes_in_a_thread_is_not_read(folder: Folder) -> None:
    source = (
        "import asyncio\nasync def act():\n    await asyncio.to_thread((HERE / 'log.txt').write_text, 'x')\n"
        "    (HERE / 'log.txt').read_text()\n"
    )
    assert await reads(folder, source) == {}


async def test_a_file_that_changes_while_a_call_runs_has_no_digest(folder: Folder) -> None:
    folder.write("a.txt", "one")
    source = "def act(change):\n    text = (HERE / 'a.txt').read_text()\n    change()\n    return text\n"
    assert await reads(folder, source, change=lambda: os.utime(folder.root / "a.txt", (1, 1))) == {"a.txt": CHANGING}


async def test_promptkits_own_reading_while_the_code_runs_is_not_the_codes(folder: Folder) -> None:
    folder.write("a.txt", "one")
    source = "from promptkit.storage.files import read_uncached\ndef act():\n    return read_uncached(HERE / 'a.txt')\n"
    assert await reads(folder, source) == {}


async def test_calls_that_run_together_have_their_own_reads(folder: Folder) -> None:
    for name in ("a.txt", "b.txt"):
        folder.write(name, name)
    one, other = await asyncio.gather(
        reads(folder, READ, name="one"), reads(folder, READ.replace("a.txt", "b.txt"), name="other")
    )
    assert one.keys() == {"a.txt"}
    assert other.keys() == {"b.txt"}
    assert json.loads(json.dumps(one)) == one


async def test_a_link_is_read_by_its_own_name(folder: Folder) -> None:
    folder.write("one.txt", "one")
    folder.write("two.txt", "two")
    link = folder.root / "a.txt"
    link.symlink_to("one.txt")
    found = await reads(folder, READ)
    assert found == {"a.txt": digest_of("one.txt", folder.root)}
    link.unlink()
    link.symlink_to("two.txt")
    assert digest_of("a.txt", folder.root) != found["a.txt"]


async def test_a_file_whose_name_begins_like_a_variable_is_a_file(folder: Folder) -> None:
    folder.write("$a.txt", "one")
    found = await reads(folder, READ.replace("a.txt", "$a.txt"), name="other")
    assert found == {"./$a.txt": digest_of("./$a.txt", folder.root)}
    assert found["./$a.txt"] != ABSENT


async def test_a_trusted_module_from_outside_reads_files_of_the_project_too(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "trusted_tool.py").write_text("def act(path):\n    return open(path, 'rb').close()\n")
    monkeypatch.syspath_prepend(outside)
    folder.write("promptkit.yaml", "model: auto\ntrusted_modules: [trusted_tool]\n")
    folder.write("a.txt", "one")
    code = find_code("trusted_tool:act", folder.root, folder.project, what="tool")
    with collecting_reads() as found:
        await code.call({"path": str(folder.root / "a.txt")}, ToolFailed)
    assert found.record(folder.root) == {"a.txt": digest_of("a.txt", folder.root)}
