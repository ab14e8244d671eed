"""Failing rows show the two values that the metric compared, wherever they are shown."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import pytest

from tests.cli.runs_project import Here, lines_with, make_project

PIPELINE = """\
name: triage
inputs: {text: {}}
steps: {mood: {prompt: mood}}
output: {said: "I was charged twice and would like to have it back: {{ text }}", teams: ["{{ mood }}", account]}
"""
SUITE = """\
data: teams.jsonl
target: triage
metrics: {teams: {set_f1: {of: "{{ output.teams }}", expect: "{{ row.teams }}"}}}
"""
ROWS = [{"text": f"{word} {at}", "teams": ["bad"]} for at, word in enumerate(["fine", "broken"] * 3)]


@pytest.fixture
def here(tmp_path: Path) -> Here:
    rows = "".join(json.dumps(row) + "\n" for row in ROWS)
    return make_project(
        tmp_path, {"pipelines/triage.yaml": PIPELINE, "evals/triage.yaml": SUITE, "evals/teams.jsonl": rows}
    )


def test_eval_and_errors_show_what_was_compared(here: Here) -> None:
    shown = here("eval", "triage").out
    assert list(lines_with(shown, "  1  bad       good, account  "))
    assert "I was charged" not in shown.partition("teams")[0].partition("failing rows")[2]
    assert list(lines_with(here("runs", "errors", "1").out, "bad", "good, account"))


def test_compare_shows_it_of_both_sides(here: Here) -> None:
    here("eval", "triage", "--model", "scripted:other.yaml")
    (here.root / "other.yaml").write_text("otherwise: good\n")
    here("eval", "triage", "--model", "scripted:other.yaml")
    (line, *_) = lines_with(here("runs", "compare", "2", "1", "--rows", "0").out, "worse 0.67 → 0")
    assert re.split("  +", line.strip())[1:] == ["2", "bad", "bad, account", "good, account", "broken 1"]


def test_the_list_of_the_page_has_it_and_the_opened_row_the_whole_output(here: Here) -> None:
    here("eval", "triage", "--html", "page.html")
    page = (here.root / "page.html").read_text()
    found = re.findall(r'<script type="text/plain" class="pack-(\w+)"[^>]*>([^<]+)</script>', page)
    blocks = {kind: zlib.decompress(base64.b64decode(content)).decode() for kind, content in found}
    (first, *_) = json.loads(blocks["rows"])["rows"]
    assert first[1] == '["bad"]' and first[2][0][2] == '["good", "account"]'
    assert "I was charged twice" not in blocks["rows"] and "I was charged twice" in blocks["opened"]


def test_a_score_keeps_what_was_compared_and_not_more_than_can_be_shown(here: Here) -> None:
    suite = SUITE.replace("output.teams", "[output.said * 20]")
    (here.root / "evals" / "triage.yaml").write_text(suite)
    here("eval", "triage")
    (cell, *_) = here("runs", "show", "1", "--row", "1", "--json").json["cells"]
    detail = cell["scores"]["teams"]["detail"]
    assert detail["expected"] == ["bad"] and len(detail["got"]) == 401 and detail["got"].endswith("…")


def test_two_contents_of_one_model_reference_are_told_apart_by_their_digests(here: Here) -> None:
    """`--against` and `runs compare` say the same of a scripted model that was edited."""
    here("eval", "triage", "--model", "scripted:other.yaml")
    (here.root / "other.yaml").write_text("otherwise: good\n")
    here("eval", "triage", "--model", "scripted:other.yaml")
    against = here("eval", "triage", "--model", "scripted:other.yaml", "--against", "1").out.split()
    compared = here("runs", "compare", "2", "1").out.split()

    digests = re.search(
        r"this run used scripted:other.yaml (\w{12}), run 1 used scripted:other.yaml (\w{12}):", " ".join(against)
    )
    assert digests is not None and digests[1] != digests[2]
    assert f"run 2 used scripted:other.yaml {digests[1]}, run 1 used scripted:other.yaml {digests[2]}:" in " ".join(
        compared
    )
