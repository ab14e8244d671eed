"""`decide: head`: what a head decides, where the step goes on by `otherwise`, and which heads are refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptkit.answers.head import numbers_text
from promptkit.engine.dependencies import files_of
from promptkit.engine.heads import prompt_digest
from promptkit.engine.render import rehearse, render
from promptkit.engine.requirements import fallbacks, unmet_requirements
from promptkit.engine.session import RunSettings
from promptkit.errors import BadReply, ContextOverflow, InputError, Unsupported
from promptkit.runtimes.base import HiddenState, Request
from promptkit.runtimes.scripted import CAPABILITIES
from tests.engine.heads import Vectors, written_head
from tests.engine.helpers import Folder, Given, said

PROMPT = """
---
inputs: {review: {}}
answer: {label: [bad, good]}
cue: "Mood:"
---
{% block instructions %}Is the review good?{% endblock %}
{% block input %}{{ review }}{% endblock %}
"""
PIPELINE = """
inputs: {review: {}}
steps:
  sort: {prompt: ask, decide: head}
"""
SCORED = PIPELINE.replace("decide: head", "decide: head, otherwise: score")


def sure(request: Request) -> tuple[float, ...]:
    """Return a vector with which the head is sure, unless the review is dull."""
    return (0.5, 0.0) if "dull" in said(request) else (3.0, 0.0)


class HeadFolder(Folder):
    """A project whose step `sort` has a head for the scripted model and the prompt as it is."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write("pipelines/ask.j2", PROMPT)
        self.file = root / "pipelines" / "test.sort.head.json"
        self.put()

    async def digest(self) -> str:
        pipeline = self.load(PIPELINE)
        call = pipeline.steps["sort"].prompt_call
        assert call is not None
        return prompt_digest(call, await Vectors([], sure).model(), self.project)

    def put(self, **changes: Any) -> None:
        self.file.write_text(written_head(**changes).model_dump_json())


@pytest.fixture
async def folder(tmp_path: Path) -> HeadFolder:
    made = HeadFolder(tmp_path)
    made.put(prompt=await made.digest())
    return made


async def test_a_sure_head_answers_without_a_generated_token(folder: HeadFolder) -> None:
    model = Vectors([], sure)
    result = await folder.run(PIPELINE, model, {"review": "fine"})
    assert result.output == "good"
    assert not model.requests
    (request,) = model.encoded
    assert request.hidden_state == HiddenState(3, "mean")
    assert (request.begun, request.think, request.constrained) == ("Mood:", False, False)
    assert "Is the review good?" in said(request)
    (step,) = result.trace.children
    share = 1 / (1 + math.exp(-3))
    assert {name: math.exp(value) for name, value in step.extra["scores"].items()} == pytest.approx(
        {"bad": 1 - share, "good": share}
    )
    assert step.extra["head"] == {
        "layer": 3,
        "pooling": "mean",
        "label": "good",
        "probability": round(share, 4),
        "abstained": False,
    }
    (call,) = step.calls
    assert (call.reply.text, call.reply.tokens_out, call.deciding, call.requests) == ("good", 0, True, 1)
    assert call.notes == ("the head (layer 3, mean) decides: good, 95%",)


async def test_where_the_head_abstains_the_step_goes_on_with_the_same_prompt(folder: HeadFolder) -> None:
    model = Vectors([" bad"], sure)
    result = await folder.run(PIPELINE, model, {"review": "dull"})
    assert result.output == "bad"
    (request,) = model.requests
    assert request.constrained
    assert (request.messages, request.begun) == (model.encoded[0].messages, model.encoded[0].begun)
    (step,) = result.trace.children
    assert [call.warnings for call in step.calls] == [("head_abstained",), ()]
    assert step.extra["head"]["abstained"]
    assert "scores" not in step.extra


async def test_otherwise_says_how_the_step_goes_on(folder: HeadFolder) -> None:
    model = Vectors([" bad"], sure)
    result = await folder.run(SCORED, model, {"review": "dull"})
    assert result.output == "bad"
    assert (model.requests[0].alternatives, model.requests[0].max_tokens) == (200, 1)
    (step,) = result.trace.children
    assert set(step.extra["scores"]) == {"bad", "good"}
    assert step.extra["head"]["label"] == "good"


async def test_a_guard_that_refuses_the_head_asks_the_model(folder: HeadFolder) -> None:
    model = Vectors([" bad"], sure)
    guarded = PIPELINE.replace("decide: head", "decide: head, guard: {expr: \"{{ result == 'bad' }}\"}")
    assert (await folder.run(guarded, model, {"review": "fine"})).output == "bad"
    (request,) = model.requests
    assert request.hidden_state is None


async def test_a_step_of_prompts_file_may_be_decided_by_a_head(folder: HeadFolder) -> None:
    folder.write("pipelines/ask.j2", PROMPT.replace("---\ninputs", "---\ndecide: head\notherwise: score\ninputs"))
    result = await folder.run(PIPELINE.replace(", decide: head", ""), Vectors([], sure), {"review": "fine"})
    assert result.output == "good"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("pipelines/ask.j2", PROMPT.replace("good?", "really good?")),
        ("pipelines/ask.j2", PROMPT.replace("Mood:", "Sentiment:").replace("cue", "layout: prefix\ncue")),
    ],
)
async def test_a_head_of_another_prompt_is_left_out_which_is_reported(folder: HeadFolder, path: str, text: str) -> None:
    folder.write(path, text)
    model = Vectors([" bad", " bad"], sure)
    result = await folder.run(PIPELINE, model, {"review": "fine"})
    assert result.output == "bad"
    assert not model.encoded
    assert "the prompt has changed since the head was trained" in result.notices[0]
    found = await fallbacks(folder.load(PIPELINE), Given(model))
    assert [(fallback.wanted, fallback.instead) for fallback in found] == [("decide: head", "decide: constrain")]
    with pytest.raises(Unsupported, match="the prompt has changed"):
        await folder.run(PIPELINE, model, {"review": "fine"}, settings=RunSettings(strict=True))


async def test_settings_that_leave_the_prompt_as_it_is_leave_the_head(folder: HeadFolder) -> None:
    settled = SCORED.replace("decide", "options: {seed: 3}, repairs: 0, decide")
    assert (await folder.run(settled, Vectors([], sure), {"review": "fine"})).output == "good"


async def test_a_model_without_vectors_goes_on_otherwise(folder: HeadFolder) -> None:
    model = Vectors([" bad"], sure, capabilities=CAPABILITIES)
    result = await folder.run(PIPELINE, model, {"review": "fine"})
    assert result.output == "bad"
    assert "gives no vectors for the head (it lacks hidden_states)" in result.notices[0]


async def test_a_head_of_other_weights_is_refused(folder: HeadFolder) -> None:
    model = Vectors([], sure, digest="others+llama.cpp-1")
    with pytest.raises(InputError, match="the head was trained on scripted"):
        await folder.run(PIPELINE, model, {"review": "fine"})


async def test_another_version_of_llama_cpp_has_the_same_weights(folder: HeadFolder) -> None:
    model = Vectors([], sure, digest="weights+llama.cpp-2")
    assert (await folder.run(PIPELINE, model, {"review": "fine"})).output == "good"


@pytest.mark.parametrize("labels", [("bad", "great"), ("bad", "good", "so-so")])
async def test_a_head_of_other_labels_is_refused(folder: HeadFolder, labels: tuple[str, ...]) -> None:
    count = len(labels)
    zeros = {"coefficients": numbers_text(np.zeros((count, 2))), "intercepts": numbers_text(np.zeros(count))}
    folder.put(labels=labels, **zeros)
    (problem,) = unmet_requirements(folder.load(PIPELINE))
    assert problem.message == f"step `sort`: the head has the labels {', '.join(labels)}, the answer bad, good"


async def test_a_missing_head_is_reported_with_the_command_that_trains_it(folder: HeadFolder) -> None:
    folder.file.unlink()
    (problem,) = unmet_requirements(folder.load(PIPELINE))
    assert problem.message == "step `sort`: `decide: head`: the step has no head (test.sort.head.json)"
    assert problem.hint == "promptkit train test --head --step sort --data FILE"


async def test_a_vector_that_does_not_fit_is_a_failure_of_the_model(folder: HeadFolder) -> None:
    result = await folder.run(PIPELINE, Vectors([], lambda request: (1.0, 2.0, 3.0)), {"review": "fine"})
    assert isinstance(result.error, BadReply)
    assert "the vector has 3 numbers, the head takes 2" in str(result.error)


async def test_a_prompt_that_is_too_long_for_a_vector_goes_on_otherwise(folder: HeadFolder) -> None:
    def too_long(request: Request) -> tuple[float, ...]:
        raise ContextOverflow("the text to embed has 3000 tokens, the window 2048")

    result = await folder.run(PIPELINE, Vectors([" bad"], too_long), {"review": "fine"})
    assert result.output == "bad"
    assert "a prompt is too long for the head, so `decide: constrain` answers" in result.notices[0]
    assert result.trace.children[0].extra["head"] == {"abstained": True, "too_long": True}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("technique: chain_of_thought", "technique `chain_of_thought` thinks or asks several times"),
        ("technique: {self_consistency: {over: vanilla}}", "technique `self_consistency` thinks or asks several times"),
        ("answer: text", "an answer of the type `text` cannot be decided by a head"),
        ('answer: {label: "{{ review }}"}', "a head has fixed labels, and those of this answer differ by row"),
        ("otherwise: head", "`otherwise`"),
    ],
)
def test_steps_that_a_head_cannot_decide_are_refused_when_they_are_read(
    folder: HeadFolder, change: str, problem: str
) -> None:
    found = folder.problems(PIPELINE.replace("decide: head", f"decide: head, {change}"))
    assert problem in "\n".join(map(str, found))


def test_a_modifier_of_one_request_may_be_decided_by_a_head(folder: HeadFolder) -> None:
    assert not folder.problems(PIPELINE.replace("decide: head", "decide: head, technique: vanilla"))


def test_the_file_of_a_head_is_among_those_of_the_target(folder: HeadFolder) -> None:
    assert folder.file in files_of(folder.load(PIPELINE))
    assert folder.file not in files_of(folder.load(PIPELINE.replace("head", "score")))


async def test_render_shows_the_prompt_that_the_head_reads(folder: HeadFolder) -> None:
    model = Vectors([], sure)
    (rendered,) = await render(folder.load(PIPELINE), {"review": "fine"}, models=Given(model))
    assert rendered.request.hidden_state == HiddenState(3, "mean")
    assert not model.encoded
    requests = await rehearse(folder.load(PIPELINE), {"review": "fine"}, models=Given(model), step="sort", reply="bad")
    assert [request.hidden_state for request in requests] == [HiddenState(3, "mean")]
