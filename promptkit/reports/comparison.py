"""What became of a pinned case: its new answer against the one before and against what is expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from promptkit.reports.numbers import calls_text, seconds_text, tokens_text
from promptkit.reports.text import outline, visible
from promptkit.reports.words import marked

if TYPE_CHECKING:
    from rich.text import Text

    from promptkit.engine import Case, Result

Verdict = Literal["new", "same", "changed", "better", "worse"]
_STYLES = {"better": "green", "worse": "red", "changed": "yellow", "new": "cyan", "same": "dim"}

_COUNTED = (*_STYLES, *["unparsed", "failed", "right", "expected", "calls", "cached", "tokens", "tokens_before"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A case's answer as the store remembers it (JSON-able) with the one before, None where there is none.

    `why` says of each model that answered why it was chosen; of those in `told` a notice has said so.
    """

    case: Case
    answer: Mapping[str, Any]
    before: Mapping[str, Any] | None
    why: Mapping[str, str] = field(default_factory=dict)
    told: frozenset[str] = frozenset()

    @property
    def verdict(self) -> Verdict:
        """`better` and `worse` need an expected answer; without one an answer is the same or changed."""
        if self.before is None:
            return "new"
        right, was_right = self.right(self.answer), self.right(self.before)
        if right != was_right:
            return "better" if right else "worse"
        return "same" if _text(self.answer) == _text(self.before) else "changed"

    @property
    def counted(self) -> str:
        """What the tally counts the case as: each is counted once, a failure before what does not parse."""
        if self.answer["error"] is not None:
            return "failed"
        return "unparsed" if self.answer["unparsed"] else self.verdict

    def right(self, answer: Mapping[str, Any]) -> bool | None:
        """Tell whether an answer is the expected one; None where nothing is expected."""
        if not self.case.has_expect:
            return None
        return answer["error"] is None and not answer["unparsed"] and fits(answer["output"], self.case.expect)

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


def settle(now: Sequence[Outcome], shown: Sequence[Outcome]) -> tuple[tuple[Outcome, ...], tuple[Outcome, ...]]:
    """Return the outcomes against the answers that they are to be compared with, and what is then `shown`.

    While no answer differs from the one shown, each stays compared with what it was; a failure is no answer.
    """
    last = {outcome.case.name: outcome for outcome in shown}
    answered = [outcome for outcome in now if outcome.answer["error"] is None]
    known = {outcome.case.name: last[outcome.case.name] for outcome in answered if outcome.case.name in last}
    moved = any(
        _text(outcome.answer) != _text(known[outcome.case.name].answer) or _other_inputs(outcome, known)
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


def _other_inputs(outcome: Outcome, known: Mapping[str, Outcome]) -> bool:
    return dict(outcome.case.inputs) != dict(known[outcome.case.name].case.inputs)


def answer_record(result: Result) -> dict[str, Any]:
    """Return what is remembered of a case's run."""
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
        "models": {model.reference: model.digest for model in result.answered.values()},
    }


def fits(value: Any, expected: Any) -> bool:
    """Tell whether a value is the expected one: a mapping has at least its keys, text may have blanks around it."""
    if isinstance(expected, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and fits(value[key], part) for key, part in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(map(fits, value, expected))
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, str) and isinstance(expected, str):
        return value.strip() == expected.strip()
    return bool(value == expected)


def tally(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count each case once, and the right answers where one is expected, calls and tokens."""
    counts = dict.fromkeys(_COUNTED, 0)
    for outcome in outcomes:
        counts[outcome.counted] += 1
        counts["right"] += outcome.right(outcome.answer) is True
        counts["expected"] += outcome.case.has_expect
        for name in ("calls", "cached"):
            counts[name] += outcome.answer[name]
        counts["tokens"] += _tokens(outcome.answer)
        counts["tokens_before"] += _tokens(outcome.before or {})
    return counts


def tally_text(counts: Mapping[str, int]) -> str:
    """Return the tally in one line, without what is none."""
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


def outcome_lines(outcome: Outcome) -> Iterator[Text]:
    """Yield a case as a person reads it: what became of it, and its answer word by word against the one before."""
    from rich.text import Text

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
    spent = [calls_text(answer["calls"], answer["cached"]), tokens_text(answer["tokens_in"], answer["tokens_out"])]
    if outcome.before and outcome.before["models"] != answer["models"]:
        title.append(f"  the answer before is by {visible(', '.join(outcome.before['models']))}", style="yellow")
    title.append(f"  {' · '.join(spent)} · {seconds_text(answer['seconds'])}", style="dim")
    yield title
    for line in _difference(outcome).split("\n", allow_blank=True):
        yield Text("  ") + line
    if right is False:
        expected = outline({"expected": outcome.case.expect})
        yield Text(f"  {expected}".replace("\n", "\n  "), style="dim")


def _difference(outcome: Outcome) -> Text:
    from rich.text import Text

    new = _text(outcome.answer)
    if outcome.answer["error"] is not None:
        failed = Text(new, style="red")
        return failed if outcome.before is None else failed + Text(f"\nthe answer before:\n{_text(outcome.before)}")
    if outcome.before is None or (old := _text(outcome.before)) == new:
        return Text(new)
    return marked(old, new)


def _text(answer: Mapping[str, Any]) -> str:
    return f"error: {visible(answer['error'])}" if answer["error"] else outline(answer["output"])


def _tokens(answer: Mapping[str, Any]) -> int:
    return int((answer.get("tokens_in") or 0) + (answer.get("tokens_out") or 0))
