"""Pinned cases of `promptkit try`: each answer compared with the one before and with the expected one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal

from rich.text import Text

from promptkit.engine.pipeline import Case
from promptkit.engine.results import Result, speed_record
from promptkit.errors import PromptkitError
from promptkit.reports.output import emit, error_text, note, report_console
from promptkit.reports.text import (
    calls_text,
    json_text,
    outline,
    seconds_text,
    speed_texts,
    tokens_text,
    visible,
    warning_texts,
)
from promptkit.reports.word_diff import marked_diff
from promptkit.techniques.warnings import in_table_order, merged_sources

CaseVerdict = Literal["new", "same", "changed", "better", "worse"]
_STYLES = {"better": "green", "worse": "red", "changed": "yellow", "new": "cyan", "same": "dim"}

_TALLY_KEYS = (*_STYLES, *["unparsed", "failed", "right", "expected", "calls", "cached", "tokens", "tokens_before"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """A case's answer as the store remembers it (JSON-able), and the one before, None where there is none.

    `why` maps the models that answered to what named them; for those in `noticed` a notice was shown already.
    """

    case: Case
    answer: Mapping[str, Any]
    before: Mapping[str, Any] | None
    why: Mapping[str, str] = field(default_factory=dict)
    noticed: frozenset[str] = frozenset()

    @property
    def verdict(self) -> CaseVerdict:
        """`better` or `worse` where an answer is expected, otherwise `same` or `changed`; `new` without one before."""
        if self.before is None:
            return "new"
        right, was_right = self.right(self.answer), self.right(self.before)
        if right != was_right:
            return "better" if right else "worse"
        return "same" if _answer_text(self.answer) == _answer_text(self.before) else "changed"

    @property
    def counted(self) -> str:
        """The tally's key of the case, which is counted once: a failure before an unparsed answer before a verdict."""
        if self.answer["error"] is not None:
            return "failed"
        return "unparsed" if self.answer["unparsed"] else self.verdict

    def right(self, answer: Mapping[str, Any]) -> bool | None:
        """Tell whether an answer is the expected one; None where nothing is expected."""
        if not self.case.has_expect:
            return None
        return (
            answer["error"] is None and not answer["unparsed"] and matches_expected(answer["output"], self.case.expect)
        )

    def record(self) -> dict[str, Any]:
        """Return the outcome as JSON-able data."""
        expected = {"expect": self.case.expect, "right": self.right(self.answer)} if self.case.has_expect else {}
        return {
            "name": self.case.name,
            "verdict": self.verdict,
            "inputs": dict(self.case.inputs),
            "before": dict(self.before) if self.before else None,
            **expected,
            **self.answer,
        }


def update_baselines(
    now: Sequence[CaseOutcome], shown: Sequence[CaseOutcome]
) -> tuple[tuple[CaseOutcome, ...], tuple[CaseOutcome, ...]]:
    """Return the outcomes compared with the right earlier answers, and the outcomes that are `shown` then.

    While no answer differs from the one shown, each keeps its earlier answer. A failure is not an answer.
    """
    last = {outcome.case.name: outcome for outcome in shown}
    answered = [outcome for outcome in now if outcome.answer["error"] is None]
    known = {outcome.case.name: last[outcome.case.name] for outcome in answered if outcome.case.name in last}
    moved = any(
        _answer_text(outcome.answer) != _answer_text(known[outcome.case.name].answer) or _other_inputs(outcome, known)
        for outcome in answered
        if outcome.case.name in known
    )
    settled = []
    for outcome in now:
        old = known.get(outcome.case.name)
        keep = not moved and old is not None and old.before is not None
        settled.append(replace(outcome, before=old.before) if keep and old else outcome)
        if outcome.answer["error"] is None:
            last[outcome.case.name] = settled[-1]
    return tuple(settled), tuple(last.values())


def _other_inputs(outcome: CaseOutcome, known: Mapping[str, CaseOutcome]) -> bool:
    return dict(outcome.case.inputs) != dict(known[outcome.case.name].case.inputs)


def answer_record(result: Result) -> dict[str, Any]:
    """Return the answer that the store remembers of a case's run."""
    totals = result.totals
    return {
        "output": result.output,
        "error": str(result.error) if result.error else None,
        "unparsed": totals.unparsed,
        "calls": totals.calls,
        "cached": totals.cached,
        "tokens_in": totals.tokens_in,
        "tokens_out": totals.tokens_out,
        "seconds": totals.seconds,
        **speed_record(result.trace),
        **({"truncated": totals.truncated} if totals.truncated else {}),
        **({"warnings": dict(totals.warnings)} if totals.warnings else {}),
        **({"warned_by": dict(totals.warned_by)} if totals.warned_by else {}),
        "models": {model.reference: model.digest for model in result.answered.values()},
    }


def matches_expected(value: Any, expected: Any) -> bool:
    """Tell whether a value is as expected: a mapping has at least the expected keys, blanks around text are ignored."""
    if isinstance(expected, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and matches_expected(value[key], part) for key, part in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(matches_expected, value, expected))
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, str) and isinstance(expected, str):
        return value.strip() == expected.strip()
    return bool(value == expected)


def tally(outcomes: Iterable[CaseOutcome]) -> dict[str, int]:
    """Count each case once, right answers where one is expected, calls and tokens."""
    counts = dict.fromkeys(_TALLY_KEYS, 0)
    for outcome in outcomes:
        counts[outcome.counted] += 1
        counts["right"] += outcome.right(outcome.answer) is True
        counts["expected"] += outcome.case.has_expect
        for name in ("calls", "cached"):
            counts[name] += outcome.answer[name]
        counts["tokens"] += _tokens(outcome.answer)
        counts["tokens_before"] += _tokens(outcome.before or {})
    return counts


def count_warnings(outcomes: Iterable[CaseOutcome]) -> dict[str, int]:
    """Count the cases that have each warning."""
    return in_table_order(Counter(chain.from_iterable(outcome.answer.get("warnings", {}) for outcome in outcomes)))


def tally_text(counts: Mapping[str, int]) -> str:
    """Return the tally in one line, without zeros."""
    parts = [f"{counts[name]} {name}" for name in ("better", "worse", "changed", "new") if counts[name]]
    parts.append(f"{counts['same']} same")
    parts += [f"{counts[name]} {name}" for name in ("unparsed", "failed") if counts[name]]
    if counts["expected"]:
        parts.append(f"{counts['right']} of {counts['expected']} right")
    parts.append(calls_text(counts["calls"], counts["cached"]))
    tokens = f"{counts['tokens']} tokens"
    if counts["tokens_before"]:
        tokens += f" (before: {counts['tokens_before']})"
    return " · ".join([*parts, tokens])


def outcome_lines(outcome: CaseOutcome) -> Iterator[Text]:
    """Yield the lines of a case: its verdict, and its answer word by word against the one before."""
    answer, right = outcome.answer, outcome.right(outcome.answer)
    title = Text(visible(outcome.case.name), style="bold")
    if answer["error"] is None:
        title.append(f"  {outcome.verdict}", style=_STYLES[outcome.verdict])
    else:
        title.append("  failed", style="red")
    if right is not None:
        title.append("  ✓ as expected" if right else "  ✗ not as expected", style="green" if right else "red")
    if answer["unparsed"] and answer["error"] is None:
        title.append("  unparsed", style="red")
    if answer.get("truncated") and answer["error"] is None:
        title.append("  cut off", style="red")
    if warnings := warning_texts(answer.get("warnings", {}), answer.get("warned_by")):
        title.append(f"  {', '.join(warnings)}", style="yellow")
    spent = [calls_text(answer["calls"], answer["cached"]), tokens_text(answer["tokens_in"], answer["tokens_out"])]
    spent.append(seconds_text(answer["seconds"]))
    spent += speed_texts(answer.get("first_token"), answer.get("tokens_a_second"))
    if outcome.before and outcome.before["models"] != answer["models"]:
        title.append(f"  the answer before is by {visible(', '.join(outcome.before['models']))}", style="yellow")
    title.append(f"  {' · '.join(spent)}", style="dim")
    yield title
    for line in _difference(outcome).split("\n", allow_blank=True):
        yield Text("  ") + line
    if right is False:
        expected = outline({"expected": outcome.case.expect})
        yield Text(f"  {expected}".replace("\n", "\n  "), style="dim")


def _difference(outcome: CaseOutcome) -> Text:
    new = _answer_text(outcome.answer)
    if outcome.answer["error"] is not None:
        failed = Text(new, style="red")
        return (
            failed if outcome.before is None else failed + Text(f"\nthe answer before:\n{_answer_text(outcome.before)}")
        )
    if outcome.before is None or (old := _answer_text(outcome.before)) == new:
        return Text(new)
    return marked_diff(old, new)


def _answer_text(answer: Mapping[str, Any]) -> str:
    return f"error: {visible(answer['error'])}" if answer["error"] else outline(answer["output"])


def _tokens(answer: Mapping[str, Any]) -> int:
    return int((answer.get("tokens_in") or 0) + (answer.get("tokens_out") or 0))


class TryScreen:
    """The screen of `promptkit try`. With `json` it prints one object each time, with `clear` it empties the screen."""

    def __init__(self, target: str, *, json: bool = False, clear: bool = False) -> None:
        self._target = target
        self._json = json
        self._console = report_console()
        self._clear = clear and not json and self._console.is_terminal
        self._last: Sequence[CaseOutcome] = ()

    def show(self, outcomes: Sequence[CaseOutcome]) -> None:
        """Show the outcomes, and keep them as the last good result."""
        self._last = outcomes
        if self._json:
            cases = [outcome.record() for outcome in outcomes]
            models = [{"reference": reference, "why": why} for reference, why in _models(outcomes).items()]
            record = {"target": self._target, "models": models, "cases": cases, "tally": tally(outcomes)}
            emit(json_text(record, indent=None))
            return
        self._begin()
        self._print_last()

    def broken(self, error: PromptkitError) -> None:
        """Show an error, and the last good result under it."""
        if self._json:
            emit(json_text({"target": self._target, "error": str(error)}, indent=None))
            return
        self._begin()
        text = visible(error_text(error))
        self._console.print(text, style="red")
        self._print_rest()
        if self._last and self._console.is_terminal:
            # Long answers push the error off the screen.
            self._console.print(text.partition("\n")[0], style="red")

    def asking(self, since: str) -> None:
        """Show on an empty screen that the files as they are now are asked; the last error is gone."""
        if not self._clear:
            return
        self._begin()
        self._console.print(f"asking since {since} · ctrl-C stops", style="cyan")
        self._print_rest()

    def idle(self, files: int, asked: str) -> None:
        """Show on an empty screen that changes are waited for."""
        if self._clear:
            when = f" · asked {asked}" if asked else ""
            self._console.print(f"watching {files} file{'s'[: files != 1]}{when} · ctrl-C leaves", style="dim")

    def stopped(self) -> None:
        """Show that the answer was stopped, over the last good result."""
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
        warned_by = merged_sources(outcome.answer.get("warned_by", {}) for outcome in self._last)
        counts = [tally_text(tally(self._last)), *warning_texts(count_warnings(self._last), warned_by)]
        self._console.print(f"\n{' · '.join(counts)}", style="bold")
        # Where the screen was cleared, the notice is gone.
        noticed = frozenset[str]() if self._clear else frozenset().union(*(outcome.noticed for outcome in self._last))
        for reference, why in _models(self._last).items():
            if reference in noticed:
                continue
            note(f"answered by {reference} (named by {why})")

    def _wrapped(self, line: Text) -> Iterator[Text]:
        """Yield a line in parts that fit the terminal, broken at words, each with the line's indent."""
        indent = min(len(line.plain) - len(line.plain.lstrip(" ")), self._console.width // 2)
        if not self._console.is_terminal or line.cell_len <= self._console.width:
            yield line
            return
        for part in line[indent:].wrap(self._console, self._console.width - indent):
            yield Text(" " * indent) + part


def _models(outcomes: Sequence[CaseOutcome]) -> dict[str, str]:
    return {reference: why for outcome in outcomes for reference, why in outcome.why.items()}
