"""The requests that a step sends for its rows, with the replies that they should get, as text and as tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptkit.engine.session import RunSettings
from promptkit.errors import InputError, Unsupported
from promptkit.runtimes.base import EncodedReply, Model, OnText, Reply, Request, Runtime
from promptkit.runtimes.in_process.embedded import CAPABILITIES
from promptkit.runtimes.scripted import Scripted
from promptkit.training.labelled_rows import read_labelled_file
from promptkit.training.step_requests import StepRequest, encode_requests, step_requests
from tests.engine.helpers import Folder, Given

END = 0
PROMPT = 'prompt: {instructions: "Sort the mail.", input: "{{ mail }}", cue: "Team:"}'


class LetterModel(Runtime):
    """A model in this process whose tokens are letters. It answers with one thought, and counts its requests."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def model(self) -> Model:
        return Model(reference="letters", digest="1", capabilities=frozenset((*CAPABILITIES, "system")))

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        self.asked.append(request)
        return Reply(text="It is about money." if not request.constrained else " other", tokens_in=1, tokens_out=1)

    async def encode(self, request: Request, reply: str) -> EncodedReply:
        text = "".join(message.content for message in request.messages) + request.begun
        return EncodedReply(tuple(map(ord, text)), (*map(ord, reply), END))


def pipeline(settings: str, answer: str = "{label: [billing, bad, other]}") -> str:
    return f"""
        name: test
        inputs:
          mail: {{type: text, example: hello}}
        steps:
          sort:
            {PROMPT}
            answer: {answer}
            {settings}
        output: "{{{{ sort }}}}"
    """


async def requests_of(
    folder: Folder, settings: str, *rows: dict[str, Any], answer: str = "{label: [billing, bad, other]}"
) -> tuple[list[StepRequest], LetterModel]:
    loaded, model = folder.load(pipeline(settings, answer)), LetterModel()
    data = folder.write("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    labelled = read_labelled_file(loaded, (), data, expect="kind", limit=None)
    return await step_requests(labelled, models=Given(model), settings=RunSettings()), model


ROW = {"mail": "The bill is wrong.", "kind": "billing"}


@pytest.mark.parametrize("decide", ["constrain", "score", "generate"])
async def test_the_request_that_decides_is_trained_on_without_being_sent(folder: Folder, decide: str) -> None:
    (found,), model = await requests_of(folder, f"decide: {decide}", ROW)

    assert not model.asked
    assert "The bill is wrong." in found.request.messages[-1].content
    assert found.request.begun == "Team:"
    assert found.reply == " billing", "a blank stands between the cue and the answer"
    assert found.choices == (" billing", " bad", " other")


@pytest.mark.parametrize("otherwise", ["constrain", "score", "generate"])
async def test_a_step_that_a_head_decides_is_trained_on_the_requests_of_its_otherwise(
    folder: Folder, otherwise: str
) -> None:
    settings = f"decide: head\n            otherwise: {otherwise}"
    by_head, model = await requests_of(folder, settings, ROW)
    without, _ = await requests_of(folder, f"decide: {otherwise}", ROW)

    assert by_head == without
    assert not model.asked, "there is no head yet that could be asked"


async def test_it_is_the_request_that_a_run_sends(folder: Folder) -> None:
    (found,), _ = await requests_of(folder, "layout: markdown", ROW)
    sent = LetterModel()
    await folder.run(pipeline("layout: markdown"), sent, {"mail": "The bill is wrong."})

    assert (found.request.messages, found.request.begun) == (sent.asked[0].messages, sent.asked[0].begun)


async def test_an_adapter_that_the_step_names_is_left_out_and_need_not_be_there(folder: Folder) -> None:
    (found,), _ = await requests_of(folder, "adapter: test.sort.lora.gguf", ROW)

    assert found.request.adapter is None


async def test_an_open_answer_has_no_choices(folder: Folder) -> None:
    (found,), _ = await requests_of(folder, "cue: none", {"mail": "a", "kind": "Dear Kim"}, answer="text")

    assert (found.reply, found.choices) == ("Dear Kim", ())


async def test_a_technique_that_thinks_is_trained_on_the_answer_after_the_models_thoughts(folder: Folder) -> None:
    (found,), model = await requests_of(folder, "technique: chain_of_thought", ROW)

    assert len(model.asked) == 2
    assert "It is about money." in found.request.begun
    assert (found.reply.strip(), found.thoughts) == ("billing", False)


async def test_thoughts_of_the_row_are_trained_on_as_well(folder: Folder) -> None:
    row = {**ROW, "thoughts": "A bill is money."}
    (thoughts, answer), model = await requests_of(folder, "technique: chain_of_thought", row)

    assert not model.asked
    assert (thoughts.reply, thoughts.thoughts, thoughts.choices) == ("A bill is money.", True, ())
    assert "A bill is money." in answer.request.begun
    assert answer.reply.strip() == "billing"


async def test_an_answer_within_thoughts_is_refused_with_what_would_do(folder: Folder) -> None:
    settings = "technique: chain_of_thought\n            decide: generate"
    with pytest.raises(InputError, match="`sort` cannot be trained: under `decide: generate` one reply of chain_of_th"):
        await requests_of(folder, settings, ROW)


async def test_tokens_allowed_at_each_place_are_those_of_the_set_that_go_on_from_the_beginning(folder: Folder) -> None:
    requests, model = await requests_of(folder, "decide: constrain", ROW, {"mail": "b", "kind": "bad"})
    first, second = await encode_requests(requests, model)

    assert first.reply == (*map(ord, " billing"), END)
    letters = ["".join(map(chr, among)) for among in first.allowed]
    assert letters == [" ", "bo", "ai", *"lling", chr(END)]
    assert ["".join(map(chr, among)) for among in second.allowed] == [" ", "bo", "ai", "d", chr(END)]
    assert (first.row, second.row) == (0, 1)


async def test_a_model_of_a_server_has_no_tokens_to_train_on(folder: Folder) -> None:
    requests, _ = await requests_of(folder, "decide: constrain", ROW)
    with pytest.raises(Unsupported, match=r"its weights are not in this process(.|\n)*--model gguf:PATH"):
        await encode_requests(requests, Scripted(["x"]))
