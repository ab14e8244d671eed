"""What `tune` is worth: each part measures, prints what is promised beside it, and ends with 1 where that is not held.

    python benchmarks/tuning.py simulate [--seeds 24] [--tunings 1000] [--spaces 200] [--landscapes 48]
    python benchmarks/tuning.py minimal [--spaces 200]
    python benchmarks/tuning.py stack [--races 100]
    python benchmarks/tuning.py budgets
    python benchmarks/tuning.py embedded --data DIR [--task sst2] [--model embedded/smollm2] [--calls 240] [--seeds 5]
        [--rows 200] [--unseen 200] [--optimizers race,miprov2] [--keep DIR]

`simulate`: the race, the screen and the verdict as functions of an array of answers whose truth is known, and warm
starts against cold ones.
`budgets`: tunings on a scripted model whose pick costs 1 to 6 times the start: none ends without a verdict.
`minimal`: which changes of a pick backward elimination takes back, over the same kind of answers.
`stack`: races through a project, its rendered requests and its store, against the same over arrays, and their cost.
`embedded`: our search and DSPy's on a real model, from a plain prompt with the default cue, at equal calls for the
search, and on rows that no tuning has. The data folder holds `sst2/` and `gsm8k/` with `train.jsonl` and `dev.jsonl`,
and `wtq/dev.jsonl`; the expressions of `boolean` are made here. Each finished tuning is appended to `tunings.jsonl` in
`--keep`; the same command goes on from there, also in the middle of a tuning.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("sst2", "boolean", "gsm8k", "wtq")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the parts."""
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = whole.add_subparsers(dest="part", required=True)
    simulate = parts.add_parser("simulate")
    simulate.add_argument("--seeds", type=int, default=24, help="of each of the 168 settings")
    simulate.add_argument("--tunings", type=int, default=1_000, help="of each field with a verdict")
    simulate.add_argument("--spaces", type=int, default=200)
    simulate.add_argument("--landscapes", type=int, default=48, help="spaces of each landscape")
    minimal = parts.add_parser("minimal")
    minimal.add_argument("--spaces", type=int, default=200)
    stack = parts.add_parser("stack")
    stack.add_argument("--races", type=int, default=100, help="of all kinds; a fifth as many searches")
    parts.add_parser("budgets")
    embedded = parts.add_parser("embedded")
    embedded.add_argument("--data", type=Path, help="the folder of public sets; `boolean` needs none")
    embedded.add_argument("--task", choices=TASKS, default=TASKS[0])
    embedded.add_argument("--model", default="embedded/smollm2")
    embedded.add_argument("--seeds", type=int, default=5)
    embedded.add_argument("--rows", type=int, default=200, help="rows of the suite, to search and to confirm on")
    embedded.add_argument("--unseen", type=int, default=200, help="rows to measure on that no tuning has")
    embedded.add_argument("--calls", type=int, default=240, help="of each search; the confirmation has its own besides")
    embedded.add_argument("--optimizers", default="race,miprov2")
    embedded.add_argument("--keep", type=Path)
    return whole


def main() -> None:
    """Run one part."""
    options = parser().parse_args()
    if options.part == "embedded" and options.seeds < 1:
        raise SystemExit("--seeds: at least 1")
    sys.path.insert(0, str(ROOT))
    if options.part == "simulate":
        from tuning_simulated import simulate

        held = simulate(options.seeds, options.tunings, options.spaces, options.landscapes)
    elif options.part == "budgets":
        from tuning_budgets import budgets

        held = budgets()
    elif options.part == "minimal":
        from tuning_minimal import minimal

        held = minimal(options.spaces)
    elif options.part == "stack":
        from tuning_stack import stack

        held = stack(options.races)
    else:
        from tuning_embedded import embedded

        held = embedded(options)
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
