"""Each command that a verb proposes under `next:` runs as it stands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.runs_project import Here, make_project
from tests.command import Done

WORDS = {0: "parcel", 1: "charged"}
"""Few words, as rows that share many nearly repeat each other."""
ROWS = [{"issue": f"{WORDS[at % 2]} {at}", "team": ["delivery", "payment"][at % 2]} for at in range(80)]
TRIAGE = """\
name: triage
inputs: {mail: {}}
steps:
  issues: {prompt: issues}
  teams: {prompt: sort_issue, for_each: {issue: issues}}
output: "{{ teams }}"
tune: {teams.layout: [xml, prefix]}
"""
SCRIPT = """\
def answer(request):
    text = request.prompt or "\\n".join(message.content for message in request.messages)
    if "List" in text:
        return "The card was charged twice"
    if "<INSTRUCTIONS>" in text:
        return "delivery"
    return "payment" if "card" in text.rsplit("ISSUE", 1)[-1][-60:] or "charged" in text[-60:] else "delivery"
"""
FILES = {
    "promptkit.yaml": "model: scripted:script.py:answer\n",
    "script.py": SCRIPT,
    "pipelines/triage.yaml": TRIAGE,
    "templates/prompts/issues.j2": "---\ninputs: {mail: {}}\nanswer: list\ndecide: generate\n---\n"
    "{% block instructions %}List the issues.{% endblock %}\n{% block input %}{{ mail }}{% endblock %}\n",
    "templates/prompts/sort_issue.j2": "---\ninputs: {issue: {}}\nanswer: {label: [delivery, payment]}\n"
    "decide: generate\n---\n{% block instructions %}Sort.{% endblock %}\n{% block input %}{{ issue }}{% endblock %}\n",
    "evals/teams.yaml": "data: issues.jsonl\ntarget: {pipeline: triage, step: teams}\n"
    "metrics: {accuracy: {label: {expect: '{{ row.team }}'}}}\n",
    "evals/issues.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "mails.csv": "mail\na\nb\n",
}
SETUP: dict[str, list[list[str]]] = {
    "run": [["run", "triage", "mail=It is late"]],
    "run of typed settings": [["run", "triage", "mail=It's $late", "--set", "teams.layout=prefix"]],
    "run of rows": [["run", "triage", "--input", "mails.csv"]],
    "eval": [["eval", "teams", "--limit", "20"]],
    "eval of another model": [["eval", "teams", "--set", "teams.layout=prefix"], ["eval", "teams"]],
    "tune of a step": [["tune", "triage", "--suite", "teams", "--yes", "--budget", "calls=400"]],
    "runs errors": [["eval", "teams"], ["runs", "errors", "1"]],
    "runs errors, written": [["eval", "teams"], ["runs", "errors", "1", "--write", "auto"]],
}


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return make_project(tmp_path, FILES)


def proposed(done: Done) -> Iterator[list[str]]:
    """Yield the arguments of each command that comes next; what only a person can give is given."""
    for line in done.err.partition("next:\n")[2].splitlines():
        name, *arguments = shlex.split(line, comments=True)
        if name == "promptkit":
            given = {"FILE": "evals/issues.jsonl"}
            yield [given.get(each, each) for each in arguments if each != "--watch"]


@pytest.mark.parametrize("name", SETUP)
def test_what_is_proposed_runs(here: Here, name: str) -> None:
    ended = [here(*command) for command in SETUP[name]]
    assert [done.code for done in ended] == [0] * len(ended), ended[-1].err
    commands = list(proposed(ended[-1]))
    assert commands or name == "run of rows"
    for command in commands:
        done = here(*command)
        assert done.code == 0, (command, done.err)


def test_tune_proposes_the_inputs_of_the_pipeline_and_not_of_the_step(here: Here) -> None:
    done = here(
        "tune", "triage", "--suite", "teams", "--yes", "--budget", "calls=400", "--model", "scripted:script.py:answer"
    )
    typed = "promptkit run pipelines/triage.tuned.yaml mail=TEXT --model scripted:script.py:answer"
    assert f"next:\n  {typed}  # the result\n" in done.err, done.out + done.err


def test_what_init_proposes_runs(tmp_path: Path) -> None:
    done = Here(tmp_path)("init", "p")
    (tmp_path / "p" / "promptkit.yaml").write_text("model: scripted:script.yaml\n")
    (tmp_path / "p" / "script.yaml").write_text("otherwise: payment\n")
    lines = (done.out + done.err).partition("next:\n")[2]
    assert "cd p" in lines
    for command in proposed(Done(0, "", "next:\n" + lines)):
        ended = Here(tmp_path / "p")(*command)
        assert ended.code == 0, (command, ended.err)


def test_nothing_is_proposed_with_a_value_that_came_on_stdin(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"late")))
    assert "next:" not in here("run", "triage", "mail=-").err
