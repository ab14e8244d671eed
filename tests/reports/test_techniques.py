"""The table of a comparison, and the line of a preparation."""

from __future__ import annotations

from dataclasses import replace

from promptkit.evaluation.recommendation.technique_comparison import TechniqueResult, TechniqueUsage
from promptkit.reports.layout import PARAGRAPH_WIDTH, columns, paragraph
from promptkit.reports.techniques import result_lines

PLAIN = TechniqueResult(
    spec="vanilla",
    name="vanilla",
    rows=40,
    right=30,
    spent=TechniqueUsage(calls=40, requests=40, tokens_in=4000, tokens_out=80, seconds=10.0),
)


def test_a_measured_technique_is_a_line_of_means_and_its_interval() -> None:
    _, line, *_ = result_lines([PLAIN])

    assert " ".join(line.split()) == "vanilla 30/40 75.0 % 59.8 to 85.8 1 1 100+2 250 ms"


def test_a_line_says_what_one_must_know_to_read_it_rightly() -> None:
    odd = TechniqueResult(
        spec="x",
        name="x",
        rows=40,
        right=3,
        unparsed=2,
        truncated=1,
        missing=4,
        seen=1,
        reason="gone",
        dominated_by="y",
    )

    lines = result_lines([odd])

    notes = " ".join(line[line.rindex("  ") :].strip() for line in lines[1 : lines.index("")])
    assert notes == "36 of 40 rows · 2 unparsed · 1 cut off · 1 row seen when it was prepared · dominated by y"
    assert "3/36" in lines[1]
    assert "x: gone" in lines


def test_what_was_not_measured_has_no_numbers_and_says_why_below() -> None:
    absent = TechniqueResult(spec="x", name="x", rows=40, reason="needs a table\nof \x1b[31mrows", available=False)

    lines = result_lines([PLAIN, absent])

    assert lines[2].split()[:3] == ["x", "-", "-"]
    assert "x: needs a table of \\x1b[31mrows" in lines


def test_no_row_answered_is_no_rate() -> None:
    lines = result_lines([TechniqueResult(spec="x", name="x", rows=2, missing=2, reason="gone")])

    assert lines[1].split()[:2] == ["x", "-"]
    assert "0 of 2 rows" in lines[1]


def test_cells_stand_under_each_other_and_numbers_at_the_right() -> None:
    assert columns([("name", "n"), ("a", "10"), ("bc", "7")], right=[1]) == ["name   n", "a     10", "bc     7"]


def test_a_table_of_techniques_with_their_settings_fits_and_breaks_no_word() -> None:
    spec = "{instructed: {over: {pal: {samples: 9, temperature: 0.7}}}}"
    long = replace(PLAIN, name=spec, unparsed=2, truncated=1, dominated_by="chain_of_thought")

    lines = result_lines([PLAIN, long])

    assert max(map(len, lines)) <= PARAGRAPH_WIDTH
    words = {word for line in lines for word in line.split()}
    assert {*spec.split(), "unparsed", "chain_of_thought", "59.8"} <= words


def test_the_last_column_is_wrapped_under_itself_where_rows_are_too_wide() -> None:
    rows = [("a", "one two three"), ("bc", "four")]

    assert columns(rows, width=10) == ["a   one", "    two", "    three", "bc  four"]
    assert columns(rows, width=11) == ["a   one two", "    three", "bc  four"]
    assert columns(rows) == ["a   one two three", "bc  four"]


def test_the_first_column_is_wrapped_where_the_last_does_not_give_enough() -> None:
    assert columns([("one two", "7", "three")], width=13) == ["one  7  three", "two"]


def test_a_paragraph_breaks_between_words_alone() -> None:
    assert paragraph("a step-by-step list", width=8, first="- ", rest="  ") == ["- a", "  step-by-step", "  list"]
