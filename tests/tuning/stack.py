"""Races and searches of known truth through the whole stack: a project on disk, its requests rendered, its cells kept.

The runtime reads out of what it is asked which candidate asks which row. What runs over arrays is told the same truth
by number, and sees nothing of the project: what both decide may differ only by what lies between them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Final

import numpy as np

from promptkit.errors import BudgetSpent, RequestRefused
from promptkit.evaluation.suite.suite import Suite
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import ScriptedAnswer, request_text
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.confirmation.confirm import CHEAPER_SHARE, confirm
from promptkit.tuning.confirmation.verdict import VerdictOutcome
from promptkit.tuning.data_split import DataSplit, holdout_units, read_data_split
from promptkit.tuning.search.race import Block, DropReason, Race, RaceEnd
from promptkit.tuning.search.race_runner import RaceRunner
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.trials import Estimates
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench
from tests.tuning.confirmations import looked
from tests.tuning.evaluators import open_evaluator
from tests.tuning.simulated import FIELDS, Floats, Hashed, run

LABELS: Final = ("good", "bad")
PARTS: Final = 4
"""A graded answer has so many letters, each right or wrong."""

PROMPT = """
---
inputs: {text: {}}
answer: ANSWER
decide: generate
cue: "Mark 0:"
examples: [{input: {text: It is reader 0}, output: OUTPUT}]
---
{% block instructions %}Say what it is.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
PIPELINE = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood, repairs: REPAIRS}
"""
SUITE = """
data: rows.jsonl
target: mood
metrics: {aim: METRIC}
"""


class StackBench(Bench):
    """A project of so many rows, each with its number; answers that do not parse are asked for again so often."""

    def __init__(self, folder: Path, rows: int, *, graded: bool = False, repairs: int = 0) -> None:
        expected = ["a" * PARTS] if graded else LABELS
        seen = [{"text": f"It is row {row}", "expect": expected[row % len(expected)]} for row in range(rows)]
        super().__init__(Folder(folder), seen)
        answer, metric = ("text", "edit") if graded else ("{label: [good, bad]}", "label")
        prompt = PROMPT.replace("ANSWER", answer).replace("OUTPUT", expected[0])
        self.folder.write("templates/prompts/mood.j2", prompt)
        self.folder.write("pipelines/mood.yaml", PIPELINE.replace("REPAIRS", str(repairs)))
        self._suite = SUITE.replace("METRIC", metric)

    def read(self) -> tuple[Suite, DataSplit, list[int]]:
        """Return its suite, the rows of it split, and the number of the row at each place."""
        suite = self.suite(self._suite)
        split = read_data_split(suite, pooled=False)
        return suite, split, [number_of("row", row.inputs[0]["text"]) for row in split.rows]


def number_of(what: str, text: str) -> int:
    """Return the number that stands behind a word, where it stands last; 0 where it does not."""
    return int(([0, *re.findall(rf"\b{what} (\d+)", text)])[-1])


@dataclass(frozen=True, slots=True)
class Given:
    """A model's last reply for a row under a candidate (None: it refuses), and its score."""

    reply: str | None
    score: float
    unparsed: bool
    calls: int
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Candidates by number, the start first, and what each gives on rows by number.

    `truth` are their true means; `twice` think before they answer, in a request of its own; `unparsed` and `refused`
    are the shares of rows on which their answers do not parse, or the model refuses. `rows` are those of both sides.
    """

    truth: Sequence[float]
    rows: int
    calls: int
    seed: int
    graded: bool = False
    repairs: int = 0
    twice: frozenset[int] = frozenset()
    unparsed: Mapping[int, float] = field(default_factory=dict)
    refused: Mapping[int, float] = field(default_factory=dict)

    @property
    def candidates(self) -> list[Candidate]:
        """The candidates: each has another example, some another technique."""
        return [self._candidate(number) for number in range(len(self.truth))]

    def _candidate(self, number: int) -> Candidate:
        if not number:
            return Candidate()
        output = "a" * PARTS if self.graded else LABELS[0]
        values = {"input": {"text": f"It is reader {number}"}, "output": output}
        candidate = Candidate().with_choice("mood.examples", Choice(str(number), {"mood.examples": [values]}))
        if number not in self.twice:
            return candidate
        thinks = Choice("thinks", {"mood.technique": "chain_of_thought"}, requests=2.0)
        return candidate.with_choice("mood.technique", thinks)

    def given(self, candidate: int, row: int) -> Given:
        """Return the result of a candidate on a row."""
        a_call, calls = 10 + 3 * candidate % 5, 2 if candidate in self.twice else 1
        if self._lucky("refused", candidate, row, self.refused.get(candidate, 0.0)):
            return Given(None, nan, False, 1, 0)
        if self._lucky("unparsed", candidate, row, self.unparsed.get(candidate, 0.0)):
            return Given("perhaps", 0.0, True, calls + self.repairs, a_call * (calls + self.repairs))
        right = [self._is_right(candidate, f"{row}.{part}") for part in range(PARTS if self.graded else 1)]
        expected = LABELS[row % 2]
        label = expected if right[0] else LABELS[1 - row % 2]
        reply = "".join("a" if each else "b" for each in right) if self.graded else label
        return Given(reply, sum(right) / len(right), False, calls, a_call * calls)

    def _is_right(self, candidate: int, row: str) -> bool:
        truth = {str(number): rate for number, rate in enumerate(self.truth)}
        return Hashed(truth, 0.5, self.seed).is_right(str(candidate), row)

    def _lucky(self, what: str, candidate: int, row: int, share: float) -> bool:
        return share > 0 and Hashed({what: share}, 0.0, self.seed + 1 + candidate).is_right(what, str(row))

    def answer(self, request: Request) -> ScriptedAnswer:
        """Answer as the candidate and the row say that are read out of a request."""
        text = request_text(request)
        number = number_of("reader", text)
        given = self.given(number, number_of("row", text))
        if given.reply is None:
            return RequestRefused("the request is too long")
        return Reply(text=given.reply, tokens_in=given.tokens // given.calls - 1, tokens_out=1)


KINDS: Final = ("plain", "some ask twice", "some do not parse", "many are asked again", "some are refused", "graded")


def planted(kind: str, seed: int, *, candidates: int = 8, rows: int = 100, share: float = 0.5) -> Planted:
    """Return a field of a kind, of rates drawn from those of a simulation in turn, and a budget that is a share of
    what all would take on two rows in five."""
    chance = np.random.default_rng([seed, candidates, rows])
    fields = list(FIELDS.values())
    truth = chance.permutation(fields[seed % len(fields)](candidates, chance)).tolist()
    some = [int(entry) for entry in chance.choice(np.arange(1, candidates), max(2, candidates // 4), replace=False)]
    failing = {number: float(chance.uniform(0.05, 0.6)) for number in some}
    often = {number: float(chance.uniform(0.2, 0.5)) for number in range(candidates)}
    return Planted(
        truth=truth,
        rows=rows,
        calls=int(share * candidates * rows * 2 / 5),
        seed=seed,
        graded=kind == "graded",
        repairs=int(kind == "many are asked again"),
        twice=frozenset(some if kind == "some ask twice" else ()),
        unparsed={"some do not parse": failing, "many are asked again": often}.get(kind, {}),
        refused=failing if kind == "some are refused" else {},
    )


@dataclass(frozen=True, kw_only=True)
class Decided:
    """All that a race decided: its blocks, of each candidate how many rows it has seen, after how many it was dropped
    and why, how the race ended, its pick and its calls; and what the confirm rows say of the pick.

    `said` are the difference, its ends, and how many rows are better, worse and in it.
    """

    blocks: tuple[Block, ...]
    lanes: tuple[tuple[int, int | None, DropReason | None], ...]
    ended: RaceEnd | None
    pick: int
    calls: float
    verdict: VerdictOutcome
    said: tuple[float, ...]


def _lanes(race: Race) -> tuple[tuple[int, int | None, DropReason | None], ...]:
    return tuple((entry.rows, entry.dropped_at, entry.why) for entry in race.entries)


def _rounded(*numbers: float) -> tuple[float, ...]:
    return tuple(round(value, 9) for value in numbers)


@dataclass(frozen=True, kw_only=True)
class Through:
    """A race through the stack: what it decided, the requests that the model got, of which the first `searching` are
    those of the race, and how many cells there are of race and confirmation."""

    decided: Decided
    requests: Sequence[Request]
    searching: int
    cells: int


async def through_stack(planted: Planted, folder: Path) -> Through:
    """Race candidates on a project in a folder, and confirm the pick."""
    bench = StackBench(folder, planted.rows, graded=planted.graded, repairs=planted.repairs)
    suite, split, _ = bench.read()
    blocks: list[Block] = []
    async with open_evaluator(bench, planted.answer, suite, budget=Budget(planted.calls)) as opened:
        estimates = Estimates(opened.evaluator, CandidateCalibration(opened.evaluator, split.labels))
        runner = RaceRunner(estimates, split.search, planted.candidates, calls=planted.calls)
        try:
            async for block in runner.blocks():
                blocks.append(block)
        except BudgetSpent:
            assert opened.budget.spent == planted.calls
        calls, searching = opened.budget.spent, len(opened.runtime.requests)
        opened.budget.most = inf
        confirmation = await confirm(opened.evaluator, Candidate(), runner.incumbent, split, ordinal=1)
        every = range(len(split.rows))
        cells = sum(1 for candidate in planted.candidates for _ in opened.evaluator.results(candidate, every))
    found = confirmation.difference
    assert found is not None
    decided = Decided(
        blocks=tuple(blocks),
        lanes=_lanes(runner.race),
        ended=runner.race.ended,
        pick=runner.race.incumbent,
        calls=calls,
        verdict=confirmation.outcome,
        said=_rounded(found.mean, found.low, found.high, found.better, found.worse, found.n),
    )
    return Through(decided=decided, requests=opened.runtime.requests, searching=searching, cells=cells)


def over_arrays(planted: Planted, folder: Path) -> Decided:
    """Race the same candidates over arrays of what is true of them, in the row order and the split of a project."""
    bench = StackBench(folder, planted.rows, graded=planted.graded, repairs=planted.repairs)
    _, split, numbers = bench.read()

    def table(rows: Sequence[int], what: str) -> Floats:
        given = [[planted.given(number, numbers[row]) for row in rows] for number in range(len(planted.truth))]
        return np.array([[getattr(cell, what) for cell in cells] for cells in given], dtype=np.float64)

    expected = [2.0 if number in planted.twice else 1.0 for number in range(len(planted.truth))]
    order = split.search
    ended = run(
        Race(costs=expected, rows=len(order), budget=planted.calls),
        table(order, "score"),
        unparsed=table(order, "unparsed") > 0,
        costs=table(order, "calls"),
        tokens=table(order, "tokens"),
    )
    kept = table([row for unit in holdout_units(split) for row in unit], "score")
    pick, start = ended.pick, 0
    tokens = [planted.given(number, 0).tokens for number in (pick, start)]
    found = looked(kept[pick], kept[start], rows=len(split.rows), gives_up=tokens[0] > CHEAPER_SHARE * tokens[1])
    gain = found.gain
    return Decided(
        blocks=tuple(ended.blocks),
        lanes=_lanes(ended.race),
        ended=ended.race.ended,
        pick=ended.pick,
        calls=ended.calls,
        verdict="improved" if found.improved else "not shown",
        said=_rounded(gain.difference, gain.low, gain.high, gain.better, gain.worse, gain.n),
    )
