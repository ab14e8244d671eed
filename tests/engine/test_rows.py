"""What differs from row to row: the answer's options, the text that is marked up, the turns before."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes import Message, Scripted
from tests.engine.helpers import Folder, asked

CHOICE = """
    ---
    inputs: {question: {}, options: {}}
    answer: {choice: "{{ options }}"}
    examples:
      - {input: {question: Which barks?, options: [dog, cat]}, output: dog}
      - {input: {question: Which is cold?, options: [fire, ice]}, output: ice}
    ---
    {% block input %}{{ question }}{% for option in options %} {{ option }}{% endfor %}{% endblock %}
    """
SPANS = """
    ---
    inputs: {note: {}}
    answer: {spans: {classes: [drug], text: "{{ note }}"}}
    examples:
      - {input: {note: take aspirin}, output: [{start: 5, end: 12, class: drug}]}
    ---
    {% block input %}{{ note }}{% endblock %}
    """
TALK = """
    ---
    inputs: {question: {}, history: {default: []}}
    ---
    {% block user %}{{ question }}{% endblock %}
    """
CONVERSATION = """
    inputs: {question: {}, history: {type: list}}
    steps:
      talk: {prompt: talk, with: {history: "{{ history }}"}}
    """


async def test_an_example_of_a_choice_is_answered_by_the_letter_among_its_own_options(folder: Folder) -> None:
    folder.write("templates/prompts/pick.j2", CHOICE)
    runtime = Scripted([" B"])
    result = await folder.run(
        "inputs: {question: {}, options: {type: list}}\nsteps:\n  pick: {prompt: pick}\n",
        runtime,
        {"question": "Which is red?", "options": ["sky", "blood"]},
    )
    assert result.output == "blood"
    assert "Which barks? dog cat\nOutput: A" in asked(runtime)[0]
    assert "Which is cold? fire ice\nOutput: B" in asked(runtime)[0]


async def test_the_options_of_an_example_stand_in_for_the_steps_own_name_for_them(folder: Folder) -> None:
    folder.write("templates/prompts/pick.j2", CHOICE.replace('answer: {choice: "{{ options }}"}', ""))
    runtime = Scripted([" A"])
    text = """
        inputs: {question: {}, options: {type: list}}
        steps:
          pick: {prompt: pick, answer: {choice: "{{ options }}"}}
        """
    result = await folder.run(text, runtime, {"question": "Which is red?", "options": ["sky", "blood"]})
    assert result.output == "sky"
    assert "Which is cold? fire ice\nOutput: B" in asked(runtime)[0]


async def test_an_example_of_spans_marks_up_its_own_text(folder: Folder) -> None:
    folder.write("templates/prompts/mark.j2", SPANS)
    runtime = Scripted(["no drugs here"])
    result = await folder.run(
        "inputs: {note: {}}\nsteps:\n  mark: {prompt: mark}\n", runtime, {"note": "no drugs here"}
    )
    assert result.output == []
    assert 'Output: take <span class="drug">aspirin</span>' in asked(runtime)[0]


async def test_earlier_turns_stand_before_the_question(folder: Folder) -> None:
    folder.write("templates/prompts/talk.j2", TALK)
    runtime = Scripted(["Fine."])
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    await folder.run(
        CONVERSATION,
        runtime,
        {"question": "How are you?", "history": turns},
    )
    assert runtime.requests[0].messages[:2] == (Message("user", "Hi"), Message("assistant", "Hello"))


@pytest.mark.parametrize(
    "turn", ["Hi", {"role": "user"}, {"role": "user", "content": 1}, {"role": "me", "content": ""}]
)
async def test_a_turn_that_is_none_is_an_error_and_not_left_out(folder: Folder, turn: Any) -> None:
    folder.write("templates/prompts/talk.j2", TALK)
    runtime = Scripted(["Fine."])
    result = await folder.run(CONVERSATION, runtime, {"question": "How are you?", "history": [turn]})
    assert isinstance(result.error, InputError)
    assert "a turn of `history`" in str(result.error)
    assert runtime.requests == []
