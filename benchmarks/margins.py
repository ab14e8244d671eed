"""How often a comparison with a margin is wrong, and how often it shows what is true: simulated paired 0/1 rows.

    python benchmarks/margins.py --runs 4000

Each setting has so many rows, of which a share differs. In one half of the runs the first variant loses as much as the
margin, where `no worse` is wrong; in the other half the two are equal, where it is right.
"""

from __future__ import annotations

import argparse
from functools import cache

import numpy as np

from promptkit.evaluation.statistics.interval import Interval
from promptkit.evaluation.statistics.paired import tango
from promptkit.evaluation.verdicts import verdict_of

SETTINGS = ((0.2, 0.05, 200), (0.2, 0.05, 630), (0.1, 0.02, 500), (0.1, 0.02, 1965), (0.3, 0.1, 100))
"""The share of rows that differ, the margin, and the number of rows."""
INTERVALS = cache(tango)


def share_no_worse(differing: float, loss: float, margin: float, rows: int, runs: int) -> float:
    """Return the share of runs in which the first variant is shown to be no worse, at a true loss."""
    draws = np.random.default_rng(0).multinomial(
        rows, [(differing - loss) / 2, (differing + loss) / 2, 1 - differing], size=runs
    )
    shown = 0
    for better, worse, _ in draws:
        found: Interval = INTERVALS(int(better), int(worse), rows)
        verdict = verdict_of(found.low, found.high, higher_is_better=True, margin=margin)
        shown += verdict in ("better", "equivalent", "no worse")
    return shown / runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000)
    runs = parser.parse_args().runs
    print("differ  margin  rows   no worse at a loss of the margin   no worse where equal")
    for differing, margin, rows in SETTINGS:
        wrong, right = (share_no_worse(differing, loss, margin, rows, runs) for loss in (margin, 0.0))
        print(f"{differing:>6.0%}  {margin:>6.0%}  {rows:>4,}  {wrong:>32.1%}   {right:>20.1%}")


if __name__ == "__main__":
    main()
