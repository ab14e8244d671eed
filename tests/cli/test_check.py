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


MODULE = """\
from promptkit.techniques import technique


@technique(
    calls="n * (over_call + 1)",
    requests="n",
)
async def twice(task, *, n: int = 2):
    return await task.decide(await task.ask("answer"))
"""
TEMPLATE = "---\nproduces: answer\n---\n{% extends prompt %}\n"


@pytest.fixture
def technique(project: Path) -> Path:
    """Return the folder of the templates of a technique whose formula has a misspelt name."""
    (project / "techniques").mkdir()
    (project / "techniques/twice.py").write_text(MODULE)
    folder = project / "templates/techniques/twice"
    folder.mkdir(parents=True)
    (folder / "answer.j2").write_text(TEMPLATE)
    return folder


FORMULA = "techniques/twice.py:5: the formula `calls` of technique `twice` cannot be evaluated: n * (over_call + 1)"


@pytest.mark.parametrize("given", [(), ("techniques",), ("techniques/twice.py",), ("templates/techniques/twice",)])
def test_a_broken_technique_is_found_though_no_step_uses_it(
    promptkit: Run, technique: Path, given: tuple[str, ...]
) -> None:
    done = promptkit("check", *given)
    assert done.code == 1 and FORMULA in done.out
    assert "did you mean `over_calls`?" in done.out


@pytest.mark.parametrize("target", ["sort_mail", "mail", "evals/mail.yaml"])
def test_a_broken_technique_is_found_in_what_uses_it(
    promptkit: Run, project: Path, technique: Path, target: str
) -> None:
    (project / "promptkit.yaml").write_text("defaults: {technique: twice}\n")
    (project / "evals").mkdir(exist_ok=True)
    (project / "evals/mail.yaml").write_text(
        "target: sort_mail\ndata: [{mail: hello, expect: other}]\nmetrics: {right: exact}\n"
    )
    assert FORMULA in promptkit("check", target).out


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        (
            "technique.yaml",
            "title: Twice\ndepth: 1 + samples\n",
            "technique.yaml:2:8: the formula `depth` of technique",
        ),
        ("answer.j2", TEMPLATE.replace("answer", "numbr"), "answer.j2:2:11: `produces`"),
        ("answer.j2", TEMPLATE.replace("answer", "answer\nbegin: '{{ cal.x }}'"), "answer.j2:3:8: `begin`"),
        ("answer.j2", TEMPLATE + "{% block input %}{{ call.x }\n", "answer.j2:5"),
        ("answer.j2", TEMPLATE + "{% block input %}{{ text }}{% endblock %}\n", "answer.j2:5:21: `text` is undefined"),
    ],
)
def test_each_part_of_a_technique_is_checked_at_its_line(
    promptkit: Run, project: Path, technique: Path, file: str, text: str, found: str
) -> None:
    (project / "techniques/twice.py").write_text(MODULE.replace("over_call + 1", "1"))
    assert promptkit("check").code == 0
    (technique / file).write_text(text)
    assert f"templates/techniques/twice/{found}" in promptkit("check").out


@pytest.mark.parametrize("target", ["techniques", "sort_mail"])
def test_a_call_that_has_no_template_is_found_at_its_line(
    promptkit: Run, project: Path, technique: Path, target: str
) -> None:
    (project / "promptkit.yaml").write_text("defaults: {technique: twice}\n")
    module = MODULE.replace("over_call + 1", "1").rstrip()
    (project / "techniques/twice.py").write_text(
        f'{module}\n\n\nasync def more(task):\n    return await task.ask("answr")\n'
    )

    done = promptkit("check", target)

    assert done.code == 1 and "techniques/twice.py:13: technique `twice` has no call `answr`" in done.out
    assert "did you mean `answer`?" in done.out


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ('sampling="m > 1"', "the formula `sampling` of technique `twice` cannot be evaluated: m > 1"),
        ('requests="2 *"', "the formula `requests` of technique `twice` cannot be evaluated: 2 *"),
        ('calls={"answer": 1}', "it must be a text"),
        ("requests=\"'many'\"", "'many' is not a number"),
    ],
)
def test_each_formula_is_evaluated(promptkit: Run, project: Path, technique: Path, argument: str, problem: str) -> None:
    module = MODULE.replace('    calls="n * (over_call + 1)",\n    requests="n",\n', f"    {argument}\n")
    (project / "techniques/twice.py").write_text(module)
    done = promptkit("check", "techniques")
    assert "techniques/twice.py:5: " in done.out and problem in done.out
    assert "1 file, 1 problem\n" in done.err
