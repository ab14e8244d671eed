"""The syntax of programs that models wrote."""

from __future__ import annotations

import pytest

from promptkit.answers.reader.python_syntax import names_bound_in, syntax_tree, undefined_names


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("fruits = ['plum']\nsum(is_sweet(fruit) for fruit in fruits) + bonus", {"is_sweet", "bonus"}),
        ("def f(a, *b, c=d, **e):\n    return a, b, c, e, g", {"d", "g"}),
        ("import os.path as where, math\nfrom re import match\nwhere, math, match, os", {"os"}),
        ("try:\n    x = 1\nexcept ValueError as error:\n    print(error)", set()),
        ("with ask() as answer:\n    answer.text", {"ask"}),
        ("match reply:\n    case {'a': first, **rest}: first, rest\n    case [*others]: others", {"reply"}),
        ("[y := 3, y]\nclass Point: pass\nPoint()", set()),
        ("no python at all", set()),
    ],
)
def test_undefined_names_are_those_that_nothing_binds(program: str, names: set[str]) -> None:
    assert undefined_names(syntax_tree(program)) == names


def test_bound_names_are_those_of_all_scopes_but_no_parameters() -> None:
    program = "import a.b\nasync def c(d):\n    e = d\nclass F: pass\ntry: g()\nexcept H as i: pass"
    assert names_bound_in(syntax_tree(program)) == {"a", "c", "e", "F", "i"}
