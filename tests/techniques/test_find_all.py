"""All techniques of a project: one that is broken is told with what is wrong, and hides no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.techniques.description import find_all, step_parameters
from promptkit.techniques.registry import find_technique, technique_names
from promptkit.techniques.spec import check_spec

ANSWER = "---\nproduces: answer\n---\n{% extends prompt %}\n"
MODULE = """\
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from promptkit.techniques import technique

if TYPE_CHECKING:
    from promptkit.techniques import Answer, Task


@technique()
async def mine(task: Task, *, form: Annotated[Literal["short", "long"], "a form"] = "short") -> Answer:
    return await task.decide(await task.ask("answer"))
"""


def project(folder: Path, module: str = MODULE, template: str = ANSWER) -> Project:
    """Return a project with a technique `mine` of a module, and `plain` of a template alone."""
    for name, text in {
        "techniques/mine.py": module,
        "templates/techniques/mine/answer.j2": template,
        "templates/techniques/plain/answer.j2": ANSWER,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Project(folder)


def test_a_projects_own_are_among_the_shipped(tmp_path: Path) -> None:
    found, problems = find_all(project(tmp_path))

    assert problems == []
    assert {"mine", "plain", "vanilla", "react"} <= {each.name for each in found}
    assert [each.name for each in found] == technique_names(project(tmp_path))


@pytest.mark.parametrize(
    ("module", "template", "message"),
    [
        ("def mine(:\n", ANSWER, "technique `mine` cannot be read: SyntaxError: invalid syntax"),
        ("raise SystemExit('enough')\n", ANSWER, "there is no `@technique()` function named `mine`"),
        ("mine = 3\n", ANSWER, "there is no `@technique()` function named `mine`"),
        (MODULE.replace("Annotated[", "Annotatet["), ANSWER, "technique `mine` cannot be read: name 'Annotatet'"),
        (MODULE.replace("technique()", "technique(roles=['tabel'])"), ANSWER, "there is no role `tabel`"),
        (
            MODULE.replace("technique()", "technique(calls='smaples')"),
            ANSWER,
            "the formula `calls` of technique `mine`",
        ),
        (MODULE, "---\nproduce: answer\n---\n", "unknown key `produce`"),
    ],
)
def test_one_that_is_broken_hides_no_other(tmp_path: Path, module: str, template: str, message: str) -> None:
    found, (problem,) = find_all(project(tmp_path, module, template))

    assert message in problem.message
    assert {"plain", "vanilla"} <= {each.name for each in found}
    assert "mine" not in {each.name for each in found}


def test_a_card_that_is_wrong_is_told_at_its_place(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "templates" / "techniques" / "plain" / "technique.yaml").write_text("title: Plain\nfamly: modifier\n")

    _, (problem,) = find_all(Project(tmp_path))

    assert (Path(problem.file or "").name, problem.line) == ("technique.yaml", 2)


def test_a_folder_without_a_template_is_told(tmp_path: Path) -> None:
    project(tmp_path)
    (tmp_path / "templates" / "techniques" / "empty").mkdir()

    _, (problem,) = find_all(Project(tmp_path))

    assert problem.message == "technique `empty` has no template"


@pytest.mark.parametrize("name", ["__init__", "_common"])
def test_a_module_whose_name_begins_with_an_underscore_is_no_technique(tmp_path: Path, name: str) -> None:
    project(tmp_path)
    (tmp_path / "techniques" / f"{name}.py").write_text("HELPS = True\n")

    found, problems = find_all(Project(tmp_path))

    assert problems == []
    assert name not in {each.name for each in found}


def test_what_stands_in_annotations_of_the_task_alone_need_not_be_imported_to_run(tmp_path: Path) -> None:
    own = project(tmp_path)
    technique = find_technique("mine", own)
    assert technique

    assert [(each.name, each.choices) for each in step_parameters(technique)] == [("form", ("short", "long"))]
    assert check_spec({"mine": {"form": "long"}}, own) == []
    assert len(check_spec({"mine": {"form": "wide"}}, own)) == 1


def test_a_module_that_is_mended_is_read_anew(tmp_path: Path) -> None:
    own = project(tmp_path, "mine = 3\n")
    with pytest.raises(InputError):
        find_technique("mine", own)

    project(tmp_path)

    assert find_technique("mine", own) is not None
