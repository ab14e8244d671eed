"""The gain of training a small model: a plain prompt, the best tuned one, heads, adapters, soft prompts and TF-IDF.

    python benchmarks/teach.py --data FOLDER [--home FOLDER] [--tasks sst2,owner,order] [--arms plain,head-100]
        [--seeds 3] [--unseen 400] [--rows-by REF] [--write docs/FILE.md]

Each arm of a task and seed is taught by rows of its own and measured on the same unseen rows, by promptkit's own
commands, each in a process of its own: its CPU time (all threads) is what it takes. An arm that was measured is a line
of HOME/arms.jsonl and is not measured again; one whose command is not there yet is skipped with a word. Tasks besides
sst2 are made by templates (`taught_tasks.py`); sst2's rows are in FOLDER/sst2. With `--rows-by` a model generates the
rows to teach by, from the prompt alone.

*Lost* is what an adapter or a soft prompt changes on another task's prompt: the next task's, with and without it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any, Final

import numpy as np
from pydantic import BaseModel
from taught_tasks import TASKS, Row, TaughtTask

from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.evaluation.statistics.paired import paired_binary
from promptkit.training.head.features import TextFeatures
from promptkit.training.head.fit import INNER_FOLDS, PENALTIES, stratified_folds
from promptkit.training.head.logistic import fit_path, log_loss

MODEL: Final = "embedded/smollm2"
ARMS: Final = (
    "plain",
    "tuned",
    *(f"tfidf-{count}" for count in (20, 50, 100, 200, 1000)),
    *(f"head-{count}" for count in (20, 50, 100, 200)),
    *(f"lora-{count}" for count in (100, 200, 1000)),
    "soft-200",
)
TUNED_ROWS, TUNED_CALLS = 400, 1_200
LOST_ROWS: Final = 100
HEADS: Final = (
    "arm",
    "right",
    "over plain, points",
    "seeds",
    "CPU min to teach",
    "CPU ms a row",
    "tokens a row",
    "lost, points",
)
TRAINING: Final = {"head": "--head", "lora": "--adapter", "soft": "--soft-prompt"}
"""The option of `promptkit train` for an arm."""
ENDINGS: Final = {"head": "head.json", "lora": "lora.gguf", "soft": "soft.gguf"}


class Arm(BaseModel):
    """A measured arm: a line of the file that is kept.

    `right` has the score of each unseen row. `taught_minutes` are CPU minutes of teaching, a tuning's search included;
    `answer_seconds` CPU seconds of a row's answer, with its share of the start; `tokens` a row's. `lost` has the scores
    of another task's rows, with the weights of this one.
    """

    task: str
    arm: str
    seed: int
    model: str
    rows_by: str = ""
    taught: int = 0
    right: list[float]
    lost: list[float] = []
    taught_minutes: float = 0.0
    answer_seconds: float = 0.0
    tokens: float = 0.0
    about: str = ""
    on: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """The key by which a measured arm is known."""
        return self.task, self.arm, self.seed, self.model, self.rows_by, len(self.right)


class NotThere(Exception):
    """An arm cannot be measured, for a reason to print."""


def command(folder: Path, *words: str, model: str) -> tuple[str, float]:
    """Run a command of promptkit in a folder; return what it prints and its CPU seconds. Raises NotThere."""
    before = _child_seconds()
    environment = {**os.environ, "PROMPTKIT_MODEL": model, "PROMPTKIT_DATA": str(folder / ".data")}
    ran = subprocess.run(
        [sys.executable, "-m", "promptkit", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if ran.returncode != 0:
        lines = [line for line in ran.stderr.splitlines() if line.strip()]
        raise NotThere(f"promptkit {' '.join(words[:3])}: {' '.join(lines[-4:])[:300]}")
    return ran.stdout, _child_seconds() - before


def _child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Bench:
    """The arms of the chosen tasks in a folder: a project for each, and the file of what was measured."""

    def __init__(self, options: argparse.Namespace, home: Path) -> None:
        self._options = options
        self._home = home
        self._file = home / "arms.jsonl"
        self._tasks = [TASKS[name] for name in options.tasks.split(",")]

    def finished(self) -> dict[tuple[Any, ...], Arm]:
        """Return the measured arms of the file, by their keys."""
        lines = self._file.read_text("utf-8").splitlines() if self._file.is_file() else []
        return {arm.key: arm for arm in map(Arm.model_validate_json, lines)}

    def run(self) -> list[Arm]:
        """Measure what is missing, and return all that was asked for."""
        arms: list[Arm] = []
        for task in self._tasks:
            for name in self._options.arms.split(","):
                seeds = 1 if name == "plain" else self._options.seeds
                for seed in range(seeds):
                    try:
                        arm = self.measure(task, name, seed)
                    except NotThere as why:
                        print(f"skipped: {task.name} {name}, seed {seed}: {why}", flush=True)
                        break
                    arms.append(arm)
                    print(line(arm), flush=True)
        return arms

    def measure(self, task: TaughtTask, name: str, seed: int) -> Arm:
        """Return an arm: from the file, or measured now and appended to it. Raises NotThere."""
        taught, unseen = task.rows(self._options.data)
        unseen = unseen[: self._options.unseen]
        arm = Arm(
            task=task.name,
            arm=name,
            seed=seed,
            model=self._options.model,
            rows_by=self._options.rows_by if name != "plain" else "",
            right=[0.0] * len(unseen),
            on=str(date.today()),
        )
        if arm.key in (finished := self.finished()):
            return finished[arm.key]
        kind, _, count = name.partition("-")
        size = int(count) if count else TUNED_ROWS if kind == "tuned" else 0
        rows = self._taught_rows(task, taught, size, seed)
        folder = self._home / f"{task.name}-{name}-{seed}{'-generated' if arm.rows_by else ''}"
        task.write(folder, {"taught": rows, "unseen": unseen})
        measured = (
            _by_words(task, rows, unseen, seed)
            if kind == "tfidf"
            else self._by_model(task, kind, folder, seed, len(unseen))
        )
        arm = arm.model_copy(update={"taught": len(rows), **measured})
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{arm.model_dump_json()}\n")
        return arm

    def _taught_rows(self, task: TaughtTask, taught: Sequence[Row], size: int, seed: int) -> list[Row]:
        """Return the first rows in the order of a seed: smaller sizes are parts of larger ones."""
        if self._options.rows_by and size:
            taught = self._generated(task, size, seed)
        return Random(f"{task.name} {seed}").sample(list(taught), len(taught))[:size]

    def _generated(self, task: TaughtTask, size: int, seed: int) -> list[Row]:
        """Return rows that another model writes for the task, by its prompt alone; kept for further arms."""
        folder = self._home / f"{task.name}-rows-{size}-{seed}"
        task.write(folder, {})
        file = folder / "evals/taught.jsonl"
        words = ("generate", task.name, "--rows", str(size), "--seed", str(seed), "--out", str(file))
        command(folder, *words, "--model", self._options.rows_by, model=self._options.model)
        rows = [json.loads(text) for text in file.read_text("utf-8").splitlines()]
        return [{"text": row["text"], "label": row.get("label", row.get("expect"))} for row in rows]

    def _by_model(self, task: TaughtTask, kind: str, folder: Path, seed: int, unseen: int) -> dict[str, Any]:
        """Teach and measure an arm that the model answers."""
        settings: list[str] = []
        seconds, about, target = 0.0, "", f"pipelines/{task.name}.yaml"
        if kind == "tuned":
            budget = ("--budget", f"calls={TUNED_CALLS}", "--cold", "--yes", "--json")
            printed, seconds = self._command(
                folder, "tune", task.name, "--suite", "taught", *budget, "--seed", str(seed)
            )
            record = json.loads(printed)
            about = f"{record['verdict']}: {record['best']['choices']}"
            target = record["written"][-1] if record["written"] else target
        elif kind in TRAINING:
            rows = (
                "--data",
                "evals/taught.jsonl",
                "--expect",
                "label",
                "--step",
                task.step,
                "--seed",
                str(seed),
                "--force",
                "--json",
            )
            _, seconds = self._command(folder, "train", task.name, TRAINING[kind], *rows)
            settings = _settings(kind, task, folder)
        right, cost, tokens = self._scores(folder, "unseen", target, settings)
        lost = self._lost(task, folder, settings) if kind in ("lora", "soft") else []
        return {
            "right": right,
            "lost": lost,
            "taught_minutes": seconds / 60,
            "answer_seconds": cost / max(1, unseen),
            "tokens": tokens,
            "about": about,
        }

    def _lost(self, task: TaughtTask, folder: Path, settings: Sequence[str]) -> list[float]:
        """Return the scores of the next task's first unseen rows, answered with the weights of this one."""
        other = next_task(task)
        _, unseen = other.rows(self._options.data)
        other.write(folder, {"other": unseen[:LOST_ROWS]})
        there = [text.replace(f"{task.step}.", f"{other.step}.", 1) for text in settings]
        return self._scores(folder, "other", f"pipelines/{other.name}.yaml", there)[0]

    def _scores(
        self, folder: Path, suite: str, target: str, settings: Sequence[str]
    ) -> tuple[list[float], float, float]:
        """Evaluate a suite; return the score of each row, the CPU seconds of all, and the tokens of a row."""
        sets = [word for text in settings for word in ("--set", text)]
        _, seconds = self._command(folder, "eval", suite, "--target", target, *sets, "--json")
        exported = folder / f"{suite}.csv"
        self._command(folder, "runs", "export", "last", "--csv", str(exported))
        with exported.open(encoding="utf-8", newline="") as opened:
            cells = sorted(csv.DictReader(opened), key=lambda cell: int(cell["row"]))
        # A row without an answer is not right.
        right = [float(cell["score.accuracy"] or 0.0) for cell in cells]
        tokens = sum(int(cell["tokens_in"] or 0) + int(cell["tokens_out"] or 0) for cell in cells)
        return right, seconds, tokens / max(1, len(cells))

    def _command(self, folder: Path, *words: str) -> tuple[str, float]:
        return command(folder, *words, model=self._options.model)


def next_task(task: TaughtTask) -> TaughtTask:
    """Return the task on which the weights of another are tried: the next made one."""
    made = [other for other in TASKS.values() if other.name != "sst2"]
    return made[(made.index(task) + 1) % len(made)] if task in made else made[0]


def _settings(kind: str, task: TaughtTask, folder: Path) -> list[str]:
    """Return the settings with which the step uses what was trained. Raises NotThere if nothing was written."""
    file = folder / f"pipelines/{task.name}.{task.step}.{ENDINGS[kind]}"
    if not file.is_file():
        raise NotThere(f"nothing was written: no evaluation of {file.name} was better than the start's")
    if kind == "head":
        return [f"{task.step}.decide=head", f"{task.step}.otherwise=constrain"]
    if kind == "lora":
        return [f"{task.step}.adapter={file.name}"]
    return [f"{task.step}.model=gguf:{file}"]


def _by_words(task: TaughtTask, rows: Sequence[Row], unseen: Sequence[Row], seed: int) -> dict[str, Any]:
    """Teach and measure TF-IDF with logistic regression, as heads are compared with. Raises NotThere."""
    if not task.is_closed:
        raise NotThere("its answers are not a closed set")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    found = classify_by_words(rows, unseen, seed)
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - before
    right = [float(label == row["label"]) for label, row in zip(found, unseen, strict=True)]
    return {"right": right, "taught_minutes": seconds / 60, "answer_seconds": seconds / len(unseen)}


def classify_by_words(rows: Sequence[Row], unseen: Sequence[Row], seed: int) -> list[str]:
    """Return the labels of unseen rows by TF-IDF and logistic regression, its penalty by cross-validation."""
    labels = sorted({row["label"] for row in rows})
    codes = np.array([labels.index(row["label"]) for row in rows])
    features = TextFeatures([row["text"] for row in (*rows, *unseen)])
    everything = np.arange(len(rows))
    folds = stratified_folds(codes, everything, INNER_FOLDS, seed)
    losses = np.zeros(len(PENALTIES))
    for fold in range(INNER_FOLDS):
        training, test = everything[folds != fold], everything[folds == fold]
        known, new = features.split(training, test)
        fitted = fit_path(known, codes[training], len(labels), PENALTIES)
        losses += [len(test) * log_loss(weights.logits(new), codes[test]) for weights in fitted]
    known, new = features.split(everything, np.arange(len(rows), len(rows) + len(unseen)))
    weights = fit_path(known, codes, len(labels), PENALTIES[: int(losses.argmin()) + 1])[-1]
    return [labels[code] for code in weights.logits(new).argmax(axis=1)]


def line(arm: Arm) -> str:
    """Return a measured arm for the terminal."""
    return (
        f"{arm.task} {arm.arm}, seed {arm.seed}: {share_text([arm.right])}; taught by {arm.taught} rows in "
        f"{arm.taught_minutes:.1f} CPU min; {1_000 * arm.answer_seconds:.0f} ms and {arm.tokens:.0f} tokens a row"
    )


def share_text(seeds: Sequence[Sequence[float]]) -> str:
    """Return the mean share of right rows over seeds, with the 95 % interval over rows."""
    scores = [mean(row) for row in zip(*seeds, strict=True)]
    found = bounded_mean(scores, range(len(scores)), binary=len(seeds) == 1)
    return f"{100 * found.mean:.1f} % [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def table(arms: Sequence[Arm], unseen: int) -> Iterator[str]:
    """Yield the tables of the measured arms in Markdown, a task after the other."""
    for name in dict.fromkeys(arm.task for arm in arms):
        of_task = [arm for arm in arms if arm.task == name]
        plain = next((arm for arm in of_task if arm.arm == "plain"), None)
        yield f"**{name}**, {unseen} rows that no teaching saw"
        yield ""
        yield f"| {' | '.join(HEADS)} |"
        yield f"| {' | '.join('---' for _ in HEADS)} |"
        for arm in dict.fromkeys(found.arm for found in of_task):
            seeds = [found for found in of_task if found.arm == arm]
            yield _table_row(arm, seeds, plain, arms)
        yield ""


def _table_row(name: str, seeds: Sequence[Arm], plain: Arm | None, arms: Sequence[Arm]) -> str:
    over = "–"
    if plain is not None and name != "plain":
        gains = [paired_binary(arm.right, plain.right) for arm in seeds]
        over = ", ".join(
            f"{100 * gain.difference:+.1f} [{100 * gain.low:+.0f}, {100 * gain.high:+.0f}]" for gain in gains
        )
    cells = (
        share_text([arm.right for arm in seeds]),
        over,
        len(seeds),
        f"{mean(arm.taught_minutes for arm in seeds):.1f}",
        f"{1_000 * mean(arm.answer_seconds for arm in seeds):.0f}",
        f"{mean(arm.tokens for arm in seeds):.0f}",
        _lost_text(seeds, arms),
    )
    return f"| {name}{' (generated rows)' if seeds[0].rows_by else ''} | {' | '.join(map(str, cells))} |"


def _lost_text(seeds: Sequence[Arm], arms: Sequence[Arm]) -> str:
    """Return by how much the next task's plain prompt is worse with the weights of an arm, on the same rows."""
    other = next_task(TASKS[seeds[0].task]).name
    plain = next((arm for arm in arms if arm.task == other and arm.arm == "plain"), None)
    texts = []
    for arm in seeds:
        if not arm.lost or plain is None:
            return "–"
        found = paired_binary(arm.lost, plain.right[: len(arm.lost)])
        texts.append(f"{100 * found.difference:+.0f} [{100 * found.low:+.0f}, {100 * found.high:+.0f}]")
    return ", ".join(texts)


def main() -> None:
    """Measure the arms, print the tables, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with sst2/train.jsonl and sst2/dev.jsonl")
    parser.add_argument("--home", type=Path, help="folder that keeps what was measured; default: a temporary one")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--unseen", type=int, default=400, help="rows that each arm is measured on")
    parser.add_argument("--model", default=MODEL, help="the model that is taught and answers")
    parser.add_argument("--rows-by", default="", metavar="REF", help="the model that writes the rows to teach by")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the tables into this file")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as made:
        home = (options.home or Path(made)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        arms = Bench(options, home).run()
    lines = [f"{date.today()}, {options.model}:", "", *table(arms, options.unseen)]
    print("", *lines, sep="\n")
    if options.write is not None:
        options.write.write_text("\n".join(lines), "utf-8")


if __name__ == "__main__":
    main()
