"""The screen of a watch tells what is asked and what it waits for."""

from __future__ import annotations

from io import StringIO

import pytest

from promptkit.engine import Case
from promptkit.errors import InputError
from promptkit.reports import Outcome, TrialScreen


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
    monkeypatch.setattr("promptkit.reports.screen.result_stream", lambda: stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    return stream


def test_a_save_takes_the_error_away_and_says_what_is_asked(terminal: Terminal) -> None:
    screen = TrialScreen("mail", clear=True)
    screen.broken(InputError("a brace is open"))
    assert "a brace is open" in terminal.read_new()

    screen.asking("12:00:01")

    shown = terminal.read_new()
    assert "asking since 12:00:01" in shown
    assert "a brace is open" not in shown


def test_an_idle_watch_says_what_it_waits_for(terminal: Terminal) -> None:
    TrialScreen("mail", clear=True).idle(3, "12:00:01")

    assert "watching 3 files · asked 12:00:01 · ctrl-C leaves" in terminal.read_new()


def test_a_long_line_breaks_at_words_and_keeps_its_indent(terminal: Terminal) -> None:
    counts = {"calls": 1, "cached": 0, "tokens_in": 1, "tokens_out": 1, "seconds": 0.1, "unparsed": 0, "models": {}}
    answer = {"output": "one two three four five six seven eight", "error": None, **counts}

    TrialScreen("mail", clear=True).show([Outcome(case=Case(name="c", inputs={}), answer=answer, before=None)])

    lines = [line.rstrip() for line in terminal.read_new().splitlines()]
    assert "  one two three four five six" in lines
    assert "  seven eight" in lines
