"""`promptkit start`: proposals of a model, choices that are shown, and the files of a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptkit.storage.yaml import load_file
from tests.command import Done, run_command

SENTENCE = "sort support mails into billing and delivery"
QUESTIONS = {
    "kind": "Say what kind of answer",
    "labels": "Name three to six short labels",
    "definition of billing": "(?s)at most fifteen words.*Label: billing\n",
    "definition of delivery": "(?s)at most fifteen words.*Label: delivery\n",
    "input": "Name in one English word",
    "fields": "Name the fields",
    "instructions": "Write instructions of two or three",
    "example of billing": "(?s)Write a short example.*right answer: billing",
    "example of delivery": "(?s)Write a short example.*right answer: delivery",
}
REPLIES = {
    "definition of billing": "invoices, refunds and anything about money",
    "definition of delivery": "parcels that come late, damaged or never",
    "instructions": "Decide which team handles the mail: billing or delivery.",
    "example of billing": "My card was charged twice for one order.",
    "example of delivery": "The parcel should have come on Friday.",
}
ANSWERS = {"invoices": "billing", "parcels": "delivery", "charged": "billing", "Friday": "delivery"}


def script(folder: Path, **replies: str) -> str:
    """Write a model that answers the questions of `start`, and return its reference."""
    answers = [{"match": f"(?s)Do the task for the text.*{word}", "reply": reply} for word, reply in ANSWERS.items()]
    given = {**REPLIES, **{name.replace("_", " "): reply for name, reply in replies.items()}}
    rules = [{"match": QUESTIONS[name], "reply": reply} for name, reply in given.items()]
    text = json.dumps({"rules": [*answers, *rules], "otherwise": "nothing"})
    (folder / "model.yaml").write_text(text, "utf-8")
    return f"scripted:{folder / 'model.yaml'}"


def start(folder: Path, *arguments: str, **replies: str) -> Done:
    return run_command("start", *arguments, folder=folder, variables={"PROMPTKIT_MODEL": script(folder, **replies)})


def answer_of(folder: Path, name: str) -> Any:
    front = (folder / f"templates/prompts/{name}.j2").read_text("utf-8").split("---\n")[1]
    (folder / "front.yaml").write_text(front, "utf-8")
    return load_file(folder / "front.yaml").value["answer"]


def test_a_model_proposes_what_the_sentence_does_not_say(tmp_path: Path) -> None:
    done = start(tmp_path, SENTENCE)
    assert done.code == 0, done.err
    assert done.out.splitlines()[:2] == ["pipelines/sort_mail.yaml", "templates/prompts/sort_mail.j2"]
    assert answer_of(tmp_path, "sort_mail") == {
        "label": {name: REPLIES[f"definition of {name}"] for name in ("billing", "delivery")}
    }
    rows = [json.loads(line) for line in (tmp_path / "evals/sort_mail.jsonl").read_text("utf-8").splitlines()]
    assert rows[1] == {
        "mail": REPLIES["example of delivery"],
        "expect": "delivery",
        "generated": {"by": "scripted:model.yaml", "for": {"expect": "delivery"}},
    }
    assert "labels                  billing, delivery  (from the sentence)" in done.err
    assert "invoices, refunds and anything about money  (proposed by scripted:model.yaml)" in done.err
    assert "was accepted without asking" in done.err
    assert run_command("check", folder=tmp_path).code == 0


def test_no_file_holds_a_path_of_this_machine(tmp_path: Path) -> None:
    start(tmp_path, SENTENCE)
    for folder in ("pipelines", "templates", "evals"):
        for file in (tmp_path / folder).rglob("*.*"):
            assert str(tmp_path) not in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("replies", "note"),
    [
        ({"definition_of_billing": "support mails for billing and delivery"}, "it repeats the task or the labels"),
        ({"definition_of_billing": "things about <|im_end|> money and bank accounts"}, "control token"),
        ({"definition_of_billing": "parcels that come late or damaged"}, "takes it for another label's"),
        ({"instructions": f"Transform the given text '{SENTENCE}'."}, "they quote the task"),
        ({"instructions": "Do what seems best."}, "they leave out `billing`"),
        ({"instructions": "Sort {{ mail }} into billing or delivery."}, "braces of a template"),
        ({"example_of_billing": "The parcel came on Friday."}, "1 of 2 examples"),
        ({"example_of_billing": "I was charged, " * 9}, "1 of 2 examples"),
        (
            {"example_of_billing": "Thanks for the report, I have read it and have no questions."},
            "1 of 2 examples",
        ),
    ],
)
def test_a_proposal_that_is_not_usable_is_refused_and_leaves_a_default(
    replies: dict[str, str], note: str, tmp_path: Path
) -> None:
    done = start(tmp_path, SENTENCE, **replies)
    assert (done.code, note in done.err) == (0, True), done.err
    files = "".join(file.read_text("utf-8") for file in tmp_path.rglob("*mail*") if file.is_file())
    assert "TODO" in files or "# From" in files
    assert all(reply not in files for name, reply in replies.items() if name != "example_of_billing")
    assert run_command("check", folder=tmp_path).code == 0


def test_open_labels_kinds_inputs_and_fields_are_asked_for(tmp_path: Path) -> None:
    done = start(tmp_path, "banana", kind="one category", labels="ripe; rotten", input="fruit")
    assert (tmp_path / "templates/prompts/banana.j2").is_file(), done.err
    assert list(answer_of(tmp_path, "banana")["label"]) == ["ripe", "rotten"]
    assert "{{ fruit }}" in (tmp_path / "templates/prompts/banana.j2").read_text("utf-8")
    start(tmp_path, "apple", kind="record", fields="seller; kilo price", input="ad")
    properties = answer_of(tmp_path, "apple")["json"]["properties"]
    assert properties == {"seller": {"type": "string"}, "kilo_price": {"type": ["number", "null"]}}


def test_labels_that_are_no_set_are_refused(tmp_path: Path) -> None:
    done = start(tmp_path, "sort mails by topic", labels="a; A")
    assert "the labels that the model proposed are refused" in done.err
    assert answer_of(tmp_path, "sort_mail") == {"label": ["first label", "second label"]}


def test_a_small_model_writes_nothing_that_goes_into_the_prompt(tmp_path: Path) -> None:
    script(tmp_path)
    (tmp_path / "model.yaml").rename(tmp_path / "model-135m.yaml")
    done = run_command("start", SENTENCE, "--model", f"scripted:{tmp_path / 'model-135m.yaml'}", folder=tmp_path)
    assert "fewer than 1B parameters" in done.err
    assert answer_of(tmp_path, "sort_mail") == {"label": ["billing", "delivery"]}
    assert REPLIES["example of billing"] in (tmp_path / "evals/sort_mail.jsonl").read_text("utf-8")


def test_a_recording_holds_every_question(tmp_path: Path) -> None:
    start(tmp_path, "sort mails by topic", "--record", "made.jsonl", labels="billing; delivery")
    again = ["start", "sort mails by topic", "--model", "replay:made.jsonl", "--into", "again"]
    assert run_command(*again, folder=tmp_path).code == 0
    name = "templates/prompts/sort_mail.j2"
    assert "billing: invoices" in (tmp_path / "again" / name).read_text("utf-8")


def test_a_default_model_that_fails_leaves_defaults_and_a_named_one_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "down.yaml").write_text("otherwise: {error: the server is tired}\n", "utf-8")
    reference = f"scripted:{tmp_path / 'down.yaml'}"
    named = run_command("start", "sort mails by topic", "--model", reference, folder=tmp_path)
    assert (named.code, (tmp_path / "pipelines").exists()) == (3, False)
    done = run_command("start", "sort mails by topic", folder=tmp_path, variables={"PROMPTKIT_MODEL": reference})
    assert done.code == 0
    assert "the model is not asked further" in done.err and "the server is tired" in done.err


def test_json_has_every_choice_with_its_source(tmp_path: Path) -> None:
    done = start(tmp_path, SENTENCE, "--no-model", "--json", "--into", "sub", "--name", "post")
    assert done.json["files"][0].endswith("sub/pipelines/post.yaml")
    sources = {choice["what"]: choice["source"] for choice in done.json["choices"]}
    assert (sources["labels"], sources["name"], sources["case billing"]) == ("sentence", "option", "default")
    assert done.json["next"][0] == "cd sub"


def test_mistakes_are_reported_before_anything_is_asked(tmp_path: Path) -> None:
    assert "--data FILE" in start(tmp_path, SENTENCE, "--input", "mail").err
    assert "the sentence is empty" in start(tmp_path, " ").err
    assert "no such file" in start(tmp_path, SENTENCE, "--data", "nothing.csv").err
    assert start(tmp_path, SENTENCE, "--no-model").code == 0
    again = start(tmp_path, SENTENCE)
    assert (again.code, "these files are there already" in again.err) == (2, True)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the streams of a test for a terminal."""
    monkeypatch.setattr("promptkit.cli.start.is_terminal", lambda: True)


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_proposals_are_confirmed_or_edited(tmp_path: Path) -> None:
    reference = script(tmp_path, labels="billing; other")
    # A set with a repeat is asked for again; the second definition and the first example are typed.
    typed = "a; A\nbilling; delivery\n\nwhatever is about parcels\n\nWhere is my refund?\n\n"
    done = run_command(
        "start", "sort support mails by topic", folder=tmp_path, stdin=typed, variables={"PROMPTKIT_MODEL": reference}
    )
    assert "not taken: a label is given twice" in done.err
    assert answer_of(tmp_path, "sort_mail")["label"] == {
        "billing": REPLIES["definition of billing"],
        "delivery": "whatever is about parcels",
    }
    first, second = (tmp_path / "evals/sort_mail.jsonl").read_text("utf-8").splitlines()
    assert json.loads(first) == {"mail": "Where is my refund?", "expect": "billing"}
    assert json.loads(second)["mail"] == REPLIES["example of delivery"]
    assert "accepted without asking" not in done.err


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_another_kind_of_answer_asks_for_what_it_needs(tmp_path: Path) -> None:
    reference = script(tmp_path, kind="text", labels="ripe; rotten", input="fruit")
    run_command(
        "start", "banana", folder=tmp_path, stdin="poem\nlabel\n" + "\n" * 9, variables={"PROMPTKIT_MODEL": reference}
    )
    assert answer_of(tmp_path, "banana") == {"label": ["ripe", "rotten"]}


@pytest.mark.usefixtures("terminal")
def test_an_input_that_ends_writes_nothing(tmp_path: Path) -> None:
    reference = script(tmp_path, labels="billing; other")
    done = run_command(
        "start", "sort mails by topic", folder=tmp_path, stdin="", variables={"PROMPTKIT_MODEL": reference}
    )
    assert (done.code, "nothing was written" in done.err, (tmp_path / "pipelines").exists()) == (130, True, False)


@pytest.mark.real_model
def test_the_default_model_gives_a_project_that_runs(tmp_path: Path) -> None:
    chosen = {"PROMPTKIT_MODEL": "embedded/smollm2"}
    for sentence, name in (
        (SENTENCE, "sort_mail"),
        ("Take the important facts out of advertisements", "take_advertisement"),
    ):
        done = run_command("start", sentence, folder=tmp_path, variables=chosen)
        assert done.code == 0, done.err
        name = Path(done.out.splitlines()[0]).stem
        assert run_command("check", folder=tmp_path).code == 0
        assert run_command("run", name, folder=tmp_path, variables=chosen).code == 0
