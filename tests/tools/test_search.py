"""Search in documents: how they are cut, and which passages a query finds."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.tools.search import Documents, Passage, cut_passages, words

CITIES = Documents.of(
    [
        "Oslo is the capital of Norway. It lies at a fjord.",
        {"text": "Rome is the capital of Italy, and lies on the Tiber.", "source": "atlas, page 7"},
        {"text": "Łódź lies in Poland and is known for its cloth.", "title": "Łódź"},
        "Milan is a city in Italy.",
    ]
)


def sentence(number: int, length: int = 12) -> str:
    return " ".join([f"Sentence{number}", *["word"] * (length - 2), "end."])


def test_the_best_passages_come_first() -> None:
    assert [passage.source for passage in CITIES.retrieve("What is the capital of Italy?")] == [
        "atlas, page 7",
        "1",
        "4",
    ]


def test_a_passage_says_where_it_is_from() -> None:
    assert CITIES.retrieve("Norway") == [Passage("Oslo is the capital of Norway. It lies at a fjord.", "1")]


def test_case_does_not_count_in_any_script() -> None:
    assert [passage.source for passage in CITIES.retrieve("ŁÓDŹ")] == ["Łódź"]


def test_scripts_without_spaces_are_found_by_their_signs() -> None:
    documents = Documents.of(["東京は日本の首都です。", "大阪は大きな都市です。"])
    assert documents.retrieve("日本", 1)[0].text == "東京は日本の首都です。"


@pytest.mark.parametrize("query", ["", "  ?! ", "xylophone", "\ud800"])
def test_a_query_that_shares_no_word_finds_nothing(query: str) -> None:
    assert CITIES.retrieve(query) == []


def test_no_more_passages_come_than_are_asked_for() -> None:
    assert len(CITIES.retrieve("the lies in", 2)) == 2
    assert CITIES.retrieve("Italy", 0) == []
    assert len(CITIES.retrieve("Italy", 100)) == 2


def test_passages_that_fit_alike_keep_their_order() -> None:
    documents = Documents.of([f"same words {number}" for number in range(20)])
    assert [passage.source for passage in documents.retrieve("same words", 20)] == [str(n) for n in range(1, 21)]


def test_no_documents_find_nothing() -> None:
    assert Documents.of([]).retrieve("anything") == []


@pytest.mark.parametrize("document", [3, None, {"title": "no text"}, {"text": 3}, ["text"]])
def test_what_is_no_document_is_refused_by_its_number(document: Any) -> None:
    with pytest.raises(InputError, match="document 2 must be a text"):
        Documents.of(["fine", document])


def test_searching_says_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Documents.of(["one two three"] * 5).retrieve("two")
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_folder_is_read_with_its_folders(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "rome.md").write_text("# Rome\n\nRome lies on the Tiber.")
    (tmp_path / "oslo.txt").write_text("\ufeffOslo lies at a fjord.")
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"text": "Paris lies on the Seine.", "id": 1}) + "\n" + json.dumps({"text": "Łódź", "source": "x"})
    )
    (tmp_path / "picture.png").write_bytes(b"\xff\xd8")
    (tmp_path / ".hidden.txt").write_text("hidden")
    passages = Documents.read(tmp_path).passages
    assert [(passage.source, passage.text) for passage in passages] == [
        ("notes/rome.md", "# Rome\n\nRome lies on the Tiber."),
        ("oslo.txt", "Oslo lies at a fjord."),
        ("rows.jsonl:1", "Paris lies on the Seine."),
        ("x", "Łódź"),
    ]


def test_a_folder_is_read_again_only_after_a_change(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("first")
    first = Documents.read(tmp_path)
    assert Documents.read(tmp_path) is first
    file.write_text("other")
    os.utime(file, ns=(1, 1))
    assert Documents.read(tmp_path).passages[0].text == "other"
    (tmp_path / "b.txt").write_text("more")
    assert len(Documents.read(tmp_path).passages) == 2


def test_a_folder_without_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        Documents.read(tmp_path / "missing")
    (tmp_path / "picture.png").write_bytes(b"\xff")
    with pytest.raises(InputError, match="holds no text"):
        Documents.read(tmp_path)
    (tmp_path / "blank.txt").write_text(" \n\n ")
    with pytest.raises(InputError, match="holds no text"):
        Documents.read(tmp_path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"fine\n\xff\xfe")
    with pytest.raises(InputError, match=r"a\.txt:2:1: not UTF-8"):
        Documents.read(tmp_path)


def test_a_row_without_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"body": "not"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl.*row 2 must have a `text`"):
        Documents.read(tmp_path)


def test_a_short_text_stays_whole() -> None:
    text = f"{sentence(1)}\n\n{sentence(2)}"
    assert cut_passages(f"  {text}\n") == [text]


def test_a_long_text_is_cut_at_the_ends_of_sentences() -> None:
    passages = cut_passages(" ".join(sentence(number) for number in range(20)))
    assert [len(words(passage)) for passage in passages] == [96, 96, 48]
    assert all(passage.endswith("end.") for passage in passages)


def test_a_paragraph_that_ends_in_time_ends_the_passage() -> None:
    paragraphs = [" ".join(sentence(number) for number in range(first, first + 6)) for first in (0, 6, 12)]
    assert cut_passages("\n\n".join(paragraphs)) == paragraphs


def test_a_heading_begins_a_passage() -> None:
    body = " ".join(sentence(number) for number in range(6))
    passages = cut_passages(f"# One\n\n{body}\n\n## Two\n\n{body}")
    assert passages == [f"# One\n{body}", f"## Two\n{body}"]


def test_a_sentence_without_end_is_cut_between_words() -> None:
    passages = cut_passages("word " * 250)
    assert [len(words(passage)) for passage in passages] == [100, 100, 50]


def test_a_passage_knows_the_line_where_it_begins() -> None:
    paragraphs = [" ".join(sentence(number) for number in range(first, first + 6)) for first in (0, 6, 12)]
    documents = Documents.of(["\n\n".join(["", *paragraphs[:2]]) + "\n\n\n" + paragraphs[2], "\n short"])
    assert [passage.line for passage in documents.passages] == [3, 5, 8, 2]


@given(st.text("ab .\n#。日", max_size=3000))
def test_the_line_of_a_passage_holds_its_first_word(text: str) -> None:
    lines = text.split("\n")
    for passage in Documents.of([text]).passages:
        first = next(line for line in passage.text.split("\n") if line)
        assert first.split()[0] in lines[passage.line - 1]


@given(st.text("ab .\n#。日", max_size=3000))
def test_cutting_loses_no_word_and_keeps_their_order(text: str) -> None:
    passages = cut_passages(text)
    assert [word for passage in passages for word in words(passage)] == words(text)
    assert all(passage == passage.strip() and passage for passage in passages)


def test_results_are_the_same_in_every_process() -> None:
    program = """
from promptkit.tools.search import Documents
texts = [f"passage {n} of {n % 7} and {n % 5}" for n in range(50)]
print([passage.source for passage in Documents.of(texts).retrieve("3 and 4 of passage", 20)])
"""
    outputs = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-W", "error", "-c", program]
        outputs.add(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)
    assert len(outputs) == 1
