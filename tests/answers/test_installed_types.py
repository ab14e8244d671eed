"""An answer type of an installed package: found by an entry point, checked when it is loaded, used as a shipped one."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.answers.build import build_answer_type, check_answer_type, instruction
from promptkit.engine.dependencies import files_of
from promptkit.engine.load import load_target
from promptkit.errors import InputError
from promptkit.project import Project

ROMAN = """
from promptkit.answers.base import AnswerType, Unparsed
from promptkit.errors import InputError

SIGNS = "IVX"


class Roman(AnswerType):
    name = "roman"

    def __init__(self, options):
        if options not in (None, "capitals"):
            raise InputError("roman takes `capitals`, or nothing")

    def format(self, value):
        return str(value)

    def read(self, text):
        if not text.strip() or set(text.strip()) - set(SIGNS):
            raise Unparsed(f"{text!r} is not a Roman numeral")
        return text.strip()

    def vote_key(self, value):
        return value

    def description(self):
        return {"signs": SIGNS}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, with one that brings `roman`."""
    site = tmp_path / "site-packages"
    info = site / "numerals-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numerals\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[promptkit.answer_types]\nroman = numerals_of_a_test:Roman\n")
    (site / "numerals_of_a_test.py").write_text(ROMAN)
    (site / "roman.j2").write_text("Write a Roman numeral of the signs {{ signs }}.")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(__import__("sys").modules, "numerals_of_a_test", raising=False)
    return site


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of its own for each test, for types are kept by the project's root."""
    (tmp_path / "project").mkdir()
    return Project(tmp_path / "project")


def refused(project: Project, spec: object = "roman") -> str:
    with pytest.raises(InputError) as caught:
        build_answer_type(spec, project)
    return str(caught.value)


def test_a_type_of_an_installed_package_is_built_by_its_name(site: Path, project: Project) -> None:
    assert build_answer_type("roman", project).parse(" XIV ") == "XIV"
    assert build_answer_type({"roman": "capitals"}, project).write("VI") == "VI"


def test_its_options_are_checked_with_the_file(site: Path, project: Project) -> None:
    assert check_answer_type("roman", project) == []
    assert check_answer_type({"roman": "{{ form }}"}, project) == []
    assert check_answer_type({"roman": "small"}, project) == ["roman takes `capitals`, or nothing"]


def test_its_instruction_lies_beside_its_python_file(site: Path, project: Project) -> None:
    assert (
        instruction(build_answer_type("roman", project), project=project) == "Write a Roman numeral of the signs IVX."
    )


def test_a_project_may_word_its_instruction_itself(site: Path, project: Project) -> None:
    override = project.root / "templates/answers/roman.j2"
    override.parent.mkdir(parents=True)
    override.write_text("In Roman numerals.")
    assert instruction(build_answer_type("roman", project), project=project) == "In Roman numerals."


def test_its_files_are_among_those_that_cells_are_keyed_by(site: Path, project: Project) -> None:
    prompt = project.root / "templates/prompts/year.j2"
    prompt.parent.mkdir(parents=True)
    prompt.write_text("---\nanswer: roman\n---\n{% block input %}1999{% endblock %}")
    files = files_of(load_target(prompt, project))
    assert {site / "numerals_of_a_test.py", site / "roman.j2"} <= files.keys()


def test_an_unknown_type_is_told_with_the_nearest_installed_one(site: Path, project: Project) -> None:
    found = ["no answer type `romann`; did you mean `roman`?"]
    assert check_answer_type("romann", project) == check_answer_type({"romann": "{{ form }}"}, project) == found


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise OSError('no disk')", "OSError: no disk"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("Roman = print", "is not a subclass of `promptkit.answers.base.AnswerType`"),
        (ROMAN.replace("def read(self, text)", "def reads(self, text)"), "does not define `read`"),
        ("from promptkit.answers.boolean import Boolean as Roman", 'must have `name = "roman"`'),
    ],
)
def test_a_type_that_cannot_be_loaded_is_an_error_of_the_file(
    site: Path, project: Project, code: str, message: str
) -> None:
    (site / "numerals_of_a_test.py").write_text(f"{code}\n")
    assert "answer type `roman` cannot be loaded:" in refused(project) and message in refused(project)


def test_a_type_without_a_template_is_an_error(site: Path, project: Project) -> None:
    (site / "roman.j2").unlink()
    assert f"there is no {site / 'roman.j2'}, the template of its instruction" in refused(project)


def test_a_type_that_fails_to_be_made_is_an_error_of_the_file(site: Path, project: Project) -> None:
    (site / "numerals_of_a_test.py").write_text(ROMAN.replace("if options not in", "if 1 / 0 or options not in"))
    assert "answer type `roman` raised ZeroDivisionError: division by zero" in refused(project)


@pytest.mark.attack("code")
def test_metadata_that_lies_in_the_project_brings_no_type(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    info = project.root / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[promptkit.answer_types]\nevil = os:system\n")
    monkeypatch.syspath_prepend(str(project.root))

    assert "no answer type `evil`" in refused(project, "evil")
