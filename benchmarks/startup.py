"""How long `promptkit --help` and `--version` take, against `python -c pass`, and what they import.

    python benchmarks/startup.py [--repeat 20]

The same interpreter runs all sides in turn, each a process of its own; medians by the clock and by CPU. `promptkit` is
started as its installed script starts it. Bound: 10 times `python -c pass`, by CPU as by the clock. What is imported
is read from `-X importtime` in a run of its own.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from statistics import median

BOUND = 10.0
HEAVY = (
    "aiohttp",
    "httpx",
    "huggingface_hub",
    "jinja2",
    "numpy",
    "ollama",
    "pydantic",
    "rich",
    "stamina",
    "watchfiles",
    "xllamacpp",
    "yaml",
)
SCRIPT = "import sys; from promptkit.cli.main import main; sys.argv = ['promptkit', {!r}]; main()"
SIDES = {
    "python -c pass": "pass",
    "promptkit --help": SCRIPT.format("--help"),
    "promptkit --version": SCRIPT.format("--version"),
}
IMPORTED = re.compile(r"import time:\s+\d+ \|\s+(\d+) \|\s*(\S+)")


@dataclass
class Spent:
    """What the runs of one side took, in milliseconds."""

    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, code: str) -> None:
        """Start a process once and note what it took."""
        cpu, clock = _children(), time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        self.clock.append(1000 * (time.perf_counter() - clock))
        self.cpu.append(1000 * (_children() - cpu))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def imported(code: str) -> dict[str, int]:
    """Return the top-level packages that a side imports, with the microseconds that each took with all it needs."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    found = [match.groups() for match in map(IMPORTED.match, lines) if match]
    return {name: int(took) for took, name in found if "." not in name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=20, help="runs of each side")
    repeat = parser.parse_args().repeat
    spent = {name: Spent() for name in SIDES}
    for code in SIDES.values():  # once unmeasured: byte code is written, files come into memory
        Spent().run(code)
    for _ in range(repeat):
        for name, code in SIDES.items():
            spent[name].run(code)
    base = spent["python -c pass"]
    print(f"{'side':22}{'CPU ms':>9}{'ratio':>8}{'wall ms':>10}{'ratio':>8}   (medians of {repeat}; bound {BOUND:g})")
    for name, took in spent.items():
        cpu, clock = median(took.cpu), median(took.clock)
        print(f"{name:22}{cpu:9.1f}{cpu / median(base.cpu):8.2f}{clock:10.1f}{clock / median(base.clock):8.2f}")
    own = {name: imported(code) for name, code in SIDES.items()}
    for name in list(SIDES)[1:]:
        added = own[name].keys() - own["python -c pass"].keys()
        heavy = [package for package in HEAVY if package in added]
        slowest = sorted(added, key=own[name].__getitem__, reverse=True)[:6]
        print(f"\n{name} imports {len(added)} top-level modules; of the heavy ones: {', '.join(heavy) or 'none'}")
        print("  the slowest, in ms: " + ", ".join(f"{each} {own[name][each] / 1000:.1f}" for each in slowest))


if __name__ == "__main__":
    main()
