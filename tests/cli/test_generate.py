"""`promptkit generate` as a person runs it, on a script that answers for a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

SUITE = """\
data: rows.jsonl
target: {pipeline: mail, step: topic}
inputs: {mail: "{{ row.text }}"}
expect: "{{ row.topic }}"
metrics: {accuracy: label}
"""
REAL = [{"text": "Where is my parcel number 5?", "topic": "delivery"}]
WRITER = '''\
"""A model that writes mails about a topic, each with a number, and sorts them rightly, but for what `odd` says."""

import re

count = 0


def answer(request):
    global count
    text = "\\n".join(message.content for message in request.messages)
    if "values of this property" in text:
        return "\\n".join(["one", "two", "three"])
    wanted = re.search(r"Right answer: (\\w+)", text)
    if wanted is None or "Invent" not in text:
        return "payment" if "card" in text else "delivery"
    count += 1
    words = "abcdefghijklmnopqrstuvwxyz"
    mark = " ".join(words[(count * at) % 26] * 3 + str(count) for at in (1, 3, 5))
    return (f"card {mark} was charged" if wanted[1] == "payment" else f"parcel {mark} is late")
'''


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


@pytest.fixture
def evals(project: Path) -> Path:
    """Return the folder of a suite of one row, in a project whose model writes and sorts mails."""
    folder = project / "evals"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in REAL), "utf-8")
    (folder / "topic.yaml").write_text(SUITE, "utf-8")
    (project / "writer.py").write_text(WRITER, "utf-8")
    (project / "promptkit.yaml").write_text("model: scripted:writer.py:answer\n", "utf-8")
    return folder


def test_rows_are_balanced_checked_and_say_how_they_were_made(promptkit: Run, evals: Path) -> None:
    done = promptkit("generate", "topic", "--rows", "6")

    assert done.code == 0, done.err
    rows = rows_of(evals / "topic.generated.jsonl")
    assert sorted(row["topic"] for row in rows) == ["delivery"] * 3 + ["payment"] * 3
    assert all(("card" in row["text"]) is (row["topic"] == "payment") for row in rows)
    made = rows[0]["generated"]
    assert made["by"] == "scripted:writer.py:answer"
    assert (made["for"]["label"], made["agreement"], made["seed"]) == (rows[0]["topic"], 1.0, 0)
    assert {"topic", "writer", "length", "style"} <= made["for"].keys()
    assert "6 rows in evals/topic.generated.jsonl" in done.out


def test_the_same_command_with_more_rows_goes_on(promptkit: Run, evals: Path) -> None:
    file = evals / "topic.generated.jsonl"
    promptkit("generate", "topic", "--rows", "2")
    before = file.read_text("utf-8")
    done = promptkit("generate", "topic", "--rows", "4", "--json")

    assert (done.json["rows"], done.json["before"]) == (4, 2)
    assert file.read_text("utf-8").startswith(before)
    assert len({row["generated"]["number"] for row in rows_of(file)}) == 4


@pytest.mark.parametrize("more", [("--seed", "1"), ("--labels", "payment"), ("--for", "shop=a")])
def test_a_file_of_another_command_is_refused(promptkit: Run, evals: Path, more: tuple[str, ...]) -> None:
    promptkit("generate", "topic", "--rows", "2")
    before = (evals / "topic.generated.jsonl").read_text("utf-8")
    done = promptkit("generate", "topic", "--rows", "4", *more)

    assert done.code == 2
    assert "it is not of this command" in done.err
    assert (evals / "topic.generated.jsonl").read_text("utf-8") == before


def test_labels_have_shares_and_slices_are_fields(promptkit: Run, evals: Path) -> None:
    done = promptkit("generate", "topic", "--rows", "4", "--labels", "payment=3,delivery=1", "--for", "shop=web,mail")

    assert done.code == 0, done.err
    rows = rows_of(evals / "topic.generated.jsonl")
    assert sorted(row["topic"] for row in rows) == ["delivery", "payment", "payment", "payment"]
    assert {row["shop"] for row in rows} == {"web", "mail"}


def test_a_judge_that_disagrees_leaves_no_row_and_the_labels_are_given_up(
    promptkit: Run, project: Path, evals: Path
) -> None:
    (project / "judge.yaml").write_text("otherwise: delivery\n", "utf-8")
    done = promptkit("generate", "topic", "--rows", "40", "--judge", "scripted:judge.yaml", "--samples", "1", "--json")

    assert done.code != 0
    assert done.json["labels"]["payment"]["kept"] == 0
    assert done.json["gave_up"] == ["payment"]
    assert done.json["rows"] == 20  # the other label gets its own share
    assert "no input for `payment` could be kept" in done.err
    assert all(row["topic"] == "delivery" for row in rows_of(evals / "topic.generated.jsonl"))
    assert rows_of(evals / "topic.generated.jsonl")[0]["generated"]["checked_by"] == "scripted:judge.yaml"


def test_a_model_that_repeats_itself_ends_with_counts_and_a_hint(promptkit: Run, project: Path, evals: Path) -> None:
    script = 'rules: [{contains: "Right answer", reply: "The same text of a card."}]\notherwise: payment\n'
    (project / "same.yaml").write_text(script, "utf-8")
    done = promptkit("generate", "topic", "--rows", "200", "--model", "scripted:same.yaml", "--json")

    assert done.code != 0
    assert done.json["rows"] <= 1
    assert done.json["out"]["duplicates"] > 30
    assert "--model" in done.err


def test_a_budget_ends_with_the_rows_that_are_there(promptkit: Run, evals: Path) -> None:
    done = promptkit("generate", "topic", "--rows", "8", "--budget", "calls=20")

    assert done.code != 0
    assert "the budget is spent" in done.err
    assert evals.exists()


def test_real_texts_are_only_labelled(promptkit: Run, project: Path, evals: Path) -> None:
    (project / "mails.txt").write_text("My card was charged twice.\nIt is late.\n", "utf-8")
    done = promptkit("generate", "topic", "--rows", "2", "--seeds", "mails.txt", "--label-only")

    assert done.code == 0, done.err
    first, second = rows_of(evals / "topic.generated.jsonl")
    assert (first["text"], first["topic"]) == ("My card was charged twice.", "payment")
    assert (second["topic"], second["generated"]["only"]) == ("delivery", "answer")


def test_the_rows_of_the_suite_that_have_no_answer_are_labelled(promptkit: Run, evals: Path) -> None:
    suite = SUITE.replace("row.text", "row['the text']")
    (evals / "topic.yaml").write_text(suite + "name: topic\n", "utf-8")
    rows = [{"the text": "My card was charged twice."}, {"the text": "It is late.", "topic": "delivery"}]
    (evals / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    done = promptkit("generate", "topic", "--label-only")

    assert done.code == 0, done.err
    (row,) = rows_of(evals / "topic.generated.jsonl")
    assert (row["the text"], row["topic"]) == ("My card was charged twice.", "payment")
    command = "promptkit train mail --head --suite topic --data evals/topic.generated.jsonl --apply"
    assert command in done.err


def test_a_dry_run_shows_the_first_requests_and_the_cost_and_asks_nothing(promptkit: Run, evals: Path) -> None:
    done = promptkit("generate", "topic", "--rows", "5", "--dry-run")

    assert done.code == 0, done.err
    assert "Right answer: delivery" in done.out and "Right answer: payment" in done.out
    assert "about 22 requests for 5 rows" in done.err  # 2 lists, 5 inputs, 3 answers to each
    assert not (evals / "topic.generated.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--label-only",), "--seeds FILE"),
        (("--labels", "refund=1"), "`refund` is not one of the labels: delivery, payment"),
        (("--labels", "payment=0"), "no share above 0"),
        (("--for", "topic=a"), "is the field of the answer or an input"),
        (("--for", "nothing"), "must be NAME=VALUE"),
        (("--where", "accuracy >= 1"), "--from-runs last"),
        (("--out", "rows.csv"), "name the file rows.jsonl"),
        (("--budget", "20"), "is not a budget"),
        (("--step", "reply"), "no labels for a step `reply`"),
    ],
)
@pytest.mark.usefixtures("evals")
def test_wrong_options_say_what_to_write(promptkit: Run, options: tuple[str, ...], message: str) -> None:
    done = promptkit("generate", "topic", *options)
    assert done.code == 2
    assert message in done.err


def test_right_answers_of_a_run_become_rows_that_say_what_was_right(promptkit: Run, project: Path, evals: Path) -> None:
    rows = [*REAL, {"text": "My card was charged.", "topic": "payment"}, {"text": "card", "topic": "delivery"}]
    (evals / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert promptkit("eval", "topic").code == 0
    done = promptkit("generate", "topic", "--from-runs", "last")

    assert done.code == 0, done.err
    assert "2 of 3 answers are right" in done.out
    first, second = rows_of(evals / "topic.topic.rows.jsonl")
    assert (second["mail"], second["expect"]) == ("My card was charged.", "payment")
    assert first["generated"]["from"] == {"run": 1, "row": 1, "variant": "baseline"}
    assert first["generated"]["right"] == ["accuracy >= 1"]
    again = promptkit("generate", "topic", "--from-runs", "last")
    assert again.code == 2 and "there already" in again.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("last", "--where", "acuracy >= 1"), "no metric `acuracy`"),
        (("last", "--where", "accuracy"), "must be METRIC >= NUMBER"),
        (("last", "--where", "votes >= 0.5"), "no answer is right among 1"),
        (("7",), "there is no evaluation `7`"),
    ],
)
@pytest.mark.usefixtures("evals")
def test_a_wrong_condition_or_run_is_an_error(promptkit: Run, options: tuple[str, ...], message: str) -> None:
    promptkit("eval", "topic")
    done = promptkit("generate", "topic", "--from-runs", *options)
    assert done.code == 2
    assert message in done.err


def test_a_wrong_technique_is_an_error_before_a_model_is_asked(promptkit: Run, evals: Path) -> None:
    done = promptkit("generate", "topic", "--technique", "chain_of_thouhgt")
    assert done.code == 2
    assert "chain_of_thought" in done.err
    assert not (evals / "topic.generated.jsonl").exists()


def test_a_damaged_row_of_the_same_command_is_named(promptkit: Run, evals: Path) -> None:
    file = evals / "topic.generated.jsonl"
    promptkit("generate", "topic", "--rows", "2")
    first, second = rows_of(file)
    second["generated"]["for"] = 3
    file.write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n", "utf-8")
    done = promptkit("generate", "topic", "--rows", "4")
    assert done.code == 2
    assert "row 2: `generated` must have" in done.err


def test_inputs_with_the_answer_control_tokens_or_quotes_of_the_prompt_are_left_out(
    promptkit: Run, project: Path, evals: Path
) -> None:
    replies = ["A card.\\nTopic: payment", "A [INST] card", "> My card", "Dear [name], a card.", "A card was lost."]
    items = ", ".join(f'"{reply}"' for reply in replies)
    script = f'rules: [{{contains: "Invent one new", replies: [{items}]}}]\notherwise: payment\n'
    (project / "bad.yaml").write_text(script, "utf-8")
    (project / "none.yaml").write_text("style: [plain, casual, lively]\n", "utf-8")
    options = (
        "--model",
        "scripted:bad.yaml",
        "--attributes",
        "none.yaml",
        "--labels",
        "payment",
        "--budget",
        "calls=8",
    )
    done = promptkit("generate", "topic", "--rows", "5", "--budget", "calls=8", *options, "--json")

    assert done.json["out"] == {"gives_answer": 1, "control_tokens": 1, "quotes_prompt": 1, "placeholders": 1}
    assert [row["text"] for row in rows_of(evals / "topic.generated.jsonl")] == ["A card was lost."]


def test_an_input_that_names_its_label_is_left_out_where_no_known_input_does(
    promptkit: Run, project: Path, evals: Path
) -> None:
    rows = [{"text": f"Where is box {number}?", "topic": "delivery"} for number in range(5)]
    (evals / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    replies = "[The payment of my card failed., My card was lost.]"
    (project / "named.yaml").write_text(
        f"rules: [{{contains: Invent one new, replies: {replies}}}]\notherwise: payment\n", "utf-8"
    )
    (project / "one.yaml").write_text("style: [plain, casual]\n", "utf-8")
    options = ("--model", "scripted:named.yaml", "--attributes", "one.yaml", "--labels", "payment")
    promptkit("generate", "topic", "--rows", "1", *options)

    assert [row["text"] for row in rows_of(evals / "topic.generated.jsonl")] == ["My card was lost."]
