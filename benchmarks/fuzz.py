"""Read thousands of fuzzed files as the verbs do: each must be taken, or refused with an error of promptkit's own.

    python benchmarks/fuzz.py --files 10000 [--kind pipeline] [--seed N] [--into FOLDER] [--jobs 2]
    python benchmarks/fuzz.py --every [--kind suite] …

The generators are those of the tests (`tests/fuzz`): real files of every kind with bytes cut out, doubled and put in,
or one value replaced by an odd one. `--every` puts each odd value in the place of each value of the files that say all
that they may. A traceback, more than 5 s of CPU or more than 500 MB is a failure: it is printed
with its kind and the exception's place, and the file is kept in FOLDER. A reader that hangs outside of Python is ended
after a minute. Prints the seed first, then a line a kind; ends with 1 where a file failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection, wait
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from promptkit.errors import PromptkitError  # noqa: E402
from tests.fuzz.kinds import KINDS, Place  # noqa: E402
from tests.fuzz.limits import Limit, limited  # noqa: E402
from tests.fuzz.mutate import ODD, mutated, odd_files  # noqa: E402

HANGS_AFTER_SECONDS = 60
SHOWN = 3
"""So many frames of a traceback are printed."""


@dataclass(frozen=True)
class Cases:
    """The files that are read, by number: drawn ones, or each odd value in each place."""

    seed: int
    kinds: list[str]
    every: bool = False

    def kind(self, number: int) -> str:
        return self._odd[number // len(ODD)][0] if self.every else self.kinds[number % len(self.kinds)]

    def content(self, number: int) -> bytes:
        """Return the file of that number, the same for the same seed."""
        if self.every:
            return self._odd[number // len(ODD)][1](ODD[number % len(ODD)])
        kind = self.kind(number)
        chance = random.Random(f"{self.seed} {kind} {number}")
        return mutated(chance, chance.choice(KINDS[kind].real()))

    def all_of_them(self) -> int:
        """Return how many there are where each is read."""
        return len(self._odd) * len(ODD)

    @cached_property
    def _odd(self) -> list[tuple[str, Callable[[str], bytes]]]:
        found: list[tuple[str, Callable[[str], bytes]]] = []
        for kind in self.kinds:
            with suppress(ValueError):
                found += [(kind, file_with) for file_with in odd_files(KINDS[kind].real()[0])]
        return found


def outcome(place: Place, kind: str, data: bytes) -> str:
    """Return `taken`, `refused`, or what went wrong."""
    try:
        with limited():
            place.read(KINDS[kind], data)
    except PromptkitError:
        return "refused"
    except Limit as limit:
        return f"failed: {limit}"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[-SHOWN:]
        places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        return f"failed: {type(error).__name__}: {str(error)[:200]} ({places})"
    return "taken"


def work(connection: Connection, cases: Cases, numbers: list[int]) -> None:
    """Read the files of these numbers, and send of each that it begins, and what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        for number in numbers:
            connection.send((number, None))
            connection.send((number, outcome(place, cases.kind(number), cases.content(number))))
    connection.close()


def outcomes(cases: Cases, files: int, jobs: int) -> Iterator[tuple[int, str]]:
    """Yield what came of each file, read in processes; one that hangs or dies is ended, and others go on after it."""
    context = multiprocessing.get_context("spawn")
    waiting = [list(range(job, files, jobs)) for job in range(jobs)]
    running: dict[Connection, tuple[multiprocessing.process.BaseProcess, list[int]]] = {}
    while waiting or running:
        while waiting:
            numbers = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(theirs, cases, numbers))
            process.start()
            theirs.close()
            running[ours] = (process, numbers)
        ready = wait(list(running), timeout=HANGS_AFTER_SECONDS)
        for connection in [each for each in running if each in ready or not ready]:
            process, numbers = running[connection]
            try:
                if not ready:
                    raise EOFError
                number, found = connection.recv()
            except EOFError:
                process.kill()
                process.join()
                del running[connection]
                if numbers:
                    yield numbers[0], f"failed: it hangs, or ended the process ({process.exitcode})"
                    waiting.append(numbers[1:])
                continue
            if found is not None:
                numbers.remove(number)
                yield number, found


def main(options: argparse.Namespace) -> int:
    """Read so many files, print what came of them, and return how many failed."""
    kinds = [options.kind] if options.kind else list(KINDS)
    print(f"seed {options.seed}", flush=True)
    cases = Cases(options.seed, kinds, options.every)
    counts: Counter[tuple[str, str]] = Counter()
    for number, found in outcomes(cases, cases.all_of_them() if options.every else options.files, options.jobs):
        kind, (came, _, what) = cases.kind(number), found.partition(": ")
        counts[kind, came] += 1
        if came == "failed":
            options.into.mkdir(parents=True, exist_ok=True)
            file = options.into / f"{re.sub('[^a-zA-Z]+', '-', kind)}-{number}{Path(KINDS[kind].path).suffix}"
            file.write_bytes(cases.content(number))
            print(f"{kind}: {what}\n  {file}", flush=True)
    print(f"{'kind':<22}{'files':>8}{'taken':>8}{'refused':>9}{'failed':>8}")
    for name in [*kinds, "all"]:
        of = [sum(counts[kind, came] for kind in kinds if name in (kind, "all")) for came in OUTCOMES]
        print(f"{name:<22}{sum(of):>8}{of[0]:>8}{of[1]:>9}{of[2]:>8}")
    return sum(counts[kind, "failed"] for kind in kinds)


OUTCOMES = ("taken", "refused", "failed")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--every", action="store_true", help="each odd value in each place, instead of drawn files")
    parser.add_argument("--kind", choices=KINDS, help="files of this kind alone")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--into", type=Path, default=Path("fuzz-failures"), help="the folder for files that failed")
    sys.exit(1 if main(parser.parse_args()) else 0)
