"""`runs errors` as a person runs it: the groups, JSON, the draft of rules and what follows from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import PIPELINE, REPLY, Run
from tests.command import run_command

SORT = """\
---
inputs:
  mail: {}
  guideline: {default: A payment is whatever is about money.}
---
{% block instructions %}Sort the mail.{% endblock %}
{% block input %}{{ mail }}{% endblock %}
"""
SCRIPT = """\
rules:
  - {contains: unclear, reply: "\\e[2J hard to say"}
  - {contains: card, reply: payment}
otherwise: delivery
"""
SUITE = """\
data: mails.jsonl
target: {pipeline: mail, step: topic}
metrics: {accuracy: label}
variants:
  plain: {topic.decide: generate}
"""
MAILS = [
    *((f"My card {number} was charged.", "payment") for number in range(6)),
    *((f"A refund {number}, please.", "payment") for number in range(4)),
    ("This is unclear.", "payment"),
    *((f"The parcel {number} is late.", "delivery") for number in range(6)),
]
DRAFT = "pipelines/mail.topic.annotation_guideline.yaml"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project after one run of its suite, in which refunds are taken for deliveries."""
    folder = tmp_path_factory.mktemp("measured")
    files = {
        "promptkit.yaml": "model: scripted:script.yaml\n",
        "script.yaml": SCRIPT,
        "pipelines/mail.yaml": PIPELINE,
        "templates/prompts/sort_mail.j2": SORT,
        "templates/prompts/write_reply.j2": REPLY,
        "evals/topics.yaml": SUITE,
        "evals/mails.jsonl": "".join(json.dumps({"mail": mail, "expect": topic}) + "\n" for mail, topic in MAILS),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    done = run_command("eval", "topics", folder=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def project(measured: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(measured, tmp_path / "project"))


def test_the_groups_are_shown_and_what_to_type_next(promptkit: Run) -> None:
    done = promptkit("runs", "errors", "last")

    assert done.code == 0, done.err
    assert "5 of 17 answers fail" in done.out
    assert "4 × payment → delivery  80 % of failures, 4 of 11 that should be payment" in done.out
    assert "1 × unparsed" in done.out and "\\x1b[2J hard to say" in done.out
    assert "\x1b" not in done.out
    assert "promptkit runs errors 1 --write auto" in done.err


def test_programs_get_one_object(promptkit: Run) -> None:
    found = json.loads(promptkit("runs", "errors", "1", "--rows", "1", "--json").out)

    assert {key: found[key] for key in ("run", "suite", "variant", "metric", "cells", "read", "failed", "file")} == {
        "run": 1,
        "suite": "topics",
        "variant": "plain",
        "metric": "accuracy",
        "cells": 17,
        "read": 17,
        "failed": 5,
        "file": None,
    }
    pair, unparsed = found["groups"]
    assert (pair["kind"], pair["expected"], pair["got"], pair["count"]) == ("pair", "payment", "delivery", 4)
    assert [len(group["rows"]) for group in found["groups"]] == [1, 1]
    assert unparsed["rows"][0]["reply"] == "\x1b[2J hard to say"


def test_the_draft_lies_where_the_technique_reads_it_and_the_next_run_asks_with_it(
    project: Path, promptkit: Run
) -> None:
    done = promptkit("runs", "errors", "1", "--write", "auto")

    text = (project / DRAFT).read_text("utf-8")
    assert done.code == 0, done.err
    assert text.startswith("# Made by `promptkit runs errors 1 --write auto`.")
    assert f"1 rule from 17 rows in {DRAFT}" in done.err
    asked = promptkit("run", "mail", "--set", "topic.technique=annotation_guideline", "--trace")
    assert asked.code == 0, asked.err
    assert 'Before you answer "delivery", make sure that the answer is not "payment".' in asked.err
    assert "A refund" in asked.err


def test_rows_that_the_draft_saw_are_refused(promptkit: Run) -> None:
    promptkit("runs", "errors", "1", "--write", "auto")
    sets = ("--set", "topic.technique=annotation_guideline")

    refused = promptkit("eval", "topics", *sets)
    allowed = promptkit("eval", "topics", *sets, "--allow-seen")

    assert refused.code == 2
    assert "`annotation_guideline` of the step `topic`" in refused.err and "saw 17 of 17 rows" in refused.err
    assert allowed.code == 0, allowed.err


def test_unseen_measures_on_the_rows_that_the_draft_did_not_see(project: Path, promptkit: Run) -> None:
    promptkit("runs", "errors", "1", "--write", "auto")
    command = ("eval", "topics", "--set", "topic.technique=annotation_guideline", "--unseen")
    none_left = promptkit(*command)
    with (project / "evals/mails.jsonl").open("a") as rows:
        rows.write(json.dumps({"mail": "A new parcel is late.", "expect": "delivery"}) + "\n")
    measured = promptkit(*command, "--json")

    assert none_left.code == 2
    assert "all 17 rows were seen" in none_left.err
    assert "17 rows left out, as preparation or training saw them" in measured.err
    assert [variant["cases"] for variant in measured.json["variants"]] == [1]


def test_what_a_person_may_have_edited_is_not_written_over_without_force(project: Path, promptkit: Run) -> None:
    (project / DRAFT).write_text("mine: true\n")
    refused = promptkit("runs", "errors", "1", "--write", "auto")
    kept = (project / DRAFT).read_text()
    forced = promptkit("runs", "errors", "1", "--write", "auto", "--force")

    assert (refused.code, refused.out, kept) == (2, "", "mine: true\n")
    assert "a person may have edited it" in refused.err and "--force" in refused.err
    assert forced.code == 0
    assert "technique: annotation_guideline" in (project / DRAFT).read_text()


def test_a_draft_may_be_written_elsewhere_and_where_it_would_be_read_is_said(project: Path, promptkit: Run) -> None:
    done = promptkit("runs", "errors", "1", "--write", "draft.yaml", "--json")
    again = promptkit("runs", "errors", "1", "--write", "draft.yaml", "--force")

    assert json.loads(done.out)["file"] == "draft.yaml"
    assert (project / "draft.yaml").is_file() and not (project / DRAFT).exists()
    assert f"the step `topic` would read them in {DRAFT}" in again.err


def test_a_mistake_is_told_with_what_was_meant(promptkit: Run) -> None:
    done = promptkit("runs", "errors", "1", "--by", "mails")
    assert (done.code, done.out) == (2, "")
    assert "no field `mails`" in done.err and "did you mean `mail`?" in done.err
