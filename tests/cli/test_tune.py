"""`promptkit tune` as it is typed, on a scripted model that is right under one layout alone."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer

from promptkit.api.tune import TuneSettings, tune_suite
from promptkit.cli import tune
from promptkit.errors import InputError, Interrupted
from promptkit.storage.store import Store
from promptkit.tuning.options import Limits, TuneOptions
from promptkit.tuning.tune import Tuning
from promptkit.tuning.tuned_suite import load_tuning_suite
from tests.cli.runs_project import Here, make_project
from tests.reports.test_tuning_report import plan

SCRIPT = """\
def answer(request):
    text = request.messages[-1].content
    if "TASK:" not in text:
        return "bad"
    return "good" if "fine" in text else "bad"
"""
FAILING = """\
    asked.append(request)
    if len(asked) > 90:
        raise OSError
"""
SLOW = """\
import time


def answer(request):
    time.sleep(0.01)
    return "bad"
"""
PIPELINE = """\
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}  # mine
tune: {mood.layout: [xml, prefix, markdown]}
"""
SUITE = "data: many.jsonl\ntarget: mood\nmetrics: {accuracy: label, size: tokens}\n"
ROWS = [{"text": f"{'fine' if at % 2 else 'poor'} {at}", "expect": "good" if at % 2 else "bad"} for at in range(80)]
FILES = {
    "promptkit.yaml": "model: scripted:script.py:answer\n",
    "script.py": SCRIPT,
    "pipelines/mood.yaml": PIPELINE,
    "evals/mood.yaml": SUITE,
    "evals/many.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
}
TUNE = ("tune", "mood", "--suite", "mood", "--yes")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return make_project(tmp_path, FILES)


def test_what_is_better_is_found_shown_and_written(here: Here) -> None:
    done = here(*TUNE, "--html", str(here.root / "page.html"))

    assert done.code == 0, done.err
    assert "improved: +" in done.out and "+  mood:" in done.out
    assert "written: pipelines/mood.tuned.yaml" in done.out
    assert "to confirm" in done.err and "next:\n  promptkit run pipelines/mood.tuned.yaml" in done.err
    assert "{prompt: mood, layout: prefix}  # mine" in (here.root / "pipelines/mood.tuned.yaml").read_text("utf-8")
    assert (here.root / "pipelines/mood.yaml").read_text("utf-8") == PIPELINE
    assert "improved" in (here.root / "page.html").read_text("utf-8")
    assert here("run", "mood.tuned", "text=fine").out.strip() == "good"


def test_the_original_is_replaced_where_that_is_asked_for(here: Here) -> None:
    told = here(*TUNE, "--apply", "--json").json

    assert (told["applied"], told["written"], told["verdict"]) == (True, ["pipelines/mood.yaml"], "improved")
    text = (here.root / "pipelines/mood.yaml").read_text("utf-8")
    assert text == PIPELINE.replace("{prompt: mood}", "{prompt: mood, layout: prefix}")
    assert not (here.root / "pipelines/mood.tuned.yaml").exists()


def test_what_is_not_shown_to_be_better_replaces_nothing(here: Here) -> None:
    (here.root / "script.py").write_text("def answer(request):\n    return 'bad'\n", "utf-8")
    told = here(*TUNE, "--apply", "--json").json

    assert (told["verdict"], told["applied"]) == ("not shown", False)
    assert "pipelines/mood.yaml" not in told["written"]
    assert (here.root / "pipelines/mood.yaml").read_text("utf-8") == PIPELINE


def test_a_tuning_is_a_run_that_is_listed_and_shown(here: Here, tmp_path: Path) -> None:
    record = here(*TUNE, "--json").json
    listed = here("runs", "list")
    shown = here("runs", "show", "1")

    assert "tune  mood" in listed.out and "improved +" in listed.out
    assert shown.out.startswith("mood on mood  run 1  done") and "improved: +" in shown.out
    assert here("runs", "show", "last", "--json").json == record
    assert here("runs", "show", "1", "--html", str(tmp_path / "p.html")).code == 0
    assert "improved" in (tmp_path / "p.html").read_text("utf-8")


def test_a_tuning_shows_compares_and_exports_its_start_and_incumbent_on_confirm_rows(here: Here) -> None:
    record = here(*TUNE, "--json").json
    turned = record["turned"]
    rows = [row["row"] for row in turned["rows"]]
    asked = record["confirmation"]["rows"]
    assert asked < record["rows"]["confirm"], "the first look shows the gain"
    assert turned["better"] == len(rows) > 0 and turned["worse"] == 0
    assert turned["rows"][0]["fields"] == ROWS[rows[0] - 1]
    assert turned["rows"][0]["before"] == {"value": "bad", "flag": "", "score": 0.0}
    assert turned["rows"][0]["after"] == {"value": "good", "flag": "", "score": 1.0}

    failing = here("runs", "show", "1", "--failures", "--variant", "start", "--json").json
    assert [cell["row"] for cell in failing["cells"]] == sorted(rows)
    assert f"0 of {asked} cells of `incumbent` fail" in here("runs", "show", "1", "--failures").err
    shown = here("runs", "show", "1", "--row", str(rows[0])).out
    assert "start\n  answer: bad" in shown and "incumbent\n  answer: good" in shown
    table = here("runs", "export", "1", "--csv", "-").out.splitlines()
    assert len(table) == 1 + 2 * asked
    searched = next(at for at in range(1, 81) if not any(line.startswith(f"start,{at},") for line in table))
    assert f"run 1 has no row {searched}" in here("runs", "show", "1", "--row", str(searched)).err

    compared = here("runs", "compare", "1", "--json").json
    assert [change["change"] for change in compared["rows_shown"]] == ["better"] * min(10, len(rows))
    assert compared["comparisons"][0]["difference"] == record["difference"]["mean"]
    assert here("runs", "errors", "1").out.startswith("mood  run 1  incumbent, by accuracy")

    with sqlite3.connect(here.root / ".promptkit/store.db") as database:
        database.execute("update runs set inputs = '{}'")
    earlier = here("runs", "show", "1", "--failures")
    assert (earlier.code, "run 1 is by an earlier promptkit" in earlier.err) == (2, True)


def test_a_tuning_without_an_incumbent_has_no_rows_to_show(here: Here) -> None:
    (here.root / "script.py").write_text(SCRIPT.replace("TASK:", "<INSTRUCTIONS>"), "utf-8")
    here(*TUNE)
    for arguments in (("show", "1", "--failures"), ("compare", "1"), ("export", "1", "--csv", "-")):
        done = here("runs", *arguments)
        assert (done.code, done.out) == (2, "")
        assert "run 1, a tuning of `mood`, has no confirmed incumbent" in done.err


def test_a_tuned_pipeline_is_measured_on_the_suite_with_a_note_on_the_rows_that_chose_it(here: Here) -> None:
    done = here(*TUNE)
    assert "  promptkit eval mood --target pipelines/mood.tuned.yaml  # measures it" in done.err
    assert "  promptkit runs compare 1  # the rows that turned, with their prompts" in done.err

    (here.root / "evals/mood.yaml").write_text(f"{SUITE}thresholds: {{accuracy: {{at_least: 0.9}}}}\n", "utf-8")
    measured = here("eval", "mood", "--target", "pipelines/mood.tuned.yaml", "--json").json
    assert (measured["target"], measured["variants"][0]["metrics"]["accuracy"]["mean"]) == ("mood.tuned", 1.0)
    assert measured["thresholds"] == []
    assert measured["notes"][:2] == [
        "`thresholds` left out: the suite has this for its own target",
        "tuning 1 chose `pipelines/mood.tuned.yaml` by 31 of these rows, so its score on them is optimistic: measure "
        "it on rows that are new",
    ]
    assert "tuning 1" not in here("eval", "mood").out
    assert "did you mean `mood.tuned`?" in here("eval", "mood", "--target", "mood.tund").err


def test_a_dry_run_asks_nothing_and_keeps_nothing(here: Here) -> None:
    (here.root / "script.py").write_text("def answer(request):\n    raise AssertionError\n", "utf-8")
    done = here("tune", "mood", "--dry-run", "--budget", "calls=300")

    assert done.code == 0, done.err
    assert "300 calls at most" in done.out and "mood.layout  3  as written · prefix · markdown" in done.out
    told = here("tune", "mood", "--dry-run", "--json").json
    assert {"rows", "axes", "candidates", "calls", "minutes", "smallest", "notes"} <= told.keys()
    assert told["calls"] == told["search_calls"] + told["confirm_calls"]
    with Store.open(here.root / ".promptkit") as store:
        assert store.runs() == []


def test_a_variant_that_is_tried_is_in_the_race_and_in_what_to_type_next(here: Here) -> None:
    done = here(*TUNE, "--try", "mood.cue=Tone:", "--cold", "--json")
    assert "cue: mood.cue=Tone:" in [entry["name"] for entry in done.json["candidates"]]
    assert done.json["prior"] is None

    told = here(*TUNE, "--try", "mood.cue=Tone:", "--cold").err
    assert "promptkit tune mood --suite mood --cold --try mood.cue=Tone: --yes --apply" in told


def test_the_plan_names_the_variants_that_race(here: Here) -> None:
    planned = here("tune", "mood", "--dry-run", "--try", "mood.cue=Tone:").out
    assert "a variant of your own races: cue: mood.cue=Tone:" in planned


def test_all_variants_that_are_none_of_the_target_are_refused(here: Here) -> None:
    done = here("tune", "mood", "--dry-run", "--try", "mood.cuee=Tone:", "--try", "gone.yaml")

    assert (done.code, done.out) == (2, "")
    assert "--try mood.cuee=Tone:: mood.cuee: unknown key `cuee`" in done.err
    assert "--try gone.yaml: there is no such file" in done.err


def test_a_dry_run_names_the_code_of_the_project_s_teacher(here: Here) -> None:
    (here.root / "promptkit.yaml").write_text(
        "model: scripted:script.py:answer\nteacher: scripted:teach.py:propose\n", "utf-8"
    )
    (here.root / "teach.py").write_text("def propose(request):\n    return 'Judge.'\n", "utf-8")

    assert "teach.py:propose" in here("tune", "mood", "--dry-run").err
    assert "teach.py" not in here("tune", "mood", "--dry-run", "--teacher", "none").err


def test_ctrl_c_where_a_person_is_asked_ends_at_once_and_gives_ctrl_c_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def held(*_: object, **__: object) -> bool:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", held)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # As an event loop has its own.
    try:
        with pytest.raises(Interrupted, match="nothing was asked"):
            tune.confirmed(plan(smallest_gain=0.2))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_shipped_target_is_not_replaced_and_that_is_told_before_a_call(here: Here) -> None:
    done = here("tune", "sentiment_plain", "--suite", "sentiment", "--apply", "--yes")

    assert done.code == 2
    assert "is not in this project and cannot be replaced" in done.err
    assert "--apply" in done.err and not done.out


def test_off_a_terminal_too_few_rows_need_yes(here: Here) -> None:
    done = here("tune", "mood")
    assert done.code == 2
    assert "can detect a gain of" in done.err and "--yes" in done.err


@pytest.mark.parametrize("agreed", [True, False])
def test_on_a_terminal_a_person_is_asked(here: Here, agreed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "confirmed", lambda plan: agreed)
    done = here("tune", "mood")
    assert done.code == 0
    assert ("improved" in done.out, "nothing was asked" in done.err) == (agreed, not agreed)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--budget", "cals=3"), "did you mean `calls`?"),
        (("--budget", "calls=0"), "calls is a whole number above 0"),
        (("--budget", "calls=5"), "--budget calls=5 is too small"),
        (("--optimizer", "rase"), "did you mean `race`?"),
        (("--prefer", "chaep"), "did you mean `cheap`?"),
        (("--only", "layuot"), "did you mean"),
        (("--only", ","), "`--only` is empty"),
        (("--prefer", "score / unparsed"), "`--prefer score / unparsed` is not a number at"),
        (("--metric", "acuracy"), "did you mean `accuracy`?"),
        (("--metric", "size"), "`size` cannot be optimized"),
        (("--teacher", "nobody"), "`nobody` is not a model reference"),
        (("--teacher", "scripted:nobody.py:teach"), "nobody.py: no such file"),
        (("--html", "nowhere/page.html"), "there is no folder `nowhere`"),
        (("--suite", "modo"), "did you mean `mood`?"),
        (("--set", "modo.layout=xml"), "did you mean `mood`?"),
    ],
)
def test_a_mistake_is_told_before_anything_is_asked(here: Here, arguments: tuple[str, ...], told: str) -> None:
    done = here("tune", "mood", "--yes", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_the_suite_may_be_left_out_where_one_names_the_target(here: Here) -> None:
    assert "mood on mood" in here("tune", "mood", "--dry-run").out
    (here.root / "evals/again.yaml").write_text(SUITE, "utf-8")
    several = here("tune", "mood", "--dry-run")
    assert (several.code, "--suite again, or mood" in several.err) == (2, True)
    (here.root / "pipelines/other.yaml").write_text(PIPELINE.replace("tune:", "# "), "utf-8")
    none = here("tune", "other", "--dry-run")
    assert (none.code, "no suite measures `other`" in none.err) == (2, True)


def test_a_target_may_be_measured_by_the_suite_of_another(here: Here) -> None:
    (here.root / "pipelines/other.yaml").write_text(PIPELINE.replace("name: mood", "name: other"), "utf-8")
    done = here("tune", "other", "--suite", "mood", "--yes")
    assert done.code == 0, done.err
    assert "written: pipelines/other.tuned.yaml" in done.out


@pytest.mark.parametrize(
    ("limit", "told"), [("tokens=10", "hint: at least tokens="), ("tokens=2000", "hint: at least tokens=")]
)
def test_limits_that_turn_out_too_small_are_a_mistake_and_no_failure(here: Here, limit: str, told: str) -> None:
    done = here(*TUNE, "--budget", limit)
    assert (done.code, done.out) == (2, "")
    assert f"--budget {limit} is too small" in done.err and told in done.err


def test_the_next_lines_are_those_that_were_typed(here: Here) -> None:
    typed = ("--only", "layout", "--prefer", "score - 0.0001 * tokens", "--budget", "calls=700", "--seed", "1")
    done = here(*TUNE, *typed)
    again = (
        "promptkit tune mood --suite mood --budget calls=700 --only layout --prefer 'score - 0.0001 * tokens' --seed 1"
    )
    assert f"  {again} --yes --apply  # the same again, to replace the original" in done.err
    applied = here(*TUNE, *typed, "--apply")
    assert "promptkit run pipelines/mood.yaml  # the result, on its example" in applied.err
    assert "--apply" not in applied.err


def test_the_next_lines_hold_where_the_command_was_typed(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.root / "pipelines/mood.yaml").write_text(PIPELINE.replace("{example: fine}", "{}"), "utf-8")
    monkeypatch.setenv("PROMPTKIT_MODEL", "scripted:script.py:answer")
    done = here(*TUNE)
    assert "promptkit run pipelines/mood.tuned.yaml text=TEXT  # the result\n" in done.err


@pytest.mark.parametrize(
    ("budget", "more"),
    [
        ([], ["--yes", "--budget", "calls=900"]),
        (["--budget", "calls=500"], ["--yes", "--budget", "calls=900"]),
        (["--budget", "calls=500,tokens=9000"], None),
        (["--budget", "minutes=3"], None),
    ],
)
def test_a_larger_budget_is_proposed_where_calls_alone_are_limited(budget: list[str], more: list[str] | None) -> None:
    typed = tune.TypedTuning(
        words=["promptkit", "tune", "mood", *budget, "--yes"], suite="mood", model=None, applying=False
    )
    assert typed.with_calls(900) == (None if more is None else ["promptkit", "tune", "mood", *more])


def test_a_suite_is_not_tuned(here: Here) -> None:
    done = here("tune", "evals/mood.yaml")
    assert done.code == 2
    assert "promptkit tune TARGET --suite evals/mood.yaml" in done.err


def test_a_model_that_is_gone_ends_it_with_the_best_so_far_and_how_to_go_on(here: Here) -> None:
    (here.root / "script.py").write_text(f"asked = []\n{SCRIPT}".replace(":\n", ":\n" + FAILING, 1), "utf-8")
    done = here(*TUNE)
    assert done.code == 3
    assert "run 1  incomplete" in done.out and "not shown" in done.out
    assert "answers received so far are kept" in done.err
    assert "  promptkit tune mood --suite mood --yes  # resumes; answers are kept" in done.err


async def test_ctrl_c_ends_it_with_the_best_so_far(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here.root)
    suite = load_tuning_suite("mood", "mood")
    waiting = Tuning.run

    async def pressed(tuning: Tuning) -> Any:
        asyncio.get_running_loop().call_later(0.05, asking.cancel)
        return await waiting(tuning)

    monkeypatch.setattr(Tuning, "run", pressed)
    (here.root / "script.py").write_text(
        "import time\n\ndef answer(request):\n    time.sleep(0.01)\n    return 'bad'\n"
    )
    report = partial(tune.print_tuned, html=None, json=False)
    asking = asyncio.ensure_future(tune_suite(suite, TuneSettings(), report=report))
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert "run 1  interrupted" in capsys.readouterr().out


def test_what_is_typed_becomes_the_wishes(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TuneOptions] = []

    async def planned(tuning: Tuning) -> Any:
        asked.append(tuning.options)
        raise InputError("enough")

    monkeypatch.setattr(Tuning, "plan", planned)
    here("tune", "mood", "--budget", "calls=9", "--only", "layout, mood.decide", "--joint", "--seed", "3")
    here("tune", "mood", "--stepwise", "--prefer", "cheap", "--metric", "accuracy", "--teacher", "scripted:script.py")
    here("tune", "mood", "--stepwise", "--joint")
    assert asked == [
        TuneOptions(limits=Limits(calls=9), only=("layout", "mood.decide"), mode="joint", seed=3),
        TuneOptions(mode="stepwise", prefer="cheap", metric="accuracy", teacher="scripted:script.py"),
        TuneOptions(),
    ]


def test_a_recording_answers_the_same_tuning(here: Here) -> None:
    first = here(*TUNE, "--json").json
    kept = here.root / "kept.jsonl"
    recorded = here(*TUNE, "--json", "--record", str(kept)).json
    (here.root / "script.py").unlink()
    replayed = here(*TUNE, "--json", "--model", f"replay:{kept}").json

    assert [each["best"]["choices"] for each in (first, recorded, replayed)] == [first["best"]["choices"]] * 3


def test_a_second_suite_shows_what_is_lost_and_the_next_command_keeps_the_options(here: Here) -> None:
    others = [{**row, "text": f"{row['text']} of others"} for row in ROWS[:20]]
    (here.root / "evals/others.jsonl").write_text("".join(json.dumps(row) + "\n" for row in others), "utf-8")
    (here.root / "evals/others.yaml").write_text(SUITE.replace("many", "others"), "utf-8")

    done = here(*TUNE, "--keep", "others", "--margin", "0.1", "--weights")

    assert done.code == 0, done.err
    assert "kept on others: +" in done.out and "0 rows lost, 10 won" in " ".join(done.out.split())
    assert "--weights --keep others --margin 0.1" in " ".join(done.err.split())
