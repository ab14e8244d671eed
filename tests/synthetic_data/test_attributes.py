"""Attributes: read from a file, and drawn so that no combination comes twice before all have come once."""

from __future__ import annotations

from math import prod
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.synthetic_data.attributes import Combinations, read_attributes


@given(st.lists(st.integers(1, 5), min_size=0, max_size=4), st.integers(0, 5))
def test_each_combination_comes_once_before_any_comes_again(sizes: list[int], seed: int) -> None:
    values = {f"a{at}": [str(value) for value in range(size)] for at, size in enumerate(sizes)}
    combinations, total = Combinations(values, seed), prod(sizes)

    for start in (0, total):
        drawn = [combinations.at(start + number) for number in range(total)]
        assert len({tuple(sorted(each.items())) for each in drawn}) == total


def test_another_seed_draws_another_order() -> None:
    values = {"topic": [str(number) for number in range(50)]}
    first, other = ([Combinations(values, seed).at(number) for number in range(50)] for seed in (0, 1))
    assert first != other


def test_a_project_replaces_the_shipped_attributes(tmp_path: Path) -> None:
    (tmp_path / "promptkit.yaml").write_text("", "utf-8")
    assert {"topic", "writer", "length", "style"} == read_attributes(None, Project.find(tmp_path)).keys()
    own = tmp_path / "templates/generate/attributes.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("tone: [calm, 3]\nplace: where it happens\n", "utf-8")
    assert read_attributes(None, Project.find(tmp_path)) == {"tone": ["calm", "3"], "place": "where it happens"}


def test_all_wrong_attributes_are_named_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "attributes.yaml"
    file.write_text("tone: []\nplace: {a: b}\nkind: [x]\n", "utf-8")
    with pytest.raises(InputError) as raised:
        read_attributes(file, Project.find(tmp_path))
    assert [problem.line for problem in raised.value.problems] == [1, 2]
