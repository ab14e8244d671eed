"""What is wrong on the command line of `techniques`, or in a technique of one's own, with what would be right."""

from __future__ import annotations

import pytest

from promptkit.cli.technique_prepare import complete_technique as complete_prepared
from promptkit.cli.techniques import complete_technique
from tests.journeys.commands import Place

MODULE = """\
from promptkit.techniques import Answer, Prepared, Task, technique


async def prepare(task, rows):
    return Prepared(items=[])


@technique(needs={"rows"}, prepare=prepare)
async def mine(task: Task, *, samples: int = 3) -> Answer:
    return await task.decide(await task.ask("answer"))
"""
OWN: dict[str, str | bytes] = {
    "techniques/mine.py": MODULE,
    "templates/prompts/say.j2": "---\ninputs: {mail: {}}\n---\n{% block input %}{{ mail }}{% endblock %}\n",
    "templates/techniques/mine/answer.j2": "---\nproduces: answer\n---\n{% extends prompt %}\n",
    "templates/techniques/mine/technique.yaml": "title: Mine\ntasks: [shouting]\n",
}
CARD, CALL = "templates/techniques/mine/technique.yaml", "templates/techniques/mine/answer.j2"


@pytest.fixture
def own(project: Place) -> Place:
    """A project with a technique `mine` of its own."""
    project.write(OWN)
    return project


COMMANDS: list[tuple[list[str], str, str]] = [
    (["list", "--family", "modifer"], "there is no family `modifer`", "did you mean `modifier`?"),
    (["list", "--task", "sentimant"], "there is no task `sentimant`", "did you mean `sentiment`?"),
    (["list", "--task", "shoutin"], "there is no task `shoutin`", "did you mean `shouting`?"),
    (["show", "chain_of_thougt"], "there is no technique `chain_of_thougt`", "did you mean `chain_of_thought`?"),
    (["show", "mien"], "there is no technique `mien`", "did you mean `mine`?"),
    (["show", "../mine"], "the path `../mine` leaves the project", "its root is"),
    (["recommend"], "name a task or a pipeline", "--task math"),
    (["recommend", "--task", "mathe"], "there is no task `mathe`", "did you mean `math`?"),
    (["recommend", "--step", "a"], "a step and its data are those of a pipeline", "name it before the options"),
    (["recommend", "--data", "x"], "a step and its data are those of a pipeline", "name it before the options"),
    (["recommend", "--task", "math", "--flag", "number"], "there is no flag `number`", "did you mean `numbers`?"),
    (["recommend", "tset", "--task", "math"], "there is no pipeline or prompt `tset`", "did you mean `test`?"),
    (["recommend", "test", "--step", "b"], "`test` has no step `b`", "known: a"),
    (["recommend", "say"], "neither the answer nor the inputs of step `say` show its task", "classification"),
    (["recommend", "test", "--task", "math", "--data", "no.jsonl"], "no.jsonl: no such file", ""),
    (["recommend", "--task", "math", "--budget", "0"], "--budget", "greater than or equal to 1"),
    (["recommend", "--task", "math", "--depth", "many"], "--depth", "a valid number"),
    (
        ["recommend", "--task", "math", "--model", "olama/x"],
        "--model: `olama/x` is not a model reference",
        "`ollama/x`",
    ),
]


@pytest.mark.parametrize(("arguments", "message", "hint"), COMMANDS, ids=[" ".join(row[0]) for row in COMMANDS])
def test_a_wrong_command_line_says_what_would_be_right(
    own: Place, arguments: list[str], message: str, hint: str
) -> None:
    done = own.run("techniques", *arguments)

    assert (done.code, done.out) == (2, "")
    assert message in done.err and hint in done.err
    assert "Traceback" not in done.err and own.asked == 0


@pytest.mark.parametrize(
    "arguments", [["--task", "mathe"], ["--task", "math", "--flag", "number"], ["say"], ["test", "--step", "b"]]
)
def test_a_mistake_is_told_before_a_model_is_opened(own: Place, arguments: list[str]) -> None:
    done = own.run("techniques", "recommend", *arguments, "--model", "gguf:nowhere.gguf")

    assert done.code == 2 and "nowhere.gguf" not in done.err


BROKEN: list[tuple[str, str, str]] = [
    (
        "techniques/mine.py",
        "import sys\nsys.exit(5)\n",
        "techniques/mine.py: technique `mine` cannot be read: there is no",
    ),
    ("techniques/mine.py", "def mine(\n", "techniques/mine.py:1: technique `mine` cannot be read: SyntaxError"),
    ("techniques/mine.py", MODULE.replace("async def mine", "def mine").replace("await ", ""), "an `async def`"),
    ("techniques/mine.py", MODULE.replace("int = 3", "int"), "must be keyword-only with a default"),
    ("techniques/mine.py", MODULE.replace("int = 3", "Many = 3"), "name 'Many' is not defined"),
    (
        "techniques/mine.py",
        MODULE.replace("technique(needs", "technique(calls='sampels', needs"),
        "the formula `calls`",
    ),
    (CARD, "famly: modifier\n", f"{CARD}:1:1: unknown key `famly`"),
    (CARD, "depth: 2 *\n", "the formula `depth` of technique `mine` cannot be evaluated"),
    (CALL, "---\nproduces: anwser\n---\n", f"{CALL}:2:11: `produces`"),
]


@pytest.mark.parametrize(("file", "text", "told"), BROKEN, ids=[row[2][:60] for row in BROKEN])
def test_a_broken_technique_hides_no_other_and_what_is_wrong_with_it_is_told(
    own: Place, file: str, text: str, told: str
) -> None:
    own.write({file: text})

    listed, shown = own.run("techniques", "list"), own.run("techniques", "show", "mine")

    names = [line.split()[0] for line in listed.out.splitlines()[1:]]
    assert listed.code == shown.code == 2
    assert told in listed.err and told in shown.err and shown.out == ""
    assert listed.err.startswith("error: ") and "Traceback" not in listed.err + shown.err
    assert {"vanilla", "pal"} <= set(names) and "mine" not in names


def test_all_that_are_broken_are_told_at_once(own: Place) -> None:
    own.write({"techniques/mine.py": "mine = 1\n", "techniques/other.py": "import nowhere\n"})

    done = own.run("techniques", "list")

    assert "`mine`" in done.err and "`other`" in done.err


def test_what_is_prepared_is_told_where_something_else_is_broken(own: Place) -> None:
    own.write({"techniques/other.py": "import nowhere\n", "rows.jsonl": '{"mail": "a"}\n'})

    done = own.run("techniques", "prepare", "vanilla", "test", "--data", "rows.jsonl")

    assert done.code == 2
    assert "technique `vanilla` needs no preparation" in done.err and "auto_cot" in done.err and "mine" in done.err


def test_a_preparation_that_found_nothing_says_so_and_not_how_to_use_it(own: Place) -> None:
    own.write({"rows.jsonl": '{"mail": "a"}\n'})

    done = own.run("techniques", "prepare", "mine", "test", "--data", "rows.jsonl")

    assert (done.code, done.out) == (0, "pipelines/test.a.mine.yaml\n")
    assert "the step `a` cannot use it: no row gave an item" in done.err
    assert "next:" not in done.err


def test_the_shell_completes_the_names_of_techniques(own: Place) -> None:
    assert complete_technique("mi") == ["mine"]
    assert complete_technique("chain_of_th") == ["chain_of_thought"]
    assert complete_technique("nowhere") == []
    assert "vanilla" in complete_technique("")


def test_the_shell_completes_the_names_of_those_that_are_prepared(own: Place) -> None:
    assert complete_prepared("mi") == ["mine"]
    assert {"auto_cot", "complex_cot", "mine"} <= set(complete_prepared(""))
    assert complete_prepared("van") == []


@pytest.mark.parametrize(
    ("file", "text"), [("techniques/mine.py", "import nowhere\n"), ("techniques/a.py", "raise SystemExit\n")]
)
def test_where_one_is_broken_the_shell_completes_the_others(own: Place, file: str, text: str) -> None:
    own.write({file: text})

    assert complete_technique("vanil") == ["vanilla"]
    assert "auto_cot" in complete_prepared("auto")


def test_nothing_is_completed_where_the_project_itself_is_wrong(own: Place) -> None:
    own.write({"promptkit.yaml": "modle: x\n"})

    assert complete_technique("") == complete_prepared("") == []
