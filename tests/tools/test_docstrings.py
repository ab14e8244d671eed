"""What a docstring says of a function and of its parameters, in the three styles that people write."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.tools.docstrings import first_paragraph, parameter_descriptions

GOOGLE = """
    Find a word.

    Args:
        word (str): The word
            to find.
        limit: At most so many: 5.
        *rest: More words.

    Returns:
        found: the places.
"""
NUMPY = """
    Find a word.

    Parameters
    ----------
    word : str
        The word
        to find.
    limit, most : int, optional
        At most so many: 5.

    Returns
    -------
    found : list
        The places.
"""
SPHINX = """
    Find a word.

    :param word: The word
        to find.
    :param int limit: At most so many: 5.
    :type limit: int
    :returns: the places.
"""


@pytest.mark.parametrize(
    ("docstring", "more"),
    [(GOOGLE, {"rest": "More words."}), (NUMPY, {"most": "At most so many: 5."}), (SPHINX, {})],
    ids=["google", "numpy", "sphinx"],
)
def test_parameters_are_described_in_three_styles(docstring: str, more: dict[str, str]) -> None:
    described = {"word": "The word to find.", "limit": "At most so many: 5.", **more}

    assert parameter_descriptions(docstring) == described
    assert parameter_descriptions(inspect.cleandoc(docstring)) == described


def test_a_parameter_without_a_text_has_no_description() -> None:
    assert parameter_descriptions("Args:\n    a:\n    b: The b.\n") == {"b": "The b."}


def test_the_first_paragraph_is_one_line() -> None:
    assert first_paragraph("\n Find a word\n in the book.\n\n More.") == "Find a word in the book."


@given(st.text(alphabet=st.sampled_from("Args: \nParmets-:paword(){}\t*"), max_size=200))
def test_any_docstring_is_read(text: str) -> None:
    assert all(name and described for name, described in parameter_descriptions(text).items())
