"""`adaptive_self_consistency` (Aggarwal et al. 2023): samples in batches until the majority is unlikely to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import beta

from promptkit.errors import Unsupported
from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.techniques.catalog.adaptive_self_consistency import probability_of_staying, weights
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.steps import Bench, flat, without


def spec(**parameters: Any) -> dict[str, Any]:
    return {"adaptive_self_consistency": {"over": "vanilla", **parameters}}


def by_sample(answers: Sequence[str], grades: Mapping[str, str] | None = None) -> Any:
    """Return a script: each sample gives its answer, and a grade is given by the response's text."""

    def script(request: Request) -> str:
        text = flat(request)
        if "Grade it" in text:
            return next(grade for response, grade in (grades or {}).items() if f"Response:\n{response}\n" in text)
        return answers[int(request.sample.rpartition("/")[2])]

    return script


async def ask(bench: Bench, technique: Any, **settings: Any) -> tuple[Answer, list[str]]:
    """Return the answer and the warnings."""
    warned: list[str] = []
    answer = await perform(technique, bench.step(decide="generate", warn=warned.extend, **settings))
    return answer, warned


@pytest.mark.parametrize("votes", [[1], [4], [3, 1], [5, 4], [2.5, 1.5, 0.5]])
def test_the_probability_is_that_of_a_beta_distribution_over_the_two_leading_answers(votes: list[float]) -> None:
    first, second = (*sorted(votes, reverse=True), 0)[:2]

    assert probability_of_staying(votes) == pytest.approx(beta.sf(0.5, first + 1, second + 1))


def test_without_a_vote_nothing_is_certain() -> None:
    assert probability_of_staying([]) == 0


async def test_four_equal_answers_are_enough_at_the_default_threshold(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["7"] * 10))

    answer, warned = await ask(bench, spec())

    assert (answer.value, answer.extra["samples"], warned) == (7, 4, [])
    assert bench.levels == [("answer", 1)] * 2 + [("answer", 2)] * 2
    assert [request.sample for request in bench.runtime.requests] == ["0/0", "0/1", "0/2", "0/3"]
    assert {request.temperature for request in bench.runtime.requests} == {0.7}


async def test_where_they_disagree_more_are_sampled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["7", "8", "7", "7", "7", "7", "7", "7"]))

    answer, warned = await ask(bench, spec())

    assert (answer.value, answer.extra["samples"], warned) == (7, 8, [])
    assert answer.extra["votes"] == [{"value": 7, "weight": 7}, {"value": 8, "weight": 1}]


async def test_a_lower_threshold_stops_earlier(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["7"] * 10))

    answer, _ = await ask(bench, spec(threshold=0.8))

    assert answer.extra == {"votes": [{"value": 7, "weight": 2}], "unparsed": 0, "samples": 2, "probability": 0.875}


async def test_samples_that_never_agree_end_at_the_cap_with_warnings(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["7", "8", "7", "8", "9"]))

    answer, warned = await ask(bench, spec(samples=5))

    assert (answer.value, answer.extra["samples"], warned) == (7, 5, ["capped", "tie"])


async def test_an_answer_that_does_not_parse_has_no_vote(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["no idea", "7", "7", "7", "7", "7"]))

    answer, _ = await ask(bench, spec())

    assert (answer.extra["samples"], answer.extra["unparsed"]) == (6, 1)


async def test_graded_votes_let_a_sure_minority_win(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["7", "7", "8"], {"7": "2", "8": "10"}))

    answer, _ = await ask(bench, spec(samples=3, weigh="judge"))

    assert answer.value == 8
    assert sum(vote["weight"] for vote in answer.extra["votes"]) == pytest.approx(3)


async def test_votes_count_by_the_probability_of_yes(tmp_path: Path) -> None:
    def script(request: Request) -> Reply | str:
        text = flat(request)
        if "yes or no" not in text:
            return ["7", "7", "8"][int(request.sample.rpartition("/")[2])]
        sure = -0.01 if "Response:\n8\n" in text else -3.0
        shown = (Alternative(b" yes", sure), Alternative(b" no", -0.05))
        return Reply(text=" yes", tokens=(Token(b" yes", sure, shown),))

    bench = Bench(tmp_path, script)

    answer, _ = await ask(bench, spec(samples=3, weigh="logprob"))

    assert answer.value == 8


async def test_without_log_probabilities_they_are_no_weights_and_nothing_is_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [], capabilities=without("logprobs"))

    with pytest.raises(Unsupported, match="log-probabilities"):
        await ask(bench, spec(weigh="logprob"))

    assert bench.texts == []


def test_weights_have_a_mean_of_one() -> None:
    assert weights([0.5, 1.0]) == pytest.approx([2 / 3, 4 / 3])
    assert weights([0.0, 0.0]) == [1.0, 1.0]
    assert weights([0.5, None, 0.5]) == [1.0, 0.0, 1.0], "an answer without a vote has no part in the mean"


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_a_threshold_that_stops_at_once_or_never_is_a_problem_at_check(tmp_path: Path, threshold: float) -> None:
    (problem,) = check_spec(spec(threshold=threshold), Bench(tmp_path, []).project)

    assert "threshold" in problem.message


async def test_it_costs_at_most_what_it_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, by_sample(["7", "8", "7", "8", "9"], {"7": "5", "8": "5", "9": "5"}))

    await ask(bench, spec(samples=5, weigh="judge"))

    most = cost(configure(spec(samples=5, weigh="judge"), bench.project), bench.project, decide="generate")
    assert (most.requests, most.depth) == (len(bench.records), max(record.level for record in bench.records))
