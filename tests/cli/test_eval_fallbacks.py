"""What `eval` and `tune` say of variants that did not run as they are named, and of two that sent the same requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.runs_project import Here, make_project

SUITE = """\
data: rows.jsonl
target: mood
metrics: {accuracy: label}
variants: {held: {mood.decide: constrain}, scored: {mood.decide: score}, other: {mood.layout: prefix}}
"""
SCRIPT = "def answer(request):\n    return 'good'\n"  # It gives no log-probabilities.
TOLD = "! scored: step mood runs with `decide: constrain` in place of `decide: score`:"
SAME = "! scored and held: the two sent the same requests"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    files = {"promptkit.yaml": "model: scripted:script.py:answer\n", "script.py": SCRIPT, "evals/mood.yaml": SUITE}
    return make_project(tmp_path, files)


def test_the_report_names_variant_and_step_and_what_ran_also_where_all_was_known(here: Here) -> None:
    first, again = here("eval", "mood"), here("eval", "mood")
    assert "18 of 18 cells cached" in again.out
    for shown in (first.out, again.out, here("runs", "show", "last").out):
        assert TOLD in shown and SAME in shown
        assert "other and held" not in shown


def test_the_record_and_the_page_hold_it(here: Here) -> None:
    here("eval", "mood")
    record = here("eval", "mood", "--json", "--html", "page.html").json
    assert {each["name"]: each["fallbacks"] for each in record["variants"]} == {
        "held": [],
        "scored": [
            {
                "step": "mood",
                "wanted": "decide: score",
                "instead": "decide: constrain",
                "reason": "the model lacks logprobs",
            }
        ],
        "other": [],
    }
    assert {each["a"]: each["same_requests"] for each in record["comparisons"]} == {"scored": True, "other": False}
    assert {each["name"]: each.get("same_as") for each in record["variants"]} == {
        "held": None,
        "scored": "held",
        "other": None,
    }
    page = (here.root / "page.html").read_text()
    assert '<div class="aside">fell back, requests of held</div>' in page
    assert "in place of `decide: score`" in page and "the two sent the same requests" in page


def test_the_row_of_a_variant_says_it_in_a_word(here: Here) -> None:
    rows = {line.split()[0]: line for line in here("eval", "mood").out.splitlines() if "50 % [" in line}
    assert rows["scored"].endswith("]  fell back, requests of held")
    assert rows["held"].endswith("]") and rows["other"].endswith("]")


def test_one_variant_is_not_named(here: Here) -> None:
    (here.root / "evals" / "mood.yaml").write_text("data: rows.jsonl\ntarget: mood\nmetrics: {accuracy: label}\n")
    shown = here("eval", "mood", "--set", "mood.decide=score").out
    assert "! step mood runs with `decide: constrain`" in shown


def test_tune_says_it_of_the_start(here: Here) -> None:
    plan = here("tune", "mood", "--suite", "mood", "--dry-run", "--set", "mood.decide=score").out
    assert "the start: step mood runs with `decide: constrain` in place of `decide: score`" in " ".join(plan.split())
