"""Rankings of a run's variants, from comparisons of each two of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.cells.pair_scoring import PairOutcomes
from promptkit.evaluation.metrics.estimation import FEW_CLUSTERS, finite
from promptkit.evaluation.metrics.pairwise import LEAST_CONSISTENT
from promptkit.evaluation.record import RankedPair, RankedVariant, RankingRecord
from promptkit.evaluation.statistics.multiple_comparisons import holm
from promptkit.evaluation.statistics.ranking import Ranking, bradley_terry
from promptkit.evaluation.summary import family_level


def rankings(
    outcomes: Mapping[str, PairOutcomes], variants: Sequence[str], clusters: NDArray[np.int64] | None
) -> Iterator[RankingRecord]:
    """Yield the ranking by each metric that compared all pairs. Without `clusters` each row is one."""
    for metric, found in outcomes.items():
        if len(variants) < 2 or not found.scores:
            continue
        rows = np.array(found.rows, dtype=np.int64)
        units = rows if clusters is None else clusters[rows]
        scores = np.array(found.scores)
        ranking = bradley_terry(found.second, found.first, scores, units, variants=len(variants))
        yield RankingRecord(
            metric=metric,
            variants=[_ranked(ranking, place, variants[place]) for place in ranking.order],
            pairs=_pairs(ranking, variants) if _is_comparable(found) else [],
            clusters=ranking.clusters,
            unscored=found.unscored,
            notes=list(_notes(found, ranking)),
        )


def _ranked(ranking: Ranking, place: int, name: str) -> RankedVariant:
    found = ranking.strength(place)
    return RankedVariant(
        variant=name,
        strength=found.strength,
        low=finite(found.low),
        high=finite(found.high),
        wins=found.wins,
        wins_low=found.wins_low,
        wins_high=found.wins_high,
        n=found.n,
    )


def _pairs(ranking: Ranking, variants: Sequence[str]) -> list[RankedPair]:
    """Return each two variants, the stronger one first."""
    places = list(combinations(ranking.order, 2))
    level = family_level(len(places))
    found = [ranking.difference(a, b, level=level) for a, b in places]
    return [
        RankedPair(
            a=variants[a],
            b=variants[b],
            wins=pair.wins,
            low=pair.wins_low,
            high=pair.wins_high,
            p=pair.p,
            adjusted=adjusted,
        )
        for (a, b), pair, adjusted in zip(places, found, holm([pair.p for pair in found]), strict=True)
    ]


def _is_comparable(found: PairOutcomes) -> bool:
    """Tell whether verdicts on two variants hold: each pair has a score, and the order of the answers decides few."""
    return not found.unscored and found.consistent >= LEAST_CONSISTENT * found.asked


def _notes(found: PairOutcomes, ranking: Ranking) -> Iterator[str]:
    if found.consistent < LEAST_CONSISTENT * found.asked:
        share = found.consistent / found.asked
        yield (
            f"in only {share:.0%} of pairs the verdict is the same in both orders: the ranking is not reliable, and no "
            "two variants are compared"
        )
    if found.unscored:
        yield f"{found.unscored} pairs have no verdict, and are left out: no two variants are compared"
    if not ranking.connected:
        yield "some variants were never compared, not even by way of others: their order means nothing"
    if ranking.clusters < FEW_CLUSTERS:
        yield f"only {ranking.clusters} independent rows: the intervals are not reliable"
