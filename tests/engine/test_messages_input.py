"""Inputs of the type `messages`: a conversation that a prompt is given."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.run import run
from promptkit.errors import InputError
from promptkit.runtimes.base import Message
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, Given

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
FRONT = "---\ninputs: {talk: {type: messages}, question: {}}\ncue: none\n---\n"


async def asked(folder: Folder, body: str, talk: Any = TURNS, front: str = FRONT) -> tuple[Message, ...]:
    """Return the messages of a prompt that is given a conversation and a question."""
    pipeline = load_target(folder.write("templates/prompts/p.j2", front + body), folder.project)
    runtime = Scripted(["Fine."])
    values = fill_inputs(pipeline, {"talk": talk, "question": "How are you?"}).values
    result = await run(pipeline, values, models=Given(runtime))
    assert result.error is None
    return runtime.requests[0].messages


async def test_its_messages_are_turns_before_the_users_message(folder: Folder) -> None:
    messages = await asked(folder, "{% block user %}{{ question }}{% endblock %}")
    assert messages == (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "How are you?"))


async def test_one_that_a_section_reads_is_text_alone(folder: Folder) -> None:
    (message,) = await asked(folder, "{% block user %}{{ talk | transcript }} {{ question }}{% endblock %}")
    assert message == Message("user", "User: Hi\nAssistant: Hello How are you?")


async def test_a_history_of_another_type_is_sent_too(folder: Folder) -> None:
    front = (
        "---\ninputs: {talk: {type: messages}, question: {}, history: {default: [{role: user, content: Hey}]}}\n---\n"
    )
    messages = await asked(folder, "{% block user %}{{ question }}{% endblock %}", [], front)
    assert [message.content for message in messages] == ["Hey", "How are you?"]


@pytest.mark.parametrize(
    "value",
    ["Hi", {"role": "user"}, ["Hi"], [{"role": "bot", "content": "Hi"}], [*TURNS, {"role": "user", "content": 3}]],
)
def test_a_value_that_is_no_conversation_is_refused_before_a_request(folder: Folder, value: Any) -> None:
    pipeline = load_target(folder.write("templates/prompts/p.j2", FRONT), folder.project)
    with pytest.raises(InputError, match=r"the input `talk` (must be a list|has a message)"):
        fill_inputs(pipeline, {"talk": value, "question": "x"})


def test_an_example_that_is_no_conversation_is_a_problem_of_the_prompt(folder: Folder) -> None:
    text = "---\ninputs: {talk: {type: messages, example: [{role: me, content: Hi}]}}\n---\nAnswer."
    (problem,) = folder.problems_in(folder.write("templates/prompts/p.j2", text))
    assert (problem.line, problem.message) == (
        2,
        "`example` has a message 1 of the role 'me'; roles are system, user, assistant",
    )


def test_a_text_of_the_command_line_is_read_as_a_list(folder: Folder) -> None:
    pipeline = load_target(folder.write("templates/prompts/p.j2", FRONT), folder.project)
    texts = {"talk": "[{role: user, content: Hi}]", "question": "x"}
    assert fill_inputs(pipeline, texts=texts).values["talk"] == [{"role": "user", "content": "Hi"}]
