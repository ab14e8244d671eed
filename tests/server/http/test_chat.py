"""A pipeline as a model of the OpenAI protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError
from pydantic import BaseModel

from promptkit.errors import BadReply, ContextOverflow, DeadlinePassed, ServerBusy
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import request_text
from tests.server.http.serving import Served, chat, serving, write_project

LONG = "Paris is the capital of France, and it has been the capital for some eight hundred years by now."


def reply(request: Request) -> str:
    text = request_text(request)
    if "person" in text:
        return '{"name": "Ada", "age": 36}'
    return "billing" if "refund" in text else "21" if "Double" in text else LONG


def client_of(served: Served) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


async def events(served: Served, body: Any) -> list[Any]:
    """Return the events of a streamed completion."""
    async with served.client.post(f"{served.url}/v1/chat/completions", json=body) as response:
        text = await response.text()
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_the_official_client_lists_asks_and_streams(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served, client_of(served) as client:
        listed = [model.id async for model in client.models.list()]
        whole = await client.chat.completions.create(model="topic", messages=[{"role": "user", "content": "a refund"}])
        stream = await client.chat.completions.create(
            model="answer",
            messages=[{"role": "user", "content": "The capital?"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    assert listed == ["answer", "double", "person", "topic"]
    assert whole.choices[0].message.content == "billing"
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None and whole.usage.total_tokens == served_tokens(whole.usage)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(filter(None, pieces)) == LONG
    assert len(list(filter(None, pieces))) > 5  # it came as it was written
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0


def served_tokens(usage: Any) -> int:
    return int(usage.prompt_tokens + usage.completion_tokens)


async def test_the_official_client_parses_a_structured_answer(tmp_path: Path) -> None:
    class Person(BaseModel):
        name: str
        age: int

    async with serving(write_project(tmp_path), reply) as served, client_of(served) as client:
        completion = await client.chat.completions.parse(
            model="person",
            messages=[{"role": "user", "content": "Ada"}],
            extra_body={"inputs": {"text": "Ada is 36", "style": "plain"}},
            response_format=Person,
        )
    assert completion.choices[0].message.parsed == Person(name="Ada", age=36)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"type": "json_object"}, "answers with a string"),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}, "answers with a string"),
        ({"type": "xml"}, "must be of the type text"),
        ("json", "must be of the type text"),
    ],
)
async def test_a_form_that_the_answer_has_not_is_refused_before_the_run(
    tmp_path: Path, wanted: Any, message: str
) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        status, record = await served.post("/v1/chat/completions", chat("a refund", "topic", response_format=wanted))
    assert (status, record["error"]["param"]) == (400, "response_format")
    assert message in record["error"]["message"]
    assert served.runtime.requests == []


@pytest.mark.parametrize(
    ("schema", "status", "message"),
    [
        ({"type": "object", "properties": {"age": {"type": "integer"}}, "additionalProperties": True}, 200, ""),
        (
            {"type": "object", "required": ["address"], "properties": {"address": {}}},
            400,
            "the schema requires address",
        ),
        (
            {"type": "object", "properties": {"age": {"type": "string"}}, "additionalProperties": True},
            502,
            "does not fit",
        ),
        ({"type": "object", "if": {}}, 400, "if"),
        (3, 400, "must be a JSON Schema"),
    ],
)
async def test_an_answer_must_fit_the_schema_of_the_client(
    tmp_path: Path, schema: Any, status: int, message: str
) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = chat("x", "person", inputs={"text": "Ada", "style": "short"}, response_format=wanted)
    async with serving(write_project(tmp_path), reply) as served:
        found, record = await served.post("/v1/chat/completions", body)
    assert found == status
    if message:
        assert message in record["error"]["message"]


async def test_earlier_turns_go_to_the_input_of_messages(tmp_path: Path) -> None:
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "The "}, {"type": "text", "text": "capital?"}]},
    ]
    async with serving(write_project(tmp_path), reply) as served:
        status, _ = await served.post("/v1/chat/completions", {"model": "answer", "messages": turns})
    assert status == 200
    sent = [(message.role, message.content) for message in served.runtime.requests[0].messages]
    assert sent[:3] == [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hi")]
    assert "The capital?" in sent[-1][1]


async def test_several_inputs_come_as_json_in_the_message_or_as_inputs(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        written, _ = await served.post("/v1/chat/completions", chat('{"text": "Ada", "style": "one"}', "person"))
        partly, _ = await served.post("/v1/chat/completions", chat("short", "person", inputs={"text": "Ada"}))
        missing, record = await served.post("/v1/chat/completions", chat("Ada is 36", "person"))
        number, double = await served.post("/v1/chat/completions", chat("10.5", "double"))
    assert (written, partly, missing, number) == (200, 200, 400, 200)
    assert "`text`, `style`" in record["error"]["message"]
    assert double["choices"][0]["message"]["content"] == "21"
    assert "Double 10.5. 0" in request_text(served.runtime.requests[-1])
    assert "Ada short" in request_text(served.runtime.requests[-2])


WRONG_REQUESTS: list[tuple[Any, str]] = [
    ({"messages": []}, "`model` must name a pipeline"),
    (chat("x", "nothing"), "there is no model `nothing` here; there are: answer, double, person, topic"),
    ({"model": "answer"}, "at least one message"),
    ({"model": "answer", "messages": [{"role": "tool", "content": "x"}]}, "must have a role"),
    ({"model": "answer", "messages": ["x"]}, "must have a role"),
    ({"model": "answer", "messages": [{"role": "assistant", "content": "x"}]}, "no turn of the role `user`"),
    ({"model": "answer", "messages": [{"role": "user", "content": None}]}, "must be a text"),
    (
        {"model": "answer", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "no images or files",
    ),
    (chat("x", n=2), "one answer"),
    (chat("x", tools=[{"type": "function"}]), "`tools` is not supported"),
    (chat("x", stop=["\n"]), "`stop` is not supported"),
    (chat("x", logprobs=True), "`logprobs`"),
    (chat("x", modalities=["audio"]), "`modalities`"),
    (chat("x", stream="yes"), "`stream`"),
    (chat("x", inputs=[1]), "must be an object"),
    (chat("x", inputs={"quetsion": "x"}), "no input `quetsion`"),
    (chat("x", "double"), "must be JSON"),
    (chat('"x"', "double"), "must be a number"),
    (chat("3", "double", inputs={"rows": "secrets.csv"}), "not the name of a file"),
]


async def test_a_wrong_request_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "secrets.csv").write_text("a,b\n1,2\n")
    async with serving(write_project(tmp_path), reply) as served:
        for body, message in WRONG_REQUESTS:
            status, record = await served.post("/v1/chat/completions", body)
            assert status in (400, 404), body
            assert message in record["error"]["message"]
            assert set(record["error"]) == {"message", "type", "param", "code"}
    assert served.runtime.requests == []


async def test_fields_about_how_a_model_is_asked_are_ignored(tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "temperature": 1.5,
        "max_tokens": 3,
        "seed": 4,
        "user": "ada",
        "tools": [],
        "tool_choice": "none",
        "n": None,
    }
    async with serving(write_project(tmp_path), reply) as served:
        status, record = await served.post("/v1/chat/completions", chat("The capital?", **more))
    assert (status, record["choices"][0]["message"]["content"]) == (200, LONG)
    assert served.runtime.requests[0].temperature == 0.0


async def test_the_client_sees_an_error_of_the_protocol_as_its_own_class(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served, client_of(served) as client:
        with pytest.raises(BadRequestError, match="takes several inputs"):
            await client.chat.completions.create(model="person", messages=[{"role": "user", "content": "Ada"}])


async def test_an_answer_that_stayed_cut_off_has_the_finish_reason_length(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), lambda _: Reply(text="Paris is", finish="length")) as served:
        _, record = await served.post("/v1/chat/completions", chat("The capital?"))
    assert record["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (ServerBusy("busy at /home/ada", retry_after=9_999), 503, "model_busy"),
        (DeadlinePassed("slow"), 504, "model_timeout"),
        (ContextOverflow("too long"), 400, "context_length_exceeded"),
        (BadReply("what is this"), 502, "model_failed"),
        (ValueError("/home/ada/secret"), 500, "internal_error"),
    ],
)
async def test_a_failure_has_a_status_and_an_id_but_no_details(
    tmp_path: Path, failure: Exception, status: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(write_project(tmp_path), lambda _: failure) as served:
        found, record = await served.post("/v1/chat/completions", chat("x"))
    assert (found, record["error"]["code"]) == (status, code)
    assert "ada" not in str(record)
    number = record["error"]["message"].rpartition(" ")[2].rstrip(")")
    assert f"{number}: " in (log := capsys.readouterr().err)
    assert str(failure) in log
    assert ("Traceback" in log) == (status == 500)


async def test_a_stream_that_fails_before_its_first_piece_has_a_status(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), lambda _: DeadlinePassed("slow")) as served:
        status, record = await served.post("/v1/chat/completions", chat("x", stream=True))
    assert (status, record["error"]["code"]) == (504, "model_timeout")


async def test_a_structured_answer_is_streamed_in_one_piece(tmp_path: Path) -> None:
    body = chat("x", "person", inputs={"text": "Ada", "style": "plain"}, stream=True)
    async with serving(write_project(tmp_path), reply) as served:
        found = await events(served, body)
    deltas = [event["choices"][0]["delta"] for event in found[:-1]]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": '{"name":"Ada","age":36}'}, {}]
    assert found[-1] == "[DONE]"
