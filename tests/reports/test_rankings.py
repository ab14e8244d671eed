"""A ranking of variants as the terminal shows it."""

from __future__ import annotations

from promptkit.evaluation.record import RankedPair, RankedVariant, RankingRecord, VariantRecord
from promptkit.reports.evaluation.rankings import ranking_lines


def ranked(name: str, wins: float) -> RankedVariant:
    return RankedVariant(variant=name, strength=0, wins=wins, wins_low=wins - 0.1, wins_high=wins + 0.1, n=60)


def pair(a: str, b: str, adjusted: float) -> RankedPair:
    return RankedPair(a=a, b=b, wins=0.6, low=0.5, high=0.7, p=adjusted, adjusted=adjusted)


RANKING = RankingRecord(
    metric="preferred",
    variants=[ranked("kind", 0.7), ranked("list", 0.5), ranked("plain", 0.3)],
    pairs=[pair("kind", "list", 0.01), pair("kind", "plain", 0.001), pair("list", "plain", 0.2)],
)
VARIANTS = [VariantRecord(name=name) for name in ("plain", "kind", "list")]


def test_the_strongest_variant_stands_first_and_neighbours_are_told_apart_only_where_that_is_shown() -> None:
    assert [line.plain.rstrip() for line in ranking_lines([RANKING], VARIANTS, 80)] == [
        "ranking by preferred",
        "            preferred to another variant",
        "  1. kind   70 % [60, 80]",
        "  2. list   50 % [40, 60]",
        "  3. plain  30 % [20, 40]",
        "  kind is preferred to list: 60 % [50, 70], p 0.010",
        "  not shown which of list and plain is preferred: 60 % [50, 70], p 0.20",
    ]


def test_it_keeps_to_a_narrow_terminal() -> None:
    assert all(len(line.plain) <= 40 for line in ranking_lines([RANKING], VARIANTS, 40))
    assert list(ranking_lines([], VARIANTS, 80)) == []
