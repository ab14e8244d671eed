"""Projects over real rows: the fields that are inputs, the labels, and where the suite finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.storage.yaml import load_file
from tests.api.start.test_project import make, problems, run

MAILS = [
    {"id": number, "subject": f"hello {number}", "mail body": f"{text} ({number}).", "topic": topic}
    for number, (text, topic) in enumerate(
        [("My card was charged twice", "billing"), ("The parcel is late", "delivery"), ("Thank you", "other")] * 3
    )
]


def written(folder: Path, rows: list[dict[str, Any]], name: str = "mails.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return file


def suite_of(root: Path, name: str) -> Any:
    return load_file(root / f"evals/{name}.yaml").value


def test_the_longest_text_is_the_input_and_the_repeated_values_are_the_labels(tmp_path: Path) -> None:
    file = written(tmp_path, MAILS)
    draft = make(tmp_path, "sort support mails by topic", data=file)
    assert (list(draft.labels), draft.sources["labels"]) == (["billing", "delivery", "other"], "data")
    suite = suite_of(tmp_path, draft.name)
    assert suite["data"] == "../mails.jsonl"
    assert suite["inputs"] == {"mail_body": "{{ row['mail body'] }}"}
    assert suite["expect"] == "{{ row.topic | string }}" or suite["expect"] == "{{ row.topic }}"
    assert [(case.name, case.expect) for case in draft.cases] == [
        (one, one) for one in ("billing", "delivery", "other")
    ]
    assert problems(tmp_path) == {}
    assert "9 rows" in run(tmp_path, "eval", draft.name).out


def test_the_sentence_decides_the_order_of_the_same_labels(tmp_path: Path) -> None:
    file = written(tmp_path, MAILS)
    draft = make(tmp_path, "sort mails into Other, Billing or Delivery", data=file)
    assert list(draft.labels) == ["other", "billing", "delivery"]


def test_fields_can_be_named(tmp_path: Path) -> None:
    file = written(tmp_path, [{**row, "urgent": number % 2 == 0} for number, row in enumerate(MAILS)])
    draft = make(
        tmp_path, "decide whether a mail is urgent", data=file, inputs=["subject", "mail body"], expect="urgent"
    )
    assert list(draft.inputs) == ["subject", "mail_body"]
    assert suite_of(tmp_path, draft.name)["expect"] == "{{ row.urgent }}"
    assert problems(tmp_path) == {}


@pytest.mark.parametrize(
    ("sentence", "values", "expect"),
    [
        ("Is the mail urgent?", ["yes", "no", "no", "yes"], "{{ (row.label | lower) in ['yes'] }}"),
        ("Rate the mail from 1 to 5", ["1", "5", "3", "2"], "{{ row.label | float }}"),
        ("sort mails into good and bad", [0, 1, 1, 0], "{{ row.label | string }}"),
        ("shorten mails", ["a", "b c", "d", "e"], "{{ row.label }}"),
    ],
)
def test_expected_answers_are_read_as_values_of_the_answer_type(
    sentence: str, values: list[Any], expect: str, tmp_path: Path
) -> None:
    rows = [{"mail": f"a text number {at} with words", "label": value} for at, value in enumerate(values)]
    draft = make(tmp_path, sentence, data=written(tmp_path, rows))
    assert suite_of(tmp_path, draft.name)["expect"] == expect
    assert problems(tmp_path) == {}
    assert run(tmp_path, "eval", draft.name).code in (0, 3)


def test_cases_with_equal_answers_have_names_of_their_own(tmp_path: Path) -> None:
    rows = [{"mail": f"text number {at}", "score": 7 if at < 2 else at + 0.5} for at in range(9)]
    draft = make(tmp_path, "Rate mails from 0 to 10", data=written(tmp_path, rows))
    assert [case.name for case in draft.cases] == ["7", "case 2", "2.5", "3.5"]
    assert problems(tmp_path) == {}


def test_a_record_is_expected_from_the_fields_of_the_same_names(tmp_path: Path) -> None:
    rows = [{"text": f"Invoice of May {day}, 10 euros", "Date": f"May {day}", "total": 10} for day in (1, 2)]
    draft = make(tmp_path, "extract date and total from invoices", data=written(tmp_path, rows))
    assert suite_of(tmp_path, draft.name)["expect"] == {"date": "{{ row.Date }}", "total": "{{ row.total }}"}
    assert draft.cases[0].expect == {"date": "May 1", "total": 10}
    assert problems(tmp_path) == {}


def test_rows_without_answers_are_measured_once_they_have_some(tmp_path: Path) -> None:
    file = written(tmp_path, [{"mail": f"text number {at}"} for at in range(3)])
    draft = make(tmp_path, "sort mails into a and b", data=file)
    suite = suite_of(tmp_path, draft.name)
    assert "expect" not in suite
    assert suite["metrics"]["accuracy"] == {"label": {"when": "row.expect is defined"}}
    assert problems(tmp_path) == {}


def test_rows_that_lack_an_answer_are_left_out_of_the_metrics(tmp_path: Path) -> None:
    rows = [{"mail": f"text number {at}", "label": label} for at, label in enumerate(["a", "b", "", "a", "b", None])]
    draft = make(tmp_path, "sort mails", data=written(tmp_path, [*rows, {"mail": "without a label"}]))
    assert list(draft.labels) == ["a", "b"]
    when = suite_of(tmp_path, draft.name)["metrics"]["accuracy"]["label"]["when"]
    assert when == "(row.label | default('')) not in ['', none]"
    assert problems(tmp_path) == {}
    assert "on 4 of 7 answers" in run(tmp_path, "eval", draft.name, reply="a").out


def test_rows_outside_of_the_project_are_copied_into_it(tmp_path: Path) -> None:
    file = written(tmp_path / "elsewhere", MAILS)
    root = tmp_path / "project"
    draft = make(root, "sort mails by topic", data=file)
    assert (root / "evals" / "sort_mail.jsonl").read_bytes() == file.read_bytes()
    assert any("copied" in text for text in draft.notes)
    assert problems(root) == {}


def test_a_csv_and_a_text_file_are_rows_too(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("Mail,Label\n" + "one text,a\nanother text,b\n" * 3, "utf-8")
    draft = make(tmp_path, "sort mails", data=tmp_path / "m.csv")
    assert (list(draft.inputs), list(draft.labels)) == (["mail"], ["a", "b"])
    (tmp_path / "m.txt").write_text("first line\nsecond line\n", "utf-8")
    assert list(make(tmp_path, "summarize mails", data=tmp_path / "m.txt").inputs) == ["text"]
    assert problems(tmp_path) == {}


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "has no rows"),
        ([{"a": 1}], {}, "no field with texts"),
        ([{"a": "x"}], {"inputs": ["b"]}, "no field `b`"),
        ([{"a": "x", "b": "y"}], {"expect": "b"}, "no set of labels: two labels are needed"),
    ],
)
def test_rows_that_do_not_serve_are_refused(
    rows: list[dict[str, Any]], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = written(tmp_path, rows)
    with pytest.raises(InputError, match=message):
        make(tmp_path, "sort mails", data=file, **options)
    assert not (tmp_path / "pipelines").exists()
