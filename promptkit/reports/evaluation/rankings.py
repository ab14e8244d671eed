"""Rankings of variants as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.text import Text

from promptkit.evaluation.record import RankedPair, RankingRecord, VariantRecord
from promptkit.reports.evaluation.figures import p_text
from promptkit.reports.evaluation.variants import variant_tags
from promptkit.reports.layout import TableCell, grid, paragraph
from promptkit.reports.text import visible

SHOWN_P = 0.05
MOST_RANKED_PAIRS = 6
"""Pairs of neighbours in a ranking that are named in the terminal; `--json` has all pairs."""


def ranking_lines(rankings: Sequence[RankingRecord], variants: Sequence[VariantRecord], width: int) -> Iterator[Text]:
    """Yield each ranking, the strongest variant first, with what is shown of neighbours."""
    tags = variant_tags(variants, width)
    for ranking in rankings:
        yield Text(visible(f"ranking by {ranking.metric}"), style="bold")
        rows: list[list[TableCell]] = [[("", ""), ("preferred to another variant", "dim")]]
        for place, found in enumerate(ranking.variants, start=1):
            share = percent_text(found.wins)
            interval = f"[{percent_text(found.wins_low)}, {percent_text(found.wins_high)}]"
            rows.append([(f"{place}. {tags[found.variant]}", ""), (f"{share} % {interval}", "")])
        yield from grid(rows, width=width, indent=2)
        for pair in neighbours(ranking)[:MOST_RANKED_PAIRS]:
            text = visible(pair_text(pair, tags[pair.a], tags[pair.b]))
            yield from map(Text, paragraph(text, width=width, first="  ", rest="    "))


def neighbours(ranking: RankingRecord) -> list[RankedPair]:
    """Return the pairs of variants that stand next to each other."""
    names = [found.variant for found in ranking.variants]
    below = dict(pairwise(names))
    return [pair for pair in ranking.pairs if below.get(pair.a) == pair.b]


def pair_text(pair: RankedPair, a: str, b: str) -> str:
    """Return two neighbours with the stronger one's chance, and whether the order is shown."""
    shown = f"{a} is preferred to {b}" if pair.adjusted < SHOWN_P else f"not shown which of {a} and {b} is preferred"
    chance = f"{percent_text(pair.wins)} % [{percent_text(pair.low)}, {percent_text(pair.high)}]"
    return f"{shown}: {chance}, p {p_text(pair.adjusted)}"


def percent_text(share: float) -> str:
    """Return a share in percent, without the sign."""
    return f"{share * 100:.0f}"
