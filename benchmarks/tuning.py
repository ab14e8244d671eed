"""What `tune` is worth: each part measures, prints what is promised beside it, and ends with 1 where that is not held.

    python benchmarks/tuning.py simulate [--seeds 24] [--tunings 1000] [--spaces 200]

`simulate`: the race, the screen and the verdict as functions of an array of answers whose truth is known.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the parts."""
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = whole.add_subparsers(dest="part", required=True)
    simulate = parts.add_parser("simulate")
    simulate.add_argument("--seeds", type=int, default=24, help="of each of the 168 settings")
    simulate.add_argument("--tunings", type=int, default=1_000, help="of each field with a verdict")
    simulate.add_argument("--spaces", type=int, default=200)
    return whole


def main() -> None:
    """Run one part."""
    options = parser().parse_args()
    sys.path.insert(0, str(ROOT))
    from tuning_simulated import simulate

    raise SystemExit(0 if simulate(options.seeds, options.tunings, options.spaces) else 1)


if __name__ == "__main__":
    main()
