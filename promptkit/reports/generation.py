"""The report of generated rows: what was left out and why, their spread, and the real rows beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from promptkit.reports.text import counted

REASONS: Final = {
    "unparsed": "empty, or not in the required form",
    "cut_off": "cut off at the most tokens",
    "control_tokens": "with control tokens",
    "gives_answer": "with the answer in the text",
    "placeholders": "with a placeholder",
    "quotes_prompt": "quoting the prompt",
    "duplicates": "near-duplicates",
    "unanswered": "without an answer",
    "disagreements": "whose answer is not confirmed",
}
TOLD_APART: Final = 0.6


def generation_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a generation's record."""
    before = f", {record['before']} of them from before" if record["before"] else ""
    yield f"{counted(record['rows'], 'row')} in {record['file']}{before}"
    kept, tried = record["kept"], record["tried"]
    yield f"asked for {counted(tried, 'input')}, kept {kept}{f' ({100 * kept / tried:.0f} %)' if tried else ''}"
    for reason, count in record["out"].items():
        yield f"  {count} left out {REASONS.get(reason, reason)}"
    for label, counts in record["labels"].items():
        end = ": given up, the model wrote none that holds" if label in record["gave_up"] else ""
        yield f"  {label}: {counts['kept']} of {counts['tried']} kept{end}"
    comparison = record["comparison"]
    if comparison is None:
        yield from _spread_lines({"generated": record["spread"]})
        return
    yield from _spread_lines({"generated": comparison["generated"], "real": comparison["real"]})
    yield f"{100 * comparison['vocabulary']:.0f} % of the generated words occur in real rows"
    if (apart := comparison["told_apart"]) is not None:
        reading = "they are easily told apart" if apart > TOLD_APART else "they are hard to tell apart"
        yield f"a nearest-neighbour test tells them from real rows in {100 * apart:.0f} % ({reading}; 50 % is chance)"


def _spread_lines(columns: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    found = {name: spread for name, spread in columns.items() if spread["rows"]}
    if not found:
        return
    yield f"{'':<28}" + "".join(f"{name:>12}" for name in found)
    rows: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "rows": lambda spread: spread["rows"],
        "words a row (mean)": lambda spread: spread["words"]["mean"],
        "distinct words": lambda spread: spread["distinct_1"],
        "distinct word pairs": lambda spread: spread["distinct_2"],
        "similarity to the nearest": lambda spread: "–" if spread["nearest"] is None else spread["nearest"],
    }
    for name, value in rows.items():
        yield f"{name:<28}" + "".join(f"{value(spread):>12}" for spread in found.values())
    labels = dict.fromkeys(label for spread in found.values() for label in spread["labels"])
    for label in labels if len(labels) <= 20 else ():
        yield f"share of {label[:19]:<19}" + "".join(
            f"{spread['labels'].get(label, 0.0):>12}" for spread in found.values()
        )
