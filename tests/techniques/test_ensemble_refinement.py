"""`ensemble_refinement` (Singhal et al. 2023): all explanations are refined at once, only refined answers vote."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.errors import Unsupported
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Request
from promptkit.techniques.catalog.ensemble_refinement import explanation as explanation_of
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.steps import ALL, MARKED, Bench, flat, in_order, marked_example, without

OPTIONS = {"choice": ["iron", "zinc", "lead"]}
FIRST = ["ALPHA speaks for it. Output: (A)", "BETA speaks for it.\nOutput: (A)", "GAMMA is against it.\nOutput: (B)"]
REFINED = ["x\nOutput: (B)", "y\nOutput: (B)", "z\nOutput: (A)"]
DECIDED = [" B", " B", " A"]
EXAMPLES = (Example({"question": "FIRST?"}, "lead", "R-ONE"),)
STUDENTS = "Several students have reasoned about the question at the end."


def script(first: list[str] = FIRST, refined: list[str] = REFINED) -> Callable[[Request], str]:
    """Return a script that answers each sample of each stage with its own reply."""
    deciding = iter(DECIDED)

    def answer(request: Request) -> str:
        sample = int(request.sample.rpartition("/")[2])
        if STUDENTS not in flat(request):
            return first[sample]
        return next(deciding) if request.grammar else refined[sample]

    return answer


async def ask(bench: Bench, technique: Any = "ensemble_refinement", **settings: Any) -> Answer:
    return await perform(technique, bench.step(**{"examples": EXAMPLES, "decide": "generate", **settings}))


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_the_answer_is_the_vote_of_the_refined_ones_alone(tmp_path: Path, decide: str) -> None:
    bench = Bench(tmp_path, script(), OPTIONS)

    answer = await ask(bench, decide=decide)

    thinking = bench.runtime.requests[:6]
    assert answer.value == "zinc"
    assert answer.extra["votes"] == [{"value": "zinc", "weight": 2}, {"value": "iron", "weight": 1}]
    assert len(bench.texts) == (6 if decide == "generate" else 9)
    assert all(request.temperature == 0.7 for request in thinking)
    assert [request.sample for request in thinking] == ["0/0", "0/1", "0/2"] * 2


async def test_each_refinement_sees_the_question_the_examples_and_every_explanation_without_its_answer(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, script(), OPTIONS)

    answer = await ask(bench)

    shown = ["Reasoning 1: ALPHA speaks for it.", "Reasoning 2: BETA speaks", "Reasoning 3: GAMMA is against it."]
    assert len(set(bench.texts[3:])) == 1
    assert in_order(bench.texts[3], [STUDENTS, "FIRST?", "R-ONE", "QUESTION-MARK", *shown])
    assert "(A)" not in bench.texts[3] and "(B)" not in bench.texts[3]
    assert answer.extra["explanations"] == ["ALPHA speaks for it.", "BETA speaks for it.", "GAMMA is against it."]


async def test_the_first_explanations_are_asked_for_independently_and_know_the_options(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(), OPTIONS)

    await ask(bench)

    assert len(set(bench.texts[:3])) == 1
    assert not any(word in bench.texts[0] for word in ("ALPHA", "BETA", "GAMMA", "students"))
    assert in_order(bench.texts[0], ["A) iron\nB) zinc\nC) lead", "R-ONE", "QUESTION-MARK"])


async def test_the_first_explanations_know_the_labels(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["a", "b", "c", "Output: no", "Output: no", "Output: yes"], {"label": ["yes", "no"]})

    answer = await ask(bench, examples=())

    assert answer.value == "no"
    assert '"yes", "no"' in bench.texts[0]
    assert all(request.begun == "Explanation:" for request in bench.runtime.requests)


async def test_a_reply_that_is_its_answer_alone_is_no_explanation(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(["Output: (A), for ALPHA", *FIRST[1:]]), OPTIONS)

    answer = await ask(bench)

    assert len(answer.extra["explanations"]) == len(FIRST) - 1
    assert "ALPHA" not in " ".join(answer.extra["explanations"])


@pytest.mark.parametrize("reply", ["", "**", "(B)", "**Answer:** B", "Output: B", "The answer is (B)", "\\boxed{B}"])
async def test_without_any_explanation_the_refinement_thinks_for_itself_and_a_warning_tells(
    tmp_path: Path, reply: str
) -> None:
    bench, warned = Bench(tmp_path, [reply, "So. Output: B"], OPTIONS), list[str]()

    answer = await ask(bench, {"ensemble_refinement": {"first": 1, "samples": 1}}, examples=(), warn=warned.extend)

    assert (answer.value, answer.extra["explanations"]) == ("zinc", [])
    assert STUDENTS not in bench.texts[1]
    assert warned == ["unread_call"]


@pytest.mark.parametrize(
    ("reply", "explanation"),
    [
        ("Birds fly. Answer: (A)", "Birds fly."),
        ("Birds fly. The answer is (B).", "Birds fly."),
        ("Birds fly.\nOutput: 9", "Birds fly."),
        ("Output: 9", ""),
    ],
)
def test_an_explanation_ends_before_its_answer(reply: str, explanation: str) -> None:
    assert explanation_of(reply, ["Output:"], build_answer_type(OPTIONS)) == explanation


async def test_the_first_stage_is_short_and_the_numbers_of_both_stages_can_be_set(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(), OPTIONS)
    technique = {"ensemble_refinement": {"first": 2, "samples": 1, "temperature": 1.0, "max_tokens": 30}}

    await ask(bench, technique, decide="constrain")

    assert [request.max_tokens for request in bench.runtime.requests[:2]] == [30, 30]
    assert [request.temperature for request in bench.runtime.requests] == [1.0, 1.0, 1.0, 0.0]
    assert "3. reasoning" not in bench.texts[2]


@pytest.mark.parametrize("parameters", [{"first": 0}, {"samples": 0}, {"temperature": 0.0}])
def test_no_samples_and_no_warmth_are_told_at_check(tmp_path: Path, parameters: dict[str, Any]) -> None:
    (problem,) = check_spec({"ensemble_refinement": parameters}, Bench(tmp_path, []).project)

    assert next(iter(parameters)) in problem.message


async def test_a_runtime_that_cannot_sample_is_an_error_before_the_first_request(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="needs sampling"):
        await ask(Bench(tmp_path, [], capabilities=without("sampling")))


async def test_without_a_refined_answer_there_is_no_value(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(refined=["none of them"] * 3), OPTIONS)

    answer = await ask(bench)

    assert (answer.value, answer.flag, answer.extra["unparsed"]) == (None, "unparsed", 3)


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_it_costs_what_it_says_and_each_stage_runs_at_once(tmp_path: Path, decide: str) -> None:
    bench = Bench(tmp_path, script(), OPTIONS)

    await ask(bench, decide=decide)

    most = cost(configure("ensemble_refinement", bench.project), bench.project, decide=decide)
    stages = [("reason", 1)] * 3 + [("refine", 2)] * 3 + [("refine", 3)] * (0 if decide == "generate" else 3)
    assert bench.levels == stages
    assert (most.calls, most.requests, most.depth) == (6, len(stages), stages[-1][1])


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["a", "b", " 7"], prompt=MARKED)
    one = {"ensemble_refinement": {"first": 1, "samples": 1}}

    await ask(bench, one, decide="constrain", examples=(marked_example(2),))

    explaining = "persona instructions constraints context output_format examples thoughts input"
    assert bench.shown == [("reason", explaining), ("refine", ALL), ("refine", ALL)]
