"""`techniques prepare` and `techniques compare` as a person runs them, on a script that answers for a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

MINE = """\
from promptkit.techniques import Answer, Prepared, Task, technique


async def prepare(task, rows, *, items: int = 2):
    made = []
    for row in rows[:items]:
        thoughts = await task.on(row).ask("think")
        made.append({"input": row.inputs, "thoughts": thoughts.text, "output": row.expect})
    return Prepared(items=made)


@technique(needs=["rows"], prepare=prepare)
async def mine(task: Task) -> Answer:
    return await task.decide(await task.showing(task.artifact.items).ask("think"))
"""
THINK = """\
---
produces: answer
thinks: true
begin: Thinking of it,
---
{% extends prompt %}
"""
SCRIPT = """\
rules:
  - {match: "(?s)Thinking of it,.*\\nOutput:$", reply: payment}
  - {contains: "Thinking of it,", reply: " a card was used."}
  - {contains: card, reply: payment}
otherwise: delivery
"""
ROWS = [
    ("The parcel is late.", "delivery"),
    ("My card was charged twice.", "payment"),
    ("Where is my refund?", "payment"),
    ("I paid and got nothing back.", "payment"),
]

OTHERS = [("Please charge my card.", "payment"), ("It never came.", "delivery"), ("Refund!", "payment")]


@pytest.fixture
def techniques(project: Path, promptkit: Run) -> Run:
    """Return the command `promptkit techniques`, in a project with a technique of its own that is prepared."""
    files = {
        "techniques/mine.py": MINE,
        "templates/techniques/mine/think.j2": THINK,
        "script.yaml": SCRIPT,
        "rows.jsonl": rows(*ROWS),
        "other.jsonl": rows(
            ("Please charge my card.", "payment"), ("It never came.", "delivery"), ("Refund!", "payment")
        ),
    }
    for name, text in files.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return lambda *arguments, **more: promptkit("techniques", *arguments, **more)


def rows(*pairs: tuple[str, str]) -> str:
    return "".join(json.dumps({"mail": mail, "topic": topic}) + "\n" for mail, topic in pairs)


PREPARE = ("prepare", "mine", "mail", "--step", "topic", "--data", "rows.jsonl", "--expect", "topic")
COMPARE = ("compare", "mail", "--step", "topic", "--data", "other.jsonl", "--expect", "topic", "--techniques")


def test_prepare_writes_the_artifact_says_where_and_what_to_type_next(techniques: Run, project: Path) -> None:
    done = techniques(*PREPARE)

    file = project / "pipelines" / "mail.topic.mine.yaml"
    assert (done.code, done.out) == (0, "pipelines/mail.topic.mine.yaml\n"), done.err
    assert file.read_text().startswith(
        "# Made by `promptkit techniques prepare mine mail --step topic --data rows.jsonl --expect topic`"
    )
    assert "2 items from 4 rows · 2 calls" in done.err
    assert "answered by scripted:script.yaml" in done.err
    assert "promptkit run mail --set topic.technique=mine" in done.err
    assert "--techniques vanilla,mine" in done.err


def test_what_was_prepared_is_what_the_run_then_uses(techniques: Run, promptkit: Run, project: Path) -> None:
    assert "techniques prepare mine mail --step topic" in promptkit("run", "mail", "--set", "topic.technique=mine").err

    techniques(*PREPARE)
    done = promptkit("run", "mail", "--set", "topic.technique=mine", "--trace")

    assert done.code == 0, done.err
    assert "My card was charged twice." in done.err


def test_prepare_prints_one_object_for_programs(techniques: Run, project: Path) -> None:
    done = techniques(*PREPARE, "--set", "items=3", "--json")

    found = json.loads(done.out)
    assert found["file"] == str(project / "pipelines" / "mail.topic.mine.yaml")
    assert found["model"]["reference"] == "scripted:script.yaml"
    assert found["data"]["expect"] == "topic"
    wanted = {"items": 3, "uncertain": 0, "unfilled": 0, "calls": 3, "cached": 0, "technique": "mine", "step": "topic"}
    assert {key: found[key] for key in wanted} == wanted
    assert found["parameters"] == {"items": 3}


def test_what_a_person_has_to_fill_in_is_said_and_nothing_else_that_needs_it(techniques: Run, project: Path) -> None:
    (project / "techniques" / "mine.py").write_text(MINE.replace("thoughts.text", '""').replace("row.expect", "None"))

    done = techniques(*PREPARE)

    assert done.err.partition("next:\n")[2].splitlines() == [
        "  fill in pipelines/mail.topic.mine.yaml    # 2 of 2 items without thoughts or without an output",
        "  promptkit run mail --set topic.technique=mine    # then",
    ]


def test_a_spent_budget_ends_with_3_and_a_larger_one_asks_only_the_rest(techniques: Run, project: Path) -> None:
    spent = techniques(*PREPARE, "--budget", "calls=1")
    written = (project / "pipelines" / "mail.topic.mine.yaml").exists()
    done = techniques(*PREPARE, "--budget", "calls=2")

    assert (spent.code, spent.out, written) == (3, "", False)
    assert "the budget of 1 requests is spent; what was answered is kept" in spent.err
    assert "--budget calls=2" in spent.err
    assert done.code == 0
    assert "2 calls (1 cached)" in done.err


def test_an_artifact_is_written_over_only_by_force(techniques: Run, project: Path) -> None:
    techniques(*PREPARE)
    again, forced = techniques(*PREPARE), techniques(*PREPARE, "--force")

    assert again.code == 2
    assert "--force" in again.err
    assert forced.code == 0


@pytest.mark.parametrize("budget", ["40", "calls=none", "calls=0", "minutes=3"])
def test_what_is_no_budget_is_told(techniques: Run, budget: str) -> None:
    done = techniques(*PREPARE, "--budget", budget)

    assert done.code == 2
    assert "--budget calls=100" in done.err


def test_nothing_is_prepared_beside_a_shipped_pipeline(techniques: Run, project: Path) -> None:
    (project / "texts.jsonl").write_text('{"text": "Nice.", "expect": "positive"}\n')

    done = techniques("prepare", "mine", "sentiment", "--data", "texts.jsonl")

    assert done.code == 2
    assert "`sentiment` is shipped with promptkit; nothing can be prepared beside it" in done.err
    assert "then prepare it there" in done.err


def test_compare_prints_a_line_a_technique_and_tests_each_against_the_first(techniques: Run) -> None:
    done = techniques(*COMPARE, "vanilla,chain_of_thought,mine")

    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert " ".join(lines[0].split()) == "technique right 95 % interval requests tokens time"
    begun = [line for line in lines[1 : lines.index("")] if not line.startswith(" ")]
    assert [line.split()[0] for line in begun] == ["vanilla", "chain_of_thought", "mine"]
    assert begun[0].split()[1] == "2/3"
    told = " ".join(done.out.split())
    assert "chain_of_thought: dominated by vanilla mine: pipelines/mail.yaml" in told
    assert "step `topic`: technique `mine` has nothing prepared for this step" in told
    assert "(promptkit techniques prepare mine mail --step topic --data FILE)" in told
    wide = techniques(*COMPARE, "vanilla,chain_of_thought,mine", COLUMNS="120").out
    assert "95 % interval  calls  requests  tokens" in wide and "not measured, see" in wide
    assert "chain_of_thought against vanilla on the same rows" in told and "not shown" in told
    assert "the expected answer is in `topic`" in done.err
    assert "answered by scripted:script.yaml" in done.err


def test_compare_prints_one_object_for_programs(techniques: Run) -> None:
    techniques(*PREPARE)
    done = techniques(*COMPARE, "vanilla,mine,{self_consistency: {samples: 2}}", "--json", "--limit", "2")

    found = json.loads(done.out)
    assert (found["pipeline"], found["step"], found["data"]["rows"]) == ("mail", "topic", 2)
    assert found["model"] == {**found["model"], "reference": "scripted:script.yaml", "why": "promptkit.yaml"}
    by_name: dict[str, Any] = {json.dumps(each["technique"]): each for each in found["techniques"]}
    assert set(by_name) == {'"vanilla"', '"mine"', '{"self_consistency": {"samples": 2}}'}
    plain = by_name['"vanilla"']
    assert (plain["state"], plain["right"], plain["rows"], plain["missing"]) == ("measured", 2, 2, 0)
    assert plain["accuracy"] == pytest.approx({"mean": 1.0, "low": 0.3424, "high": 1.0, "n": 2}, abs=1e-4)
    assert plain["per_row"]["requests"] == 1
    assert by_name['"mine"']["per_row"]["requests"] == 2
    assert by_name['"mine"']["dominated_by"] == "vanilla"


def test_rows_that_the_preparation_saw_are_refused_or_marked(techniques: Run) -> None:
    techniques(*PREPARE)
    seen = ("compare", "mail", "--step", "topic", "--data", "rows.jsonl", "--expect", "topic", "--techniques", "mine")
    refused, marked = techniques(*seen), techniques(*seen, "--allow-seen")

    assert refused.code == 2
    assert "`mine` saw 4 of 4 rows when it was prepared" in refused.err
    assert "--allow-seen" in refused.err
    assert marked.code == 0
    assert "4 rows seen when it was prepared" in " ".join(marked.out.split())


def test_each_measurement_is_kept_as_evidence(techniques: Run, project: Path) -> None:
    techniques(*COMPARE, "vanilla,chain_of_thought")
    techniques(*COMPARE, "vanilla", "--limit", "2")

    lines = (project / ".promptkit" / "techniques.jsonl").read_text().splitlines()
    assert [(each["technique"], each["n"]) for each in map(json.loads, lines)] == [
        ("vanilla", 3),
        ("chain_of_thought", 3),
        ("vanilla", 2),
    ]


def test_the_same_comparison_is_answered_from_the_store(techniques: Run) -> None:
    techniques(*COMPARE, "vanilla,chain_of_thought")
    again = techniques(*COMPARE, "vanilla,chain_of_thought")

    assert "9 calls (9 cached)" in again.err


def test_without_one_technique_that_can_be_asked_the_command_is_wrong(techniques: Run) -> None:
    done = techniques(*COMPARE, "mine")

    assert done.code == 2
    assert "technique `mine` has nothing prepared for this step" in " ".join(done.out.split())
    assert "none of the techniques could be measured" in done.err


def test_a_setting_holds_for_all_techniques(techniques: Run) -> None:
    done = techniques(*COMPARE, "vanilla,chain_of_thought", "--set", "topic.decide=generate", "--json")

    assert [each["per_row"]["requests"] for each in json.loads(done.out)["techniques"]] == [1, 2]


def test_a_comparison_is_kept_as_a_run_with_a_page(techniques: Run, promptkit: Run, project: Path) -> None:
    done = techniques(*COMPARE, "vanilla,chain_of_thought", "--html", "page.html")

    assert "kept as run 1: promptkit runs show 1" in done.err
    assert "chain_of_thought" in (project / "page.html").read_text()
    assert "mail.topic.techniques" in promptkit("runs", "list").out
    assert "chain_of_thought against vanilla on the same rows" in promptkit("runs", "show", "1").out
