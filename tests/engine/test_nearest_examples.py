"""`examples: {nearest: N}`: each row is shown the examples of a pool that are nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from promptkit.engine.render import render
from promptkit.engine.results import trace_record
from promptkit.errors import InputError
from promptkit.runtimes.base import Model
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from tests.engine.helpers import Folder, Given

POOL = [("red rose", "warm"), ("blue sea", "cold"), ("red sea", "warm"), ("green hill", "cold"), ("red sun", "warm")]
PIPELINE = """
inputs: {{text: {{}}}}
steps:
  mood:
    prompt: {{instructions: Sort., input: "{{{{ text }}}}"}}
    answer: {{label: [warm, cold]}}
    examples: {examples}
"""
LIST = [{"input": text, "output": label} for text, label in POOL]
FRONT = """
---
inputs: {{text: }}
answer: {{label: [warm, cold]}}
examples: {examples}
---
{{% block input %}}{{{{ text }}}}{{% endblock %}}
"""


def shown(runtime: Scripted) -> list[str]:
    """Return the inputs of the examples in the last request, in order."""
    text = "\n".join(message.content for message in runtime.requests[-1].messages)
    return [line for line in text.split("\n") if line in dict(POOL)]


def vector(text: str) -> list[float]:
    """Return a vector by colour, whatever the other words are."""
    return [float("red" in text), float("blue" in text), float("green" in text), 0.1]


class Embedding(Scripted):
    """A model that embeds by colour; with `weak`, it counts as one whose vectors hardly tell texts apart."""

    def __init__(self, *, weak: bool) -> None:
        super().__init__(["warm"], embedder=vector)
        self.weak = weak

    async def model(self) -> Model:
        return replace(await super().model(), weak_embeddings=self.weak)


async def test_a_row_is_shown_the_nearest_of_a_list_the_nearest_last_and_the_trace_has_their_numbers(
    folder: Folder,
) -> None:
    runtime = Scripted(["warm"])
    result = await folder.run(PIPELINE.format(examples={"nearest": 2, "from": LIST}), runtime, {"text": "the sea, red"})
    assert shown(runtime) == ["blue sea", "red sea"]
    (step,) = trace_record(result.trace)["parts"]
    assert step["examples"] == [2, 3]


async def test_the_pool_is_the_prompts_own_examples_or_a_file(folder: Folder) -> None:
    folder.write("templates/prompts/own.j2", FRONT.format(examples=LIST))
    folder.write("pipelines/pool.csv", "text,output\n" + "".join(f"{text},{label}\n" for text, label in POOL))
    for examples in ({"nearest": 1}, {"nearest": 1, "from": "pool.csv"}, {"nearest": 1, "file": "pool.csv"}):
        runtime = Scripted(["warm"])
        text = f"inputs: {{text: {{}}}}\nsteps: {{mood: {{prompt: own, examples: {examples}}}}}"
        await folder.run(text, runtime, {"text": "a green one"})
        assert shown(runtime) == ["green hill"]


async def test_a_row_that_repeats_an_example_never_sees_its_answer(folder: Folder) -> None:
    long = " ".join(f"word{number}" for number in range(40))
    pool = [*LIST, {"input": long, "output": "cold"}]
    runtime = Scripted(["warm"])
    for text, kept in (("Red SUN!", "red sun"), (f"{long} and more", long)):
        await folder.run(PIPELINE.format(examples={"nearest": 5, "from": pool}), runtime, {"text": text})
        asked = "\n".join(message.content for message in runtime.requests[-1].messages)
        assert f"\n{kept}\n" not in asked and "green hill" in asked


@pytest.mark.parametrize(
    ("how", "weak", "nearest"),
    [
        ({}, False, "red rose"),
        ({}, True, "green hill"),
        ({"by": "words"}, False, "green hill"),
        ({"by": "embed"}, True, "green hill"),
    ],
)
async def test_good_embeddings_come_before_words_unless_words_are_asked_for(
    folder: Folder, how: dict[str, str], weak: bool, nearest: str
) -> None:
    runtime = Embedding(weak=weak)
    examples = {"nearest": 1, "from": LIST, **how}
    result = await folder.run(PIPELINE.format(examples=examples), runtime, {"text": "hill of redness"})
    assert shown(runtime) == [nearest]
    assert [("no good embeddings" in notice) for notice in result.notices] == [True] * (how.get("by") == "embed")


async def test_another_model_embeds_where_one_is_named_also_in_a_render(folder: Folder) -> None:
    examples = {"nearest": 1, "from": LIST, "model": "scripted:embedder.yaml"}
    pipeline = folder.load(PIPELINE.format(examples=examples))
    assert pipeline.steps["mood"].prompt_call is not None
    (reference,) = pipeline.steps["mood"].prompt_call.other_models
    models = Given(Scripted(["warm"]), **{reference: Embedding(weak=True)})
    (rendered,) = await render(pipeline, {"text": "hill of redness"}, models=models)
    asked = "\n".join(message.content for message in rendered.request.messages)
    assert "red rose" in asked and "green hill" not in asked


async def test_a_text_is_embedded_once_and_kept_in_the_store(folder: Folder) -> None:
    texts: list[str] = []

    def counted(text: str) -> list[float]:
        texts.append(text)
        return vector(text)

    with Store.open(folder.root / "store") as store:
        for _ in range(2):
            client = Client(Scripted([], embedder=counted), store=store)
            assert await client.embed(["red", "blue", "red"]) == [vector("red"), vector("blue"), vector("red")]
    assert texts == ["red", "blue"]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ({"nearest": 0, "from": LIST}, "`nearest`"),
        ({"nearest": 2}, "there are no examples to take the nearest of"),
        ({"nearest": 2, "from": []}, "there are no examples to take the nearest of"),
        ({"nearest": 2, "from": LIST, "pick": "random"}, "`pick` does not go with `nearest`"),
        ({"nearest": 2, "from": LIST, "file": "x.jsonl"}, "`from` and `file`"),
        ({"nearest": 2, "from": LIST, "by": "words", "model": "auto"}, "`model` embeds"),
        ({"nearest": 2, "from": LIST, "output": "label"}, "`output` names a field"),
        ({"nearest": 2, "from": [{"input": "red", "output": "hot"}]}, "the output of example 1 is not an answer"),
        ({"nearest": 2, "from": [{"inptu": "red", "output": "warm"}]}, "unknown key `inptu`"),
        ({"nearest": 2, "from": "../../pool.csv"}, "leaves the project"),
        ({"nearest": 2, "from": LIST, "model": "nonsense:"}, "nonsense"),
        ({"by": "words"}, "`by` belongs to `nearest`"),
        ({"pick": "similar", "file": "x.jsonl"}, "`pick`"),
    ],
)
def test_wrong_settings_are_named(folder: Folder, examples: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        folder.load(PIPELINE.format(examples=examples))
    assert message in str(error.value)


def test_examples_that_say_where_they_are_from_replace_the_written_ones(folder: Folder) -> None:
    folder.write("pipelines/pool.csv", "text,output\nred,warm\n")
    written = PIPELINE.format(examples={"file": "pool.csv", "pick": "random", "count": 1})
    replaced = folder.load(written, [f"mood.examples={{nearest: 2, from: {LIST}}}"])
    assert replaced.steps["mood"].prompt_call is not None
    assert len(replaced.steps["mood"].prompt_call.examples.all) == len(POOL)


async def test_many_texts_are_embedded_in_parts_in_their_order() -> None:
    sizes: list[int] = []

    class Counted(Embedding):
        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            sizes.append(len(texts))
            return [[float(text)] for text in texts]

    vectors = await Client(Counted(weak=False)).embed([str(number) for number in range(70)])
    assert sizes == [32, 32, 6] and vectors == [[float(number)] for number in range(70)]
