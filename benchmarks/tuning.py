"""What `tune` is worth: each part measures, prints what is promised beside it, and ends with 1 where that is not held.

    python benchmarks/tuning.py simulate [--seeds 24] [--tunings 1000] [--spaces 200]
    python benchmarks/tuning.py stack [--races 100]
    python benchmarks/tuning.py embedded --data DIR [--seeds 3] [--confirm 300] [--optimizers race,miprov2,gepa]

`simulate`: the race, the screen and the verdict as functions of an array of answers whose truth is known, and warm
starts against cold ones.
`stack`: races through a project, its rendered requests and its store, against the same over arrays, and their cost.
`embedded`: our search and DSPy's on a real model, from a plain prompt. DIR has `train.jsonl` and `dev.jsonl`: rows
of `text` and `label` (positive, negative). Replies and cells are kept in `--keep DIR`, from which it goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CALLS = {"race": 231}
DSPY_CALLS = 692
"""What MIPROv2's light setting takes; ours has a third of it."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the parts."""
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = whole.add_subparsers(dest="part", required=True)
    simulate = parts.add_parser("simulate")
    simulate.add_argument("--seeds", type=int, default=24, help="of each of the 168 settings")
    simulate.add_argument("--tunings", type=int, default=1_000, help="of each field with a verdict")
    simulate.add_argument("--spaces", type=int, default=200)
    stack = parts.add_parser("stack")
    stack.add_argument("--races", type=int, default=100, help="of all kinds; a fifth as many searches")
    embedded = parts.add_parser("embedded")
    embedded.add_argument("--data", type=Path, required=True)
    embedded.add_argument("--model", default="embedded/smollm2")
    embedded.add_argument("--seeds", type=int, default=3)
    embedded.add_argument("--confirm", type=int, default=300, help="rows to confirm on")
    embedded.add_argument("--optimizers", default="race,miprov2,gepa")
    embedded.add_argument("--keep", type=Path)
    return whole


def main() -> None:
    """Run one part."""
    options = parser().parse_args()
    sys.path.insert(0, str(ROOT))
    if options.part == "simulate":
        from tuning_simulated import simulate

        held = simulate(options.seeds, options.tunings, options.spaces)
    elif options.part == "stack":
        from tuning_stack import stack

        held = stack(options.races)
    else:
        from tuning_embedded import embedded

        calls = {name: CALLS.get(name, DSPY_CALLS) for name in options.optimizers.split(",")}
        held = embedded(options.data, options.model, options.seeds, options.confirm, calls, options.keep)
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
