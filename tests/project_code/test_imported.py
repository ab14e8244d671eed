"""Which of a project's files a Python file imports, found without running any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promptkit.project_code.imported import imported_files


def write(root: Path, **texts: str) -> None:
    """Write files by their paths, in which `__` is a `/` and `.py` is left out."""
    for name, text in texts.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def found(root: Path, name: str = "tool.py") -> set[str]:
    return {os.path.relpath(path, root) for path in imported_files(root / name, root)}


def test_a_file_that_imports_nothing_of_the_project_is_alone(tmp_path: Path) -> None:
    write(tmp_path, tool="import json, os.path\nfrom collections import abc\n", unread="")
    assert found(tmp_path) == {"tool.py"}


@pytest.mark.parametrize(
    "line",
    [
        "import shared.words",
        "import json, shared.words as other",
        "from shared import words",
        "from shared.words import WORD",
        "from shared import words as other",
        "from shared.words import *",
        "def f():\n    from shared import words",
        "try:\n    import shared.words\nexcept ImportError:\n    pass",
        "if False:\n    import shared.words",
    ],
)
def test_imports_are_found_wherever_and_however_they_are_written(tmp_path: Path, line: str) -> None:
    write(tmp_path, tool=line + "\n", shared__words="WORD = 1\n", shared__unread="")
    assert found(tmp_path) == {"tool.py", "shared/words.py"}


def test_the_packages_around_a_module_are_imported_too(tmp_path: Path) -> None:
    write(tmp_path, tool="import a.b.c\n", a__b__c="")
    for folder in ("a", "a/b"):
        (tmp_path / folder / "__init__.py").touch()
    assert found(tmp_path) == {"tool.py", "a/__init__.py", "a/b/__init__.py", "a/b/c.py"}


def test_relative_imports_are_found_from_the_files_own_folder(tmp_path: Path) -> None:
    write(tmp_path, tools__deep__tool="from . import near\nfrom .. import up\nfrom ..other import thing\n")
    write(tmp_path, tools__deep__near="", tools__up="", tools__other="", near="", up="", other="")
    assert found(tmp_path, "tools/deep/tool.py") == {
        "tools/deep/tool.py",
        "tools/deep/near.py",
        "tools/up.py",
        "tools/other.py",
    }


def test_what_an_imported_file_imports_is_found_and_a_circle_ends(tmp_path: Path) -> None:
    write(tmp_path, tool="import one\n", one="import two\n", two="import three, tool\n", three="import one\n")
    assert found(tmp_path) == {"tool.py", "one.py", "two.py", "three.py"}


def test_a_file_that_does_not_parse_is_there_and_nothing_of_it(tmp_path: Path) -> None:
    write(tmp_path, tool="import broken\n", broken="import other\ndef\n", other="")
    assert found(tmp_path) == {"tool.py", "broken.py"}


def test_nothing_is_run(tmp_path: Path) -> None:
    write(tmp_path, tool="import other\nraise SystemExit(3)\n", other="raise SystemExit(3)\n")
    assert found(tmp_path) == {"tool.py", "other.py"}


def test_what_lies_outside_the_project_is_somebody_elses(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write(tmp_path, project__tool="from .. import outside\n", outside="import more\n", more="")
    write(tmp_path, library__module="from . import part\n", library__part="")

    assert found(root) == {"tool.py"}
    assert imported_files(tmp_path / "library/module.py", root) == (tmp_path / "library/module.py",)


def test_what_is_installed_within_the_project_is_somebody_elses(tmp_path: Path) -> None:
    installed = tmp_path / ".venv/lib/site-packages/given"
    write(installed, module="from . import part\n", part="")

    assert imported_files(installed / "module.py", tmp_path) == (installed / "module.py",)


def test_a_project_that_is_reached_by_a_link_is_the_same(tmp_path: Path) -> None:
    write(tmp_path, project__tool="import other\n", project__other="")
    (tmp_path / "link").symlink_to(tmp_path / "project")

    assert imported_files(tmp_path / "link/tool.py", tmp_path / "link") == (
        tmp_path / "link/tool.py",
        tmp_path / "link/other.py",
    )
    assert len(imported_files(tmp_path / "project/tool.py", tmp_path / "link")) == 2
