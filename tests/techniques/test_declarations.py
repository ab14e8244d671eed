"""The declaration of a technique is read from its file without running it, and agrees with the file when it runs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.techniques import catalog
from promptkit.techniques.declarations import read_declaration
from promptkit.techniques.description import step_parameters
from promptkit.techniques.registry import annotations_of, find_technique, parameters_of, technique
from promptkit.techniques.spec import check_spec
from tests.engine.helpers import Folder

SHIPPED = sorted(path for path in Path(str(catalog.__path__[0])).glob("[!_]*.py"))
HEAD = "from promptkit.techniques import Answer, Count, Task, technique\n"


def own(folder: Path, declaration: str, parameters: str = "", more: str = "") -> Project:
    project = Folder(folder)
    text = f"{HEAD}{more}\n{declaration}\nasync def mine(task: Task{parameters}) -> Answer:\n    raise AssertionError\n"
    file = project.write("techniques/mine.py", "")
    file.write_text(text)
    project.write("templates/techniques/mine/answer.j2", "---\nproduces: answer\n---\n{% extends prompt %}\n")
    return Project(folder)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_is_read_of_a_file_is_what_it_declares_when_it_is_run(file: Path) -> None:
    run = getattr(import_module(f"promptkit.techniques.catalog.{file.stem}"), file.stem)

    found = read_declaration(file.stem, file)
    read = technique(**found.arguments, prepare=found.prepare)(found.function)

    for name in ("name", "about", "needs", "roles", "calls", "requests", "sampling"):
        assert getattr(read, name) == getattr(run, name), name
    for ours, theirs in ((read.function, run.function), (read.prepare, run.prepare)):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            defaults = [{name: each.default for name, each in parameters_of(of).items()} for of in (ours, theirs)]
            assert defaults[0] == defaults[1]
            assert ours.__doc__ is None or ours.__doc__.splitlines()[0] in (theirs.__doc__ or "")


@pytest.mark.parametrize(
    ("parameter", "more", "right", "wrong"),
    [
        ("n: int = 3", "", 4, "four"),
        ("n: Count = 3", "", 4, 0),
        ("n: 'int | None' = None", "", None, "four"),
        ("n: Literal['a', 'b'] = 'a'", "from typing import Literal\n", "b", "c"),
        ("n: typing.Literal[KINDS] = 'a'", "import typing\nKINDS = 'a'\n", "a", "c"),
        ("n: Annotated[int, Field(ge=1, le=5), 'how many'] = 2", "from typing import Annotated\n", 5, 6),
        ("n: list[str] = ['x']", "", ["y"], [1]),
        ("n: dict[str, float] = {'x': -1.5}", "", {"y": 2.0}, {"y": "z"}),
        ("n: Optional[bool] = LATER", "from typing import Optional\nLATER = None\n", True, "yes"),
        ("n: Sequence[int] = (1, 2)", "from collections.abc import Sequence\n", [3], 3),
    ],
)
def test_a_value_is_checked_by_its_annotation(
    tmp_path: Path, parameter: str, more: str, right: Any, wrong: Any
) -> None:
    project = own(tmp_path, "@technique()", f", *, {parameter}", more)

    assert check_spec({"mine": {"n": right}}, project) == []
    assert len(check_spec({"mine": {"n": wrong}}, project)) == 1


def test_of_a_type_that_only_running_would_tell_nothing_is_checked(tmp_path: Path) -> None:
    project = own(tmp_path, "@technique()", ", *, n: Tone = 3, m: Odd = 1", "from theirs import Tone\nclass Odd: ...\n")
    assert check_spec({"mine": {"n": "anything", "m": "anything"}}, project) == []


def test_collections_of_plain_values_are_plain(tmp_path: Path) -> None:
    found = find_technique(
        "mine", own(tmp_path, "@technique(needs=NEEDS)", ", *, n: object = frozenset({'a'})", "NEEDS = ['tools']\n")
    )
    assert found and found.needs == {"tools"}
    assert [each.default for each in step_parameters(found)] == [frozenset({"a"})]
    assert annotations_of(found.function) == {"n": object}


@pytest.mark.parametrize(
    ("declaration", "parameters", "line", "message"),
    [
        ("@technique(calls=str(3 + 4))", "", 3, "`calls` of `@technique()` must be a plain value"),
        ("@technique(needs=open('x'))", "", 3, "`needs` of `@technique()` must be a plain value: `open('x')`"),
        ("@technique(**{'calls': '2'})", "", 3, "`@technique()` does not take `**`"),
        ("@technique(cost='2')", "", 3, "`@technique()` does not take `cost`"),
        ("@technique(prepare=nowhere)", "", 3, "`prepare` of `@technique()` must name a function of this file"),
        ("@technique()", ", *, n: int = open('x')", 4, "the default of `n` must be a plain value"),
        ("@technique()", ", *, n: int = 10 ** 10 ** 10", 4, "the default of `n` must be a plain value"),
        ("@technique()", ", *, n: int", 4, "`n` of technique `mine` must be keyword-only with a default"),
        ("@technique()", ", n: int = 3", 4, "`n` of technique `mine` must be keyword-only with a default"),
        ("@technique()", ", **more", 4, "`more` of technique `mine` must be keyword-only with a default"),
        ("@technique()", ", *, n: Nowhere = 3", 4, "name 'Nowhere' is not defined"),
        ("@technique", "", None, "there is no `@technique()` function named `mine`"),
        ("", "", None, "there is no `@technique()` function named `mine`"),
    ],
)
def test_what_cannot_be_read_without_running_is_told_at_its_line(
    tmp_path: Path, declaration: str, parameters: str, line: int | None, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        find_technique("mine", own(tmp_path, declaration, parameters))

    (problem,) = caught.value.problems
    assert message in problem.message and problem.line == line
    assert Path(problem.file or "").name == "mine.py"


@pytest.mark.attack("code")
def test_a_technique_that_lies_out_of_the_project_is_refused(tmp_path: Path) -> None:
    project = own(tmp_path / "project", "@technique()")
    file = project.root / "techniques" / "mine.py"
    file.rename(tmp_path / "mine.py")
    file.symlink_to(tmp_path / "mine.py")

    with pytest.raises(InputError, match="leads out of the project's own files"):
        find_technique("mine", project)
