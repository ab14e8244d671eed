"""`promptkit eval` as a person runs it, on a script that answers for a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.runs_project import make_project

SUITE = """\
data: rows.jsonl
target: {pipeline: mail, step: topic}
expect: "{{ row.topic }}"
metrics: {accuracy: label, size: tokens}
"""
VARIANTS = "variants: {plain: {}, prefix: {topic.layout: prefix}}\n"
MAILS = [
    ("My card was charged.", "payment", "web"),
    ("The parcel is late.", "delivery", "web"),
    ("Where is my refund?", "payment", "shop"),
    ("The box was open.", "delivery", "shop"),
]


@pytest.fixture
def suite(project: Path) -> Path:
    """Return a suite of four rows, of which the script gets one wrong."""
    folder = project / "evals"
    folder.mkdir()
    rows = [{"mail": mail, "topic": topic, "source": source} for mail, topic, source in MAILS]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "topic.yaml").write_text(SUITE, "utf-8")
    return folder / "topic.yaml"


def record_of(text: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(text)
    return record


@pytest.mark.usefixtures("suite")
def test_the_report_is_on_stdout_and_how_it_goes_on_stderr(promptkit: Run) -> None:
    done = promptkit("eval", "topic")
    assert done.code == 0, done.err
    assert done.out.startswith("topic  run 1  done  4 rows, ")
    assert "answered by scripted:script.yaml (named by promptkit.yaml)" in done.out
    assert "    3  payment   delivery  Where is my refund?" in done.out
    assert "accuracy       75 %  [30, 95]" in done.out
    assert done.err.splitlines() == [
        "topic: 4 cells (4 rows)",
        "next:",
        "  promptkit runs show 1 --failures  # the failing rows, with their messages",
        "  promptkit eval topic --html topic.html  # as one page",
        "  promptkit runs show 1  # this again",
    ]


def test_variants_are_compared_with_the_first(promptkit: Run, suite: Path) -> None:
    suite.write_text(SUITE + VARIANTS)
    said = promptkit("eval", "topic").out
    assert "prefix against plain on the same rows" in said
    assert "not shown" in said and "no row differs" in said


@pytest.mark.usefixtures("suite")
def test_a_second_time_nothing_is_asked(promptkit: Run) -> None:
    promptkit("eval", "topic")
    said = promptkit("eval", "topic").out
    assert "4 of 4 cells cached" in said


@pytest.mark.usefixtures("suite")
def test_json_is_one_object_and_nothing_else(promptkit: Run) -> None:
    done = promptkit("eval", "topic", "--json")
    record = record_of(done.out)
    assert {"run", "suite", "status", "model", "variants", "comparisons", "thresholds"} <= record.keys()
    assert record["variants"][0]["metrics"]["accuracy"]["mean"] == 0.75
    assert "next:" not in done.err


def test_what_the_model_cannot_do_is_told_once_for_all_rows(promptkit: Run, project: Path, suite: Path) -> None:
    (project / "mute.py").write_text('def reply(request):\n    return "payment"\n')
    done = promptkit("eval", "topic", "--json", "--set", "topic.decide=score", "--model", "scripted:mute.py:reply")
    assert done.code == 0, done.err
    assert done.err.count("the step runs as `decide: constrain`") == 1


def test_several_suites_are_run_one_after_the_other_an_object_a_line(promptkit: Run, suite: Path) -> None:
    (suite.parent / "other.yaml").write_text(SUITE)
    done = promptkit("eval", "--json")
    assert [record_of(line)["suite"] for line in done.out.splitlines()] == ["other", "topic"]
    said = promptkit("eval", "topic", "other").out
    assert [line.split()[0] for line in said.splitlines() if "  run " in line] == ["topic", "other"]
    assert "\n\nother  run " in said


def test_rows_in_yaml_beside_the_suites_are_not_taken_for_a_suite(promptkit: Run, suite: Path) -> None:
    (suite.parent / "cases.yaml").write_text("# mails\n---\n- {mail: Where is it?, topic: delivery}\n")
    done = promptkit("eval", "--json")
    assert done.code == 0 and record_of(done.out)["suite"] == "topic"


@pytest.mark.usefixtures("suite")
def test_a_limited_run_says_so_and_how_to_run_all(promptkit: Run) -> None:
    done = promptkit("eval", "topic", "--limit", "3")
    assert "3 rows" in done.out.splitlines()[0] and "limited by --limit or --filter" in done.out
    assert "  promptkit eval topic  # all rows; these are not asked again" in done.err
    filtered = record_of(promptkit("eval", "topic", "--filter", "source=shop", "--json").out)
    assert filtered["rows"] == 2 and filtered["limited"]


@pytest.mark.usefixtures("suite")
def test_repeats_are_cells_of_their_own(promptkit: Run) -> None:
    done = promptkit("eval", "topic", "--repeat", "2")
    assert "4 rows × 2 repeats" in done.out.splitlines()[0]
    assert "  2 × 3  payment" in done.out


@pytest.mark.usefixtures("suite")
def test_what_was_typed_is_typed_again_in_what_comes_next(promptkit: Run) -> None:
    done = promptkit("eval", "topic", "--model", "scripted:script.yaml", "--set", "topic.layout=prefix")
    typed = "promptkit eval topic --model scripted:script.yaml --set topic.layout=prefix --html topic.html"
    assert typed in done.err


@pytest.mark.usefixtures("suite")
def test_the_page_is_written_where_it_is_asked_for(promptkit: Run, project: Path) -> None:
    done = promptkit("eval", "topic", "--html", "run.html")
    assert done.code == 0, done.err
    assert (project / "run.html").read_text("utf-8").startswith("<!")
    assert "as one page" not in done.err


def test_of_several_suites_no_page_is_made(promptkit: Run, suite: Path) -> None:
    (suite.parent / "other.yaml").write_text(SUITE)
    done = promptkit("eval", "--html", "run.html")
    assert done.code == 2 and "--html takes one suite" in done.err


def test_a_row_that_cannot_be_asked_leaves_the_run_incomplete(promptkit: Run, suite: Path) -> None:
    rows = suite.parent / "rows.jsonl"
    rows.write_text(rows.read_text("utf-8") + '{"topic": "payment"}\n', "utf-8")
    done = promptkit("eval", "topic")
    assert done.code == 3
    assert "4 of 5" in done.out and "1 cell without an answer" in done.out
    assert "missing: " in done.out
    assert "1 of 5 cells have no answer" in done.err and "correct the rows" in done.err
    assert "--retry-errors" not in done.err, "to ask again would not mend it"


def test_a_folder_without_suites_says_how_to_name_one(promptkit: Run) -> None:
    done = promptkit("eval")
    assert done.code == 2 and "promptkit eval FILE.yaml" in done.err


@pytest.mark.parametrize("points", ["0", "-5", "101", "nan"])
def test_a_difference_that_none_can_be_is_refused_before_the_run(tmp_path: Path, points: str) -> None:
    here = make_project(tmp_path)
    done = here("eval", "mood", "--smallest", points)
    assert done.code == 2 and "--smallest is a number of points above 0 and up to 100" in done.err
    assert here("runs", "list").err == "there are no runs here yet\n"


@pytest.mark.parametrize(
    ("margin", "message"),
    [
        ("acuracy=0.02", "--margin acuracy=0.02: there is no metric `acuracy`"),
        ("1.5", "--margin 1.5: the margin of `accuracy` must be above 0 and below 1, not 1.5"),
        ("nan", "the margin of `accuracy` must be above 0"),
        ("accuracy=much", "`--margin accuracy=much` has no number"),
    ],
)
def test_a_margin_that_none_can_be_is_refused_before_the_run(tmp_path: Path, margin: str, message: str) -> None:
    here = make_project(tmp_path)
    done = here("eval", "mood", "--margin", margin)
    assert done.code == 2 and message in done.err
    assert here("runs", "list").err == "there are no runs here yet\n"


def test_of_several_suites_one_without_the_metric_says_that_it_ignores_a_margin(tmp_path: Path) -> None:
    here = make_project(tmp_path)
    mood = (tmp_path / "evals/mood.yaml").read_text()
    (tmp_path / "evals/other.yaml").write_text(mood.replace("accuracy", "right"))
    done = here("eval", "--margin", "right=0.2")
    assert done.code == 0
    assert "`mood` has no metric `right`: --margin right=0.2 is ignored" in done.err
    assert "`other` has no metric" not in done.err


@pytest.mark.parametrize("option", ["--no-cache", "--fresh"])
def test_what_the_steps_before_have_said_is_recorded_in_the_kept_answers_alone(
    promptkit: Run, suite: Path, option: str
) -> None:
    suite.write_text(
        """\
data: rows.jsonl
target: {pipeline: mail, step: reply, feed: recorded}
metrics: {sorry: {contains: {text: sorry}}}
"""
    )
    refused = promptkit("eval", "topic", option)
    done = promptkit("eval", "topic")

    assert refused.code == 2
    assert "`feed: recorded` needs the kept answers of the steps before" in refused.err
    assert "feed: data" in refused.err
    assert done.code == 0, done.err


def test_an_edit_after_the_suite_was_read_is_for_the_next_run(promptkit: Run, project: Path, suite: Path) -> None:
    layout = project / "templates/layouts/mine.j2"
    layout.parent.mkdir()
    layout.write_text("one {{ sections.input }}")
    script = project / "script.yaml"
    script.write_text(script.read_text().replace("rules:\n", "rules:\n  - {contains: another, reply: payment}\n"))
    (suite.parent / "rows.py").write_text(
        f"""\
from pathlib import Path
import json

before = []

def rows():
    if before:
        Path({str(layout)!r}).write_text("another {{{{ sections.input }}}}")
    before.append("the fields of the first row are looked at when the suite is read")
    return map(json.loads, Path(__file__).with_name("rows.jsonl").read_text().splitlines())
"""
    )
    suite.write_text(SUITE.replace("data: rows.jsonl", "data: {python: 'rows.py:rows'}"))
    typed = ("eval", "topic", "--json", "--set", "topic.layout=mine")
    first, second = (record_of(promptkit(*typed).out) for _ in range(2))

    assert [each["variants"][0]["metrics"]["accuracy"]["mean"] for each in (first, second)] == [0.75, 0.5]
    assert second["known"] == 0


def test_who_named_the_model_that_answers_is_told_where_it_is_a_step(tmp_path: Path) -> None:
    pipeline = "name: mood\ninputs: {text: {}}\nsteps: {mood: {prompt: mood, model: 'scripted:../other.yaml'}}\n"
    here = make_project(tmp_path, {"pipelines/mood.yaml": pipeline})
    model = here("eval", "mood", "--json").json["model"]
    assert model["reference"].endswith("other.yaml") and model["why"] == "the step"
    assert here("eval", "mood", "--model", "scripted:script.yaml", "--json").json["model"]["why"] == "--model"


def test_rows_that_a_model_wrote_are_counted_in_the_heading_and_the_record(promptkit: Run, suite: Path) -> None:
    file = suite.parent / "rows.jsonl"
    first, *others = file.read_text("utf-8").splitlines(keepends=True)
    made = json.dumps({**json.loads(first), "generated": {"by": "tiny", "for": {}}})
    file.write_text(f"{made}\n{''.join(others)}", "utf-8")

    done = promptkit("eval", "topic")
    assert "\n1 of 4 rows is generated by a model: results may not hold for real rows\n" in done.out
    assert promptkit("eval", "topic", "--json").json["generated"] == 1
