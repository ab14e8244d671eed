"""A pinned case is better, worse, the same, changed or new."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest

from promptkit.engine.pipeline import Case
from promptkit.errors import InputError
from promptkit.reports.cases import (
    CaseOutcome,
    TryScreen,
    matches_expected,
    outcome_lines,
    tally,
    tally_text,
    update_baselines,
)

UNEXPECTED = object()


def answer(output: Any, *, error: str | None = None, unparsed: int = 0, models: str = "m") -> dict[str, Any]:
    counts = {"calls": 2, "cached": 1, "tokens_in": 10, "tokens_out": 5, "seconds": 0.1}
    return {"output": output, "error": error, "unparsed": unparsed, "models": {models: "1"}, **counts}


def outcome(new: dict[str, Any], before: dict[str, Any] | None, expect: Any = UNEXPECTED) -> CaseOutcome:
    expected = {} if expect is UNEXPECTED else {"expect": expect, "has_expect": True}
    return CaseOutcome(case=Case(name="case", inputs={}, **expected), answer=new, before=before)


VERDICTS = {
    "the first time": (answer("a"), None, UNEXPECTED, "new"),
    "no change": (answer("a"), answer("a"), UNEXPECTED, "same"),
    "a change that nobody judges": (answer("a"), answer("b"), UNEXPECTED, "changed"),
    "now right": (answer("a"), answer("b"), "a", "better"),
    "no longer right": (answer("b"), answer("a"), "a", "worse"),
    "wrong in another way": (answer("b"), answer("c"), "a", "changed"),
    "no longer parsed": (answer(None, unparsed=1), answer("a"), "a", "worse"),
    "failed": (answer(None, error="the server is down"), answer("a"), "a", "worse"),
}


@pytest.mark.parametrize(("new", "before", "expect", "verdict"), VERDICTS.values(), ids=VERDICTS.keys())
def test_a_case_gets_the_verdict(new: Any, before: Any, expect: Any, verdict: str) -> None:
    assert verdict == outcome(new, before, expect).verdict


FITTING = [("a ", "a", True), (26, 26.0, True), (True, 1, False), ({"a": 1, "b": 2}, {"a": 1}, True)]
FITTING += [({"b": 2}, {"a": 1}, False), (["a", "b"], ["a"], False), (["a"], ["a"], True), (None, None, True)]


@pytest.mark.parametrize(("value", "expected", "fitting"), FITTING)
def test_a_value_fits_what_is_expected(value: Any, expected: Any, fitting: bool) -> None:
    assert fitting is matches_expected(value, expected)


def test_the_tally_counts_verdicts_and_tokens() -> None:
    counts = tally([outcome(answer("a"), answer("b"), "a"), outcome(answer(None, unparsed=1), None)])
    assert (
        tally_text(counts)
    ) == "1 better · 0 same · 1 unparsed · 1 of 1 right · 4 calls (2 cached) · 30 tokens (before: 15)"


def test_warnings_of_a_case_stand_in_its_title_and_cases_are_counted_below(capsys: pytest.CaptureFixture[str]) -> None:
    warned = [answer("a") | {"warnings": {"weak_reading": 2}}, answer("b") | {"warnings": {"weak_reading": 1}}]
    assert "2 read by a weak rule" in next(outcome_lines(outcome(warned[0], None))).plain

    TryScreen("mood").show([outcome(each, None) for each in warned])

    assert "2 new · 0 same · 4 calls (2 cached) · 30 tokens · 2 read by a weak rule\n" in capsys.readouterr().out


def test_a_title_says_how_soon_and_how_fast_the_answer_came() -> None:
    title = next(outcome_lines(outcome(answer("a") | {"first_token": 0.25, "tokens_a_second": 8.04}, None))).plain
    assert title.endswith("2 calls (1 cached) · 10+5 tokens · 100 ms · first token 250 ms · 8.0 tokens/s")


def test_an_answer_by_another_model_says_so() -> None:
    lines = [line.plain for line in outcome_lines(outcome(answer("a"), answer("b", models="other/model")))]
    assert "the answer before is by other/model" in lines[0]
    assert lines[1] == "  [-b-]{+a+}"


def test_an_answer_that_was_cut_off_is_marked() -> None:
    title = next(outcome_lines(outcome({**answer("0.7"), "truncated": 1}, None, "0.7"))).plain
    assert title.startswith("case  new  ✓ as expected  cut off  2 calls")


def test_a_failed_case_counts_once_and_has_the_answer_before_under_its_error() -> None:
    failed = outcome(answer(None, error="the server is down", unparsed=1), answer("a b"), "a b")
    assert tally_text(tally([failed])).startswith("0 same · 1 failed · 0 of 1 right")
    lines = [line.plain for line in outcome_lines(failed)]
    assert lines[0].startswith("case  failed")
    assert lines[1:4] == ["  error: the server is down", "  the answer before:", "  a b"]


def test_the_last_change_is_shown_until_an_answer_changes_again() -> None:
    _, shown = update_baselines([outcome(answer("b"), answer("a"))], ())
    _, shown = update_baselines([outcome(answer(None, error="down"), answer("b"))], shown)
    again, shown = update_baselines([outcome(answer("b"), answer("b"))], shown)
    assert again[0].before == answer("a")
    changed, _ = update_baselines([outcome(answer("c"), answer("b"))], shown)
    assert changed[0].before == answer("b")


class Terminal(StringIO):
    """A stream that a console takes for a terminal."""

    def isatty(self) -> bool:
        return True

    def read_new(self) -> str:
        """Return what was written since the last reading."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal of 30 columns to which results go."""
    stream = Terminal()
    monkeypatch.setattr("promptkit.reports.output.result_stream", lambda: stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    return stream


def test_a_save_takes_the_error_away_and_says_what_is_asked(terminal: Terminal) -> None:
    screen = TryScreen("mail", clear=True)
    screen.broken(InputError("a brace is open"))
    assert "a brace is open" in terminal.read_new()

    screen.asking("12:00:01")

    shown = terminal.read_new()
    assert "asking since 12:00:01" in shown
    assert "a brace is open" not in shown


def test_an_idle_watch_says_what_it_waits_for(terminal: Terminal) -> None:
    TryScreen("mail", clear=True).idle(3, "12:00:01")

    assert "watching 3 files · asked 12:00:01 · ctrl-C leaves" in terminal.read_new()


def test_a_long_line_breaks_at_words_and_keeps_its_indent(terminal: Terminal) -> None:
    counts = {"calls": 1, "cached": 0, "tokens_in": 1, "tokens_out": 1, "seconds": 0.1, "unparsed": 0, "models": {}}
    answer = {"output": "one two three four five six seven eight", "error": None, **counts}

    TryScreen("mail", clear=True).show([CaseOutcome(case=Case(name="c", inputs={}), answer=answer, before=None)])

    lines = [line.rstrip() for line in terminal.read_new().splitlines()]
    assert "  one two three four five six" in lines
    assert "  seven eight" in lines
