"""`promptkit try --watch`: from a save to the first request at the server, and which requests a save causes.

    python benchmarks/watch.py [--saves 40] [--cases 3]

A pipeline of two steps, each with a prompt of its own, is watched in a process of its own, in front of a loopback
server. One step's prompt is saved again and again, in turn written in place and renamed over (as vim and VS Code do).
Beside it, in the same run and on the same saves, the other side: a bare `watchfiles.awatch` with the same grouping
that sends one request by aiohttp for each change. Nothing is subtracted: the watcher's own waiting is in both.

Bound: 150 ms from save to first request. At the server's count, each save may cause one request a case, all of the
step that was changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from server import MODEL, Server, ollama_server

from promptkit.cli.try_ import DEBOUNCE_MS, QUIET_MS

BOUND_MS = 150
BARE = "bare"
PIPELINE = """\
name: reviews
inputs:
  text: {type: text, example: A fine film.}
steps:
  mood: {prompt: mood}
  topic: {prompt: topic}
output: {mood: "{{ mood }}", topic: "{{ topic }}"}
cases:
"""
PROMPT = "{{% block instructions %}}What is the {step} of this review? ({edit}){{% endblock %}}\n" + (
    "{{% block input %}}{{{{ text }}}}{{% endblock %}}\n"
)


def write_project(folder: Path, cases: int) -> None:
    """Write a project of one pipeline, two prompts and so many cases."""
    (folder / "pipelines").mkdir()
    (folder / "templates" / "prompts").mkdir(parents=True)
    (folder / "promptkit.yaml").write_text(f"model: ollama/{MODEL}\n", encoding="utf-8")
    listed = "".join(f"  - {{name: case {number}, inputs: {{text: Review {number}.}}}}\n" for number in range(cases))
    (folder / "pipelines" / "reviews.yaml").write_text(PIPELINE + listed, encoding="utf-8")
    for step in ("mood", "topic"):
        prompt_file(folder, step).write_text(PROMPT.format(step=step, edit="first"), encoding="utf-8")


def prompt_file(folder: Path, step: str) -> Path:
    return folder / "templates" / "prompts" / f"{step}.j2"


def save(file: Path, text: str, *, by_renaming: bool) -> float:
    """Save a file as an editor does and return when it was done."""
    if by_renaming:
        beside = file.with_suffix(".j2~")
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, file)
    else:
        file.write_text(text, encoding="utf-8")
    return time.time()


@contextmanager
def running(command: Sequence[str], folder: Path, server: Server) -> Iterator[subprocess.Popen[str]]:
    """Run a side in a process of its own for as long as the block lasts."""
    environment = {**os.environ, "OLLAMA_HOST": server.url}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


async def bare(folder: Path, url: str) -> None:
    """The other side: one request for each change that watchfiles tells of."""
    import aiohttp
    from watchfiles import awatch

    async with aiohttp.ClientSession(base_url=url, raise_for_status=True) as client:

        async def ask(text: str) -> None:
            body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "stream": False}
            async with client.post("/api/chat", json=body) as response:
                await response.read()

        await ask("warm up")
        print("ready", flush=True)
        async for _ in awatch(folder, debounce=DEBOUNCE_MS, step=QUIET_MS, recursive=False):
            await ask(BARE)


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a side prints: it is done with a save."""
    assert process.stdout is not None
    text = process.stdout.readline()
    if not text:
        raise SystemExit("a side has ended")
    return text


def waited(server: Server, saved: float, edit: int, cases: int) -> dict[str, float]:
    """Return how long after a save each side's first request came, in ms, and check what was asked."""
    since = [(came, text) for came, text in server.log() if came > saved]
    ours = [(came, text) for came, text in since if text != BARE]
    if len(ours) != cases or any(f"What is the mood of this review? ({edit})" not in text for _, text in ours):
        raise SystemExit(f"{cases} requests of one step were expected, these came: {[text for _, text in ours]}")
    theirs = [came for came, text in since if text == BARE]
    if not theirs:
        raise SystemExit("the bare watcher has missed a save")
    return {"promptkit": 1000 * (ours[0][0] - saved), BARE: 1000 * (theirs[0] - saved)}


def measure(folder: Path, server: Server, saves: int, cases: int) -> list[dict[str, float]]:
    """Save so many times and return how long each took on each side."""
    found = []
    file = prompt_file(folder, "mood")
    ours = ["-m", "promptkit", "try", "reviews", "--watch", "--json"]
    theirs = [__file__, "--bare", str(file.parent), server.url]
    with running(ours, folder, server) as promptkit, running(theirs, folder, server) as other:
        line(other)
        json.loads(line(promptkit))
        before = asked(server)
        for number in range(saves):
            time.sleep(random.uniform(0.3, 0.6))  # not in step with the watchers' own rhythm
            saved = save(file, PROMPT.format(step="mood", edit=number), by_renaming=bool(number % 2))
            json.loads(line(promptkit))
            time.sleep(0.1)  # for the other side, and for requests that should not come
            found.append(waited(server, saved, number, cases))
        if asked(server) - before != saves * cases:
            raise SystemExit(f"{saves} saves caused {asked(server) - before} requests")
    return found


def asked(server: Server) -> int:
    """Return how many requests promptkit has sent, by the server's count."""
    return sum(text != BARE for _, text in server.log())


def show(found: Sequence[dict[str, float]], cases: int) -> None:
    """Print both sides, the ratio and the bound."""
    percentiles = {}
    print(f"{'side':12}{'p50 ms':>9}{'p95 ms':>9}{'most':>9}   (save to first request, {len(found)} saves)")
    for name in (BARE, "promptkit"):
        times = [each[name] for each in found]
        cuts = quantiles(times, n=20, method="inclusive")
        percentiles[name] = cuts[9], cuts[18]
        print(f"{name:12}{cuts[9]:9.1f}{cuts[18]:9.1f}{max(times):9.1f}")
    middle, high = (ours / theirs for ours, theirs in zip(percentiles["promptkit"], percentiles[BARE], strict=True))
    print(f"{'ratio':12}{middle:9.2f}{high:9.2f}")
    kinds = {"written in place": found[::2], "renamed over": found[1::2]}
    for kind, those in kinds.items():
        print(f"promptkit, {kind}: p50 {quantiles([each['promptkit'] for each in those], n=2)[0]:.1f} ms")
    verdict = "within" if percentiles["promptkit"][1] <= BOUND_MS else "over"
    print(f"p95 is {verdict} the bound of {BOUND_MS} ms")
    print(f"each save caused {cases} requests, one a case, all of the step that was changed")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saves", type=int, default=40)
    parser.add_argument("--cases", type=int, default=3)
    parser.add_argument("--bare", nargs=2, metavar=("FOLDER", "URL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        asyncio.run(bare(Path(arguments.bare[0]), arguments.bare[1]))
        return
    with ollama_server() as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        write_project(folder, arguments.cases)
        show(measure(folder, server, arguments.saves, arguments.cases), arguments.cases)


if __name__ == "__main__":
    main()
