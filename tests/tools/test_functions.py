"""Functions of the project as tools: what they may import, what they are given, and when they are read again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptkit.storage.files import frozen_files
from promptkit.tools.functions import find_tool
from tests.engine.helpers import Folder


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    paths, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def call(folder: Folder, reference: str, **arguments: Any) -> Any:
    return await find_tool("t", reference, folder.root, folder.project).call(arguments)


@pytest.mark.parametrize("reference", ["tool.py:f", "tool:f"])
async def test_a_function_may_import_the_projects_own_modules_when_it_is_called(folder: Folder, reference: str) -> None:
    folder.write("shared_words/words.py", "WORD = 'one'\n")
    folder.write("tool.py", "def f():\n    from shared_words import words\n    return words.WORD\n")

    assert await call(folder, reference) == "one"


async def test_a_module_of_the_project_comes_before_all_others_while_a_tool_is_loaded_and_after_them_ever_after(
    folder: Folder,
) -> None:
    folder.write("statistics.py", "WHOSE = 'the project'\n")
    folder.write("tool.py", "def f():\n    return 1\n")

    await call(folder, "tool.py:f")

    assert sys.path.count(str(folder.root)) == 1
    assert sys.path[-1] == str(folder.root)


async def test_what_a_function_does_to_its_arguments_its_caller_does_not_see(folder: Folder) -> None:
    folder.write("tool.py", "def f(items):\n    items[0]['more'] = items\n    items.append(1)\n    return len(items)\n")
    items = [{"a": 1}]

    assert [await call(folder, "tool.py:f", items=items) for _ in range(2)] == [2, 2]
    assert items == [{"a": 1}]


async def test_an_edited_file_is_run_again_unless_files_are_held(folder: Folder) -> None:
    file = folder.write("tool.py", "def f():\n    return 'one'\n")

    with frozen_files():
        before = await call(folder, "tool.py:f")
        file.write_text("def f():\n    return 'another'\n", encoding="utf-8")
        held = await call(folder, "tool.py:f")

    assert (before, held, await call(folder, "tool.py:f")) == ("one", "one", "another")


def test_a_tool_has_its_description_and_its_parameters_from_the_file(folder: Folder) -> None:
    docstring = '"""Add.\n    Now.\n\n    More.\n    """'
    folder.write("tool.py", f'def f(a: int, b="x", *, c: list[str] = ()):\n    {docstring}\n')

    tool = find_tool("t", "tool.py:f", folder.root, folder.project)

    assert (tool.about, tool.description) == ("Add.", "Add. Now.")
    assert tool.types == {"a": "int", "c": "list[str]"}
    assert tool.takes == {"a": True, "b": False, "c": False}
    assert tool.parameters["properties"]["a"] == {"type": "integer"}


def test_a_tool_that_is_not_a_plain_function_takes_any_arguments(folder: Folder) -> None:
    folder.write("tool.py", "from functools import partial\n\n\ndef g(a):\n    return a\n\n\nf = partial(g, 1)\n")

    tool = find_tool("t", "tool.py:f", folder.root, folder.project)

    assert tool.takes is None and tool.description == ""


def test_the_files_of_a_tool_are_those_that_its_file_imports(folder: Folder) -> None:
    folder.write("tool.py", "import words\n\n\ndef f():\n    return words\n")
    folder.write("words.py", "")

    files = find_tool("t", "tool.py:f", folder.root, folder.project).files

    assert [file.name for file in files] == ["tool.py", "words.py"]
