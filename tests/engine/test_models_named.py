"""A model that a file names by a path is looked for beside that file, and within the root."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.engine.load import load_target
from promptkit.errors import InputError
from promptkit.project import Project

PIPELINE = """\
name: named
model: scripted:answers.yaml
steps:
  one: {prompt: "Say one.", model: "gguf:weights/small.gguf"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "promptkit.yaml").touch()
    (tmp_path / "pipelines").mkdir()
    return Project.find(tmp_path)


def test_a_path_in_a_reference_is_relative_to_the_file_that_names_it(project: Project) -> None:
    (project.root / "pipelines" / "named.yaml").write_text(PIPELINE)

    pipeline = load_target("named", project)

    folder = project.root / "pipelines"
    assert pipeline.model == f"scripted:{folder / 'answers.yaml'}"
    assert pipeline.steps["one"].model == f"gguf:{folder / 'weights' / 'small.gguf'}"


def test_a_path_that_leaves_the_root_is_told_with_its_line(project: Project) -> None:
    text = PIPELINE.replace("answers.yaml", "/etc/answers.yaml").replace("weights/", "../../weights/")
    (project.root / "pipelines" / "named.yaml").write_text(text)

    with pytest.raises(InputError) as caught:
        load_target("named", project)

    assert [(problem.line, "leaves the project's root" in problem.message) for problem in caught.value.problems] == [
        (2, True),
        (4, True),
    ]
