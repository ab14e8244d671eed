"""What a row costs in other tools that evaluate prompts, and in promptkit, all in one run on one machine.

    python benchmarks/eval_peers.py [--promptfoo BINARY] [--inspect PYTHON] [--dspy PYTHON]
        [--rows 500 5000] [--latency 0 0.05] [--in-flight 20] [--turns 1]

Installs nothing: each tool is given by its own interpreter or binary, and what is not given is skipped and said so.
All are asked for the same: each row's text classified by a server of fixed latency, one exact match, so many
requests in flight, their own cache and log as they come; then the same again, which each answers from what it kept.
promptfoo, Inspect and DSPy ask by OpenAI's protocol, promptkit by Ollama's; the bare client is aiohttp.

Every side is a command. CPU is that of all its processes; a further row is what the most rows cost more than
the fewest, by row, so that starting is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from eval import REFERENCE, Side, Used, measured, write_suite
from overhead import bare
from server import Server, ollama_server

from promptkit.runtimes.base import Message, Request

INSPECT = """\
import os
from inspect_ai import Task, eval
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import exact
from inspect_ai.solver import generate, prompt_template
template = "Classify the sentiment of the review as positive or negative.\\n{prompt}\\nSentiment:"
solver = [prompt_template(template), generate(cache=True)]
task = Task(dataset=json_dataset("inspect.jsonl"), solver=solver, scorer=exact())
flight = int(os.environ["BENCH_IN_FLIGHT"])
log = eval(task, model="openai-api/bench/bench:latest", max_connections=flight, max_samples=flight, log_dir="logs",
           display="none", temperature=0, max_tokens=16)[0]
assert log.status == "success", log.error
print("right", log.results.scores[0].metrics["mean"].value)
"""
DSPY = """\
import json, os
import dspy
class Sentiment(dspy.Signature):
    '''Classify the sentiment of the review as positive or negative.'''
    text: str = dspy.InputField()
    label: str = dspy.OutputField()
def right(example, answer, trace=None):
    return example.label == answer.label
with open("rows.jsonl") as file:
    rows = [json.loads(line) for line in file]
rows = [dspy.Example(**row).with_inputs("text") for row in rows]
model = dspy.LM("openai/bench:latest", api_base=os.environ["BENCH_BASE_URL"], api_key="none", temperature=0,
                max_tokens=16)
dspy.configure(lm=model)
evaluate = dspy.Evaluate(devset=rows, metric=right, num_threads=int(os.environ["BENCH_IN_FLIGHT"]),
                         display_progress=False)
print("right", evaluate(dspy.Predict(Sentiment)).score / 100)
"""
DSPY_ANSWER = "[[ ## label ## ]]\npositive\n\n[[ ## completed ## ]]"
PROMPTFOO = """\
prompts:
  - "Classify the sentiment of the review as positive or negative.\\n{{text}}\\nSentiment:"
providers:
  - id: openai:chat:bench:latest
    config: {apiBaseUrl: "{{env.BENCH_BASE_URL}}", apiKey: none, temperature: 0, max_tokens: 16}
defaultTest:
  assert: [{type: equals, value: "{{label}}"}]
tests: file://promptfoo.jsonl
"""


@dataclass(frozen=True)
class Peer:
    """A tool: how it is called for a number of rows, what the server answers it, and whether it keeps answers."""

    name: str
    command: Callable[[int], Sequence[str]]
    answer: str = "positive"
    keeps: bool = True


def peers(arguments: argparse.Namespace) -> list[Peer]:
    """Return the sides that are there; say which are not."""
    flight = str(arguments.in_flight)
    found = [
        Peer(
            "bare aiohttp",
            lambda rows: [sys.executable, __file__, "--bare", str(rows), "--in-flight", flight],
            keeps=False,
        ),
        Peer(
            "promptkit", lambda rows: [sys.executable, "-m", "promptkit", "eval", "bench.yaml", "-j", flight, "--json"]
        ),
    ]
    commands: dict[str, tuple[str, list[str], str]] = {
        "promptfoo": (
            "promptfoo",
            ["eval", "-c", "promptfoo.yaml", "-j", flight, "--no-progress-bar", "--no-table", "--no-share"],
            "positive",
        ),
        "inspect": ("Inspect", ["-c", INSPECT], "positive"),
        "dspy": ("dspy.Evaluate", ["-c", DSPY], DSPY_ANSWER),
    }
    for option, (name, rest, answer) in commands.items():
        at = getattr(arguments, option)
        if at is None:
            print(f"skipped: {name}, for want of --{option}")
        else:
            command = [str(Path(at).absolute()), *rest]
            found.append(Peer(name, lambda rows, command=command: command, answer))  # type: ignore[misc]
    return found


def write_files(folder: Path, rows: int) -> Path:
    """Write what each tool reads, and return the folder."""
    write_suite(folder, rows)
    (folder / "promptfoo.yaml").write_text(PROMPTFOO)
    with (folder / "promptfoo.jsonl").open("w") as tests, (folder / "inspect.jsonl").open("w") as samples:
        for line in (folder / "rows.jsonl").read_text().splitlines():
            row = json.loads(line)
            tests.write(json.dumps({"vars": row}) + "\n")
            samples.write(json.dumps({"input": row["text"], "target": row["label"]}) + "\n")
    return folder


def variables(folder: Path, server: Server, in_flight: int) -> dict[str, str]:
    """Return the environment: where the server is, and that nothing is asked or kept elsewhere."""
    return {
        "BENCH_URL": server.url,
        "BENCH_BASE_URL": f"{server.url}/v1",
        "BENCH_API_KEY": "none",
        "BENCH_IN_FLIGHT": str(in_flight),
        "OLLAMA_HOST": server.url,
        "PROMPTKIT_MODEL": REFERENCE,
        "INSPECT_CACHE_DIR": str(folder / "inspect-cache"),
        "DSPY_CACHEDIR": str(folder / "dspy-cache"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PROMPTFOO_CONFIG_DIR": str(folder / "promptfoo"),
        "PROMPTFOO_CACHE_PATH": str(folder / "promptfoo-cache"),
        "PROMPTFOO_DISABLE_TELEMETRY": "1",
        "PROMPTFOO_DISABLE_UPDATE": "1",
    }


def measure(peer: Peer, rows: int, latency: float, in_flight: int) -> tuple[Used, Used | None]:
    """Run one tool once and, where it keeps answers, again; return both costs."""
    with ollama_server(latency=latency, answer=peer.answer) as server, tempfile.TemporaryDirectory() as parent:
        folder = write_files(Path(parent, "bench"), rows)
        given = variables(folder, server, in_flight)
        first, _ = measured(peer.command(rows), folder=folder, variables=given)
        asked = server.requests()
        assert asked >= rows, f"{peer.name} asked {asked} times for {rows} rows"
        if not peer.keeps:
            return first, None
        again, _ = measured(peer.command(rows), folder=folder, variables=given)
        if server.requests() > asked:
            print(f"{peer.name} asked {server.requests() - asked} times again")
        return first, again


def show(found: Sequence[tuple[Peer, Side, Side | None]], latency: float, in_flight: int) -> None:
    """Print what each side took, and its ratio to the bare client."""
    most = max(found[0][1].used)
    floor = most * latency / in_flight
    names = list(dict.fromkeys(peer.name for peer, _, _ in found))
    print(f"\nlatency {latency * 1000:.0f} ms, {in_flight} in flight, {most} rows")
    heads = (
        "CPU ms a further row",
        "to bare",
        "s for all",
        "over floor",
        "peak MB",
        "again: CPU ms a row",
        "s for all",
    )
    print(f"{'side':16}" + "".join(f"{head:>{len(head) + 2}}" for head in heads))
    base = 0.0
    for name in names:
        firsts = [side for peer, side, _ in found if peer.name == name]
        agains = [side for peer, _, side in found if peer.name == name and side]
        cpu = median(side.further_ms for side in firsts)
        base = base or cpu
        wall = median(side.used[most].wall for side in firsts)
        cells = [
            f"{cpu:.2f}",
            f"{cpu / base:.1f}",
            f"{wall:.1f}",
            f"{wall / floor:.2f}" if floor else "",
            f"{median(side.used[most].peak for side in firsts) / 1e6:.0f}",
            f"{median(side.further_ms for side in agains):.2f}" if agains else "",
            f"{median(side.used[most].wall for side in agains):.1f}" if agains else "",
        ]
        print(f"{name:16}" + "".join(f"{cell:>{len(head) + 2}}" for head, cell in zip(heads, cells, strict=True)))


async def ask_bare(rows: int, in_flight: int) -> None:
    """Ask for all rows, as a client that does no more than send and read."""
    server = Server(url=os.environ["BENCH_URL"])
    with Path("rows.jsonl").open() as file:
        texts = [json.loads(line)["text"] for line in file]
    about = "Classify the sentiment of the review as positive or negative."
    requests = [Request(messages=(Message("user", f"{about}\n{text}\nSentiment:"),), max_tokens=16) for text in texts]
    await bare(server, requests[:rows], in_flight)


def main(arguments: argparse.Namespace) -> None:
    """Measure so many times, the sides in turn, and print the medians."""
    if arguments.bare:
        asyncio.run(ask_bare(arguments.bare, arguments.in_flight))
        return
    sides = peers(arguments)
    for latency in arguments.latency:
        found: list[tuple[Peer, Side, Side | None]] = []
        for _ in range(arguments.turns):
            for peer in sides:
                took = {rows: measure(peer, rows, latency, arguments.in_flight) for rows in arguments.rows}
                again = {rows: used for rows, (_, used) in took.items() if used is not None}
                first = Side(peer.name, {rows: used for rows, (used, _) in took.items()})
                found.append((peer, first, Side(peer.name, again) if again else None))
        show(found, latency, arguments.in_flight)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--promptfoo", metavar="BINARY")
    parser.add_argument("--inspect", metavar="PYTHON", help="an interpreter with inspect-ai and openai")
    parser.add_argument("--dspy", metavar="PYTHON", help="an interpreter with dspy")
    parser.add_argument("--rows", type=int, nargs=2, default=[500, 5000], metavar="N", help="the fewest and the most")
    parser.add_argument("--latency", type=float, nargs="+", default=[0.0, 0.05], metavar="SECONDS")
    parser.add_argument("--in-flight", type=int, default=20)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--bare", type=int, default=0, help=argparse.SUPPRESS)
    main(parser.parse_args())
