"""One kind of call: which sections of the user's prompt are in it, and the words before its answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.prompts.sections import SECTIONS
from promptkit.techniques.calls import CallSpec, read_call

ANSWERING = {"output_format", "recap", "cue"}


def call(**front: Any) -> CallSpec:
    return CallSpec(name="mine", **front)


def kept(spec: CallSpec) -> set[str]:
    return {name for name in SECTIONS if spec.shows(name)}


def test_a_call_that_makes_an_answer_has_every_section() -> None:
    assert kept(call(produces="answer")) == set(SECTIONS)


@pytest.mark.parametrize("produces", ["text", "code", "list", "json"])
def test_another_call_has_all_but_those_about_the_answer(produces: Any) -> None:
    assert kept(call(produces=produces)) == set(SECTIONS) - ANSWERING


def test_what_a_call_hides_is_not_in_it() -> None:
    assert kept(call(produces="answer", hides=("examples", "context"))) == set(SECTIONS) - {"examples", "context"}


@pytest.mark.parametrize("produces", ["text", "answer"])
def test_a_call_that_hides_all_keeps_the_persona(produces: Any) -> None:
    assert kept(call(produces=produces, hides="all")) == {"persona"}


def test_a_section_that_the_template_writes_is_in_the_call_whatever_is_hidden() -> None:
    spec = call(hides="all", writes=frozenset({"instructions", "recap"}))

    assert kept(spec) == {"persona", "instructions", "recap"}
    assert not spec.keeps("instructions")


@pytest.mark.parametrize(
    ("cue", "kind", "words"),
    [
        ("Answer:", "number", "Answer:"),
        ("", "number", ""),
        ({"number": "In digits:", "default": "Answer:"}, "number", "In digits:"),
        ({"number": "In digits:", "default": "Answer:"}, "label", "Answer:"),
        ({"number": "In digits:"}, "label", ""),
    ],
)
def test_the_words_before_an_answer_may_differ_by_its_type(cue: Any, kind: str, words: str) -> None:
    assert call(cue=cue).trigger(kind) == words


def template(folder: Path, text: str) -> Path:
    file = folder / "ask.j2"
    file.write_text(text)
    return file


def test_a_call_is_its_front_matter_its_name_and_the_sections_that_it_writes(tmp_path: Path) -> None:
    file = template(tmp_path, "---\nproduces: list\n---\n{% extends prompt %}{% block recap %}Go.{% endblock %}\n")

    spec = read_call(file)

    assert (spec.name, spec.file, spec.produces) == ("ask", file, "list")
    assert spec.writes == {"recap"}


def test_without_front_matter_a_call_makes_text(tmp_path: Path) -> None:
    assert read_call(template(tmp_path, "{% extends prompt %}\n")).produces == "text"


@pytest.mark.parametrize(
    ("front", "message"),
    [
        ("produces: anwser", "`produces`"),
        ("max_tokens: 0", "`max_tokens`"),
        ("roles: [tabel]", "there is no role `tabel`"),
        ("hides: examples", "`hides`"),
        ("abuot: x", "did you mean `about`?"),
    ],
)
def test_what_is_wrong_in_the_front_matter_is_told_at_its_line(tmp_path: Path, front: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        read_call(template(tmp_path, f"---\n{front}\n---\n{{% extends prompt %}}\n"))

    problem = raised.value.problems[0]
    assert (Path(problem.file or "").name, problem.line) == ("ask.j2", 2)
    assert message in str(problem)


def test_an_edited_call_is_read_anew(tmp_path: Path) -> None:
    file = template(tmp_path, "---\nabout: One\n---\n")
    first = read_call(file)
    stamp = file.stat().st_mtime_ns + 1_000_000
    template(tmp_path, "---\nabout: Two\n---\n")
    os.utime(file, ns=(stamp, stamp))

    assert (first.about, read_call(file).about) == ("One", "Two")
