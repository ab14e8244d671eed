"""A technique's card: what people read about it, all of which a technique of one's own may leave out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest

from promptkit.errors import InputError
from promptkit.techniques.calls import CARD_FILE, Card, Citation, Family, read_card

GIVEN = {"authors": "Lovelace A.", "title": "Notes", "venue": "Memoirs", "year": 1843}


def card(folder: Path, text: str) -> Card:
    (folder / CARD_FILE).write_text(text)
    return read_card(folder)


def test_without_a_card_all_is_empty(tmp_path: Path) -> None:
    assert read_card(None) == read_card(tmp_path) == Card()
    assert Card().depth == "1"
    assert Card().family is None


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "title: Mine\n"])
def test_a_card_may_leave_out_anything(tmp_path: Path, text: str) -> None:
    assert card(tmp_path, text) == Card(title="Mine" if text.startswith("title") else "")


@pytest.mark.parametrize("family", get_args(Family))
def test_a_family_is_one_of_those_of_the_catalog(tmp_path: Path, family: str) -> None:
    assert card(tmp_path, f"family: {family}\n").family == family


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("title: Mine\nfamly: modifier\n", 2, "unknown key `famly`"),
        ("title: Mine\nfamily: modifer\n", 2, "modifer"),
        ("algorithm: [a, b, c, d, e, f]\n", 1, "algorithm"),
        ("algorithm: Ask twice.\n", 1, "`algorithm`: must be a list"),
        ("citation: {authors: A, title: B, venue: C}\n", 1, "`year` is missing"),
        ("citation: {authors: A, title: B, venue: C, year: 1843, isbn: 1}\n", 1, "unknown key `isbn`"),
        ("size: large\n", 1, "size"),
    ],
)
def test_what_is_wrong_in_a_card_is_told_at_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(InputError) as raised:
        card(tmp_path, text)

    (problem,) = raised.value.problems
    assert (Path(problem.file or "").name, problem.line) == (CARD_FILE, line)
    assert message in problem.message


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ({}, ""),
        ({"arxiv": "1843.00001"}, " arXiv 1843.00001."),
        ({"doi": "10.1/1"}, " doi 10.1/1."),
        ({"arxiv": "1843.00001", "doi": "10.1/1"}, " arXiv 1843.00001."),
    ],
)
def test_a_citation_is_one_line_that_ends_with_where_to_find_it(more: dict[str, str], end: str) -> None:
    assert str(Citation.model_validate({**GIVEN, **more})) == f"Lovelace A. (1843). Notes. Memoirs.{end}"


def test_an_edited_card_is_read_anew(tmp_path: Path) -> None:
    first = card(tmp_path, "title: One\n")
    stamp = (tmp_path / CARD_FILE).stat().st_mtime_ns + 1_000_000
    (tmp_path / CARD_FILE).write_text("title: Two\n")
    os.utime(tmp_path / CARD_FILE, ns=(stamp, stamp))

    assert (first.title, read_card(tmp_path).title) == ("One", "Two")
