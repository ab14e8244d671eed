"""Projects made by rules and data alone: each of them can be checked, rendered and evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.api.check import check_all, find_targets
from promptkit.api.start.draft import Draft
from promptkit.api.start.project import StartOptions, begin_draft, write_project
from promptkit.errors import InputError
from promptkit.storage.yaml import load_file
from tests.command import Done, run_command


def make(root: Path, sentence: str, **options: Any) -> Draft:
    root.mkdir(exist_ok=True)
    draft = begin_draft(sentence, StartOptions(**options), root)
    write_project(draft, root)
    return draft


def problems(root: Path) -> dict[Any, None]:
    """Return the problems of a project's files."""
    return check_all(find_targets([str(root)])).problems


def run(root: Path, *arguments: str, reply: str = "billing") -> Done:
    """Run a command in a project, with a model that gives one reply."""
    (root / "model.yaml").write_text(f"otherwise: {json.dumps(reply)}\n", "utf-8")
    return run_command(*arguments, folder=root, variables={"PROMPTKIT_MODEL": f"scripted:{root / 'model.yaml'}"})


REPLIES = {
    "sort support mails into billing, delivery and other": "billing",
    "tag mails with billing, delivery: all that apply": "billing, delivery",
    "Is the comment spam?": "yes",
    "check whether the answer is right": "no",
    "Rate the urgency of a mail from 1 to 5": "3",
    "how many people are mentioned in the text?": "3",
    "extract the date, total and items from invoices": '{"date": "today", "total": null, "items": []}',
    "extract all people from news articles": "Ada",
    "Summarize articles in two sentences": "A short text.",
    "answer questions about a contract": "In May.",
    "分类客户邮件：账单、配送、其他": "配送",
    "sort {{ mails }} {% now %} into \"it's: a, b\" and '#c'": "#c",
    "sort mails by topic": "first label",
    "banana": "A fruit.",
}


@pytest.mark.parametrize("sentence", REPLIES)
def test_what_is_written_is_checked_rendered_run_and_evaluated(sentence: str, tmp_path: Path) -> None:
    draft = make(tmp_path, sentence)
    assert problems(tmp_path) == {}
    for verb in ("render", "run", "try", "eval"):
        done = run(tmp_path, verb, draft.name, reply=REPLIES[sentence])
        assert done.code == 0, done


def test_each_choice_stands_in_the_files_with_its_source(tmp_path: Path) -> None:
    make(tmp_path, "sort support mails into billing, delivery and other")
    prompt = (tmp_path / "templates/prompts/sort_mail.j2").read_text("utf-8")
    assert "# the labels: from the sentence\n# TODO: define billing, delivery, other: what belongs there\n" in prompt
    assert "{# The task: from the sentence. #}\n{% block instructions %}\nSort support mails into" in prompt
    pipeline = load_file(tmp_path / "pipelines/sort_mail.yaml").value
    assert pipeline["steps"] == {"sort": {"prompt": "sort_mail"}}
    assert [case["expect"] for case in pipeline["cases"]] == ["billing", "delivery", "other"]
    suite = load_file(tmp_path / "evals/sort_mail.yaml").value
    assert (suite["data"], suite["metrics"]) == (
        "sort_mail.jsonl",
        {"accuracy": "label", "f1": "f1", "format": "format"},
    )


def test_rows_that_nobody_wrote_say_that_they_are_generated(tmp_path: Path) -> None:
    make(tmp_path, "sort mails into a and b")
    rows = [json.loads(line) for line in (tmp_path / "evals/sort_mail.jsonl").read_text("utf-8").splitlines()]
    assert [row["generated"] for row in rows] == [
        {"by": "promptkit start", "for": {"expect": "a"}},
        {"by": "promptkit start", "for": {"expect": "b"}},
    ]


ANSWERS = {
    "Rate the urgency of a mail from 1 to 5": {"number": {"min": 1, "max": 5, "decimals": 0}},
    "score essays between 0.5 and 9.5": {"number": {"min": 0.5, "max": 9.5}},
    "count the typos": "number",
    "Is the comment spam?": "boolean",
    "extract all people from news articles": "list",
    "Write a haiku": "text",
    "tag mails with work, family, all that apply": {"labels": ["work", "family"]},
    "extract the date, total, items and whether it is paid from invoices": {
        "json": {
            "type": "object",
            "properties": {
                "date": {"type": "string"},
                "total": {"type": ["number", "null"]},
                "items": {"type": "array", "items": {"type": "string"}},
                "is_paid": {"type": "boolean"},
            },
            "required": ["date", "total", "items", "is_paid"],
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize("sentence", ANSWERS)
def test_the_answer_type_is_what_the_sentence_asks_for(sentence: str, tmp_path: Path) -> None:
    draft = make(tmp_path, sentence)
    text = (tmp_path / f"templates/prompts/{draft.name}.j2").read_text("utf-8").split("---\n")[1]
    (tmp_path / "front.yaml").write_text(text, "utf-8")
    assert load_file(tmp_path / "front.yaml").value["answer"] == ANSWERS[sentence]


def test_braces_of_a_sentence_stay_text(tmp_path: Path) -> None:
    draft = make(tmp_path, "sort {{ mails }} {% now %} into a and b")
    assert "{{ mails }} {% now %} into a and b." in run(tmp_path, "render", draft.name).out


def test_no_file_is_overwritten_and_all_that_are_there_are_named(tmp_path: Path) -> None:
    make(tmp_path, "sort mails into a and b")
    (tmp_path / "pipelines/sort_mail.yaml").write_text("mine", "utf-8")
    with pytest.raises(InputError) as raised:
        make(tmp_path, "sort mails into c and d")
    for name in (
        "pipelines/sort_mail.yaml",
        "templates/prompts/sort_mail.j2",
        "evals/sort_mail.yaml",
        "sort_mail.jsonl",
    ):
        assert name in str(raised.value)
    assert "--name sort_mail_2" in str(raised.value)
    assert (tmp_path / "pipelines/sort_mail.yaml").read_text("utf-8") == "mine"


def test_a_second_task_joins_the_project(tmp_path: Path) -> None:
    make(tmp_path, "sort mails into a and b")
    settings_file = (tmp_path / "promptkit.yaml").read_bytes()
    make(tmp_path, "summarize mails")
    assert (tmp_path / "promptkit.yaml").read_bytes() == settings_file
    assert problems(tmp_path) == {}


def test_a_derived_name_never_replaces_a_shipped_prompt(tmp_path: Path) -> None:
    assert make(tmp_path, "summarize").name == "summarize_2"
    with pytest.raises(InputError, match="ships"):
        make(tmp_path, "sort mails into a and b", name="summarize")


@pytest.mark.parametrize("name", ["Sort", "a/b", "../x", "", "x" * 41])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a name for files"):
        make(tmp_path, "sort mails into a and b", name=name)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sentence=st.text(min_size=1, max_size=60), labels=st.lists(st.text(min_size=1, max_size=20), min_size=2, max_size=4)
)
def test_any_sentence_with_any_labels_gives_files_without_problems(
    sentence: str, labels: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("project")
    try:
        make(root, f"sort {sentence} into {', '.join(labels)}")
    except InputError as error:
        assert "empty" in str(error)
        return
    assert problems(root) == {}
