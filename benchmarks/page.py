"""The HTML page of a run: what writing it takes, how large it is, and when Chromium shows its table of rows.

    python benchmarks/page.py [--rows 10000] [--words 40] [--out FILE]

The run is made up: three variants, each cell with a trace of one or two calls. Its page is written to a temporary
file, opened in a Chromium without a window, and used: seconds until the list is on the screen, counted by the browser
from the start of the navigation, then a search, and a row opened with its trace. Bound: the list within 2 s. Memory is
the process's peak, over what it held before.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOUND = 2.0
SEARCH = """(async () => {
  const start = performance.now(), search = document.getElementById("search");
  search.value = "number 00777";
  search.dispatchEvent(new Event("input", {bubbles: true}));
  await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  return performance.now() - start;
})()"""
OPEN = """(async () => {
  const start = performance.now();
  document.querySelector("button.open").click();
  while (!document.querySelector(".detail")) await new Promise((resolve) => setTimeout(resolve));
  return performance.now() - start;
})()"""


def peak() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def write(path: Path, rows: int, words: int) -> None:
    """Write the page and print what it took, and what making up the run alone takes."""
    from promptkit.evaluation.record import EvalRecord
    from promptkit.reports.page.write import write_page
    from tests.reports.demo_view import DemoView

    view = DemoView(rows=rows, words=words)
    # The record of all rows would take memory that is not the page's.
    record = EvalRecord.model_validate(DemoView(rows=200).record)
    start = time.perf_counter()
    for cell in view.cells():
        view.trace(cell.cell)
    made_up = time.perf_counter() - start
    before, start = peak(), time.perf_counter()
    write_page(view, record, path)
    seconds, size = time.perf_counter() - start, path.stat().st_size
    print(f"written in {seconds:.2f} s, of which the made-up run itself is {made_up:.2f} s")
    print(
        f"{size / 1e6:.1f} MB for {rows * len(view.variants):,} cells; {peak() - before:.0f} MB more memory at its peak"
    )


async def show(path: Path) -> float:
    """Open the page, use it, print the times; return the seconds until its list shows."""
    from tests.reports.chromium import chromium

    async with chromium() as tab:
        await tab.open(path)
        shown = float(await tab.run("document.documentElement.dataset.ready")) / 1000
        print(f"the list shows after {shown:.2f} s")
        print(f"a search takes {await tab.run(SEARCH):.0f} ms, the next {await tab.run(SEARCH):.0f} ms")
        print(f"a row opens with its trace in {await tab.run(OPEN):.0f} ms")
        if tab.complaints:
            raise SystemExit(f"the page complains: {tab.complaints}")
    return shown


def main() -> None:
    """Write the page, show it, and end with 1 where the bound is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--words", type=int, default=40, help="words in a row beyond its sentence")
    parser.add_argument("--out", type=Path, help="keep the page here")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        path = (options.out or Path(folder) / "page.html").absolute()
        write(path, options.rows, options.words)
        shown = asyncio.run(show(path))
    print(f"bound: {BOUND} s, {'held' if shown <= BOUND else 'passed'}")
    raise SystemExit(0 if shown <= BOUND else 1)


if __name__ == "__main__":
    main()
