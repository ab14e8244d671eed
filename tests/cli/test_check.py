"""`check`: which files are looked at, in which root, and what is said in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def rootless(project: Path) -> Path:
    """Return the project without a file that marks its root."""
    (project / "promptkit.yaml").unlink()
    return project


@pytest.mark.parametrize("given", [(), (".",), ("mail",)])
def test_without_settings_the_working_folder_is_the_root(promptkit: Run, rootless: Path, given: tuple[str]) -> None:
    done = promptkit("check", *given)
    assert (done.code, done.out) == (0, ""), done.out


def test_without_settings_a_folder_named_is_the_root(promptkit: Run, rootless: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert promptkit("check", str(rootless), cwd=elsewhere).code == 0


def test_a_project_in_the_folder_named_keeps_its_own_root(promptkit: Run, rootless: Path) -> None:
    inner = rootless / "inner"
    (inner / "pipelines").mkdir(parents=True)
    (inner / "promptkit.yaml").touch()
    (inner / "pipelines" / "own.yaml").write_text("steps: {topic: {prompt: sort_mail}}\n")
    assert "there is no prompt `sort_mail`" in promptkit("check").out


def test_a_file_has_the_root_that_it_is_run_in(promptkit: Run, rootless: Path) -> None:
    checked, ran = (promptkit(verb, "pipelines/mail.yaml") for verb in ("check", "run"))
    assert (checked.code, ran.code) == (1, 2)
    assert checked.out.strip() in ran.err


@pytest.mark.parametrize("script", ["rules:\n  - {contains: a, reply: b}\n", "replies: [a]\n", "otherwise: a\n"])
def test_a_script_beside_the_pipelines_is_no_pipeline(promptkit: Run, project: Path, script: str) -> None:
    (project / "pipelines" / "script.yaml").write_text(f"model: tiny\n{script}")
    done = promptkit("check")
    assert (done.code, done.out) == (0, "")
    assert done.err == "3 files, no problems\n"


def test_one_file_and_one_problem_are_counted_as_one(promptkit: Run, project: Path) -> None:
    prompt = project / "templates" / "prompts" / "sort_mail.j2"
    assert promptkit("check", "mail").err == "1 file, no problems\n"
    prompt.write_text(prompt.read_text().replace("block input", "block imput"))
    assert promptkit("check", "sort_mail").err == "1 file, 1 problem\n"
