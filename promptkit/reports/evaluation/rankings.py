"""Rankings of variants by a judge that compares two answers at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.text import Text

from promptkit.evaluation.record import EvalRecord, Number, RankedPair, RankingRecord
from promptkit.evaluation.verdicts import Verdict
from promptkit.reports.evaluation.comparisons import VERDICT_STYLES
from promptkit.reports.evaluation.figures import p_text
from promptkit.reports.evaluation.plots import MOST_LINES, PlotRow, figure_lines
from promptkit.reports.evaluation.variants import variant_tags
from promptkit.reports.layout import TableCell, grid, paragraph
from promptkit.reports.text import visible

MOST_PAIRS = 12
"""The most pairs that are all listed; of more, those that show which is stronger."""
TIE = 0.5
"""The share of wins of two variants that are equally strong."""


def ranking_parts(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield each ranking: the variants, the strongest first, and their pairs; nothing without any."""
    tags = variant_tags(record.variants, width)
    for number, ranking in enumerate(record.rankings):
        if number:
            yield Text()
        title = f"ranking by {ranking.metric}: wins against another variant, a tie as half"
        for line in paragraph(visible(title), width=width):
            yield Text(line, style="bold")
        yield from grid(_variant_rows(ranking, tags), right=(0, 2), width=width, indent=2)
        yield from _pair_lines(ranking, tags, width)
        for note in ranking.notes:
            for line in paragraph(visible(note), width=width, first="  ", rest="  "):
                yield Text(line, style="yellow")
        yield Text()
        yield from _figure_lines(ranking, tags, width)


def _figure_lines(ranking: RankingRecord, tags: Mapping[str, str], width: int) -> Iterator[Text]:
    """Yield the share of comparisons that each variant of a ranking wins, with its interval around a line at half."""
    rows = [
        PlotRow(tags[found.variant], 100.0 * found.wins, 100.0 * found.wins_low, 100.0 * found.wins_high)
        for found in ranking.variants[:MOST_LINES]
    ]
    title = f"{ranking.metric}: preferred to another variant, %"
    yield from figure_lines(title, rows, width, null=100 * TIE, bounds=(0.0, 100.0))


def _variant_rows(ranking: RankingRecord, tags: Mapping[str, str]) -> list[list[TableCell]]:
    return [
        [
            str(place),
            tags[found.variant],
            (percent_text(found.wins), "bold"),
            _interval(found.wins_low, found.wins_high),
        ]
        for place, found in enumerate(ranking.variants, 1)
    ]


def _pair_lines(ranking: RankingRecord, tags: Mapping[str, str], width: int) -> Iterator[Text]:
    shown = shown_pairs(ranking)
    rows: list[list[TableCell]] = [[(name, "dim") for name in ("", "wins", "", "p, Holm", "")]]
    for pair in shown:
        verdict = pair_verdict(pair)
        name, style = f"{tags[pair.a]} vs {tags[pair.b]}", VERDICT_STYLES[verdict]
        wins, interval = (percent_text(pair.wins), "bold"), _interval(pair.low, pair.high)
        rows.append([name, wins, interval, p_text(pair.adjusted), (verdict, style)])
    if shown:
        yield from grid(rows, right=(1, 3), width=width, indent=2)
    if left := len(ranking.pairs) - len(shown):
        yield Text(f"  and {left} pairs that show nothing", style="dim")


def shown_pairs(ranking: RankingRecord) -> list[RankedPair]:
    """Return the pairs to show: all of a few, else those that show which variant is stronger."""
    if len(ranking.pairs) <= MOST_PAIRS:
        return list(ranking.pairs)
    return [pair for pair in ranking.pairs if pair_verdict(pair) != "not shown"]


def pair_verdict(pair: RankedPair) -> Verdict:
    """Tell whether the interval of wins shows the first variant to be stronger or weaker."""
    if pair.low > TIE:
        return "better"
    return "worse" if pair.high < TIE else "not shown"


def percent_text(share: Number) -> str:
    """Return a share in whole percent."""
    return f"{100 * share:.0f} %"


def _interval(low: Number, high: Number) -> str:
    return f"[{100 * low:.0f}, {100 * high:.0f}]"
