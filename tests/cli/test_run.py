"""`run`: the answer alone on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.command import COMMAND, environment
from tests.runtimes.servers.ollama_server import FakeModel, OllamaServer


def test_the_answer_alone_is_on_stdout(promptkit: Run) -> None:
    done = promptkit("run", "mail", "mail=My card was charged twice.")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"topic": "payment", "reply": "We are sorry."}


def test_progress_shows_each_step_with_calls_tokens_and_time_and_who_answered(promptkit: Run) -> None:
    said = promptkit("run", "mail").err
    assert "the example of mail is used" in said
    for step in ("topic", "reply"):
        assert any(step in line and "1 call" in line and "tokens" in line for line in said.splitlines())
    assert "    delivery" in said and "    We are sorry." in said
    assert "answered by scripted:script.yaml (named by promptkit.yaml)" in said
    assert "promptkit try mail --watch" in said


def test_a_value_comes_from_stdin_or_a_file(promptkit: Run, project: Path) -> None:
    (project / "mail.txt").write_text("The card again.\n")
    assert "payment" in promptkit("run", "mail", "mail=-", stdin="My card was charged.\n").out
    assert "payment" in promptkit("run", "mail", "mail=@mail.txt").out


def test_json_has_the_documented_keys(promptkit: Run) -> None:
    record = json.loads(promptkit("run", "mail", "--json").out)
    assert {"run", "target", "model", "output", "steps", "totals"} <= record.keys()
    assert {"reference", "digest", "why"} == record["model"].keys()
    counts = {"status", "calls", "cached", "tokens_in", "tokens_out", "seconds", "unparsed"}
    assert counts <= record["steps"]["topic"].keys()


def test_the_trace_shows_messages_and_replies_as_a_tree(promptkit: Run) -> None:
    done = promptkit("run", "mail", "--trace")
    assert "├─ topic" in done.err and "└─ reply" in done.err
    assert "Sort the mail." in done.err and "reply: We are sorry." in done.err
    assert "Sort the mail." not in done.out


def test_json_carries_the_trace_of_each_call(promptkit: Run, project: Path) -> None:
    (project / "pipelines" / "each.yaml").write_text(
        "inputs: {mails: {type: list, example: [My card., The parcel.]}}\n"
        "steps:\n"
        "  topic: {for_each: mails, as: mail, prompt: sort_mail, answer: {label: [delivery, payment]}, repairs: 1}\n"
    )
    (project / "script.yaml").write_text(
        "rules: [{contains: card, replies: [{text: dog, thoughts: hm}, payment]}]\notherwise: delivery\n"
        "capabilities: [chat, continue]\n"
    )
    (topic,) = json.loads(promptkit("run", "each", "--json").out)["trace"]
    assert (topic["name"], topic["kind"], topic["status"]) == ("topic", "step", "done")
    assert topic["seconds"] >= 0 and topic["waited"] >= 0 and topic["calls"] == []
    first, second = topic["parts"]
    assert (first["name"], first["kind"], first["value"]) == ("topic[0]", "item", "payment")
    asked, repaired = first["calls"]
    assert {"call", "messages", "begun", "options", "reply", "parsed", "problem", "cached", "notes"} <= asked.keys()
    assert {"tokens_in", "tokens_out", "seconds", "sample"} <= asked.keys()
    assert "Sort the mail." in asked["messages"][0]["content"]
    assert (asked["reply"], asked["thoughts"], asked["parsed"], asked["repair"]) == ("dog", "hm", None, False)
    assert "dog" in asked["problem"]
    assert (repaired["reply"], repaired["parsed"], repaired["repair"]) == ("payment", "payment", True)
    assert [call["reply"] for call in second["calls"]] == ["delivery"]
    assert json.loads(promptkit("run", "each", "--json").out)["trace"][0]["parts"][1]["calls"][0]["cached"]


def test_the_trace_says_what_a_call_was_held_to(promptkit: Run) -> None:
    record = json.loads(promptkit("run", "mail", "--json").out)
    topic, reply = (step["calls"][0] for step in record["trace"])
    assert "delivery" in topic["grammar"] and topic["options"]["max_tokens"] > 0
    assert "grammar" not in reply and "schema" not in reply


def test_a_second_run_asks_nothing(promptkit: Run) -> None:
    promptkit("run", "mail")
    assert json.loads(promptkit("run", "mail", "--json").out)["totals"]["cached"] == 2
    assert json.loads(promptkit("run", "mail", "--json", "--no-cache").out)["totals"]["cached"] == 0


def test_each_row_gives_one_line_in_order(promptkit: Run, project: Path) -> None:
    rows = [{"mail": "My card."}, {"mail": "My parcel."}]
    (project / "mails.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = promptkit("run", "mail", "--input", "mails.jsonl")
    assert [json.loads(line)["topic"] for line in done.out.splitlines()] == ["payment", "delivery"]
    assert done.err.count("answered by scripted:script.yaml") == 1
    records = promptkit("run", "mail", "--input", "mails.jsonl", "--json").out.splitlines()
    assert [json.loads(line)["output"]["topic"] for line in records] == ["payment", "delivery"]


def test_a_row_that_fails_keeps_its_line_and_the_others_their_answers(promptkit: Run, project: Path) -> None:
    rules = "[{contains: bad, reply: {error: the server is tired}}, {contains: Reply, reply: ok}]"
    (project / "script.yaml").write_text(f"rules: {rules}\notherwise: delivery\n")
    (project / "mails.csv").write_text("mail\nbad\ngood\n")
    done = promptkit("run", "mail", "--input", "mails.csv")
    assert done.code == 3
    assert [line and json.loads(line)["topic"] for line in done.out.splitlines()] == ["", "delivery"]
    assert "1 of 2 rows has no answer" in done.err
    assert "error: row 1: step `topic`: the server is tired" in done.err


def test_rows_end_in_a_line_of_what_they_took(promptkit: Run, project: Path) -> None:
    (project / "mails.csv").write_text("mail\nMy card.\nMy parcel.\n")
    said = promptkit("run", "mail", "--input", "mails.csv").err
    assert re.search(r"^2 rows · 4 calls · \d+\+\d+ tokens · .*s$", said, re.MULTILINE)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
def test_in_a_terminal_rows_show_how_many_are_finished_and_each_answer_has_its_line(project: Path) -> None:
    (project / "script.yaml").write_text("otherwise: delivery\ndelay: 0.3\n")
    (project / "mails.csv").write_text("mail\n" + "".join(f"mail {number}\n" for number in range(40)))
    shown = in_terminal(project, "run", "sort_mail", "--input", "mails.csv")
    assert "0 of 40 rows" in shown
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rpartition("\r")[2] for line in shown.split("\r\n")]
    assert lines.count("delivery") == 40
    assert any(line.startswith("40 rows · 40 calls") for line in lines)


def in_terminal(project: Path, *arguments: str) -> str:
    """Run the command with stdout and stderr in one terminal, and return what it was sent."""
    import pty

    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=project,
        env={**environment(), "NO_COLOR": "", "TERM": "xterm", "COLUMNS": "100"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ):
        os.close(theirs)
        parts = []
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                parts.append(part)
        os.close(ours)
    return b"".join(parts).decode()


def test_a_recording_answers_in_place_of_the_model(promptkit: Run, project: Path) -> None:
    recorded = promptkit("run", "mail", "--record", "mail.recording")
    (project / "script.yaml").unlink()
    replayed = promptkit("run", "mail", "--model", "replay:mail.recording")
    assert (0, recorded.out) == (replayed.code, replayed.out), replayed.err
    tried = promptkit("try", "mail", "mail=The parcel came late.", "--model", "replay:mail.recording")
    for done in (replayed, tried):
        assert "answered by replay:mail.recording (named by --model)" in done.err
        assert "answered by scripted" not in done.err


def test_where_nothing_answered_no_model_is_named(promptkit: Run, project: Path) -> None:
    (project / "script.yaml").write_text("otherwise: {error: the server is tired}\n")
    done = promptkit("run", "mail")
    assert done.code == 3
    assert "0 calls" in done.err and "answered by" not in done.err


def test_what_to_type_next_keeps_what_was_typed_and_leaves_out_what_was_just_done(promptkit: Run) -> None:
    typed = ("mail", "mail=It's my card", "--model", "scripted:script.yaml")
    said = promptkit("run", *typed).err
    (run, again) = said.partition("next:\n")[2].splitlines()
    kept = f"{shlex.join(typed)} "
    assert run.startswith(f"  promptkit run {kept}--trace ") and again.startswith(f"  promptkit try {kept}--watch ")
    said = promptkit("run", *typed, "--trace").err
    assert said.partition("next:\n")[2].splitlines() == [again]


def test_all_mistakes_are_told_at_once_before_any_call(promptkit: Run, project: Path) -> None:
    pipeline = project / "pipelines" / "mail.yaml"
    pipeline.write_text(pipeline.read_text().replace("sort_mail", "sort_mial").replace("about:", "abuot:"))
    done = promptkit("run", "mail")
    assert (done.code, done.out) == (2, "")
    assert "did you mean `sort_mail`?" in done.err and "did you mean `about`?" in done.err
    assert "Traceback" not in done.err


def test_a_wrong_input_names_the_right_one(promptkit: Run) -> None:
    done = promptkit("run", "mail", "mial=x", "novalue")
    assert done.code == 2
    assert "write NAME=VALUE" in done.err


def test_stdin_that_is_no_text_is_said_to_be_so(promptkit: Run) -> None:
    done = promptkit("run", "mail", "mail=-", stdin=b"caf\xe9")
    assert done.code == 2
    assert "stdin is not UTF-8: byte 3 is 0xe9" in done.err


@pytest.mark.attack("terminal")
def test_a_hostile_answer_and_mail_cannot_steer_the_terminal(promptkit: Run, project: Path) -> None:
    (project / "script.yaml").write_text(
        'rules: [{contains: Reply, reply: "\\e]52;c;aGk=\\a\\u202Eevil"}]\notherwise: delivery\n'
    )
    done = promptkit("run", "mail", "mail=\x1b[2Jmail", "--trace")
    assert done.code == 0, done.err
    for character in "\x1b\x07\u202e":
        assert character not in done.out + done.err
    record = json.loads(promptkit("run", "mail", "mail=\x1b[2Jmail", "--json").out)
    assert record["output"]["reply"] == "\x1b]52;c;aGk=\x07\u202eevil"


def test_a_server_that_failed_ends_with_3_and_what_was_done(promptkit: Run, project: Path) -> None:
    (project / "script.yaml").write_text(
        "rules: [{contains: Reply, reply: {error: the server is tired}}]\notherwise: delivery\n"
    )
    done = promptkit("run", "mail", "--json")
    record = json.loads(done.out)
    assert done.code == 3
    assert "the server is tired" in record["error"] and "the server is tired" in done.err
    assert record["steps"]["topic"]["status"] == "done"


def test_a_step_that_failed_has_its_line_in_the_progress(promptkit: Run, project: Path) -> None:
    (project / "script.yaml").write_text(
        "rules: [{contains: Reply, reply: {error: the server is tired}}]\notherwise: delivery\n"
    )
    lines = promptkit("run", "mail").err.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("✗ reply"))
    assert "failed" in lines[at] and "the server is tired" in lines[at + 1]


def test_a_step_that_was_cut_off_shows_its_value_and_what_is_wrong(promptkit: Run, project: Path) -> None:
    (project / "script.yaml").write_text(
        "rules: [{contains: Reply, reply: {text: We are, finish: length}}]\notherwise: delivery\n"
    )
    done = promptkit("run", "mail")
    assert done.code == 0
    assert "    We are\n    the reply ran out of tokens" in done.err


def test_a_notice_that_says_which_model_answers_is_not_said_again(promptkit: Run, project: Path) -> None:
    with OllamaServer(FakeModel("tiny", answers=["hello"] * 9)) as server:
        (project / "promptkit.yaml").write_text("model: auto\n")
        ran, tried = (
            promptkit(verb, "write_reply", "mail=a", "topic=b", OLLAMA_HOST=server.url) for verb in ("run", "try")
        )
    for done in (ran, tried):
        assert done.code == 0, done.err
        assert sum("ollama/" in line for line in done.err.splitlines()) == 1
        assert "the Ollama model used last" in done.err
