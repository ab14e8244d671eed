"""`promptkit label` as a person uses it: keys, the label file, a second person, labels of a field, rows for a file."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from promptkit.cli import label_keys
from promptkit.cli.label_keys import TerminalKeys
from promptkit.cli.label_session import COMMANDS
from promptkit.evaluation.answer_labels import AnswerLabel
from promptkit.reports.evaluation.labels import KEYS
from tests.cli.label_project import ANSWERS, ROWS, SUITE, kept, make_labelled_project
from tests.command import COMMAND, Done, environment, run_command

Label = Callable[..., Done]
PEOPLE = """\
data: rows.jsonl
target: plain
inputs: {q: "{{ row.q }}"}
metrics: {length: length, seen: {human: [bad, good]}}
thresholds: {seen: {at_least: 0.5}}
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_labelled_project(tmp_path_factory.mktemp("measured"))


@pytest.fixture
def root(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "project"))


@pytest.fixture
def label(root: Path) -> Label:
    """Return the command; the texts of `keys` are its lines of stdin."""

    def run(*arguments: str, keys: str = "", suite: str = "replies") -> Done:
        return run_command(
            "label", suite, *arguments, folder=root, stdin="".join(f"{key}\n" for key in keys.split("|"))
        )

    return run


def shown(done: Done) -> list[str]:
    """Return the answers that were asked, in their order."""
    lines = done.err.splitlines()
    return [lines[at + 1].strip() for at, line in enumerate(lines) if line == "answer"]


def test_each_label_is_kept_with_its_answer_and_nothing_tells_the_variant_or_the_judges_verdict(
    label: Label, root: Path
) -> None:
    done = label(keys="y|w it names no action|n|q")

    assert done.code == 0, done.err
    first, second = kept(root)
    assert [first["level"], second["level"], second["why"]] == ["good", "poor", "it names no action"]
    assert [first["answer"], second["answer"]] == shown(done)[:2]
    assert (first["metric"], first["person"]) == ("helpful", "first")
    asked = done.err.partition("── 1 of")[2].partition("labels given")[0]
    assert "shipped" not in asked and "short" not in asked and "question\n  Q" in asked
    assert "y good   n poor" in asked and "Is it of use?" in asked


def test_the_next_session_goes_on_where_the_last_one_ended(label: Label, root: Path) -> None:
    first, second = label(keys="y|y|q"), label(keys="n|q")

    assert len(kept(root)) == 3
    assert not set(shown(first)[:2]) & set(shown(second))
    assert f"{ANSWERS} answers of 2 variants, 2 labelled" in second.err


def test_all_answers_are_asked_once_equal_ones_of_two_variants_together(label: Label, root: Path) -> None:
    done = label(keys="|".join("y" * 2 * ROWS))

    assert len(shown(done)) == len(set(shown(done))) == ANSWERS
    assert f"{ANSWERS} labels given, in evals/replies.labels.jsonl" in done.err
    again = label()
    assert again.code == 0 and "all answers that can be asked have a label by `first`" in again.err


def test_undo_takes_the_last_label_out_of_the_file_and_asks_again(label: Label, root: Path) -> None:
    done = label(keys="y|n|u|q")
    assert [line["level"] for line in kept(root)] == ["good"]
    assert shown(done)[1] == shown(done)[3]

    label(keys="u|q")
    assert kept(root) == []
    assert "there is no label to take back" in label(keys="u|q").err


def test_back_shows_the_label_and_another_one_takes_its_place(label: Label, root: Path) -> None:
    done = label(keys="y|b|n|q")

    assert "your label: good" in done.err
    assert [line["level"] for line in kept(root)] == ["poor"]
    assert "1 labelled answer," in done.out


def test_a_skipped_answer_is_asked_again_next_time(label: Label, root: Path) -> None:
    skipped = shown(label(keys="s|q"))[0]
    assert kept(root) == []
    assert shown(label(keys="q"))[0] == skipped


def test_a_typed_answer_says_whether_the_shown_one_was_right(label: Label, root: Path) -> None:
    label(keys="v something else|q")
    assert (kept(root)[0]["level"], kept(root)[0]["value"]) == ("poor", "something else")

    following = shown(label(keys="q"))[0]
    label(keys=f"v {following}|q")
    assert kept(root)[1]["level"] == "good"


def test_bytes_that_are_no_text_end_no_session(root: Path) -> None:
    done = run_command("label", "replies", folder=root, stdin=b"w caf\xe9\ny\nq\n")
    assert done.code == 0 and kept(root)[0]["why"] == "caf\ufffd"


def test_a_terminal_that_closes_while_a_reason_is_typed_ends_the_session(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_keys.LineKeys, "text", lambda self, name: label_keys.TerminalKeys().text(name))
    done = run_command("label", "replies", folder=root, stdin="y\nw\n")
    assert done.code == 0 and len(kept(root)) == 1


def test_an_unparsed_answer_gets_the_worst_level_and_nobody_is_asked(root: Path, label: Label) -> None:
    prompt = root / "templates/prompts/plain.j2"
    text = prompt.read_text("utf-8").replace("inputs:", "answer: {label: [plain]}\ndecide: generate\ninputs:")
    prompt.write_text(text, "utf-8")
    assert run_command("eval", "replies", folder=root).code == 0
    done = label("--variant", "shipped", "--random-share", "1", keys="|".join("y" * ROWS))

    unparsed = [line for line in kept(root) if line["answer"] is None]
    assert len(unparsed) == ROWS // 4 and {line["level"] for line in unparsed} == {"poor"}
    assert set(shown(done)) == {"plain"} and f"{ROWS * 3 // 4} labels given" in done.err
    assert f"shipped     {ROWS * 3 // 4}  {ROWS}" in done.out


def test_a_key_that_means_nothing_and_help_label_nothing(label: Label, root: Path) -> None:
    done = label(keys="z|?|1|a|q")
    assert kept(root) == []
    assert "`z` is not a key here" in done.err and "take the last label out of the file" in done.err


def test_half_of_the_labels_are_drawn_at_random_unless_another_share_is_given(label: Label, root: Path) -> None:
    label("--limit", "8", keys="|".join("y" * 8))
    drawn = [line["drawn"] for line in kept(root)]
    assert drawn.count("random") in (3, 4), "one that the ranking reaches is chosen from then on"

    (root / "evals/replies.labels.jsonl").unlink()
    label("--limit", "8", "--random-share", "1", keys="|".join("y" * 8))
    assert {line["drawn"] for line in kept(root)} == {"random"}


def test_the_result_says_what_the_labels_say_and_what_to_type_next(label: Label) -> None:
    done = label("--random-share", "1", keys="|".join("y" * ANSWERS))

    assert f"helpful: {ANSWERS} labelled answers, {ANSWERS} drawn at random, 0 chosen" in done.out
    assert f"shipped    {ROWS}  {ROWS}  100 % [76, 100]" in done.out
    assert "judge against labels: 9 of 21 equal" in done.out and "Gwet's AC1" in done.out
    assert "promptkit eval replies  # the judge corrected by the labels" in done.err
    assert "promptkit label replies --second" in done.err


def test_a_second_person_labels_the_same_answers_and_learns_where_they_differ(label: Label, root: Path) -> None:
    labelled = shown(label("--limit", "4", "--person", "ann", keys="y|y|y|y"))
    done = label("--second", "--person", "ben", keys="y|y|n|w too short|n")

    assert set(shown(done)) == set(labelled)
    assert "4 answers labelled by others" in done.err and "ann" not in done.err
    assert "ann and ben: 2 of 4 equal, 50 % [15, 85]; no coefficient below 20 answers" in done.out
    assert "they differ on 2 answers" in done.out and "  ben poor: too short" in done.out
    by_key = {line["key"]: line["drawn"] for line in kept(root) if line["person"] == "ann"}
    assert all(line["drawn"] == by_key[line["key"]] for line in kept(root))

    record = label("--agreement", "--json").json
    assert record["people"][0]["equal"] == 2 and record["table"] == {"good / good": 2, "poor / good": 2}
    assert len(record["disagreements"]) == 2


def test_a_second_person_needs_a_first_one(label: Label) -> None:
    done = label("--second")
    assert done.code == 2 and "nobody else has labelled answers by `helpful` yet" in done.err
    label("--person", "second", keys="y|q")
    assert "--person NAME names the one who labels now" in label("--second").err


def test_labels_in_a_field_of_the_rows_are_taken_for_the_answers_of_one_variant(label: Label, root: Path) -> None:
    assert "--import needs the one --variant" in label("--import", "said").err

    done = label("--import", "said", "--variant", "shipped")
    assert "6 labels of `said` taken for the answers of `shipped`" in done.out
    assert [(line["answer"], line["level"]) for line in sorted(kept(root), key=lambda line: line["answer"][-1])] == [
        ("both 0", "good"),
        ("plain 1", "good"),
        ("plain 2", "good"),
        ("plain 3", "poor"),
        ("both 4", "poor"),
        ("plain 5", "poor"),
    ]
    again = label("--import", "said", "--variant", "shipped")
    assert "0 labels of" in again.out and "6 labels had a label by `first` before: left out" in again.err


def test_wrong_fields_are_refused_with_each_wrong_row(label: Label, root: Path) -> None:
    assert "did you mean `said`?" in label("--import", "sad", "--variant", "short").err
    done = label("--import", "q", "--variant", "short")
    assert done.code == 2 and done.err.count("is not one of the levels poor, good") == ROWS
    assert kept(root) == []


def test_labelled_answers_are_written_as_rows_with_the_right_answer_where_it_is_known(label: Label, root: Path) -> None:
    answers = shown(label(keys="y|v another|w why not|n|q"))
    done = label("--export", "rows.jsonl")

    assert "3 rows in rows.jsonl, 2 of them with a right answer in `expect`" in done.err
    rows = {row["answer"]: row for row in map(json.loads, (root / "rows.jsonl").read_text("utf-8").splitlines())}
    assert rows[answers[0]] == {
        "q": f"Q{answers[0].split()[1]}",
        "answer": answers[0],
        "level": "good",
        "expect": answers[0],
    }
    assert rows[answers[1]]["expect"] == rows[answers[1]]["value"] == "another"
    assert rows[answers[2]]["why"] == "why not" and "expect" not in rows[answers[2]]
    assert label("--export", "rows.csv").code == 2


def test_a_label_of_an_answer_does_not_hold_for_another_answer(label: Label, root: Path) -> None:
    label(keys="y|y|y|y|q")
    script = root / "model.py"
    script.write_text(script.read_text("utf-8").replace('return f"', 'return f"newly '), "utf-8")
    assert run_command("eval", "replies", folder=root).code == 0

    done = label(keys="q")
    assert f"{ANSWERS} answers of 2 variants\n" in done.err
    assert "4 labels of answers that this run does not have" in done.out


def test_after_an_edit_the_labels_of_unchanged_answers_are_no_sample_until_the_others_are_labelled(
    label: Label, root: Path
) -> None:
    label("--random-share", "1", keys="|".join("y" * 12))
    script = root / "model.py"
    script.write_text(script.read_text("utf-8").replace("{'brief' if", "{'newly' if"), "utf-8")
    assert run_command("eval", "replies", folder=root).code == 0

    before = label("--agreement")
    assert "the labelled ones are no random sample yet" in before.out and "shipped" not in before.out
    done = label("--random-share", "1", keys="|".join("n" * 12))
    assert shown(done)[0].startswith("newly")
    assert "no random sample" not in done.out and "shipped" in done.out


def test_labels_by_levels_that_the_metric_has_no_more_are_named_and_not_used(label: Label, root: Path) -> None:
    label(keys="y|n|q")
    suite = root / "evals/replies.yaml"
    suite.write_text(SUITE.replace("[poor, good]", "[poor, fair, best]"), "utf-8")

    done = label("--agreement")
    assert "helpful: 1 labelled answer," in done.out
    assert "labels by levels that the metric does not have any more, not used: good (1)" in done.out


def test_what_cannot_be_labelled_is_said(label: Label, root: Path) -> None:
    (root / "evals/other.yaml").write_text(SUITE, "utf-8")
    assert "`other` has no run yet" in label(suite="other").err
    assert "run 1 is of the suite `replies`, not `other`" in label("--run", "1", suite="other").err
    assert "has no metric `helpfull`\n  hint: did you mean `helpful`?" in label("--metric", "helpfull").err
    assert "run 1 does not have the variant `shipt`" in label("--variant", "shipt").err
    assert label("--second", "--agreement").code == 2

    file = root / "evals/replies.labels.jsonl"
    file.write_text('{"metric": "helpful"}\n', "utf-8")
    done = label()
    assert done.code == 2 and "evals/replies.labels.jsonl:1" in done.err and "Traceback" not in done.err


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_asked(label: Label, root: Path) -> None:
    (root / "evals/replies.labels.jsonl").mkdir()
    done = label(keys="y")
    assert done.code in (2, 3) and "replies.labels.jsonl" in done.err and shown(done) == []


def test_any_metric_is_labelled_right_or_wrong(label: Label, root: Path) -> None:
    label("--metric", "length", keys="y|n|q")
    assert [(line["metric"], line["level"]) for line in kept(root)] == [("length", "right"), ("length", "wrong")]


def test_every_key_that_is_explained_does_something() -> None:
    assert {*COMMANDS, "q"} == KEYS.keys()


def test_an_arrow_is_no_key_and_of_several_keys_at_once_the_first_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    pressed = iter(["\x1b[A", "nyy", ""])
    monkeypatch.setattr(typer, "getchar", lambda: next(pressed))
    assert [TerminalKeys().read().word for _ in range(2)] == ["", "n"]
    with pytest.raises(EOFError):
        TerminalKeys().read()


def test_peoples_labels_decide_a_threshold_by_their_majority(tmp_path: Path) -> None:
    unscored = PEOPLE.partition("metrics:")[0] + "metrics: {length: length}\n"
    root = make_labelled_project(tmp_path, unscored)
    (root / "evals/replies.yaml").write_text(PEOPLE, "utf-8")
    answers = ROWS * "y\n"

    def say(person: str, keys: str) -> int:
        done = run_command("label", "replies", "--person", person, folder=root, stdin=keys)
        assert done.code == 0, done.err
        return run_command("eval", "replies", folder=root).code

    assert say("ann", answers) == 0
    assert say("ben", answers.replace("y", "n")) == 0, "of as many labels the first counts"
    assert say("cay", answers.replace("y", "n")) == 1
    done = run_command("label", "replies", "--agreement", folder=root)
    assert "ann and ben and cay: 0 of 12 equal" in done.out and "bad / good" in done.out


def test_a_judge_is_corrected_by_the_labels_of_one_variants_answers_alone(root: Path, label: Label) -> None:
    """No answer of `shipped` is good. `short` shares three of them, which is no random sample of its answers."""
    (root / "evals/rows.jsonl").write_text(
        "".join(json.dumps({"q": f"Q{number}", "said": "poor"}) + "\n" for number in range(ROWS)), "utf-8"
    )
    assert run_command("eval", "replies", folder=root).code == 0
    assert label("--import", "said", "--variant", "shipped").code == 0
    record = run_command("eval", "replies", "--json", folder=root).json

    shipped, short = (variant["metrics"]["helpful"]["mean"] for variant in record["variants"])
    assert (shipped, short) == (0, 0.75)
    assert record["known"] == 2 * ROWS


def test_on_a_terminal_one_key_is_one_label_and_ctrl_c_loses_none(root: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "label", "replies"],
        cwd=root,
        env={**environment(), "NO_COLOR": "", "TERM": "xterm", "COLUMNS": "80"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        screen = b""
        try:
            for answers, keys in ((1, b"yyy"), (2, b"n"), (3, b"\x03")):
                while screen.count(b"q quit") < answers:
                    screen += read_terminal(ours)
                wait_for_single_keys(ours)
                os.write(ours, keys)
            with contextlib.suppress(OSError):  # the other end is closed
                while True:
                    screen += read_terminal(ours)
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()
    os.close(ours)

    assert process.returncode == 130
    assert [line["level"] for line in kept(root)] == ["good", "poor"]
    assert "interrupted; 2 labels given, in evals/replies.labels.jsonl" in screen.decode()


def read_terminal(terminal: int) -> bytes:
    """Return what a terminal was sent; fail where nothing comes."""
    ready, _, _ = select.select([terminal], [], [], 20)
    assert ready, "nothing is shown"
    return os.read(terminal, 65536)


def wait_for_single_keys(terminal: int) -> None:
    """Wait until the other end takes single keys, which it does once its screen is written."""
    deadline = time.monotonic() + 10
    while termios.tcgetattr(terminal)[3] & termios.ICANON and time.monotonic() < deadline:
        time.sleep(0.002)


def test_a_killed_session_keeps_the_labels_that_were_given(label: Label, root: Path) -> None:
    label(keys="y")  # stdin ends, as a closed terminal does
    assert len(kept(root)) == 1
    AnswerLabel.model_validate(kept(root)[0])
