"""The reasons to refuse proposed instructions, by their text alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.tuning.proposals.checks import (
    QUOTED_WORDS,
    OriginalInstructions,
    ProtectedRow,
    leaked_row,
    proposal_problem,
    words,
)

PLAIN = OriginalInstructions("Say whether it is good or bad.", "Mood:", frozenset({"text", "tone"}))
FILLED = OriginalInstructions('Say of {{ text }} on {{ labels | join(", ") }} what it is.', "", frozenset({"text"}))
LONG = "the parcel came two weeks late and nobody would tell us where it was"
ROWS = (
    ProtectedRow((LONG,), "bad"),
    ProtectedRow(("A fine film",), "good"),
    ProtectedRow(("Dull.",), "bad"),
    ProtectedRow(("a good surprise in the end",), "good"),
)


def refusal(text: str, original: OriginalInstructions = PLAIN, earlier: tuple[str, ...] = ()) -> str:
    return proposal_problem(text, original, earlier, ROWS) or ""


def test_other_words_for_the_same_task_are_not_refused() -> None:
    assert refusal("Weigh praise against blame: is it good or bad?") == ""


def test_an_empty_proposal_is_refused() -> None:
    assert refusal(" \n ") == "it is empty"


@pytest.mark.parametrize("text", ["say whether it is GOOD or bad", "  Say whether\nit is good, or bad!!"])
def test_what_differs_in_case_blanks_and_signs_alone_is_the_same(text: str) -> None:
    assert refusal(text) == "it is the same as the current instructions"


def test_an_earlier_proposal_is_refused() -> None:
    assert refusal("Judge the TONE.", earlier=("Judge the tone",)) == "it is the same as an earlier proposal"


def test_a_proposal_may_be_four_times_as_long_and_400_characters_more() -> None:
    longest = 4 * len(PLAIN.source) + 400

    assert refusal("x" * longest) == ""
    assert refusal("x" * (longest + 1)) == f"it has {longest + 1} characters, more than the {longest} allowed"


def test_an_input_that_the_instructions_fill_in_is_kept() -> None:
    assert refusal('Judge {{ labels | join(", ") }}.', FILLED) == "it drops `{{ text }}`"
    assert refusal('Judge {{ text }}, {{ labels | join(", ") }}.', FILLED) == ""


def test_an_input_of_the_prompt_may_be_filled_in_anew_and_no_other() -> None:
    assert refusal("Judge {{ tone }} alone.") == ""
    assert refusal("Judge {{ mood }} alone.") == "it uses `{{ mood }}`, which is not an input"


@pytest.mark.parametrize("text", ["{{ text.upper() }}", "{{ text | length }}", "{{ 'x' * 9 }}", "{{ text[0] }}"])
def test_nothing_is_worked_out_in_braces_that_was_not_before(text: str) -> None:
    assert refusal(f"Judge {text}.") == "it computes in braces: only inputs as they are may stand there"


@pytest.mark.parametrize(
    "text",
    [
        '{% include "secret.j2" %}',
        "{% set x = 1 %}Judge.",
        '{% import "a.j2" as a %}Judge.',
        "{% if text %}a{% endif %}",
    ],
)
def test_template_statements_are_refused(text: str) -> None:
    assert refusal(text) == "it has template statements (`{% … %}`)"


@pytest.mark.parametrize(
    "text", ["Judge {{ text.", "{% endblock %}{% block persona %}You lie.", "{{ text | }}", "{% nonsense %}"]
)
def test_a_broken_template_is_refused(text: str) -> None:
    assert refusal(text).startswith("it is not a valid template: ")


def test_json_in_single_braces_is_text() -> None:
    assert refusal('Answer as {"mood": "good"} or {"mood": "bad"}.') == ""


def test_eight_words_in_a_row_of_an_input_are_a_quotation() -> None:
    given = LONG.split()

    assert "quotes a row" in refusal(f"Mind what THEY say: {', '.join(given[3 : 3 + QUOTED_WORDS])}!")
    assert refusal(f"Mind what they say: {' '.join(given[3 : 2 + QUOTED_WORDS])}!") == ""


def test_what_the_prompt_says_already_is_no_quotation() -> None:
    assert leaked_row(LONG, f"Think of this: {LONG}.", ROWS) is None


@pytest.mark.parametrize(
    "text",
    [
        "If you read A fine film the mood is of course good, as everybody would say.",
        "Input: a fine film\nMood: good",
        "good - a fine film",
        "dull: bad",
        "Dull\nbad",
    ],
)
def test_an_input_with_its_answer_is_a_leak(text: str) -> None:
    assert refusal(text) == "it gives away a row's answer"


@pytest.mark.parametrize(
    "text",
    [
        "A fine film is a matter of taste.",
        "Words such as dull or slow are a sign of a bad mood.",
        "Call a good surprise in the end what it is.",
        "Is it good?\nIs it fair?\nA fine film is a matter of taste.",
    ],
)
def test_an_input_without_its_answer_beside_it_is_none(text: str) -> None:
    assert refusal(text) == ""


def test_where_no_blanks_part_words_each_character_is_one() -> None:
    assert words("映画は good") == ["映", "画", "は", "good"]
    assert "quotes a row" in (
        leaked_row("覚えて:この映画はとても面白い", "", [ProtectedRow(("私はこの映画はとても面白いと思う",))]) or ""
    )


WORDS = st.lists(st.sampled_from(["red", "blue", "green", "grey", "pink"]), min_size=QUOTED_WORDS, max_size=20)


@given(WORDS, st.data())
def test_any_eight_words_of_a_row_are_found_wherever_they_stand(row: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(row) - QUOTED_WORDS))
    before, after = data.draw(st.text()), data.draw(st.text())
    text = f"{before} | {' '.join(row[at : at + QUOTED_WORDS])} | {after}"

    assert leaked_row(text, "", [ProtectedRow((" ".join(row),), "good")]) is not None


@given(st.text(), st.text(alphabet="abc de", max_size=60))
def test_any_text_is_told_right_or_wrong(text: str, row: str) -> None:
    proposal_problem(text, PLAIN, [], [ProtectedRow((row,), "good")])
