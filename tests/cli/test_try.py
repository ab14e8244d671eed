"""`try`: the pinned cases, each answer against the one before."""

from __future__ import annotations

import json
from pathlib import Path

from promptkit.project import LIBRARY
from tests.cli.conftest import REPLY, Run

REPLY_FILE = Path("templates/prompts/write_reply.j2")


def edit_reply(project: Path) -> None:
    (project / REPLY_FILE).write_text(REPLY.replace("Reply about", "Answer about"))


def test_the_first_time_all_is_new_and_judged(promptkit: Run) -> None:
    done = promptkit("try", "mail")
    assert done.code == 0, done.err
    assert "late  new  ✓ as expected" in done.out
    assert "2 new · 0 same · 2 of 2 right · 4 calls" in done.out
    assert "answered by scripted:script.yaml (named by promptkit.yaml)" in done.err


def test_after_an_edit_only_what_changed_is_asked_and_shown_word_by_word(promptkit: Run, project: Path) -> None:
    promptkit("try", "mail")
    edit_reply(project)
    done = promptkit("try", "mail")
    assert "late  changed" in done.out
    assert "We [-are sorry-]{+will answer+}." in done.out
    assert "2 changed · 0 same · 2 of 2 right · 4 calls (2 cached)" in done.out
    assert "2 same" in promptkit("try", "mail").out


def test_an_answer_that_is_no_longer_right_is_worse(promptkit: Run, project: Path) -> None:
    promptkit("try", "mail")
    (project / "other.yaml").write_text("rules: [{contains: Reply, reply: We are sorry.}]\notherwise: delivery\n")
    done = promptkit("try", "mail", "--model", "scripted:other.yaml", "--json")
    assert done.code == 0
    record = json.loads(done.out)
    assert [case["verdict"] for case in record["cases"]] == ["same", "worse"]
    assert {"better", "worse", "same", "unparsed", "tokens"} <= record["tally"].keys()


def test_typed_values_are_tried_alone(promptkit: Run) -> None:
    record = json.loads(promptkit("try", "mail", "mail=My card.", "--json").out)
    assert [case["output"]["topic"] for case in record["cases"]] == ["payment"]


def test_a_case_is_pinned_into_the_file_and_the_rest_of_it_stays(promptkit: Run, project: Path) -> None:
    file = project / "pipelines" / "mail.yaml"
    before = file.read_text()
    done = promptkit("try", "mail", "mail=The card again.", "--pin", "again", "--expect", "topic: payment")
    assert done.code == 0, done.err
    assert file.read_text().startswith(before)
    assert "again  new  ✓ as expected" in done.out
    assert "late  new" in done.out


def test_a_case_is_pinned_into_the_front_matter_of_a_prompt(promptkit: Run) -> None:
    assert promptkit("try", "sort_mail", "mail=Where is it?", "--pin", "where").code == 0
    assert "where  same" in promptkit("try", "sort_mail").out


def test_a_name_is_pinned_once(promptkit: Run) -> None:
    done = promptkit("try", "mail", "mail=x", "--pin", "late")
    assert done.code == 2
    assert "there is a case `late` already" in done.err


def test_an_expected_value_needs_a_case(promptkit: Run) -> None:
    assert "add --pin NAME" in promptkit("try", "mail", "--expect", "x").err


def test_a_failure_is_shown_and_the_answer_before_stays(promptkit: Run, project: Path) -> None:
    promptkit("try", "mail")
    working = (project / "script.yaml").read_text()
    (project / "script.yaml").write_text("otherwise: {error: the server is tired}\n")
    failed = promptkit("try", "mail")
    assert failed.code == 0
    assert "the server is tired" in failed.out and "2 failed" in failed.out
    (project / "script.yaml").write_text(working)
    assert "2 same" in promptkit("try", "mail").out


def test_a_case_is_not_pinned_into_a_shipped_file(promptkit: Run, project: Path) -> None:
    shipped = next(iter(sorted((LIBRARY / "templates/prompts").glob("classify*.j2"))))
    before = shipped.read_text()
    done = promptkit("try", shipped.stem, "--pin", "mine")
    assert done.code == 2
    assert shipped.read_text() == before
    assert f"copy {shipped} to {project / 'templates' / 'prompts' / shipped.name}" in done.err
