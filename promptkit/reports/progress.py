"""Live progress of a run: a line a finished step on stderr, and in a terminal the running steps with their streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.text import Text

from promptkit.engine.results import StepResult, tool_call_record
from promptkit.engine.session import (
    CallFinished,
    Event,
    ItemFinished,
    Notice,
    OnEvent,
    StepFinished,
    StepStarted,
    TextArrived,
    ToolCalled,
)
from promptkit.reports.layout import LEAST_WIDTH, broken_text, fold
from promptkit.reports.output import ask_person, note, redraws, report_console
from promptkit.reports.text import (
    calls_text,
    counted,
    hint_in_brackets,
    one_line,
    seconds_text,
    size_text,
    tokens_text,
    visible,
    warning_texts,
)
from promptkit.reports.trace import tool_call_line
from promptkit.runtimes.base import Thought

if TYPE_CHECKING:
    from rich.live import Live
NAME_WIDTH = 18
_MARKS = {"done": "✓", "skipped": "-", "failed": "✗", "capped": "✓"}
TAIL = 2_000
"""The number of last characters of a streaming reply that are kept for the screen."""
STREAM_LINES = 6
"""Lines of streaming replies on the screen, shared by the steps that run."""
STREAM_INDENT = "    "
TOOL_INDENT = "  "


@dataclass(slots=True)
class _StepProgress:
    """A running step. Of several streaming replies one is shown: `heard` is its beginning, `tail` its end so far, which
    are thoughts while the model `thinks`.
    """

    items: int | None = None
    finished: int = 0
    calls: int = 0
    tokens: int = 0
    heard: TextArrived | None = None
    tail: str = ""
    thinks: bool = False
    started: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class _Download:
    """A file that is being fetched: bytes done, in all, and already there at the beginning."""

    what: str
    before: int
    done: int = 0
    total: int | None = None
    started: float = field(default_factory=time.monotonic)

    def text(self) -> str:
        """Return name, bytes, percent and speed."""
        share = f" of {size_text(self.total)}, {self.done * 100 // self.total} %" if self.total else ""
        seconds = time.monotonic() - self.started
        fetched = self.done - self.before
        speed = f", {size_text(int(fetched / seconds))}/s" if fetched > 0 and seconds > 0 else ""
        return f"↓ {self.what} {size_text(self.done)}{share}{speed}" if self.done or share else f"↓ {self.what}"


class Progress:
    """Shows a run's events. Pass `listener()` to `run`, and wrap the run in `showing()`."""

    def __init__(self) -> None:
        self._console = report_console(stderr=True)
        self._at_work: dict[str, _StepProgress] = {}
        self._noticed: set[str] = set()
        self._fetched: _Download | None = None
        self._whole: set[str] = set()
        self._rows: _StepProgress | None = None
        self._live: Live | None = None
        self._more: Callable[[int], Iterable[Text]] | None = None

    @property
    def redraws(self) -> bool:
        """True where `showing` keeps the screen up to date."""
        return redraws(self._console)

    @contextmanager
    def showing(
        self, *, rows: int | None = None, lines: Callable[[int], Iterable[Text]] | None = None
    ) -> Iterator[None]:
        """Keep the running steps on the screen, where stderr is a terminal, until the block ends.

        With `rows`, one line counts the finished ones. `lines` gives further lines for a width, on the screen's thread.
        """
        self._at_work.clear()
        self._rows = None if rows is None else _StepProgress(items=rows)
        self._more = lines
        if not self.redraws:
            yield
            return
        from rich.live import Live

        with Live(
            console=self._console,
            get_renderable=self._render,
            transient=True,
            refresh_per_second=4 if lines else 12,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as self._live:
            try:
                yield
            finally:
                self._live = None

    def stopped(self) -> None:
        """Leave what has arrived of the replies on the screen, where it was shown, after ctrl-C."""
        for name, work in self._at_work.items() if self.redraws else ():
            if work.tail.strip():
                self._print(f"… {name}{' was thinking' if work.thinks else ''}, so far:\n{work.tail.strip()}")

    def cells_done(self, done: int, total: int) -> None:
        """Take note of the finished cells of an evaluation, for programs that show them in their own way."""

    def row_finished(self) -> None:
        """Count a finished row without writing anything."""
        if self._rows:
            self._rows.finished += 1

    @contextmanager
    def row(self) -> Iterator[None]:
        """Count a finished row; the screen is clear while the block writes its result."""
        self.row_finished()
        with self._cleared():
            yield

    @contextmanager
    def _cleared(self) -> Iterator[None]:
        """Take the running steps off the screen until the block ends."""
        live = self._live
        if live:
            live.stop()
        try:
            yield
        finally:
            if live:
                live.start()

    def offer(self, question: str) -> bool:
        """Ask a person whether to do something; without a terminal the answer is no. The screen is clear meanwhile."""
        with self._cleared():
            return bool(ask_person(question))

    def notice(self, message: str) -> None:
        """Show a line once, above the running steps."""
        if message not in self._noticed:
            self._noticed.add(message)
            self._print(message)

    def fetching(self, what: str, done: int, total: int | None) -> None:
        """Show the fetched part of a file, with a line at its begin and its end; without a total, a stage."""
        if what in self._whole:
            return
        self.notice(f"fetching {what} ({size_text(total)}, once)" if total else what)
        if self._fetched is None or self._fetched.what != what:
            self._fetched = _Download(what, done)
        self._fetched.done, self._fetched.total = done, total
        if done == total:
            self._fetched = None
            self._whole.add(what)
            self._print(f"fetched {what}")

    def listener(self, *, prefix: str = "", steps: bool = True) -> OnEvent:
        """Return a listener whose steps show under `prefix`; without `steps`, finished ones leave no line."""

        def listen(event: Event) -> None:
            match event:
                case Notice():
                    self.notice(event.message)
                case StepStarted():
                    self._at_work[prefix + event.step] = _StepProgress(items=event.items)
                case StepFinished():
                    self._at_work.pop(prefix + event.step, None)
                    if steps:
                        self._print_step(event.step, event.result)
                case ToolCalled():
                    if steps:
                        self._print_tool_call(event)
                case _:
                    self._advance(prefix + event.step, event)

        return listen

    def _advance(self, name: str, event: TextArrived | CallFinished | ItemFinished) -> None:
        work = self._at_work.setdefault(name, _StepProgress())
        match event:
            case TextArrived():
                work.heard = work.heard or event
                if event.request is work.heard.request:
                    thinks = isinstance(event.text, Thought)
                    work.tail = ((work.tail if thinks == work.thinks else "") + event.text)[-TAIL:]
                    work.thinks = thinks
            case CallFinished():
                for counts in filter(None, (work, self._rows)):
                    counts.calls += 1
                    counts.tokens += (event.call.reply.tokens_in or 0) + (event.call.reply.tokens_out or 0)
                if work.heard and event.call.request is work.heard.request:
                    work.heard, work.tail = None, ""
            case ItemFinished():
                work.finished += 1
                if work.heard and event.item == work.heard.item:  # Its last request may have failed.
                    work.heard, work.tail = None, ""

    def _print(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(fold(visible(text), self._console.width), style="dim")
        else:
            note(text)

    def _print_tool_call(self, event: ToolCalled) -> None:
        line = f"{event.step}: {tool_call_line(tool_call_record(event.call))}"
        self._print(f"{TOOL_INDENT}{one_line(line, self._console.width - len(TOOL_INDENT) - 1)}")

    def _print_step(self, name: str, result: StepResult) -> None:
        parts = [
            calls_text(result.calls, result.cached),
            tokens_text(result.tokens_in, result.tokens_out),
            seconds_text(result.seconds),
        ]
        parts += [] if result.status == "done" else [str(result.status)]
        parts += [f"{result.unparsed} unparsed"] if result.unparsed else []
        parts += [f"{result.truncated} cut off"] if result.truncated else []
        parts += warning_texts(result.warnings, result.warned_by)
        line = f"{_MARKS[result.status]} {name:<{NAME_WIDTH}} {' · '.join(parts)}"
        self._print("\n    ".join([line, *self._values(result)]))

    def _values(self, result: StepResult) -> Iterator[str]:
        """Yield the result, where there is one, and the problem, each in one line."""
        width = self._console.width - 8
        if result.value is not None or not result.problem:
            yield one_line(result.value, width)
        if result.problem:
            yield one_line(hint_in_brackets(result.problem), width)

    def _render(self) -> Text:
        """Return the lines of the running steps. Called by the screen's own thread."""
        lines: list[tuple[str, str]] = []  # each with its style
        if self._fetched:
            lines.append((self._fetched.text(), "cyan"))
        if self._rows:
            finished = f"{self._rows.finished} of {counted(self._rows.items or 0, 'row')}"
            lines.append((f"… {finished:<{NAME_WIDTH}} {_spent_text(self._rows)}", "cyan"))
        at_work = [] if self._rows else list(self._at_work.items())
        most = max(1, STREAM_LINES // max(1, sum(bool(work.tail) for _, work in at_work)))
        for name, work in at_work:
            counts = f" {work.finished}/{work.items}" if work.items is not None else ""
            lines.append((f"… {visible(name) + counts:<{NAME_WIDTH}} {_spent_text(work)}", "cyan"))
            lines += _stream_lines(work, self._console.width, most)
        steps = Text("\n", no_wrap=True, overflow="ellipsis").join(Text(line, style=style) for line, style in lines)
        if self._more is None:
            return steps
        more = Text("\n").join(self._more(self._console.width))
        more.no_wrap, more.overflow = True, "ellipsis"
        return Text("\n").join([steps, more]) if lines else more


def _spent_text(work: _StepProgress) -> str:
    seconds = time.monotonic() - work.started
    return " · ".join([calls_text(work.calls, 0), f"{work.tokens} tokens", seconds_text(seconds)])


def _stream_lines(work: _StepProgress, width: int, most: int) -> Iterator[tuple[str, str]]:
    """Yield the last lines of a streaming reply; thoughts are dim."""
    text = visible(work.tail).strip().expandtabs()
    if not text:
        return
    before, style = ("thinking: ", "dim italic") if work.thinks else ("", "")
    room = max(LEAST_WIDTH, width - len(STREAM_INDENT) - len(before) - 1)
    if most == 1:
        line = " ".join(text.split())
        folded = broken_text(line, room)
    else:
        folded = [part for line in text.split("\n") for part in broken_text(line, room)]
    cut = len(folded) > most
    for at, line in enumerate(folded[-most:]):
        yield f"{STREAM_INDENT}{'' if at else before}{'…' if cut and not at else ''}{line}", style
