"""What differs from row to row: the answer's options, the text that is marked up, the turns before."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.base import Message
from promptkit.runtimes.scripted import Scripted
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


TABLE = """
    inputs: {rows: {type: list}}
    steps:
      pick:
        for_each: "{{ rows }}"
        as: row
        prompt: pick
        with: {question: "{{ row.question }}", options: "{{ row.options }}"}
        answer: {choice: "{{ row.options }}"}
    """


async def test_the_options_of_an_example_stand_where_the_step_takes_those_of_the_row_from(folder: Folder) -> None:
    folder.write("templates/prompts/pick.j2", CHOICE.replace('answer: {choice: "{{ options }}"}', ""))
    runtime = Scripted([" A"])
    rows = [{"question": "Which is red?", "options": ["sky", "blood"], "id": 1}]
    result = await folder.run(TABLE, runtime, {"rows": rows})
    assert result.output == ["sky"]
    assert "Which barks? dog cat\nOutput: A" in asked(runtime)[0]
    assert "Which is cold? fire ice\nOutput: B" in asked(runtime)[0]


@pytest.mark.parametrize("in_step", [True, False])
def test_an_example_whose_output_is_none_of_its_own_options_is_told_by_check(folder: Folder, in_step: bool) -> None:
    path = folder.write("templates/prompts/pick.j2", CHOICE.replace("output: ice", "output: water"))
    if in_step:
        folder.write("templates/prompts/pick.j2", path.read_text().replace('answer: {choice: "{{ options }}"}', ""))
        (problem,) = folder.problems(TABLE)
    else:
        (problem,) = folder.problems_in(path)
    assert "the output of example 2 is not an answer: 'water' is not a known option" in problem.message
    assert "pick.j2" in (problem.file or "") and problem.line == 6


async def test_an_example_that_does_not_fit_the_rows_options_is_named_at_its_place(folder: Folder) -> None:
    path = folder.write("templates/prompts/pick.j2", CHOICE.replace("options: [fire, ice]}", "question: Cold?}"))
    path.write_text(path.read_text().replace("question: Which is cold?, question: Cold?", "question: Cold?"))
    runtime = Scripted([" A"])
    text = "inputs: {question: {}, options: {type: list}}\nsteps:\n  pick: {prompt: pick}\n"
    result = await folder.run(text, runtime, {"question": "Which is red?", "options": ["sky", "blood"]})
    assert isinstance(result.error, InputError)
    (problem,) = result.error.problems
    assert (
        "the output of example 2 is not an answer: 'ice' is not a known option" in problem.message and problem.line == 6
    )


async def test_an_example_without_a_type_for_its_answer_is_named(folder: Folder) -> None:
    folder.write("templates/prompts/pick.j2", CHOICE.replace("[fire, ice]", "ice"))
    text = "inputs: {question: {}, options: {type: list}}\nsteps:\n  pick: {prompt: pick}\n"
    result = await folder.run(text, Scripted([" A"]), {"question": "Which?", "options": ["sky", "blood"]})
    assert "example 2: choice must be a list of options" in str(result.error)


@pytest.mark.parametrize("pick", ["inline", "first", "random", "balanced", "nearest"])
async def test_the_row_that_is_asked_is_none_of_its_own_examples(folder: Folder, pick: str) -> None:
    rows = [f"{{input: {{text: {text}}}, output: {len(text)}}}" for text in ("sun", "moons", "planets")]
    examples = f"[{', '.join(rows)}]"
    if pick != "inline":
        folder.write("templates/prompts/rows.yaml", "\n".join(f"- {row}" for row in rows))
        how = "nearest: 3" if pick == "nearest" else f"pick: {pick}, count: 3"
        examples = f"{{file: rows.yaml, {how}}}"
    front = f"---\ninputs: {{text: }}\nanswer: number\nexamples: {examples}\n---\n"
    folder.write("templates/prompts/long.j2", front + "{% block input %}{{ text }}{% endblock %}")
    runtime = Scripted(["5"])
    await folder.run("inputs: {text: {}}\nsteps: {long: {prompt: long}}", runtime, {"text": "moons"})
    assert asked(runtime)[0].count("moons") == 1
    assert asked(runtime)[0].count("sun") == asked(runtime)[0].count("planets") == 1


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
    assert "the input `history` has a message 1" in str(result.error)
    assert runtime.requests == []
