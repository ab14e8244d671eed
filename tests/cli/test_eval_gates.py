"""`eval` as a gate: its exit codes, baselines, recordings, and the hook of the documentation in a repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.command import Done, environment, run_command
from tests.docs.pages import ROOT, examples, write_files

SUITE = """\
name: topics
data: mails.jsonl
target: {pipeline: mail, step: topic}
metrics: {accuracy: label}
thresholds: {THRESHOLDS}
"""
SCRIPT = """\
rules:
  - {contains: refused, reply: {error: the server is tired}}
  - {contains: card, reply: payment}
otherwise: delivery
"""
HOOK = "text .githooks/pre-commit"


def write(project: Path, thresholds: str, *, more: str = "", name: str = "topics") -> None:
    """Write a suite of 60 rows, of which three are answered wrong, and those in `more`."""
    (project / "evals").mkdir(exist_ok=True)
    (project / "script.yaml").write_text(SCRIPT, "utf-8")
    rows = [{"mail": f"{'My card' if each % 2 else 'The parcel'} {each}"} for each in range(60)]
    told = [{**row, "expect": "payment" if each % 2 or each < 6 else "delivery"} for each, row in enumerate(rows)]
    text = "".join(json.dumps(row) + "\n" for row in told) + more
    (project / "evals/mails.jsonl").write_text(text, "utf-8")
    suite = SUITE.replace("THRESHOLDS", thresholds).replace("name: topics", f"name: {name}")
    (project / f"evals/{name}.yaml").write_text(suite, "utf-8")


def record(done: Done) -> dict[str, Any]:
    found: dict[str, Any] = done.json
    return found


def test_the_exit_code_is_0_where_thresholds_hold_and_1_where_one_falls_short(promptkit: Run, project: Path) -> None:
    write(project, "accuracy: {at_least: 0.8}")
    met = promptkit("eval", "topics")
    write(project, "accuracy: {at_least: 0.8}, unparsed: {at_most: 0.01}")
    missed = promptkit("eval", "topics", "--json")

    assert met.code == 0, met.err
    assert missed.code == 1
    assert "error: unparsed: at most 0.01 is required, but 60 rows only show ≤ 0.07" in missed.err
    assert "accuracy" not in missed.err
    assert [each["passed"] for each in record(missed)["thresholds"]] == [True, False]


def test_a_limit_leaves_thresholds_out_of_the_exit_code(promptkit: Run, project: Path) -> None:
    write(project, "accuracy: {at_least: 0.99}")

    done = promptkit("eval", "topics", "--limit", "5", "--json")
    assert done.code == 0, done.err
    assert record(done)["limited"] is True
    assert promptkit("eval", "topics").code == 1


def test_a_threshold_that_cannot_be_is_2_before_anything_is_asked(promptkit: Run, project: Path) -> None:
    write(project, "accuracy: {at_least: 80}")
    done = promptkit("eval", "topics")

    assert done.code == 2
    assert "topics.yaml:5" in done.err and "`accuracy` is never 80" in done.err


def test_a_missing_answer_is_3_unless_it_is_allowed_and_would_change_nothing(promptkit: Run, project: Path) -> None:
    write(project, "accuracy: {at_least: 0.8}", more='{"mail": "refused", "expect": "payment"}\n')
    plain = promptkit("eval", "topics")
    allowed = promptkit("eval", "topics", "--allow-missing")
    write(project, "accuracy: {at_least: 0.86}", more='{"mail": "refused", "expect": "payment"}\n')
    undecided = promptkit("eval", "topics", "--allow-missing")

    assert plain.code == 3
    assert "1 of 61 cells have no answer" in plain.err and "the server is tired" in plain.err
    assert allowed.code == 0, allowed.err
    assert undecided.code == 3


def test_against_compares_with_an_earlier_run_or_says_that_there_is_none(promptkit: Run, project: Path) -> None:
    write(project, "")
    none = promptkit("eval", "topics", "--against", "last", "--json")
    some = promptkit("eval", "topics", "--against", "last", "--json")

    assert none.code == 0 and record(none)["against"] is None
    assert "`topics` has no earlier run" in none.err
    (comparison,) = record(some)["against"]["comparisons"]
    assert record(some)["against"]["reference"] == "run 1"
    assert (comparison["metric"], comparison["difference"], comparison["regressions"]) == ("accuracy", 0, [])
    assert {"low", "high", "p", "n", "better", "worse", "notes"} <= comparison.keys()


def test_against_a_run_of_another_suite_or_no_run_at_all_is_2(promptkit: Run, project: Path) -> None:
    write(project, "")
    promptkit("eval", "topics")
    write(project, "", name="others")

    other, none = (promptkit("eval", "others", "--against", number) for number in ("1", "9"))
    assert (other.code, none.code) == (2, 2)
    assert "run 1 is of the suite `topics`, not `others`" in other.err
    assert "there is no run 9 of a suite" in none.err


def test_a_recording_of_known_cells_holds_them_and_answers_without_the_model(promptkit: Run, project: Path) -> None:
    write(project, "accuracy: {at_least: 0.8}")
    live = promptkit("eval", "topics", "--json")
    assert promptkit("eval", "topics", "--record", "evals/recording.jsonl").code == 0
    (project / "script.yaml").unlink()
    shutil.rmtree(project / ".promptkit")
    replayed = promptkit("eval", "topics", "--model", "replay:evals/recording.jsonl", "-j", "3", "--json")

    assert replayed.code == 0, replayed.err
    first, second = (record(each)["variants"][0] for each in (live, replayed))
    assert first["metrics"] == second["metrics"]
    assert record(replayed)["model"]["replayed"] == "replay:evals/recording.jsonl"


def test_a_stale_recording_is_3_though_the_store_knows_the_answers(promptkit: Run, project: Path) -> None:
    write(project, "accuracy: {at_least: 0.8}")
    promptkit("eval", "topics", "--record", "evals/recording.jsonl")
    prompt = project / "templates/prompts/sort_mail.j2"
    prompt.write_text(prompt.read_text().replace("Sort the mail.", "Sort this mail."))
    assert promptkit("eval", "topics").code == 0
    stale = promptkit("eval", "topics", "--model", "replay:evals/recording.jsonl")

    assert stale.code == 3
    assert "-Sort the mail.\n+Sort this mail.\n" in stale.err
    assert "hint: record again: --record evals/recording.jsonl" in stale.err


def test_what_a_recording_answered_is_not_taken_for_the_models_own(promptkit: Run, project: Path) -> None:
    write(project, "")
    promptkit("eval", "topics", "--record", "evals/recording.jsonl")
    recording = project / "evals/recording.jsonl"
    recording.write_text(recording.read_text().replace('"text":"payment"', '"text":"delivery"'))
    shutil.rmtree(project / ".promptkit")
    replayed = record(promptkit("eval", "topics", "--model", "replay:evals/recording.jsonl", "--json"))
    live = record(promptkit("eval", "topics", "--json"))

    assert replayed["variants"][0]["metrics"]["accuracy"]["mean"] < 0.5
    assert live["variants"][0]["metrics"]["accuracy"]["mean"] == 0.95
    assert live["known"] == 0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository of the page's project with its recording, committed, and its hook."""
    page = ROOT / "docs/ci.md"
    folder = tmp_path / "repository"
    write_files(page, folder)
    (hook,) = (example for example in examples(page) if f"{example.language} {' '.join(example.words)}" == HOOK)
    path = folder / hook.words[0]
    path.parent.mkdir()
    path.write_text(hook.body, "utf-8")
    path.chmod(0o755)
    git(folder, "init", "-q")
    git(folder, "config", "core.hooksPath", ".githooks")
    run_command("eval", "sort", "--model", "scripted:replies.yaml", "--record", "evals/recording.jsonl", folder=folder)
    git(folder, "add", ".")
    return folder


def git(folder: Path, *arguments: str) -> Done:
    """Run git with the hook's `promptkit` on the path."""
    done = subprocess.run(
        ["git", "-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", *arguments],
        cwd=folder,
        env=environment(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_the_hook_lets_a_good_prompt_pass_and_stops_one_that_the_recording_does_not_know(repository: Path) -> None:
    good = git(repository, "commit", "-m", "A good prompt")
    prompt = repository / "templates/prompts/sort.j2"
    prompt.write_text(prompt.read_text().replace("by its topic", "by what it is about"))
    (repository / "notes.txt").write_text("Nothing of a prompt.")
    git(repository, "add", "notes.txt")
    aside = git(repository, "commit", "-m", "Something else")
    git(repository, "add", ".")
    stale = git(repository, "commit", "-m", "A changed prompt")

    assert good.code == 0, good.err
    assert aside.code == 0 and "rows" not in aside.out
    assert stale.code != 0
    assert "record again: --record evals/recording.jsonl" in stale.err


def test_the_hook_stops_a_commit_whose_thresholds_fall_short(repository: Path) -> None:
    suite = repository / "evals/sort.yaml"
    suite.write_text(suite.read_text().replace("at_least: 0.7", "at_least: 0.9"))
    git(repository, "add", ".")
    done = git(repository, "commit", "-m", "More than it can")

    assert done.code != 0
    assert "accuracy: at least 0.90 is required, but 20 rows only show ≥ 0.76" in done.err
