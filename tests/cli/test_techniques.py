"""`techniques list`, `show` and `recommend` as a person runs them, with techniques of the project's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.techniques.test_catalog import CATALOG

ANSWER = "---\nabout: Ask once\nproduces: answer\n---\n{% extends prompt %}\n{% block recap %}OWN{% endblock %}\n"
MODULE = """\
from promptkit.techniques import Answer, Task, technique


@technique(needs={"sampling"}, roles=["question"], calls="samples", requests="samples")
async def mine(task: Task, *, samples: int = 3, kinds: frozenset[str] = frozenset({"a"})) -> Answer:
    \"\"\"Ask several times.\"\"\"
    return task.vote([await task.decide(await task.ask("answer", sample=each)) for each in range(samples)])
"""
CARD = """\
title: My own
family: sample-and-vote
about: Asks several times and votes
tasks: [shouting]
paper: {samples: 40, model: large}
"""
EXAMPLE = """\
inputs: {question: {example: 3+4}}
steps:
  solve: {prompt: {input: "{{ question }}"}, answer: number, technique: mine}
"""


def write(folder: Path, **files: str) -> None:
    """Write files of the technique `mine` by what they are."""
    own = "templates/techniques/mine"
    paths = {
        "module": "techniques/mine.py",
        "answer": f"{own}/answer.j2",
        "card": f"{own}/technique.yaml",
        "replies": f"{own}/replies.yaml",
        "example": "pipelines/techniques/mine.yaml",
    }
    for kind, text in files.items():
        path = folder / paths.get(kind, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def techniques(project: Path, promptkit: Run) -> Run:
    """Return the command `promptkit techniques`, in a project with a technique `mine` of its own."""
    write(project, module=MODULE, answer=ANSWER, card=CARD, example=EXAMPLE, replies='otherwise: "7"\n')
    return lambda *arguments, **more: promptkit("techniques", *arguments, **more)


def listed(done: Any) -> list[str]:
    return [line.split()[0] for line in done.out.splitlines()[1:] if not line.startswith(" ")]


def test_list_prints_a_line_a_technique_those_of_the_project_among_them(techniques: Run) -> None:
    done = techniques("list", COLUMNS="160")

    assert (done.code, done.err) == (0, "")
    head = ["technique", "title", "requests", "≤", "family", "needs", "tasks"]
    assert done.out.split("\n")[0].split() == head
    assert listed(done) == sorted([*CATALOG, "mine"])
    line = next(line for line in done.out.splitlines() if line.startswith("mine "))
    assert line.split() == ["mine", "My", "own", "3", "sample-and-vote", "sampling", "shouting"]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_list_fits_its_width_and_keeps_what_one_chooses_by(techniques: Run, width: int) -> None:
    shown = techniques("list", COLUMNS=str(width)).out
    head, *lines = shown.splitlines()
    assert max(map(len, [head, *lines])) <= width
    assert all(name in head for name in ("technique", "requests", "needs", "tasks"))
    assert ("family" in head, "title" in head) == (width >= 100, width >= 140)
    assert width < 80 or {*CATALOG, "mine"} <= {*shown.split()}
    assert "…" not in shown and "shouting" in shown


def test_list_prints_objects_for_programs(techniques: Run) -> None:
    found = {each["name"]: each for each in json.loads(techniques("list", "--json").out)}

    assert set(found) == {*CATALOG, "mine"}
    wanted = {"name", "title", "citation", "family", "calls", "needs", "tasks", "parameters"}
    assert all(wanted <= each.keys() for each in found.values())
    assert found["mine"] == {
        **found["mine"],
        "title": "My own",
        "citation": None,
        "calls": "samples",
        "needs": ["sampling"],
        "roles": ["question"],
        "tasks": ["shouting"],
        "parameters": {"samples": 3, "kinds": ["a"]},
        "paper": {"samples": 40, "model": "large"},
    }


def test_list_may_be_of_a_family_or_for_a_task(techniques: Run) -> None:
    family = listed(techniques("list", "--family", "sample-and-vote", COLUMNS="160"))
    task = listed(techniques("list", "--task", "shouting"))
    both = techniques("list", "--task", "shouting", "--family", "modifier")

    assert {"mine", "self_consistency"} <= set(family) < {*CATALOG, "mine"}
    assert task == ["mine"]
    assert (both.code, listed(both)) == (0, [])


@pytest.mark.parametrize("how", [["--task", "math"], ["--json"]])
def test_a_broken_technique_hides_no_other_and_what_is_wrong_with_it_is_told(
    techniques: Run, project: Path, how: list[str]
) -> None:
    write(project, module="import nowhere\n")

    done = techniques("list", *how)

    names = [each["name"] for each in json.loads(done.out)] if how == ["--json"] else listed(done)
    assert done.code == 2
    told = "technique `mine` cannot be read: there is no `@technique()` function named `mine`"
    assert done.err == f"error: techniques/mine.py: {told}\n"
    assert "pal" in names and "mine" not in names


@pytest.mark.attack("terminal")
def test_what_a_card_says_cannot_steer_the_terminal(techniques: Run, project: Path) -> None:
    write(project, card='title: "\\e[31mred"\ntasks: ["\\e[2J"]\nabout: "\\e]0;x\\a"\n')

    assert "\x1b" not in techniques("list").out
    assert "\x1b" not in techniques("list", "--json").out
    assert "\x1b" not in techniques("show", "mine").out


def test_show_prints_what_is_known_and_each_prompt_of_the_example(techniques: Run) -> None:
    done = techniques("show", "chain_of_thought")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("chain_of_thought · ")
    for words in (
        "Wei",
        "1. ",
        "requests ",
        "parameter ",
        "leaves out of the prompt",
        "on its example",
        "── call 1: reason ·",
    ):
        assert words in done.out, words
    assert done.out.rstrip().splitlines()[-2] == "── answer"


def test_show_prints_one_object_for_programs(techniques: Run) -> None:
    found = json.loads(techniques("show", "chain_of_thought", "--json").out)

    assert (found["name"], found["family"]) == ("chain_of_thought", "two-step")
    assert [call["name"] for call in found["kinds_of_call"]]
    calls = [call for step in found["example"] for call in step["calls"]]
    assert [call["level"] for call in calls] == [1, 2]


def test_show_prints_a_technique_of_ones_own_with_its_card_and_example(techniques: Run) -> None:
    done = techniques("show", "mine")

    assert done.code == 0, done.err
    assert done.out.startswith("mine · My own · sample-and-vote\nAsks several times and votes\n")
    assert "requests at the defaults: 3 (decide: generate), 3 (constrain)" in done.out
    rows = [line.split() for line in done.out.splitlines()]
    assert ["samples", "3", "40"] in rows and ["paper", "model", "large"] in rows and ["kinds", '["a"]'] in rows
    assert done.out.count(": answer · level") == 3 and "OWN" in done.out
    assert done.out.endswith("── answer\n7\n")


def test_show_says_what_the_parameters_mean_and_how_a_step_names_it(techniques: Run, project: Path) -> None:
    meant = MODULE.replace(
        "Ask several times.", "Ask several times.\n\n    `samples` is\n    how often.\n\n    The end.\n    "
    )
    write(project, module=meant.replace('["question"]', '["question", "target", "table?"]'))
    (project / "pipelines" / "techniques" / "mine.yaml").unlink()

    lines = techniques("show", "mine").out.splitlines()

    at = lines.index("`samples` is how often.")
    assert lines[at - 2].startswith("kinds ") and lines[at + 1 : at + 3] == ["", "The end."]
    assert "use        technique: {mine: {target: INPUT}}    # or inputs named so" in lines


PREPARED = """\
from promptkit.techniques import Answer, Prepared, Task, technique


async def prepare(task: Task, rows: object, *, samples: int = 4, pool: int = 9) -> Prepared:
    \"\"\"Look at rows.

    `pool` is how many.
    \"\"\"
    return Prepared(items=[])


"""


def test_show_parts_the_parameters_of_a_preparation_from_those_of_the_step(techniques: Run, project: Path) -> None:
    own = MODULE.partition("\n\n\n")[2].replace("@technique(", "@technique(prepare=prepare, ")
    write(project, module=PREPARED + own.replace("samples: int = 3", "most: int = 3").replace("samples", "most"))
    write(project, card=CARD.replace("model: large", "pool: 1000, model: large"))

    lines = techniques("show", "mine").out.splitlines()

    at = lines.index("in preparation (techniques prepare)  default  in the paper")
    assert [line.split() for line in lines[at + 1 : at + 3]] == [["samples", "4", "40"], ["pool", "9", "1000"]]
    assert lines[at + 4] == "`pool` is how many."
    assert [line.split() for line in lines[at - 3 : at - 1]] == [["most", "3"], ["kinds", '["a"]']]
    assert "paper      model large" in lines
    assert "prepare    promptkit techniques prepare mine TARGET --data FILE" in lines


def test_show_says_what_a_row_of_ones_own_demonstrations_holds(techniques: Run) -> None:
    lines = techniques("show", "binder").out.splitlines()

    rows = [line.split(maxsplit=3) for line in lines if line.startswith("demos: ")]
    assert ["demos:", "{parse:", "FILE}", "table, question, program"] in rows


def test_show_leaves_long_formulas_to_programs_and_counts_one_request_as_one(techniques: Run) -> None:
    long, short = techniques("show", "maieutic"), techniques("show", "vanilla")

    assert not any(line.startswith(("calls ", "requests ")) for line in long.out.splitlines())
    assert "depth      1 request" in short.out.splitlines()
    assert len(json.loads(techniques("show", "maieutic", "--json").out)["requests"]) > 90


@pytest.mark.parametrize("name", ["auto_cot", "tree_of_thoughts", "chain_of_table"])
def test_what_show_says_before_its_example_fits_100_columns(techniques: Run, name: str) -> None:
    said = techniques("show", name).out.partition("on its example")[0]

    assert max(map(len, said.splitlines())) <= 100


def test_a_technique_of_several_calls_has_no_family_unless_its_card_says_so(techniques: Run, project: Path) -> None:
    module = (
        "from promptkit.techniques import technique\n\n\n"
        '@technique(calls="2", requests="2")\nasync def pair(task):\n'
        '    await task.ask("answer")\n    return await task.decide(await task.ask("answer"))\n'
    )
    template = "---\nproduces: answer\n---\n{% extends prompt %}\n"
    write(project, **{"techniques/pair.py": module, "templates/techniques/pair/answer.j2": template})

    (known,) = [each for each in json.loads(techniques("list", "--json").out) if each["name"] == "pair"]

    assert known["family"] is None and techniques("show", "pair").out.startswith("pair\n")


def test_a_modifier_of_one_template_is_of_that_family_and_leaves_nothing_out(techniques: Run, project: Path) -> None:
    loud = "---\nabout: Shout\nmodifier: true\n---\n{% extends prompt %}\n{% block recap %}LOUD{% endblock %}\n"
    write(project, **{"templates/techniques/loud/answer.j2": loud})

    (known,) = [each for each in json.loads(techniques("list", "--json").out) if each["name"] == "loud"]
    shown = techniques("show", "loud").out

    assert (known["family"], known["kinds_of_call"][0]["hides"]) == ("modifier", [])
    assert shown.startswith("loud · modifier\n")
    assert "output_format" not in shown


def test_show_prints_the_same_messages_once_and_names_the_call_that_has_them(techniques: Run) -> None:
    done = techniques("show", "self_consistency")

    example = done.out.partition("on its example")[2]
    assert example.count("<FEW_SHOT_EXAMPLES>") == 1
    assert example.count("(the same messages as call 1)\n") == 2
    begun = "(the same messages as call 1, but for the begun turn)\n[assistant, begun]\n40 - 15 = 25 people stay."
    assert begun in example
    assert [line.split()[2] for line in example.splitlines() if line.startswith("── call")] == [
        f"{number}:" for number in range(1, 7)
    ]


@pytest.mark.parametrize("missing", ["replies.yaml", "technique.yaml"])
def test_a_technique_of_ones_own_may_have_neither_card_nor_replies(
    techniques: Run, project: Path, missing: str
) -> None:
    (project / "templates" / "techniques" / "mine" / missing).unlink()

    done = techniques("show", "mine")
    found = json.loads(techniques("show", "mine", "--json").out)

    assert done.code == 0, done.err
    assert ("on its example" in done.out) == (missing != "replies.yaml") == (found["example"] is not None)
    assert found["title"] == ("mine" if missing == "technique.yaml" else "My own")
    assert found["about"] == ("Ask several times." if missing == "technique.yaml" else "Asks several times and votes")


def test_show_tells_what_is_wrong_with_a_technique_and_with_its_example(techniques: Run, project: Path) -> None:
    write(project, example=EXAMPLE.replace("answer: number", "answer: nubmer"))
    example = techniques("show", "mine")
    write(project, module="import nowhere\n")
    module = techniques("show", "mine")

    assert example.code == module.code == 2
    assert "pipelines/techniques/mine.yaml:3:" in example.err and "`number`" in example.err
    assert "technique `mine` cannot be read" in module.err
    assert "Traceback" not in example.err + module.err


def test_recommend_ranks_for_a_task_each_with_its_reasons(techniques: Run) -> None:
    done = techniques("recommend", "--task", "math")

    assert done.code == 0, done.err
    assert done.out.startswith("1. ") and "\n2. " in done.out and "basis" in done.out
    assert "scripted:script.yaml" in done.err


def test_recommend_says_what_its_points_and_letters_mean_in_lines_that_fit(techniques: Run) -> None:
    done = techniques("recommend", "mail", "--step", "topic", "--task", "table_qa")

    lines = done.out.splitlines()
    legend = " ".join(lines[-3:])
    assert "P the technique's paper, checked; V one of the survey's 29 tasks" in legend
    assert "docs/using-techniques.md" in legend
    assert "dropped:" in lines
    assert max(map(len, [*lines, *done.err.splitlines()])) <= 100


def test_recommend_prints_one_object_for_programs(techniques: Run) -> None:
    found = json.loads(techniques("recommend", "--task", "text2sql", "--json").out)

    assert found["task"] == "table_qa"
    assert {"technique", "score", "requests", "depth", "calls", "reasons", "prepares"} <= found["ranked"][0].keys()
    assert [each["score"] for each in found["ranked"]] == sorted(
        (each["score"] for each in found["ranked"]), reverse=True
    )
    assert all(each.keys() == {"technique", "reason"} for each in found["dropped"])


@pytest.mark.parametrize("option", ["--budget", "--depth"])
def test_recommend_keeps_to_the_requests_that_may_be_spent(techniques: Run, option: str) -> None:
    found = json.loads(techniques("recommend", "--task", "math", option, "1", "--json").out)

    amount = {"--budget": "requests", "--depth": "depth"}[option]
    assert {each[amount] for each in found["ranked"]} == {1}
    assert any("at the least, more than 1" in each["reason"] or "wait" in each["reason"] for each in found["dropped"])


SENTIMENT = """\
inputs: {review: {example: Nice.}}
steps:
  feeling:
    prompt: {instructions: What does it feel?, input: "{{ review }}"}
    answer: {label: [positive, negative]}
"""


def test_recommend_asks_the_step_and_its_data_for_the_task_and_what_the_input_is_like(
    techniques: Run, project: Path
) -> None:
    (project / "pipelines" / "feel.yaml").write_text(SENTIMENT)
    (project / "rows.jsonl").write_text('{"review": "I think it is nice.", "expect": "positive"}\n')

    done = techniques("recommend", "feel", "--data", "rows.jsonl")

    assert done.code == 0, done.err
    assert "task: sentiment, since the labels are negative, positive; --task names another" in done.err
    assert "1 of 1 rows hold an opinion" in done.out


def test_recommend_is_for_the_model_that_the_step_names(techniques: Run, project: Path) -> None:
    (project / "other.yaml").write_text("otherwise: positive\n")
    (project / "pipelines" / "feel.yaml").write_text(SENTIMENT + "    model: scripted:../other.yaml\n")

    step, option = techniques("recommend", "feel"), techniques("recommend", "feel", "--model", "scripted:script.yaml")

    assert "other.yaml, which can:" in step.err
    assert "scripted:script.yaml, which can:" in option.err


@pytest.mark.parametrize("arguments", [["--task", "math"], ["mail", "--step", "topic", "--task", "nli"]])
def test_recommend_may_be_typed_in_any_folder_of_the_project(
    techniques: Run, project: Path, arguments: list[str]
) -> None:
    done = techniques("recommend", *arguments, cwd=project / "pipelines")

    assert done.code == 0, done.err
    assert " on scripted:" in done.err


def test_programs_shows_the_backends_and_what_programs_may_import(
    techniques: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptkit.reports.programs.jail_fault", lambda: None)
    done = techniques("programs")
    monty, cpython = " ".join(done.out.split()).split("cpython runs here; programs may import ")
    assert monty.startswith("monty runs here; programs may import bisect, collections,")
    assert " fractions," in cpython and " fractions," not in monty

    monkeypatch.setattr("promptkit.reports.programs.jail_fault", lambda: "the kernel refuses it")
    assert "cpython  does not run here: the kernel refuses it\n" in techniques("programs").out
    assert [record["problem"] for record in techniques("programs", "--json").json] == [None, "the kernel refuses it"]


def test_a_formula_that_cannot_be_evaluated_is_listed_with_its_line(techniques: Run, project: Path) -> None:
    module = (
        "from promptkit.techniques import technique\n\n\n"
        '@technique(\n    calls="n + 1",\n)\nasync def broken(task):\n'
        '    return await task.decide(await task.ask("answer"))\n'
    )
    template = "---\nproduces: answer\n---\n{% extends prompt %}\n"
    write(project, **{"techniques/broken.py": module, "templates/techniques/broken/answer.j2": template})

    assert "techniques/broken.py:5: the formula `calls` of technique `broken`" in techniques("list").err
