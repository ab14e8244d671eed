"""The validity of judges: agreement with labels, consistency and bias, from the parts of their metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from promptkit.evaluation.metrics.judge_validity import JUDGED
from promptkit.evaluation.record import MetricRecord, VariantRecord
from promptkit.reports.evaluation.figures import number_text, p_text
from promptkit.reports.evaluation.variants import variant_tags
from promptkit.reports.layout import paragraph
from promptkit.reports.text import counted, visible

JUDGE_KINDS = ("judge", "pairwise")
DECIMALS = 2
_COUNTS = {"wins": "win", "losses": "loss", "ties": "tie"}
_NAMES = {JUDGED: "the judge's own mean", "score and tokens": "correlation of score and length"}


class JudgeFact(NamedTuple):
    """A part of a judge's metric as text: its metric, variant and name."""

    metric: str
    variant: str
    name: str
    text: str


def judge_facts(variants: Sequence[VariantRecord]) -> Iterator[JudgeFact]:
    """Yield the parts of each judge, by metric and variant; of pairwise judges not those of the baseline."""
    for name, first in variants[0].metrics.items() if variants else ():
        if first.kind not in JUDGE_KINDS:
            continue
        for variant in variants:
            if (metric := variant.metrics.get(name)) is not None:
                yield from (JudgeFact(name, variant.name, part, text) for part, text in _parts(metric))


def _parts(metric: MetricRecord) -> Iterator[tuple[str, str]]:
    parts = dict(metric.parts)
    if metric.kind == "pairwise":
        counts = [parts.pop(name, 0) for name in _COUNTS]
        if not (asked := parts.pop("asked", 0)):
            return
        words = [
            f"{count:,} {one if count == 1 else many}"
            for count, (many, one) in zip(counts, _COUNTS.items(), strict=True)
        ]
        yield "verdicts", f"{', '.join(words)}; {counted(asked, 'pair')} asked in both orders"
    for name, part in parts.items():
        if text := part_text(part):
            yield _NAMES.get(name, name), text


def part_text(part: Any) -> str:
    """Return a part as text: a value with its interval, then what else it says; nothing for what has no short text.

    `Cohen's kappa 0.70 [0.52, 0.85] (n 60), equal 0.85 [0.75, 0.92]`; parts of a part follow after a semicolon.
    """
    if isinstance(part, bool | str):
        return str(part)
    if isinstance(part, int | float):
        return _number(part)
    if not isinstance(part, Mapping):
        return ""
    rest = {name: found for name, found in part.items() if found is not None}
    value = rest.pop("value", rest.pop("mean", None) if "value" not in part else None)
    low, high, count, p = (rest.pop(name, None) for name in ("low", "high", "n", "p"))
    head = [str(rest.pop("method", ""))]
    head += [_number(value)] if value is not None else []
    head += [f"[{_number(low)}, {_number(high)}]"] if low is not None and high is not None else []
    answers = f"(n {_number(count)})" if count is not None else ""
    if value is not None:
        head.append(answers)
    texts = [" ".join(filter(None, head)), *([f"p {p_text(p)}"] if p is not None else [])]
    texts += [f"{name} {text}" for name, found in rest.items() if not _has_parts(found) and (text := part_text(found))]
    groups = [f"{name}: {part_text(found)}" for name, found in rest.items() if _has_parts(found)]
    line = ", ".join(filter(None, texts))
    if value is None:
        line = " ".join(filter(None, (line, answers)))
    return "; ".join(filter(None, (line, *groups)))


def _has_parts(part: Any) -> bool:
    """Tell whether a part is a mapping of mappings, such as a bias by level."""
    return isinstance(part, Mapping) and bool(part) and all(isinstance(found, Mapping) for found in part.values())


def _number(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return number_text(value, DECIMALS) if isinstance(value, int | float) else str(value)


def judge_lines(variants: Sequence[VariantRecord], width: int) -> Iterator[Text]:
    """Yield the agreement of each judge with labels and with itself; nothing without judges."""
    facts = list(judge_facts(variants))
    if not facts:
        return
    tags = variant_tags(variants, width)
    yield Text("judges", style="bold")
    for fact in facts:
        of = f" ({tags[fact.variant]})" if len(variants) > 1 else ""
        text = visible(f"{fact.metric}{of}: {fact.name}: {fact.text}")
        yield from map(Text, paragraph(text, width=width, first="  ", rest="    "))
