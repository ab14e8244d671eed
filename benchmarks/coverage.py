"""How often 95 % intervals hold the truth, where labels correct a judge, clusters are unequal, or variants are ranked.

    python benchmarks/coverage.py [--runs 400] [--part means,chosen,differences,clusters,ranking]

Each line is a setting: the share of runs whose lower end is above the truth and whose upper end is below it, the
coverage, and the mean width, beside the same of a simpler interval. Ends with 1 where a bound printed with the table is
not held. Deterministic by `--seed`. No model and no network.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from promptkit.evaluation.statistics.interval import bounded_mean, wilson
from promptkit.evaluation.statistics.paired import paired_binary
from promptkit.evaluation.statistics.prediction_powered import JudgedCells, corrected_difference, corrected_mean
from promptkit.evaluation.statistics.ranking import bradley_terry

Floats = NDArray[np.float64]
Ends = tuple[float, float]
Draw = Callable[[np.random.Generator], tuple[Ends, Ends]]
"""One run: the ends of the interval, and those of the one that it is compared with."""
NOISE = 3.0
"""The standard errors of a share by which a bound may be missed."""


@dataclass
class Tally:
    """Counts of runs of one interval."""

    above: int = 0
    below: int = 0
    width: float = 0.0

    def add(self, ends: Ends, truth: float) -> None:
        """Count a run. An infinite end counts as 99 in the width."""
        self.above += ends[0] > truth + 1e-9
        self.below += ends[1] < truth - 1e-9
        self.width += min(ends[1], 99.0) - max(ends[0], -99.0)


@dataclass
class Table:
    """Lines of a part, and the lowest coverage, mean coverage and highest relative width over its settings."""

    name: str
    compared: str
    runs: int
    seed: int
    covered: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    above: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)

    def setting(self, label: str, truth: float, draw: Draw) -> None:
        """Run one setting and print its line."""
        generator = np.random.default_rng([self.seed, len(self.covered)])
        ours, other = Tally(), Tally()
        for _ in range(self.runs):
            one, two = draw(generator)
            ours.add(one, truth)
            other.add(two, truth)
        low, high, beside = (100 * count / self.runs for count in (ours.above, ours.below, other.above + other.below))
        self.covered.append(100 - low - high)
        self.others.append(100 - beside)
        self.above.append(low)
        self.widths.append(ours.width / other.width)
        print(
            f"{label:44} {low:5.1f} {high:5.1f} {100 - low - high:6.1f} %  {ours.width / self.runs:.3f}"
            f"   {self.compared} {100 - beside:5.1f} %  {other.width / self.runs:.3f}",
            flush=True,
        )

    def summary(self) -> None:
        """Print what holds over all settings."""
        print(
            f"{self.name}: mean {np.mean(self.covered):.1f} %, lowest {min(self.covered):.1f} %"
            f" ({self.compared}: mean {np.mean(self.others):.1f} %, lowest {min(self.others):.1f} %);"
            f" width {np.mean(self.widths):.2f} of theirs, at most {max(self.widths):.2f};"
            f" lower end above the truth in at most {max(self.above):.1f} %\n",
            flush=True,
        )

    def holds(self, bound: float, *, below: list[float]) -> bool:
        """Tell whether no figure of `below` is above a bound in percent by more than noise."""
        noise = NOISE * 100 * math.sqrt(bound / 100 * (1 - bound / 100) / self.runs)
        return max(below) <= bound + noise


def judge_of(generator: np.random.Generator, labels: Floats, right: float) -> Floats:
    """Return a judge's 0/1 scores, right in this share."""
    return np.where(generator.random(len(labels)) < right, labels, 1 - labels)


def first(labels: Floats, labelled: int) -> Floats:
    """Return labels of the first rows, NaN for the others."""
    return np.where(np.arange(len(labels)) < labelled, labels, np.nan)


def means(runs: int, seed: int) -> bool:
    """Means of labels, by the share of labelled rows and how good the judge is."""
    table = Table("means", "labels alone", runs, seed)
    shares = [(2, 200), (5, 200), (10, 200), (20, 200), (50, 200), (50, 2000), (100, 200), (190, 200), (198, 200)]
    for rate, (labelled, rows), right in product((0.5, 0.7, 0.9, 0.95), shares, (0.55, 0.7, 0.85, 0.95, 1.0)):

        def draw(
            generator: np.random.Generator,
            rate: float = rate,
            labelled: int = labelled,
            rows: int = rows,
            right: float = right,
        ) -> tuple[Ends, Ends]:
            labels = (generator.random(rows) < rate).astype(float)
            cells = JudgedCells(judge_of(generator, labels, right), first(labels, labelled))
            found = corrected_mean(cells, np.arange(rows), binary=True)
            return (found.low, found.high), wilson(int(labels[:labelled].sum()), labelled)

        table.setting(f"{labelled} of {rows} labelled, mean {rate}, judge {right}", rate, draw)
    table.summary()
    return max(table.widths) <= 1.02 and float(np.mean(table.covered)) >= 94.0


def chosen(runs: int, seed: int) -> bool:
    """Means where labels were chosen for the rows in which the judge is unsure, and others drawn at random."""
    table = Table("chosen labels", "taken as random", runs, seed)
    counts = [(5, 5), (20, 20), (50, 10), (50, 50), (20, 100), (2, 190), (90, 100)]
    for rate, (at_random, unsure), right in product((0.5, 0.7, 0.9), counts, (0.6, 0.85, 1.0)):

        def draw(
            generator: np.random.Generator,
            rate: float = rate,
            at_random: int = at_random,
            unsure: int = unsure,
            right: float = right,
        ) -> tuple[Ends, Ends]:
            rows = np.arange(200)
            labels, sure = (generator.random(200) < rate).astype(float), generator.random(200)
            verdict = judge_of(generator, labels, 1.0)
            wrong = generator.random(200) > np.minimum(1, 0.5 + (2 * right - 1) * sure) if right < 1 else rows < 0
            scores = 0.5 + (np.where(wrong, 1 - verdict, verdict) - 0.5) * sure
            picked = np.argsort(sure)[:unsure]
            others = generator.permutation(np.setdiff1d(rows, picked))[:at_random]
            known = np.isin(rows, picked) | np.isin(rows, others)
            given = np.where(known, labels, np.nan)
            found = corrected_mean(JudgedCells(scores, given, np.isin(rows, others)), rows, binary=True)
            blind = corrected_mean(JudgedCells(scores, given), rows, binary=True)
            return (found.low, found.high), (blind.low, blind.high)

        table.setting(f"{at_random} random, {unsure} chosen, mean {rate}, judge {right}", rate, draw)
    table.summary()
    return float(np.mean(table.covered)) >= 94.0


def differences(runs: int, seed: int) -> bool:
    """Paired differences, with labels of both answers of a row, or of one of them only."""
    table = Table("differences", "labelled pairs alone", runs, seed)
    for (a, b), labelled, right, same in product(
        ((0.7, 0.7), (0.7, 0.6), (0.95, 0.9)), (5, 20, 50, 100, 198), (0.55, 0.85, 1.0), (True, False)
    ):

        def draw(
            generator: np.random.Generator,
            a: float = a,
            b: float = b,
            labelled: int = labelled,
            right: float = right,
            same: bool = same,
        ) -> tuple[Ends, Ends]:
            hard = generator.random(200)
            ours = (hard < a).astype(float)
            theirs = (np.where(generator.random(200) < 0.8, hard, generator.random(200)) < b).astype(float)
            known = first(theirs, labelled) if same else first(theirs[::-1], labelled)[::-1]
            cells = (
                JudgedCells(judge_of(generator, ours, right), first(ours, labelled)),
                JudgedCells(judge_of(generator, theirs, right), known),
            )
            found = corrected_difference(*cells, np.arange(200), binary=True)
            alone = paired_binary(ours[:labelled], theirs[:labelled])
            return (found.low, found.high), (alone.low, alone.high)

        of = "the same rows" if same else "other rows"
        table.setting(f"{labelled} of {of}, means {a} and {b}, judge {right}", a - b, draw)
    table.summary()
    return min(table.covered) >= 92.0


def unequal(
    generator: np.random.Generator, groups: int, rate: float, spread: float, alike: float
) -> tuple[Floats, Floats]:
    """Return 0/1 cells and their clusters, of log-normal sizes (equal where `spread` is 0), correlated within."""
    sizes = np.clip(np.round(np.exp(generator.normal(1.3, spread, groups))), 1, 40).astype(int)
    sizes = sizes if spread else np.full(groups, 5)
    rates = generator.beta(rate * (1 / alike - 1), (1 - rate) * (1 / alike - 1), groups)
    codes = np.repeat(np.arange(groups), sizes)
    return (generator.random(len(codes)) < rates[codes]).astype(float), codes.astype(float)


def clusters(runs: int, seed: int) -> bool:
    """Rates near 1 of clusters of equal and of unequal sizes."""
    table = Table("clusters", "rows as independent", runs, seed)
    for spread, groups, rate in product((0.0, 0.9, 1.2), (30, 50, 100), (0.5, 0.9, 0.95, 0.97, 0.99)):

        def draw(
            generator: np.random.Generator, spread: float = spread, groups: int = groups, rate: float = rate
        ) -> tuple[Ends, Ends]:
            cells, codes = unequal(generator, groups, rate, spread, 0.3)
            found = bounded_mean(cells, codes, binary=True)
            return (found.low, found.high), wilson(int(cells.sum()), len(cells))

        sizes = f"sizes log-normal {spread}" if spread else "of 5 each"
        table.setting(f"{groups} clusters {sizes}, rate {rate}", rate, draw)
    table.summary()
    return table.holds(4.0, below=table.above)


def rankings(runs: int, seed: int) -> bool:
    """Differences of the strengths of the first and the last variant, all pairs on each row."""
    table = Table("ranking", "wins of the two alone", runs, seed)
    fields = ([0.0, 0.0, 0.0], [1.0, 0.0, -1.0], [3.0, 0.0, -1.0], [0.0] * 5, [3.0, 0.0, 0.0, 0.0, -1.0])
    for strengths, rows, ties in product(fields, (20, 50, 200), (0.0, 0.5)):

        def draw(
            generator: np.random.Generator, strengths: list[float] = strengths, rows: int = rows, ties: float = ties
        ) -> tuple[Ends, Ends]:
            one, two = np.array(list(combinations(range(len(strengths)), 2))).T
            chances = 1 / (1 + np.exp(np.array(strengths)[two] - np.array(strengths)[one]))
            tie, luck = ties * 4 * chances * (1 - chances), generator.random((rows, len(one)))
            score = np.where(luck < chances - tie / 2, 1.0, np.where(luck < chances + tie / 2, 0.5, 0.0))
            row = np.repeat(np.arange(rows), len(one))
            size = len(strengths)
            ranking = bradley_terry(np.tile(one, rows), np.tile(two, rows), score.ravel(), row, variants=size)
            direct = score[:, (one == 0) & (two == size - 1)][:, 0]
            pair = bradley_terry(np.zeros(rows, int), np.ones(rows, int), direct, np.arange(rows), variants=2)
            found, alone = ranking.difference(0, size - 1), pair.difference(0, 1)
            return (found.low, found.high), (alone.low, alone.high)

        label = f"{rows} rows, strengths {' '.join(f'{value:g}' for value in strengths)}"
        table.setting(f"{label}{', ties' if ties else ''}", strengths[0] - strengths[-1], draw)
    table.summary()
    return min(table.covered) >= 92.0


PARTS = {"means": means, "chosen": chosen, "differences": differences, "clusters": clusters, "ranking": rankings}


def parts(text: str) -> Iterator[str]:
    """Yield the named parts. Raises ArgumentTypeError for others."""
    for name in text.split(","):
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(PARTS)}")
        yield name


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="of each setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", type=lambda text: list(parts(text)), default=list(PARTS))
    options = parser.parse_args()
    held = True
    for name in options.part:
        print(f"{name}: {PARTS[name].__doc__}")
        print(f"{'':44}   low  high  covers  width")
        held &= PARTS[name](options.runs, options.seed)
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
