"""The screen of `promptkit try`: the cases with their tally, and in a watch what is wrong over the last good result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from promptkit.errors import PromptkitError
from promptkit.reports.comparison import outcome_lines, tally, tally_text
from promptkit.reports.output import emit, error_text, note
from promptkit.reports.screen import report_console
from promptkit.reports.text import json_text, visible

if TYPE_CHECKING:
    from rich.text import Text

    from promptkit.reports.comparison import Outcome


class TrialScreen:
    """Where outcomes are shown; with `json` as one object each time, with `clear` on an empty screen each time."""

    def __init__(self, target: str, *, json: bool = False, clear: bool = False) -> None:
        self._target = target
        self._json = json
        self._console = report_console()
        self._clear = clear and not json and self._console.is_terminal
        self._last: Sequence[Outcome] = ()

    def show(self, outcomes: Sequence[Outcome]) -> None:
        """Show the outcomes, which are then the last good result."""
        self._last = outcomes
        if self._json:
            cases = [outcome.record() for outcome in outcomes]
            models = [{"reference": reference, "why": why} for reference, why in _chosen(outcomes).items()]
            record = {"target": self._target, "models": models, "cases": cases, "tally": tally(outcomes)}
            emit(json_text(record, indent=None))
            return
        self._begin()
        self._print_last()

    def broken(self, error: PromptkitError) -> None:
        """Show what is wrong, and the last good result under it."""
        if self._json:
            emit(json_text({"target": self._target, "error": str(error)}, indent=None))
            return
        self._begin()
        said = visible(error_text(error))
        self._console.print(said, style="red")
        self._print_rest()
        if self._last and self._console.is_terminal:
            # Long answers push the error off the screen.
            self._console.print(said.partition("\n")[0], style="red")

    def asking(self, since: str) -> None:
        """Say, on a screen of its own, that the files as they are now are asked; what was wrong before is gone."""
        if not self._clear:
            return
        self._begin()
        self._console.print(f"asking since {since} · ctrl-C stops", style="cyan")
        self._print_rest()

    def idle(self, files: int, asked: str) -> None:
        """Say, on a screen of its own, what is waited for."""
        if self._clear:
            when = f" · asked {asked}" if asked else ""
            self._console.print(f"watching {files} file{'s'[: files != 1]}{when} · ctrl-C leaves", style="dim")

    def stopped(self) -> None:
        """Say that the answer was stopped, over the last good result."""
        if self._json:
            emit(json_text({"target": self._target, "stopped": True}, indent=None))
            return
        self._begin()
        self._console.print("stopped; save a file to ask again", style="yellow")
        self._print_rest()

    def _begin(self) -> None:
        if self._clear:
            self._console.clear()

    def _print_rest(self) -> None:
        if self._last:
            self._console.print("\nthe last good result:", style="dim")
            self._print_last()

    def _print_last(self) -> None:
        for outcome in self._last:
            for line in outcome_lines(outcome):
                for part in self._wrapped(line):
                    self._console.print(part)
        self._console.print(f"\n{tally_text(tally(self._last))}", style="bold")
        # Where the screen was cleared, the notice is gone.
        told = frozenset[str]() if self._clear else frozenset().union(*(outcome.told for outcome in self._last))
        for reference, why in _chosen(self._last).items():
            if reference in told:
                continue
            note(f"answered by {reference} (named by {why})")

    def _wrapped(self, line: Text) -> Iterator[Text]:
        """Yield a line in parts that fit a terminal, broken at words, each with the line's indent."""
        from rich.text import Text

        indent = min(len(line.plain) - len(line.plain.lstrip(" ")), self._console.width // 2)
        if not self._console.is_terminal or line.cell_len <= self._console.width:
            yield line
            return
        for part in line[indent:].wrap(self._console, self._console.width - indent):
            yield Text(" " * indent) + part


def _chosen(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {reference: why for outcome in outcomes for reference, why in outcome.why.items()}
