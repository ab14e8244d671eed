"""DSPy's optimizers on a pipeline of ours: what they ask, what they end with, and what that sends once written."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

import pytest

from promptkit.errors import ContextOverflow, ServerFailed
from promptkit.runtimes.base import Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import Scripted
from promptkit.runtimes.serialization import request_record
from promptkit.tuning.evaluator import SearchFailed
from promptkit.tuning.options import OPTIMIZERS, Optimizer
from promptkit.tuning.output.write import draft, write
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.trials import SearchResult
from tests.command import environment
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench
from tests.tuning.dspy_bridge.objectives import PROPOSAL, is_proposal, model, opened, proposing, said

DSPY = OPTIMIZERS[1:]
CALLS = 150
PROPOSING: tuple[Optimizer, ...] = ("miprov2", "copro", "gepa")
START = Candidate()
RUN_ALONE = """
import asyncio, json, sys
sys.modules["dspy"] = None  # cannot be imported
from pathlib import Path
from promptkit.engine.load import load_target
from promptkit.engine.run import run
from promptkit.project import Project
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import Scripted
from promptkit.runtimes.serialization import request_record

class Given(Models):
    async def get(self, reference=None):
        return client

async def main(target, rows):
    for row in rows:
        await run(load_target(Path(target), Project.find(Path(target).parent)), row, models=Given())
runtime = Scripted(lambda request: "bad")
client = Client(runtime)
asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
print(json.dumps([request_record(each) for each in runtime.requests]))
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder)


@dataclass
class Ended:
    """The result of one run of an optimizer."""

    name: Optimizer
    found: SearchResult
    spent: int
    noted: Sequence[str]
    printed: tuple[str, str]
    scores: Sequence[float]
    confirm: Sequence[str]
    requests: Sequence[Request]
    values: Sequence[Mapping[str, Any]]
    sent: Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module", params=DSPY)
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Run an optimizer, and what it wrote in a process without DSPy."""
    bench = Bench(Folder(tmp_path_factory.mktemp("project")))
    return asyncio.run(_run(bench, request.param))


async def _run(bench: Bench, name: Optimizer) -> Ended:
    printed = StringIO(), StringIO()
    async with opened(bench, name) as search:
        with redirect_stdout(printed[0]), redirect_stderr(printed[1]):
            found = await search.run(CALLS)
        evaluator, spent = search.opened.evaluator, int(search.opened.budget.spent)
        rows = [row for row in search.split.visible if evaluator.result(found.incumbent, row) is not None][:3]
        if name == "bootstrap_few_shot":  # it compares nothing
            rows = list(search.split.search[:3])
            await evaluator.evaluate([found.incumbent], rows)
        requests = list(search.requests)
        await evaluator.evaluate([found.incumbent], search.split.search[:10])
        values = [dict(evaluator.rows[row].inputs[0]) for row in rows]
        return Ended(
            name=name,
            found=found,
            spent=spent,
            noted=search.progress.notes,
            printed=(printed[0].getvalue(), printed[1].getvalue()),
            scores=evaluator.scores(found.incumbent, search.split.search[:10]).tolist(),
            confirm=[str(evaluator.rows[row].inputs[0]["text"]) for row in search.split.holdout],
            requests=requests,
            values=values,
            sent=_sent_alone(bench, found.incumbent, values),
        )


def _sent_alone(bench: Bench, pick: Candidate, values: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    target = write(draft(bench.folder.root / "pipelines/mood.yaml", pick, bench.folder.project))[-1]
    ran = subprocess.run(
        [sys.executable, "-c", RUN_ALONE, str(target), json.dumps(values)],
        capture_output=True,
        env=environment(),
        check=True,
    )
    sent: Sequence[Mapping[str, Any]] = json.loads(ran.stdout)
    return sent


def test_each_ends_within_the_calls_in_a_candidate_that_is_better(ended: Ended) -> None:
    assert ended.spent <= CALLS
    assert ended.found.incumbent.changes
    assert ended.found.incumbent == ended.found.calibrated == ended.found.finalists[0]
    assert ended.scores == [1.0] * 10


def test_what_is_written_sends_without_dspy_the_requests_that_were_scored(ended: Ended) -> None:
    scored = json.loads(json.dumps([request_record(request) for request in ended.requests]))

    assert len(ended.sent) == len(ended.values) == 3
    assert [entry for entry in ended.sent if entry not in scored] == []


def test_no_confirm_row_is_seen_by_an_optimizer(ended: Ended) -> None:
    asked = "\n".join(said(request) for request in ended.requests)

    assert [text for text in ended.confirm if f"{text}\n" in asked or f"{text}'" in asked or f'{text}"' in asked] == []


def test_each_says_what_it_asked_and_prints_nothing(ended: Ended) -> None:
    stage = ended.found.stages[0]

    assert (stage.name, stage.calls) == (ended.name, ended.spent)
    assert ended.found.trials[ended.found.incumbent.key].stage == ended.name
    assert (ended.printed, list(ended.noted)) == (("", ""), [])


async def test_a_run_made_again_asks_nothing_and_ends_the_same(bench: Bench) -> None:
    async with opened(bench, "miprov2") as search:
        first = await search.run(CALLS)
    async with opened(bench, "miprov2") as again:
        second = await again.run(CALLS)

        assert (again.requests, second.incumbent) == ([], first.incumbent)


@pytest.mark.parametrize("name", PROPOSING)
async def test_an_optimizers_own_signatures_are_asked_in_free_text(bench: Bench, name: Optimizer) -> None:
    bench.folder.write(
        "pipelines/mood.yaml", "name: mood\ninputs: {text: {}}\nsteps: {mood: {prompt: mood, decide: constrain}}\n"
    )
    async with opened(bench, name) as search:
        await search.run(CALLS)

        requests = [request for request in search.requests if is_proposal(request)]
        assert requests and all(request.grammar is None and request.schema is None for request in requests)
        assert all(request.grammar for request in search.requests if not is_proposal(request))


@pytest.mark.parametrize("name", ["copro", "random_search", "simba"])
async def test_a_server_that_fails_ends_the_search_and_is_no_wrong_answer(bench: Bench, name: Optimizer) -> None:
    def failing(request: Request) -> str | Exception:
        return ServerFailed("the server is on fire") if len(runtime.requests) > 20 else model(request)

    runtime = Scripted(failing)
    async with opened(bench, name, runtime) as search:
        with pytest.raises((SearchFailed, ServerFailed), match="on fire"):
            await search.run(CALLS)

        assert len(search.requests) < 40
        results = [search.opened.evaluator.result(START, row) for row in search.split.visible]
        assert all(result.score is not None for result in results if result is not None and not result.problem)


async def test_a_prompt_that_the_model_refuses_counts_as_wrong(bench: Bench) -> None:
    def small(request: Request) -> str | Exception:
        if "<EXAMPLE>" in said(request):
            return ContextOverflow("the prompt does not fit")
        return model(request)

    async with opened(bench, "miprov2", small) as search:
        found = await search.run(CALLS)

        assert [parameter for parameter in found.incumbent.choices] in ([], ["mood.wording"])


async def test_the_calls_end_the_search_with_its_best_so_far(bench: Bench) -> None:
    async with opened(bench, "copro") as search:
        search.search._setting = _with_runs(search.search._setting, 10_000)
        found = await search.run(40)

        assert search.opened.budget.spent == 40
        assert "the calls ran out" in " ".join(search.progress.notes)
        assert found.incumbent.changes
        assert search.asked(found.incumbent) >= 8
        # The learning curve has each leader on the rows that it had by then.
        assert all(len(lead.rows) <= lead.calls for lead in search.progress.leads)


def _with_runs(setting, runs: int):  # type: ignore[no-untyped-def]
    async def other(*arguments):  # type: ignore[no-untyped-def]
        return replace(await setting(*arguments), runs=runs)

    return other


async def test_cancelled_it_leaves_its_best_so_far_and_asks_no_more(bench: Bench) -> None:
    reached = asyncio.Event()

    async def slow(request: Request) -> str:
        if len(runtime.requests) > 60:
            reached.set()
            await asyncio.sleep(60)
        return model(request)

    runtime = Scripted(slow)
    async with opened(bench, "random_search", runtime) as search:
        work = asyncio.create_task(search.run(CALLS))
        await reached.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        asked = len(search.requests)
        running = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
        await asyncio.sleep(0.1)

        assert "Evaluator.evaluate" not in running
        assert len(search.requests) == asked
        assert search.search.found.incumbent.changes


async def test_a_budget_that_was_spent_before_gives_the_start(bench: Bench) -> None:
    async with opened(bench, "gepa", budget=Budget(0)) as search:
        found = await search.run(CALLS)

        assert (found.incumbent, search.requests) == (START, [])


async def test_a_proposal_that_quotes_a_row_is_refused_and_told(bench: Bench) -> None:
    async with opened(
        bench, "copro", lambda request: proposing(request, leak) if is_proposal(request) else "bad"
    ) as search:
        row = search.split.search[0]
        leak = f"Say good or bad. {search.split.rows[row].inputs[0]['text']} is {search.split.rows[row].expected[0]}"
        found = await search.run(CALLS)

        assert found.incumbent == START
        assert any("refused: it gives away a row's answer" in note for note in search.progress.notes)
        assert not [request for request in search.requests if leak in said(request) and not is_proposal(request)]


async def test_a_proposal_that_drops_an_input_is_refused_and_told(bench: Bench) -> None:
    prompt = bench.folder.root / "templates/prompts/mood.j2"
    prompt.write_text(prompt.read_text().replace("Say whether it", "Say whether {{ text }}"), encoding="utf-8")
    async with opened(bench, "copro") as search:
        found = await search.run(CALLS)

        assert found.incumbent == START
        assert any("it drops `{{ text }}`" in note for note in search.progress.notes)


async def test_gepa_is_told_what_was_expected_of_a_wrong_answer(bench: Bench) -> None:
    async with opened(bench, "gepa") as search:
        await search.run(CALLS)

        requests = [said(request) for request in search.requests if is_proposal(request)]
        assert any("Expected was: good" in text for text in requests)


async def test_simba_samples_one_program_at_different_seeds(bench: Bench) -> None:
    async with opened(bench, "simba") as search:
        await search.run(CALLS)

        warm = [request for request in search.requests if request.temperature == 1.0 and not is_proposal(request)]
        assert len({request.seed for request in warm}) > 1


async def test_a_model_that_cannot_propose_leaves_what_there_is_and_says_why(bench: Bench) -> None:
    async with opened(bench, "copro", lambda request: "" if is_proposal(request) else "bad") as search:
        found = await search.run(CALLS)

        assert found.incumbent == START
        assert any("`copro` broke off" in note for note in search.progress.notes)


async def test_a_reply_without_markers_is_the_proposal(bench: Bench) -> None:
    async with opened(bench, "copro", lambda request: PROPOSAL if is_proposal(request) else model(request)) as search:
        found = await search.run(CALLS)

        assert [level.about for level in found.incumbent.choices.values()] == [PROPOSAL]
