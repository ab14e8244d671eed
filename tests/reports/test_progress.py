"""What a run shows on stderr while it goes on."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from promptkit.cli.session import keeping_partial_text
from promptkit.engine.results import StepResult
from promptkit.engine.session import CallFinished, Event, ItemFinished, StepFinished, TextArrived, ToolCalled
from promptkit.reports.progress import STREAM_LINES, Progress
from promptkit.runtimes.base import Message, Reply, Request, Thought
from promptkit.techniques.context import CallRecord, ToolCall


def test_a_file_that_is_fetched_is_announced_once_however_often_its_progress_begins_anew(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress()
    for done in (0, 50, 93_000_000, 20, 93_000_000, 0):
        progress.fetching("a.gguf", done, 93_000_000)
    assert capsys.readouterr().err == "fetching a.gguf (93 MB, once)\nfetched a.gguf\n"


def test_files_that_are_fetched_in_turns_are_announced_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    for what, done in (("a", 0), ("b", 0), ("a", 1_000), ("b", 2_000), ("b", 5_000), ("a", 5_000)):
        progress.fetching(what, done, 5_000)
    said = ["fetching a (5 kB, once)", "fetching b (5 kB, once)", "fetched b", "fetched a"]
    assert capsys.readouterr().err.splitlines() == said


def test_a_file_that_is_fetched_shows_bytes_percent_and_speed_of_what_was_not_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress = Progress()
    progress.fetching("a.gguf", 50_000_000, 200_000_000)  # what an earlier fetching had
    assert progress._fetched
    monkeypatch.setattr("time.monotonic", lambda begun=progress._fetched.started: begun + 2.0)
    progress.fetching("a.gguf", 100_000_000, 200_000_000)
    assert progress._render().plain == "↓ a.gguf 100 MB of 200 MB, 50 %, 25 MB/s"


def test_a_stage_of_a_fetching_shows_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.fetching("verifying sha256 digest", 0, None)
    assert progress._render().plain == "↓ verifying sha256 digest"
    assert capsys.readouterr().err == "verifying sha256 digest\n"


def test_the_hint_of_what_failed_stands_in_brackets_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    failed = StepResult(status="failed", problem="item 1: fill in `output`\n  hint: it is about: 3 + 4")

    Progress().listener()(StepFinished(step="solve", result=failed))

    assert capsys.readouterr().err.splitlines()[1] == "    item 1: fill in `output` (it is about: 3 + 4)"


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        ({"result": {"rows": [1, 2]}}, '{"rows": [1, 2]} · 12 ms'),
        ({"failure": "it is\nclosed"}, "failed: it is closed · 12 ms"),
        ({"failure": "may write", "refused": True}, "refused: may write · 12 ms"),
    ],
)
def test_a_call_of_a_tool_has_a_line_as_it_ends(
    capsys: pytest.CaptureFixture[str], outcome: dict[str, Any], shown: str
) -> None:
    call = ToolCall(name="book\x1b", arguments={"day": "Friday"}, seconds=0.012, **outcome)

    Progress().listener()(ToolCalled(step="plan", item=None, call=call))
    Progress().listener(steps=False)(ToolCalled(step="plan", item=None, call=call))

    assert capsys.readouterr().err == f'  plan: tool book\\x1b(day="Friday") → {shown}\n'


class Streaming:
    """The replies to a step's requests as they arrive, and what a terminal then shows."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        self._capsys = capsys
        self._progress = Progress()
        self._requests: dict[str, Request] = {}

    def shown_after(self, *events: Event) -> str:
        """Return the text on the screen after further events."""
        listen = self._progress.listener()
        with self._progress.showing():
            for event in events:
                listen(event)
        return self._capsys.readouterr().err

    def shown_after_ctrl_c(self, *events: Event) -> str:
        """Return the text that stays on the screen after further events and ctrl-C."""
        listen = self._progress.listener()
        progress = self._progress
        with pytest.raises(asyncio.CancelledError), keeping_partial_text(progress), progress.showing():
            for event in events:
                listen(event)
            self._capsys.readouterr()
            raise asyncio.CancelledError
        return self._capsys.readouterr().err

    def text(self, name: str, text: str, item: int | None = None) -> Event:
        return TextArrived(step="solve", item=item, request=self._request(name), text=text)

    def finished(self, name: str) -> Event:
        call = CallRecord(call="reason", request=self._request(name), reply=Reply(text="x"), started=0, sample="0")
        return CallFinished(step="solve", item=None, call=call)

    def _request(self, name: str) -> Request:
        return self._requests.setdefault(name, Request(messages=(Message("user", "the same"),), max_tokens=9))


@pytest.fixture
def streaming(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Streaming:
    return Streaming(capsys, monkeypatch)


def test_of_replies_that_stream_at_once_one_is_shown(streaming: Streaming) -> None:
    first, second = ("She ", "has ", "seven."), ("There ", "are ", "eight.")
    pieces = [part for pair in zip(first, second, strict=True) for part in pair]
    events = [streaming.text("ab"[number % 2], piece) for number, piece in enumerate(pieces)]

    screen = streaming.shown_after(*events)

    assert "She has seven." in screen
    assert not any(word in screen for word in second)


def test_the_next_reply_is_shown_when_the_one_before_is_whole(streaming: Streaming) -> None:
    screen = streaming.shown_after(
        streaming.text("a", "One."), streaming.finished("a"), streaming.text("b", "Two."), streaming.finished("c")
    )

    assert "Two." in screen and "One." not in screen


def test_a_reply_that_an_item_ended_without_hides_no_other(streaming: Streaming) -> None:
    ended = ItemFinished(step="solve", item=0, value=None)

    screen = streaming.shown_after(streaming.text("a", "Brok", item=0), ended, streaming.text("b", "Two.", item=1))

    assert "Two." in screen and "Brok" not in screen


def test_the_last_lines_of_a_reply_are_shown_as_they_come(streaming: Streaming) -> None:
    lines = [f"line {number}" for number in range(1, STREAM_LINES + 2)]

    screen = streaming.shown_after(*(streaming.text("a", f"{line}\n") for line in lines))

    last = screen.rpartition("\x1b[36m")[2]
    assert all(line in last for line in lines[1:]) and "line 1" not in last
    assert "…line 2" in last


def test_a_model_is_seen_to_think_until_it_answers(streaming: Streaming) -> None:
    thinking = [streaming.text("a", Thought("First, ")), streaming.text("a", Thought("the price."))]

    screen = streaming.shown_after(*thinking)
    assert "\x1b[2;3m    thinking: First, the price." in screen

    screen = streaming.shown_after(*thinking, streaming.text("a", "Seven."))
    last = screen.rpartition("\x1b[36m")[2]
    assert "Seven." in last and "thinking" not in last and "price" not in last


def test_what_had_arrived_of_a_reply_stays_after_ctrl_c(streaming: Streaming) -> None:
    kept = streaming.shown_after_ctrl_c(streaming.text("a", "She has\n"), streaming.text("a", "seven"))
    assert "… solve, so far:\nShe has\nseven" in re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", kept)


def test_a_pipe_gets_no_part_of_a_reply(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    request = Request(messages=(Message("user", "the same"),))
    with pytest.raises(asyncio.CancelledError), keeping_partial_text(progress), progress.showing():
        progress.listener()(TextArrived(step="solve", item=None, request=request, text="She"))
        raise asyncio.CancelledError
    assert capsys.readouterr() == ("", "")


def test_the_line_of_a_step_has_the_warnings_of_its_answers(capsys: pytest.CaptureFixture[str]) -> None:
    warnings = {"weak_reading": 2, "refused": 1}
    result = StepResult(status="failed", calls=4, value="4", unparsed=1, truncated=1, warnings=warnings)

    Progress().listener()(StepFinished(step="solve", result=result))

    line = capsys.readouterr().err.splitlines()[0]
    assert line.endswith(" · failed · 1 unparsed · 1 cut off · 2 read by a weak rule · 1 refused to answer")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_where_nothing_is_to_be_drawn_anew_a_terminal_gets_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    progress = Progress()
    with progress.showing(rows=3):
        progress.row_finished()
        progress.notice("read")

    assert not progress.redraws
    assert "\x1b[2K" not in (said := capsys.readouterr().err) and "read" in said and "1 of 3" not in said
