"""Reasons, juries, samples, repeatability, pipelines that judge, and examples of labelled answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from promptkit.errors import ContextOverflow, InputError, ServerFailed
from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, answer_key
from promptkit.evaluation.metrics.base import MetricContext, MetricInput
from promptkit.evaluation.metrics.judge import Judge
from promptkit.evaluation.metrics.judge_parameters import JudgeParameters
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, Score
from promptkit.project import Project
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, asked, said
from tests.engine.helpers import Given as Models
from tests.evaluation.metrics.given import given, sample
from tests.evaluation.metrics.judging import unsure
from tests.techniques.steps import without

LEVELS = ["poor", "fair", "good"]
CELL = given("Restart it.", "Restart the router.", row={"text": "The line drops."}, tokens_out=4)


def judge(
    folder: Folder,
    *labels: AnswerLabel,
    cluster: str | None = None,
    values: Mapping[str, str] | None = None,
    **parameters: Any,
) -> Judge:
    defaults: dict[str, Any] = {} if "pipeline" in parameters else {"rubric": "Is it good?", "levels": LEVELS}
    defaults |= {} if values is None else {"with": values}
    file = AnswerLabels(folder.root / "evals/test.labels.jsonl", labels)
    context = MetricContext(project=Project(folder.root), folder=folder.root, labels=file, cluster=cluster)
    return Judge("helpful", JudgeParameters.model_validate({**defaults, **parameters}), context)


def words(answer: Callable[[str], Any]) -> Scripted:
    return Scripted(lambda request: answer(said(request)), capabilities=without("logprobs"), reference="judge")


def replies(*texts: Any) -> Scripted:
    return Scripted(list(texts), capabilities=without("logprobs"))


async def scored(
    of: Judge, runtime: Scripted, cell: MetricInput = CELL, models: Mapping[str, Scripted] | None = None
) -> Score:
    return await of.measure_async(cell, Models(runtime, **(models or {})))


# Reasons


@pytest.mark.parametrize(
    ("reason", "level", "requests"),
    [("failing", "fair", 2), ("failing", "good", 1), ("all", "good", 2), ("none", "poor", 1)],
)
async def test_a_reason_is_asked_for_after_the_verdict_as_the_parameter_says(
    folder: Folder, reason: str, level: str, requests: int
) -> None:
    runtime = replies(level, "It names\nno action.")
    score = await scored(judge(folder, reason=reason), runtime)
    assert len(runtime.requests) == requests == len(score.detail[JUDGE_DETAIL])
    assert score.detail.get("reason") == ("It names no action." if requests == 2 else None)


async def test_the_reason_does_not_change_the_score(folder: Folder) -> None:
    shares = {"poor": 0.6, "fair": 0.2, "good": 0.2}

    def script(request: Request) -> Any:
        return "It is short." if "Reason:" in said(request) else unsure(lambda text: shares).script(request)

    score = await scored(judge(folder), Scripted(script, reference="judge"))
    assert score.value == pytest.approx(0.3) and score.detail["reason"] == "It is short."


async def test_the_request_for_a_reason_shows_the_answer_the_rubric_and_the_level(folder: Folder) -> None:
    runtime = replies("poor", "x")
    await scored(judge(folder), runtime)
    text = asked(runtime)[1]
    for part in ("Is it good?", 'received the level "poor"', "> The line drops.", "> Restart it.", "Reason:"):
        assert part in text


async def test_a_reason_before_the_verdict_is_what_the_judge_thought(folder: Folder) -> None:
    runtime = replies("It names an action.", "good")
    score = await scored(judge(folder, reason="before"), runtime)
    assert (score.value, score.detail["reason"], len(runtime.requests)) == (1, "It names an action.", 2)


@pytest.mark.parametrize("failure", ["", ContextOverflow("too long")])
async def test_a_verdict_stands_without_its_reason(folder: Folder, failure: Any) -> None:
    score = await scored(judge(folder), replies("poor", failure))
    assert score.value == 0 and "reason" not in score.detail


async def test_a_server_that_fails_at_the_reason_leaves_the_score_to_be_asked_again(folder: Folder) -> None:
    with pytest.raises(ServerFailed):
        await scored(judge(folder), replies("poor", ServerFailed("over")))


# Juries


async def test_a_jury_scores_by_its_mean_and_the_level_is_that_of_most(folder: Folder) -> None:
    of = judge(folder, models=["ollama/a", "ollama/b", "ollama/c"], reason="none")
    models = {f"ollama/{name}": replies(level) for name, level in zip("abc", ("good", "fair", "good"), strict=True)}
    score = await scored(of, replies(), models=models)
    assert score.value == pytest.approx(5 / 6) and score.detail["level"] == "good"
    assert [verdict["level"] for verdict in score.detail["verdicts"]] == ["good", "fair", "good"]
    assert [verdict["model"] for verdict in score.detail["verdicts"]] == ["ollama/a", "ollama/b", "ollama/c"]
    assert list(of.numbers(score))[-3:] == [2, 1, 2] and of.models == ("ollama/a", "ollama/b", "ollama/c")


async def test_a_judge_without_a_verdict_leaves_it_to_the_others_while_most_have_one(folder: Folder) -> None:
    of = judge(folder, models=["ollama/a", "ollama/b", "ollama/c"], reason="none")
    models = {f"ollama/{name}": replies(level) for name, level in zip("abc", ("good", "Hm, well", "fair"), strict=True)}
    score = await scored(of, replies(), models=models)
    assert score.value == 0.75 and "Hm, well" in score.detail["verdicts"][1]["fault"]
    notes = of.estimate(sample([list(of.numbers(score))])).notes
    assert "in 1 answers not all judges gave a verdict: the score is the mean of the others" in notes
    most = {f"ollama/{name}": replies(level) for name, level in zip("abc", ("good", "Hm", "Well"), strict=True)}
    missing = await scored(of, replies(), models=most)
    assert missing.value is None and missing.why.startswith("ollama/b: ")


async def test_samples_are_drawn_at_a_temperature_and_without_log_probabilities(folder: Folder) -> None:
    runtime = Scripted([" good", " poor", " good"], reference="judge")
    score = await scored(judge(folder, samples=3, reason="none"), runtime)
    assert score.value == pytest.approx(2 / 3) and "probabilities" not in score.detail
    assert [request.temperature for request in runtime.requests] == [0.7] * 3
    assert len({request.sample for request in runtime.requests}) == 3


def verdicts(of: Judge, *levels: tuple[str, ...]) -> list[list[float]]:
    scores = [Score(1.0, {"level": some[0], "verdicts": [{"level": level} for level in some]}) for some in levels]
    return [list(of.numbers(score)) for score in scores]


def test_the_agreement_of_a_jury_is_krippendorffs_alpha(folder: Folder) -> None:
    of = judge(folder, models=["ollama/a", "ollama/b"])
    found = of.estimate(sample(verdicts(of, *[("good", "good"), ("poor", "poor"), ("fair", "fair")] * 10)))
    agreement = found.parts["agreement of judges"]
    assert (agreement["n"], agreement["value"], agreement["equal"]["mean"]) == (30, 1, 1)
    found = of.estimate(sample(verdicts(of, *[("good", "poor"), ("poor", "good")] * 10)))
    agreement = found.parts["agreement of judges"]
    assert agreement["value"] < 0 and agreement["equal"]["mean"] == 0


async def test_a_share_of_the_answers_is_judged_again_with_another_sample(folder: Folder) -> None:
    of = judge(folder, repeatability=0.3, reason="none")
    again = 0
    for number in range(60):
        runtime = replies("good", "fair")
        score = await scored(of, runtime, given(f"answer {number}"))
        assert len(runtime.requests) == 1 + ("again" in score.detail)
        assert len({request.sample for request in runtime.requests}) == len(runtime.requests)
        again += "again" in score.detail
    assert 9 <= again <= 27
    always = judge(folder, repeatability=1.0, reason="none")
    same = [await scored(always, replies("good", "good")), await scored(always, replies("good", "fair"))]
    assert always.estimate(sample([list(of.numbers(score)) for score in same])).parts["repeatability"]["n"] == 2
    assert same[1].value == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "a", "models": ["b", "c"]}, "a jury"),
        ({"models": ["b"]}, "at least 2"),
        ({"pipeline": "faithfulness", "samples": 2}, "`samples` is of a judge's prompt"),
        ({"rubric": ""}, "needs a `rubric`"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    folder: Folder, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        judge(folder, **parameters)


def test_a_judge_is_built_again_from_its_parameters(folder: Folder) -> None:
    of = judge(folder, pipeline="faithfulness", values={"context": "context"})
    written = of.parameters.model_dump(mode="json", by_alias=True)
    assert JudgeParameters.model_validate(written) == of.parameters


# Pipelines

PIPELINE = """
inputs:
  answer: {example: x}
  context: {example: x}
steps:
  first: {prompt: "Find {{ answer }} in {{ context }}."}
output: OUTPUT
"""


async def judged_by(folder: Folder, output: str, reply: str = "0.25", **parameters: Any) -> Score:
    folder.write("pipelines/mine.yaml", PIPELINE.replace("OUTPUT", output))
    of = judge(folder, pipeline="mine", values={"context": "{{ row.text }}"}, **parameters)
    return await scored(of, replies(reply))


@pytest.mark.parametrize(
    ("output", "value", "level"),
    [
        ('"{{ first | float }}"', 0.25, "wrong"),
        ('"right"', 1, "right"),
        ('{score: "{{ 0.5 }}", reason: "{{ first }}"}', 0.5, "wrong"),
        ('"{{ true }}"', 1, "right"),
    ],
)
async def test_the_output_of_a_pipeline_is_a_number_a_level_or_a_score_with_its_reason(
    folder: Folder, output: str, value: float, level: str
) -> None:
    score = await judged_by(folder, output)
    assert (score.value, score.detail["level"]) == (value, level)
    assert score.detail.get("reason") == ("0.25" if "reason" in output else None)
    exchange = score.detail[JUDGE_DETAIL][0]
    assert exchange["steps"] == {"first": "0.25"} and exchange["calls"] == 1


async def test_a_pipeline_has_the_levels_that_the_suite_names(folder: Folder) -> None:
    assert (await judged_by(folder, '"Fair"', levels=LEVELS)).value == 0.5
    assert (await judged_by(folder, '"{{ 4.5 }}"', scale=[1, 5])).value == 4.5


@pytest.mark.parametrize(
    "output", ['"{{ 2 }}"', '"{{ none }}"', "{verdict: good}", '"great"', '"{{ first.gone.gone }}"']
)
async def test_an_output_that_is_no_verdict_is_missing_with_its_reason(folder: Folder, output: str) -> None:
    score = await judged_by(folder, output)
    assert score.value is None and score.why


def test_a_pipeline_that_needs_what_a_judge_does_not_get_is_an_error_of_the_suite(folder: Folder) -> None:
    with pytest.raises(InputError, match="needs `context`, which a judge does not get"):
        judge(folder, pipeline="faithfulness")
    with pytest.raises(InputError, match="there is no pipeline `faithfulnes`"):
        judge(folder, pipeline="faithfulnes")


async def test_faithfulness_is_the_share_of_claims_that_the_context_supports(folder: Folder) -> None:
    def reply(text: str) -> str:
        if "Claims:" in text:
            return "It opened in 1932.\nThe army built it."
        return "supported" if "opened" in text.rpartition("Claim:")[2] else "unsupported"

    of = judge(folder, pipeline="faithfulness", values={"context": "text"})
    runtime = words(reply)
    score = await scored(of, runtime)
    assert score.value == 0.5 and score.detail["reason"] == "unsupported: The army built it."
    assert all("Restart the router." not in text for text in asked(runtime))


async def test_the_expected_answer_is_hidden_where_the_suite_says_so(folder: Folder) -> None:
    for shown in (True, False):
        runtime = replies("good")
        await scored(judge(folder, expected=shown), runtime)
        assert ("Restart the router." in asked(runtime)[0]) is shown


# Examples


def labelled(number: int, level: str, **more: Any) -> AnswerLabel:
    inputs, answer = {"text": f"asked {number}"}, f"answer {number}"
    key = answer_key(inputs, answer)
    return AnswerLabel(
        metric="helpful", key=key, answer=answer, level=level, drawn="random", **{"inputs": inputs, **more}
    )


def cell_of(number: int, **row: Any) -> MetricInput:
    cell = given(f"answer {number}", row={"text": f"asked {number}", **row})
    return MetricInput(cell.got, None, cell.cell, None, {"text": f"asked {number}"})


LABELS = [labelled(1, "good"), labelled(2, "good"), labelled(3, "poor", why="It is rude."), labelled(4, "good")]


async def shown_to(of: Judge, cell: MetricInput) -> list[int]:
    runtime = replies("good")
    await scored(of, runtime, cell)
    examples = asked(runtime)[0].partition("EXAMPLES>")[2].partition("</FEW_SHOT_EXAMPLES>")[0]
    return [number for number in range(10) if f"> answer {number}" in examples]


async def test_examples_are_labelled_answers_by_turns_of_their_levels(folder: Folder) -> None:
    of = judge(folder, *LABELS, examples=2)
    assert await shown_to(of, cell_of(9)) == [1, 3]
    runtime = replies("good")
    await scored(of, runtime, cell_of(9))
    assert "> asked 3" in asked(runtime)[0] and "Level: poor\nReason: It is rude." in asked(runtime)[0]
    assert of.key != judge(folder, *LABELS[:1], *LABELS[2:], labelled(5, "fair"), examples=3).key
    assert of.key == judge(folder, *LABELS, labelled(5, "poor"), examples=2).key


async def test_an_example_is_not_shown_for_its_own_row_or_cluster(folder: Folder) -> None:
    assert await shown_to(judge(folder, *LABELS, examples=2), cell_of(3)) == [1]
    clustered = [labelled(number, "good", cluster="a" if number < 3 else "b") for number in range(1, 5)]
    of = judge(folder, *clustered, labelled(5, "good"), examples=5, cluster="doc")
    assert await shown_to(of, cell_of(9, doc="a")) == [3, 4]
    assert "1 of 5 `examples` of the judge are lacking" in of.setting_notes[0]


def test_a_prompt_that_shows_no_examples_is_refused_some(folder: Folder) -> None:
    mine = '---\ninputs: {answer: {}, levels: {type: json}}\nanswer: {label: "{{ levels }}"}\n---\n'
    folder.write("templates/prompts/judge.j2", mine + "{% block input %}{{ answer }}{% endblock %}")
    with pytest.raises(InputError, match="has no input `examples`"):
        judge(folder, *LABELS, examples=2)


# Validity


def cells(of: Judge, *pairs: tuple[str, str, int]) -> list[list[float]]:
    scores = {"poor": 0.0, "fair": 0.5, "good": 1.0}
    return [
        list(of.numbers(Score(scores[level], {"level": level, "label": label, "tokens": tokens})))
        for level, label, tokens in pairs
    ]


def test_the_bias_against_labels_stands_by_level_and_length(folder: Folder) -> None:
    of = judge(folder)
    # Long answers are judged good, whatever their label.
    found = of.estimate(sample(cells(of, *[("poor", "poor", 5), ("good", "good", 9), ("good", "poor", 9)] * 10)))
    bias = found.parts["bias against labels"]
    assert bias["n"] == 30 and bias["mean"] == pytest.approx(1 / 3)
    assert bias["by level"]["good"]["mean"] == 0 and bias["by level"]["poor"]["mean"] == 0.5
    assert (bias["by length"]["short"]["mean"], bias["by length"]["long"]["mean"]) == (0, 0.5)


def test_a_judge_that_falls_apart_with_the_labels_is_named_in_a_note(folder: Folder) -> None:
    of = judge(folder)
    apart = [("good", "poor", 5), ("poor", "good", 5), ("good", "good", 5), ("poor", "poor", 5)]
    found = of.estimate(sample(cells(of, *apart * 5)))
    assert any("fall apart: Krippendorff's alpha" in note for note in found.notes)
    assert not any("fall apart" in note for note in of.estimate(sample(cells(of, *apart * 4))).notes)
    kind = of.estimate(sample(cells(of, *[("good", "fair", 5), ("fair", "poor", 5), ("good", "good", 5)] * 8)))
    assert any("the judge's own mean 0.83 lies outside" in note for note in kind.notes)
    fair = of.estimate(sample(cells(of, *[("good", "good", 5), ("fair", "fair", 5), ("good", "good", 5)] * 8)))
    assert not any("outside" in note for note in fair.notes)


async def test_an_answer_without_claims_is_faithful_and_the_reason_says_so(folder: Folder) -> None:
    of = judge(folder, pipeline="faithfulness", values={"context": "text"})
    score = await scored(of, words(lambda text: "none"))
    assert (score.value, score.detail["reason"]) == (1, "the answer makes no claim")
