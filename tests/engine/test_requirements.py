"""What a step runs with where its model cannot do what it says."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from promptkit.engine.requirements import check_requirements, fallbacks
from promptkit.errors import ModelMissing
from promptkit.runtimes.base import Capability, Model
from tests.engine.helpers import Folder

ALL: frozenset[Capability] = frozenset({"chat", "grammar", "schema", "logprobs", "continue", "system"})
PIPELINE = """
name: sort
inputs: {{mail: {{}}, options: {{type: list, default: []}}}}
steps:
  topic: {{prompt: {{input: "{{{{ mail }}}} {{{{ options }}}}"}}, answer: {answer}, {settings}}}
"""


class Clients:
    """Models of one kind, of which nothing is asked."""

    def __init__(self, capabilities: Collection[Capability]) -> None:
        self._model = Model(reference="ollama/tiny", digest="d", capabilities=frozenset(capabilities))

    async def get(self, reference: str | None = None) -> Clients:
        return self

    async def model(self) -> Model:
        return self._model


LABEL, CHOICE = "{label: [a, b]}", '{choice: "{{ options }}"}'
OFFSETS = "calibrate: {method: batch, model: MODEL, offsets: {a: 0.1, b: -0.1}}"


@pytest.mark.parametrize(
    ("answer", "settings", "lacks", "requested", "instead", "reason"),
    [
        (LABEL, "decide: score", {"logprobs"}, "decide: score", "decide: constrain", "the model lacks logprobs"),
        (
            LABEL,
            "decide: score",
            {"logprobs", "continue", "grammar", "schema"},
            "decide: score",
            "decide: generate",
            "the model lacks logprobs",
        ),
        (CHOICE, "decide: score", {"logprobs"}, "decide: score", "decide: constrain", "the model lacks logprobs"),
        (
            LABEL,
            "decide: constrain",
            {"grammar", "schema"},
            "decide: constrain",
            "decide: generate",
            "the model cannot enforce a grammar",
        ),
        (
            LABEL,
            f"decide: score, {OFFSETS.replace('MODEL', 'ollama/large')}",
            set(),
            "calibrate: offsets of ollama/large",
            "calibrate: none",
            "ollama/tiny answers",
        ),
        (
            LABEL,
            "messages: system",
            {"system"},
            "messages: system",
            "messages: one",
            "the model's chat template has no system role",
        ),
    ],
)
async def test_a_step_names_what_runs_in_place_of_what_it_says(
    folder: Folder, answer: str, settings: str, lacks: set[Capability], requested: str, instead: str, reason: str
) -> None:
    pipeline = folder.load(PIPELINE.format(answer=answer, settings=settings))
    (found,) = await fallbacks(pipeline, Clients(ALL - lacks))  # type: ignore[arg-type]
    assert (found.step, found.wanted, found.instead) == ("topic", requested, instead)
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("answer", "settings", "lacks"),
    [
        (LABEL, "decide: score", set()),
        (LABEL, "decide: constrain", {"schema"}),
        (LABEL, "decide: generate", {"grammar", "schema", "logprobs"}),
        (LABEL, f"decide: score, {OFFSETS.replace('MODEL', 'ollama/tiny')}", set()),
        ("text", "decide: constrain", {"grammar", "schema"}),
    ],
)
async def test_what_the_model_can_do_is_not_told(
    folder: Folder, answer: str, settings: str, lacks: set[Capability]
) -> None:
    pipeline = folder.load(PIPELINE.format(answer=answer, settings=settings))
    assert await fallbacks(pipeline, Clients(ALL - lacks)) == []  # type: ignore[arg-type]


async def test_a_step_of_a_sub_pipeline_is_named_with_the_step_that_runs_it(folder: Folder) -> None:
    folder.write("pipelines/sort.yaml", PIPELINE.format(answer=LABEL, settings="decide: score"))
    outer = folder.load("inputs: {mail: {}}\nsteps: {each: {pipeline: sort}}\n")
    found = await fallbacks(outer, Clients(ALL - {"logprobs"}))  # type: ignore[arg-type]
    assert [str(fallback) for fallback in found] == [
        "step each.topic runs with `decide: constrain` in place of `decide: score`: the model lacks logprobs"
    ]


class Missing:
    """A session whose models are missing."""

    async def client(self, reference: str | None) -> Missing:
        return self

    async def model(self) -> Model:
        raise ModelMissing("Ollama has no model `none`", hint="promptkit models pull ollama/none")


@pytest.mark.parametrize(
    ("settings", "told"),
    [("model: ollama/none", "step `topic`: Ollama has no model"), ("decide: generate", "Ollama has no model")],
)
async def test_a_missing_model_that_a_step_names_is_told_with_the_step(
    folder: Folder, settings: str, told: str
) -> None:
    pipeline = folder.load(PIPELINE.format(answer="text", settings=settings))
    with pytest.raises(ModelMissing) as caught:
        await check_requirements(pipeline, Missing())  # type: ignore[arg-type]
    assert caught.value.message.startswith(told)
    assert caught.value.hint == "promptkit models pull ollama/none"
