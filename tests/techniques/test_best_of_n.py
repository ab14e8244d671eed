"""`best_of_n` (Cobbe et al. 2021): several answers, the one that the verifier scores highest is returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, ToolFailed
from promptkit.runtimes.base import Request
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.steps import MARKED, Bench, flat

LABELS = {"label": ["LABEL-ONE", "LABEL-TWO"]}


def spec(**parameters: Any) -> dict[str, Any]:
    return {"best_of_n": {"over": "vanilla", **parameters}}


def graded(answers: Sequence[str], grades: Mapping[str, str]) -> Any:
    """Return a script: each sample gives its answer, and the judge grades a response by its text."""

    def script(request: Request) -> str:
        text = flat(request)
        if "grade it" in text:
            return next(grade for response, grade in grades.items() if f"Response:\n{response}\n" in text)
        return answers[int(request.sample.rpartition("/")[2])]

    return script


async def ask(bench: Bench, technique: Any, **settings: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    answer = await perform(technique, bench.step(decide="generate", warn=warned.extend, **settings))
    return answer, warned


async def test_the_answer_with_the_highest_grade_wins_though_it_is_in_the_minority(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graded(["18", "26", "18"], {"18": "4", "26": "9"}))

    answer, warned = await ask(bench, spec(samples=3))

    assert (answer.value, answer.extra["score"], warned) == (26, 9, [])
    assert [each["score"] for each in answer.extra["candidates"]] == [4, 9, 4]
    assert sorted(bench.levels) == [("answer", 1)] * 3 + [("judge", 2)] * 3


async def test_samples_are_warm_and_the_judge_is_greedy(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graded(["1", "2"], {"1": "1", "2": "2"}))

    await ask(bench, spec(samples=2, temperature=0.4))

    heats = [(record.call, record.request.sample, record.request.temperature) for record in bench.records]
    assert sorted(heats) == [("answer", "0/0", 0.4), ("answer", "0/1", 0.4), ("judge", "0", 0.0), ("judge", "0", 0.0)]


async def test_the_judge_knows_the_task_its_labels_and_the_reasoning(tmp_path: Path) -> None:
    def script(request: Request) -> str:
        return "7" if "grade it" in flat(request) else "It is so. Output: LABEL-TWO"

    bench = Bench(tmp_path, script, LABELS, prompt=MARKED)

    await ask(bench, spec(samples=1, over="chain_of_draft"))

    judged = bench.texts[-1]
    for known in ("INSTRUCTIONS-MARK", "CONSTRAINTS-MARK", "CONTEXT-MARK", "QUESTION-MARK", "LABEL-ONE", "It is so."):
        assert known in judged
    assert "RECAP-MARK" not in judged


async def test_of_equal_grades_the_first_wins_with_a_warning_where_the_answers_differ(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graded(["5", "6"], {"5": "8", "6": "8"}))
    answer, warned = await ask(bench, spec(samples=2))
    assert (answer.value, warned) == (5, ["tie"])

    bench = Bench(tmp_path, graded(["5", "5.0"], {"5": "8"}))
    answer, warned = await ask(bench, spec(samples=2))
    assert (answer.value, warned) == (5, [])


async def test_with_a_threshold_samples_come_one_after_the_other_up_to_the_first_that_reaches_it(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, graded(["1", "2", "3"], {"1": "6", "2": "7", "3": "9"}))

    answer, warned = await ask(bench, spec(samples=3, threshold=7.0))

    assert (answer.value, warned) == (2, [])
    assert bench.levels == [("answer", 1), ("judge", 2), ("answer", 3), ("judge", 4)]


async def test_a_threshold_that_nothing_reaches_leaves_the_best_with_a_warning(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graded(["1", "2"], {"1": "6", "2": "5"}))

    answer, warned = await ask(bench, spec(samples=2, threshold=7.0))

    assert (answer.value, warned) == (1, ["capped"])


async def test_an_answer_that_does_not_parse_is_not_judged_and_comes_last(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graded(["no idea", "2"], {"2": "0"}))

    answer, _ = await ask(bench, spec(samples=2))

    assert answer.value == 2
    assert [record.call for record in bench.records].count("judge") == 1


async def test_without_any_answer_the_first_missing_one_is_returned_so_that_it_can_be_repaired(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: "no idea")

    answer, warned = await ask(bench, spec(samples=2))

    assert (answer.value, answer.flag, warned) == (None, "unparsed", [])
    assert answer.last is not None


async def test_a_grade_that_cannot_be_read_is_worth_less_than_any_and_warned_of(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graded(["1", "2"], {"1": "good", "2": "0"}))

    answer, warned = await ask(bench, spec(samples=2))

    assert (answer.value, warned) == (2, ["unread_call"])


async def test_the_guard_of_the_step_accepts_the_first_answer_that_passes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graded(["1", "2", "4"], {}))

    def guard(value: Any) -> str | None:
        return None if value % 2 == 0 else "it is odd"

    answer, warned = await ask(bench, spec(samples=3, verifier="guard"), guard=guard)

    assert (answer.value, warned) == (2, []), "answers that are only accepted are not tied"


@pytest.mark.parametrize(
    ("verdicts", "best"),
    [({1: 0.2, 2: 0.9}, 2), ({1: False, 2: True}, 2), ({1: "it is too small", 2: ""}, 2), ({1: None, 2: "no"}, 1)],
)
async def test_a_tool_scores_by_a_number_a_truth_or_what_is_wrong(
    tmp_path: Path, verdicts: Mapping[int, Any], best: int
) -> None:
    asked: list[Mapping[str, Any]] = []

    def tool(arguments: Mapping[str, Any]) -> Any:
        asked.append(arguments)
        return verdicts[arguments["answer"]]

    bench = Bench(tmp_path, graded(["1", "2"], {}))
    answer, _ = await ask(bench, spec(samples=2, verifier="tool:score"), tools={"score": tool})

    assert answer.value == best
    assert all(arguments["question"] == "QUESTION-MARK 3+4?" for arguments in asked)


class Checking:
    """A tool that knows its parameters, as a pipeline's does."""

    def __init__(self, **takes: bool) -> None:
        self.takes = takes
        self.given: list[Mapping[str, Any]] = []

    def call(self, arguments: Mapping[str, Any]) -> Any:
        self.given.append(arguments)
        return {"score": 3}


async def test_a_tool_gets_the_answer_and_the_inputs_that_it_takes(tmp_path: Path) -> None:
    tool = Checking(answer=True)

    with pytest.raises(ToolFailed, match="True or False, a number or a text"):
        await ask(Bench(tmp_path, ["1"]), spec(samples=1, verifier="tool:score"), tools={"score": tool.call})

    assert tool.given == [{"answer": 1}]


@pytest.mark.parametrize(
    ("verifier", "tools", "problem"),
    [
        ("tool:scor", {"score": Checking(answer=True).call}, "no tool `scor`"),
        ("tool:score", {"score": Checking(text=True).call}, "must have a parameter `answer`"),
        ("guard", {}, "has no guard"),
        ("program", {}, "needs an answer that is code"),
    ],
)
async def test_a_verifier_that_the_step_has_not_is_an_error_before_the_first_request(
    tmp_path: Path, verifier: str, tools: Mapping[str, Any], problem: str
) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match=problem):
        await ask(bench, spec(verifier=verifier), tools=tools)

    assert bench.texts == []


async def test_a_program_of_another_language_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the step's answer is sql"):
        await ask(Bench(tmp_path, [], {"code": "sql"}), spec(verifier="program"))


async def test_a_program_is_accepted_that_runs(tmp_path: Path) -> None:
    programs = ["```python\nanswer = 1 / 0\n```", "```python\nanswer = 1\n```"]
    bench = Bench(tmp_path, graded(programs, {}), {"code": "python"})

    answer, _ = await ask(bench, spec(samples=2, verifier="program"))

    assert answer.value == "answer = 1"
    assert [each["score"] for each in answer.extra["candidates"]] == [False, True]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"verifier": "jury"}, "must be `judge`, `guard`"), ({"samples": 0}, "samples"), ({"over": "x"}, "x")],
)
def test_what_is_wrong_in_its_settings_is_a_problem_at_check(
    tmp_path: Path, parameters: dict[str, Any], named: str
) -> None:
    (problem,) = check_spec(spec(**parameters), Bench(tmp_path, []).project)

    assert named in problem.message


@pytest.mark.parametrize("verifier", ["judge", "guard"])
async def test_it_costs_what_it_says(tmp_path: Path, verifier: str) -> None:
    bench = Bench(tmp_path, graded(["1", "2", "3"], {"1": "1", "2": "2", "3": "3"}))

    await ask(bench, spec(samples=3, verifier=verifier), guard=lambda value: None)

    most = cost(configure(spec(samples=3, verifier=verifier), bench.project), bench.project, decide="generate")
    assert most.requests == len(bench.records)
    assert most.depth == max(record.level for record in bench.records)


async def test_samples_that_are_scored_alike_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: "red", {"label": ["red", "blue"]})

    with pytest.raises(InputError, match="all samples would be the same"):
        await perform({"best_of_n": {"over": "vanilla"}}, bench.step(decide="score"))


async def test_a_verifier_that_rejects_every_answer_is_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, graded(["1", "2"], {}))

    answer, warned = await ask(bench, spec(samples=2, verifier="tool:none"), tools={"none": lambda arguments: False})

    assert (answer.value, warned) == (1, ["none_accepted"])
