"""The glossary says where each thing is defined."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"\| (?P<word>[^|]+) \| [^|]+ \| (?:`(?P<name>\w+)` in )?`(?P<file>promptkit/[\w/.]+)` \|")
ROWS = [
    found for line in (ROOT / "docs/glossary.md").read_text(encoding="utf-8").splitlines() if (found := ROW.match(line))
]


def test_every_line_of_a_table_names_a_place() -> None:
    lines = [
        line for line in (ROOT / "docs/glossary.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")
    ]
    headings = [line for line in lines if line.startswith(("| word |", "| --- |"))]
    assert len(ROWS) == len(lines) - len(headings)


def test_a_word_stands_once() -> None:
    words = [row["word"] for row in ROWS]
    assert sorted(words) == sorted(set(words))


@pytest.mark.parametrize("row", [pytest.param(row, id=row["word"]) for row in ROWS])
def test_a_thing_is_defined_where_the_glossary_says(row: re.Match[str]) -> None:
    file = ROOT / row["file"]
    assert file.is_file()
    if row["name"]:
        assert row["name"] in _defined(ast.parse(file.read_text(encoding="utf-8")))


def _defined(tree: ast.Module) -> set[str]:
    names = set()
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            names |= {
                name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            }
    return names
