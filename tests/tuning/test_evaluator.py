"""Cells of candidates: asked once, counted each time, kept, and scored by the suite's aim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from promptkit.answers.labels import Label
from promptkit.errors import BudgetSpent, ServerFailed
from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, answer_key
from promptkit.evaluation.metrics.turns import EachTurn
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.budget import Budget
from promptkit.tuning.evaluator import SearchFailed, step_nodes
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.engine.helpers import Folder
from tests.evaluation.suites import PROMPT, SUITE, Bench, echo, moods
from tests.tuning.evaluators import open_evaluator, places

START = Candidate()
MARKDOWN = Candidate({"mood.layout": Choice("markdown", {"mood.layout": "markdown"})})


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(6))


async def test_the_score_of_a_cell_is_that_of_the_aim(bench: Bench) -> None:
    async with open_evaluator(bench, echo) as opened:
        await opened.evaluator.evaluate([START], places(opened.evaluator))

        assert opened.evaluator.scores(START, places(opened.evaluator)).tolist() == [1, 0, 1, 0, 1, 0]
        assert opened.evaluator.estimate(START, range(6)).mean == 0.5


async def test_a_row_that_a_candidate_shows_is_asked_and_not_counted(bench: Bench) -> None:
    shows = START.with_choice("mood.layout", Choice("markdown", {"mood.layout": "markdown"}, rows=(1, 3, None)))
    async with open_evaluator(bench, echo) as opened:
        await opened.evaluator.evaluate([shows], places(opened.evaluator))

        assert np.isnan(opened.evaluator.scores(shows, range(4))).tolist() == [False, True, False, True]
        assert opened.evaluator.estimate(shows, range(6)).n == 4


async def test_a_candidate_is_the_target_with_its_changes(bench: Bench) -> None:
    async with open_evaluator(bench, echo) as opened:
        await opened.evaluator.evaluate([START, MARKDOWN], [0])

        assert [("<INPUT>" in request.messages[-1].content) for request in opened.runtime.requests] == [True, False]


async def test_a_cell_is_asked_once_in_a_field_and_counted_once(bench: Bench) -> None:
    async with open_evaluator(bench, echo) as opened:
        await opened.evaluator.evaluate([START], [0, 1])
        await opened.evaluator.evaluate([START], [0, 1, 2])

        assert (len(opened.runtime.requests), opened.budget.spent) == (3, 3)


async def test_what_another_search_has_asked_is_not_asked_and_is_counted(bench: Bench) -> None:
    async with open_evaluator(bench, echo) as opened:
        await opened.evaluator.evaluate([START, MARKDOWN], [0, 1])
    async with open_evaluator(bench, echo) as again:
        await again.evaluator.evaluate([START, MARKDOWN], [0, 1, 2])

        assert (len(again.runtime.requests), again.budget.spent, again.evaluator.requests_sent) == (2, 6, 2)


async def test_what_a_judge_is_asked_is_of_the_cell_and_is_counted_when_it_is_known_too(bench: Bench) -> None:
    suite = bench.suite(SUITE.replace("accuracy: label", "kind: {judge: {rubric: Is it kind?, scale: [1, 5]}}"))

    def judged(request: Request) -> str:
        return " 4" if "Is it kind?" in request.messages[-1].content else echo(request)

    async with open_evaluator(bench, judged, suite) as opened:
        await opened.evaluator.evaluate([START], [0, 1])
        results = list(opened.evaluator.results(START, [0, 1]))
        assert (opened.budget.spent, [result.calls for result in results]) == (4, [2, 2])
    async with open_evaluator(bench, judged, suite) as again:
        await again.evaluator.evaluate([START], [0, 1])
        assert (len(again.runtime.requests), again.budget.spent) == (0, 4)


async def test_a_known_cell_that_is_judged_for_the_first_time_counts_its_judge_once(bench: Bench) -> None:
    def judged(request: Request) -> Reply:
        text = "4" if "Is it kind?" in request.messages[-1].content else echo(request)
        return Reply(text=text, tokens_in=10, tokens_out=1)

    suite = bench.suite(SUITE.replace("accuracy: label", "kind: {judge: {rubric: Is it kind?, scale: [1, 5]}}"))
    spent = []
    async with open_evaluator(bench, judged, bench.suite()) as opened:
        await opened.evaluator.evaluate([START], [0, 1])
    for _ in range(2):
        async with open_evaluator(bench, judged, suite) as again:
            await again.evaluator.evaluate([START], [0, 1])
            spent.append((again.budget.spent, again.budget.spent_tokens))

    assert spent == [(4, 44), (4, 44)]


async def test_a_metric_of_ones_own_counts_no_call_whether_it_is_known_or_not(bench: Bench, folder: Folder) -> None:
    folder.write("own.py", "def score(output, expected):\n    return output == expected\n")
    suite = bench.suite(SUITE.replace("accuracy: label", "own: {python: '../own.py:score'}"))
    for _ in range(2):
        async with open_evaluator(bench, echo, suite) as opened:
            await opened.evaluator.evaluate([START], [0, 1])

            assert (opened.budget.spent, opened.evaluator.result(START, 0).calls) == (2, 1)  # type: ignore[union-attr]


async def test_a_cell_that_is_known_is_what_it_was_when_it_was_asked(bench: Bench) -> None:
    def timed(request: Request) -> Reply:
        return Reply(text="good", seconds=1 / 3, tokens_in=3, tokens_out=1)

    async with open_evaluator(bench, timed) as opened:
        await opened.evaluator.evaluate([START], [0, 1])
    async with open_evaluator(bench, timed) as again:
        await again.evaluator.evaluate([START], [0, 1])

        assert list(again.evaluator.results(START, [0, 1])) == list(opened.evaluator.results(START, [0, 1]))


async def test_nothing_is_asked_beyond_the_budget_and_what_was_asked_is_there(bench: Bench) -> None:
    async with open_evaluator(bench, echo, budget=Budget(4)) as opened:
        with pytest.raises(BudgetSpent):
            await opened.evaluator.evaluate([START], places(opened.evaluator))

        assert len(opened.runtime.requests) == 4
        assert len(list(opened.evaluator.results(START, places(opened.evaluator)))) == 4


async def test_what_the_store_has_is_not_taken_beyond_the_budget(bench: Bench) -> None:
    async with open_evaluator(bench, echo) as opened:
        await opened.evaluator.evaluate([START], places(opened.evaluator))
    async with open_evaluator(bench, echo, budget=Budget(4)) as again:
        with pytest.raises(BudgetSpent, match="4 requests"):
            await again.evaluator.evaluate([START], places(again.evaluator))

        assert (again.budget.spent, again.budget.ended, again.runtime.requests) == (4, "calls", [])
        assert len(list(again.evaluator.results(START, places(again.evaluator)))) == 4


async def test_whether_candidates_ask_the_same_is_seen_on_the_rows_that_are_named(bench: Bench) -> None:
    odd = PROMPT.replace("or bad.", "or bad.{% if '5' in text %} Think of 5.{% endif %}")
    bench.folder.write("templates/prompts/odd.j2", odd)
    other = Candidate({"mood.wording": Choice("odd", {"mood.prompt": "odd"})})
    async with open_evaluator(bench, echo) as opened:
        assert await opened.evaluator.deduplicate([START, other], [0, 1]) == [START]
        assert await opened.evaluator.deduplicate([START, other], [5, 1]) == [START, other]
        assert opened.runtime.requests == []


async def test_a_model_that_is_gone_ends_the_search_and_says_how_to_go_on(bench: Bench) -> None:
    def gone(request: Request) -> Exception:
        return ServerFailed("the server is on fire")

    bench.rows(moods(30))
    async with open_evaluator(bench, gone) as opened:
        with pytest.raises(SearchFailed, match="on fire"):
            await opened.evaluator.evaluate([START], places(opened.evaluator))


async def test_an_unparsed_answer_is_wrong_and_told(bench: Bench) -> None:
    async with open_evaluator(bench, lambda request: "perhaps") as opened:
        await opened.evaluator.evaluate([START], [0])

        result = opened.evaluator.result(START, 0)
        assert result is not None
        assert (result.score, result.unparsed, result.calls) == (0.0, 1.0, 1)


@pytest.mark.attack("code")
async def test_a_defect_is_a_missing_cell_of_its_candidate_and_ends_no_search(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(*given: Any, **named: Any) -> Any:
        raise LookupError("odd")

    bench.rows(moods(30))
    monkeypatch.setattr(Label, "find", find)
    async with open_evaluator(bench, echo) as opened:
        await opened.evaluator.evaluate([START], places(opened.evaluator))

        results = list(opened.evaluator.results(START, places(opened.evaluator)))
        assert [result.score for result in results] == [None] * 30
        [values] = opened.evaluator.defects.record()
        assert (values["cells"], values["defect"].split()[0]) == (30, "LookupError")


def node(name: str, kind: str = "step", *parts: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "kind": kind, "calls": [], "parts": list(parts)}


def test_a_step_is_its_own_node() -> None:
    step = node("mood", "step", node("round 1", "round"))

    assert step_nodes(node("run", "run", node("topic"), step), "mood") == [step]


def test_the_items_of_a_step_are_in_their_order_whenever_they_began() -> None:
    began = [node(f"step2[{number}]", "item") for number in (10, 2, 0, 11, 1)]
    records = step_nodes(node("run", "run", node("step2", "step", *began)), "step2")

    assert [entry["name"] for entry in records] == [f"step2[{number}]" for number in (0, 1, 2, 10, 11)]


def test_of_a_step_that_did_not_run_there_is_nothing() -> None:
    assert step_nodes(node("run", "run"), "mood") == []
    assert step_nodes({}, "mood") == []


async def test_labels_of_answers_correct_the_objective(bench: Bench) -> None:
    suite_text = SUITE.replace("accuracy: label", "kind: {judge: {rubric: Is it kind?, levels: [poor, good]}}")
    bench.suite(suite_text)
    labels = AnswerLabels(bench.folder.root / "evals/test.labels.jsonl")
    for row in moods(2):
        inputs = {"text": row["text"]}
        answer = row["text"].split()[0]
        key = answer_key(inputs, answer)
        labels.add(AnswerLabel(metric="kind", key=key, answer=answer, level="wrong", drawn="random"))

    def judged(request: Request) -> str:
        return " good" if "Is it kind?" in request.messages[-1].content else echo(request)

    async with open_evaluator(bench, judged, bench.suite(suite_text)) as opened:
        await opened.evaluator.evaluate([START], [0, 1])
        assert opened.evaluator.estimate(START, [0, 1]).mean == 0


async def test_an_answer_to_which_the_objective_does_not_apply_is_left_out_and_not_missing(bench: Bench) -> None:
    bench.folder.write("evals/own.py", "def score(output):\n    return None if output == 'bad' else 1\n")
    suite = bench.suite(SUITE.replace("accuracy: label", "own: {python: 'own.py:score'}"))
    async with open_evaluator(bench, echo, suite) as opened:
        evaluator, rows = opened.evaluator, places(opened.evaluator)
        await evaluator.evaluate([START], rows)
        assert list(evaluator.problems()) == []
        assert evaluator.applicable([START], rows) == [1, 3, 5]


async def test_a_row_is_scored_by_its_repeats_to_which_the_objective_applies(bench: Bench) -> None:
    bench.rows(moods(1))
    bench.folder.write("evals/own.py", "def score(output):\n    return None if output == 'bad' else 1\n")
    suite = bench.suite(SUITE.replace("accuracy: label", "own: {python: 'own.py:score'}") + "repeat: 2\n")
    answers = iter(["good", "bad"])
    async with open_evaluator(bench, lambda request: next(answers), suite) as opened:
        await opened.evaluator.evaluate([START], [0])
        assert opened.evaluator.scores(START, [0]).tolist() == [1]


async def test_a_search_asks_a_judge_of_turns_for_no_reasons_either(folder: Folder) -> None:
    bench = Bench(folder, [{"turns": ["Hi", "Bye"]}])
    folder.write("templates/prompts/agent.j2", "---\ninputs: {talk: {type: messages}}\n---\nBe polite.\n")
    judged = "{judge: {each: turn, rubric: Polite?, levels: [poor, good], model: 'scripted:judge.yaml'}}"
    talk = "conversation: {turns: '{{ row.turns }}'}"
    suite = f"data: rows.jsonl\ntarget: agent\n{talk}\nmetrics: {{kind: {judged}}}\n"
    folder.write("evals/judge.yaml", "otherwise: poor\n")
    async with open_evaluator(bench, echo, bench.suite(suite)) as opened:
        (measure,) = opened.evaluator.suite.measures
        assert measure.turn is not None and measure.turn.metric.parameters.reason == "none"
        assert isinstance(measure.metric, EachTurn) and measure.metric.inner is measure.turn.metric
