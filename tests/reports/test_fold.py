"""Text folded to a terminal's width: at words, under indents and the bars of a tree, and still to be copied."""

from __future__ import annotations

import shlex

import pytest

from promptkit.reports.cells import cell_width
from promptkit.reports.columns import columns
from promptkit.reports.fold import fold


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("short", "short"),
        ("error: the words of a message go on", "error: the words of a\n  message go on"),
        ("  hint: the words of a hint that go on", "  hint: the words of a\n    hint that go on"),
        ("· a note of the run that is too long", "· a note of the run\n    that is too long"),
        ("│  ├─ call answer · 12 tokens · cut", "│  ├─ call answer · 12\n│  │    tokens · cut"),
        ("│  └─ call answer · 12 tokens · cut", "│  └─ call answer · 12\n│       tokens · cut"),
    ],
)
def test_further_lines_hang_under_the_first(line: str, folded: str) -> None:
    assert fold(line, 25) == folded


@pytest.mark.parametrize(
    "text", ["word " * 60, "x" * 300, "漢字 " * 60, "│  │  └─ " + "word " * 60, " " * 70 + "a b " * 9]
)
@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_is_wider(text: str, width: int) -> None:
    assert all(cell_width(line) <= width for line in fold(text, width).split("\n"))


def test_a_path_stays_whole() -> None:
    path = "/a/long/path/" * 5 + "file.yaml"
    assert path in fold(f"error: {path} is not there", 40).split("\n  ")


@pytest.mark.parametrize("value", ["mail=a", "mail='it came late and was broken'"])
def test_a_proposed_command_can_be_copied(value: str) -> None:
    command = f"promptkit run pipelines/triage.tuned.yaml {value} --set teams.layout=prefix --model ollama/llama3.2"
    about, *lines = fold(f"  {command}    # what was found", 60).split("\n")
    assert about == "  # what was found" and max(map(len, lines)) <= 60 and len(lines) > 1
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(command)


def test_columns_fit_however_many_there_are() -> None:
    rows = [tuple(f"{name}{at} word" * 3 for at in range(6)) for name in ("a", "b")]
    for width in (40, 60, 80):
        assert all(cell_width(line) <= width for line in columns(rows, width=width))
