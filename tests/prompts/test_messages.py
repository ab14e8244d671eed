"""Layouts and messages: where each section, example and cue goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptkit.prompts.messages import Composed, compose
from promptkit.prompts.prompt import WrittenExample
from promptkit.runtimes.base import Message
from tests.prompts.conftest import problems_of

SECTIONS = {
    "persona": "You are a critic.",
    "instructions": "Judge the text.",
    "output_format": "One word.",
    "input": "A fine film.",
    "recap": "Only the word.",
}
EXAMPLES = (WrittenExample("Great.", "good", "It praises."), WrittenExample("Awful.", "bad"))


def composed(**given: Any) -> Composed:
    return compose(given.pop("sections", SECTIONS), **{"continues": True, "system_role": True, **given})


def text_of(**given: Any) -> str:
    (message,) = composed(**given).messages
    return message.content


def test_the_xml_layout_puts_each_section_into_its_tags_in_order() -> None:
    assert text_of(examples=EXAMPLES) == (
        "<OBJECTIVE_AND_PERSONA>\nYou are a critic.\n</OBJECTIVE_AND_PERSONA>\n\n"
        "<INSTRUCTIONS>\nJudge the text.\n</INSTRUCTIONS>\n\n"
        "<OUTPUT_FORMAT>\nOne word.\n</OUTPUT_FORMAT>\n\n"
        "<FEW_SHOT_EXAMPLES>\n"
        "<EXAMPLE>\nInput:\nGreat.\nThoughts: It praises.\nOutput: good\n</EXAMPLE>\n"
        "<EXAMPLE>\nInput:\nAwful.\nOutput: bad\n</EXAMPLE>\n"
        "</FEW_SHOT_EXAMPLES>\n\n"
        "<INPUT>\nA fine film.\n</INPUT>\n\n"
        "<RECAP>\nOnly the word.\n</RECAP>"
    )


def test_the_prefix_layout_names_task_classes_and_objects() -> None:
    assert text_of(layout="prefix", labels=["good", "bad"], examples=EXAMPLES[1:]) == (
        "PERSONA: You are a critic.\nTASK: Judge the text.\nCLASSES: good, bad\nOUTPUT FORMAT: One word.\n"
        "EXAMPLE:\nOBJECTS: Awful.\nOutput: bad\n\nOBJECTS: A fine film.\nRECAP: Only the word."
    )


def test_the_prefix_layout_names_the_classes_where_there_is_nothing_after_the_task() -> None:
    assert (
        text_of(layout="prefix", labels=["a", "b"], sections={"instructions": "Sort."}) == "TASK: Sort.\nCLASSES: a, b"
    )


def test_the_markdown_layout_has_a_heading_for_each_section() -> None:
    text = text_of(layout="markdown", examples=EXAMPLES)
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "## Persona",
        "## Instructions",
        "## Output format",
        "## Examples",
        "### Example 1",
        "### Example 2",
        "## Input",
        "## Recap",
    ]
    assert "Thoughts: It praises.\nOutput: good" in text


@pytest.mark.parametrize("examples", [(), EXAMPLES])
def test_the_json_layout_is_one_object(examples: tuple[WrittenExample, ...]) -> None:
    hostile = {**SECTIONS, "input": 'A "fine" film\n<b>é</b>'}
    text = text_of(layout="json", sections=hostile, examples=examples)
    value = json.loads(text)
    assert value["input"] == hostile["input"] and "<b>é</b>" in text
    assert [example["output"] for example in value.get("examples", [])] == ["Output: good", "Output: bad"][
        : len(examples)
    ]


@pytest.mark.parametrize("layout", ["xml", "markdown", "prefix", "json"])
def test_a_section_left_out_leaves_nothing_behind(layout: str) -> None:
    text = text_of(layout=layout, sections={"input": "A fine film."}).lower()
    assert "film" in text and "persona" not in text and "example" not in text and "classes" not in text


@pytest.mark.parametrize("layout", ["xml", "markdown", "prefix", "json"])
def test_examples_written_by_hand_and_given_ones_stand_together(layout: str) -> None:
    text = text_of(layout=layout, sections={**SECTIONS, "examples": "By hand."}, examples=EXAMPLES)
    assert text.index("By hand.") < text.index("Great.") < text.index("A fine film.")


@pytest.mark.parametrize(
    ("given", "cue"),
    [
        ({}, "Output:"),
        ({"cue": "Mood:"}, "Mood:"),
        ({"cue": "none"}, ""),
        ({"sections": {**SECTIONS, "cue": "Verdict:"}}, "Verdict:"),
        ({"sections": {**SECTIONS, "cue": "Verdict:"}, "cue": "Mood:"}, "Mood:"),
        ({"sections": {**SECTIONS, "cue": "Verdict:"}, "cue": "none"}, ""),
    ],
)
def test_the_cue_is_the_given_one_else_the_sections_else_the_layouts(given: dict[str, Any], cue: str) -> None:
    begun = composed(**given)
    assert (begun.begun, begun.cue) == (cue, cue)
    plain = composed(**given, continues=False)
    assert (plain.begun, plain.cue) == ("", cue)
    last = plain.messages[-1].content
    assert last == begun.messages[-1].content + (f"\n{cue}" if cue else "")


@pytest.mark.parametrize("layout", ["xml", "markdown", "prefix", "json"])
def test_each_example_ends_in_the_same_cue(layout: str) -> None:
    text = text_of(layout=layout, examples=EXAMPLES, cue="Mood:")
    assert "Mood: good" in text and "Mood: bad" in text and "Output:" not in text


def test_a_thought_trigger_begins_the_turn_in_place_of_the_cue() -> None:
    begun = composed(begin="Let us think.", cue="Mood:", examples=EXAMPLES)
    assert (begun.begun, begun.cue) == ("Let us think.", "Mood:")
    assert "Mood: good" in begun.messages[0].content
    assert composed(begin="Let us think.", continues=False).messages[-1].content.endswith("\nLet us think.")
    nothing = composed(begin="", continues=False)
    assert nothing.begun == "" and nothing.messages[-1].content.endswith("</RECAP>")


def test_the_system_mode_sends_what_never_changes_as_the_system_message() -> None:
    system, user = composed(mode="system", examples=EXAMPLES, labels=["a"], layout="prefix").messages
    assert (system.role, user.role) == ("system", "user")
    assert system.content == "PERSONA: You are a critic.\nTASK: Judge the text.\nCLASSES: a\nOUTPUT FORMAT: One word."
    assert user.content.startswith("EXAMPLE:") and "CLASSES" not in user.content


def test_a_model_without_a_system_role_gets_one_message_and_a_notice() -> None:
    found = composed(mode="system", system_role=False)
    assert found.messages == composed().messages
    assert len(found.notices) == 1 and "system role" in found.notices[0]


def test_a_prompt_of_instructions_only_is_one_user_message_in_every_mode() -> None:
    for mode in ("one", "system", "turns"):
        (message,) = composed(sections={"instructions": "Tell a joke."}, mode=mode).messages
        assert message.role == "user"


def test_examples_become_turns_with_their_thoughts_and_cue() -> None:
    messages = composed(mode="turns", examples=EXAMPLES, cue="Mood:").messages
    assert [message.role for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[1].content == "<INPUT>\nGreat.\n</INPUT>"
    assert messages[2].content == "It praises.\nMood: good"
    assert messages[4].content == "Mood: bad"
    assert "FEW_SHOT" not in messages[5].content


def test_turns_without_a_system_role_begin_in_the_first_user_turn() -> None:
    found = composed(mode="turns", examples=EXAMPLES, system_role=False)
    assert [message.role for message in found.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert found.messages[0].content.startswith("<OBJECTIVE_AND_PERSONA>") and len(found.notices) == 1


def test_a_conversation_has_its_own_system_and_user_text_around_the_history() -> None:
    history = [Message("user", "Hi."), Message("assistant", "Hello.")]
    found = composed(sections={"system": "Be kind.", "user": "And you?"}, history=history)
    assert found.messages == (Message("system", "Be kind."), *history, Message("user", "And you?"))


ASKED = [Message("user", "Hi."), Message("assistant", "Hello."), Message("user", "When do you open?")]


@pytest.mark.parametrize("layout", ["xml", "markdown", "prefix", "json"])
@pytest.mark.parametrize("mode", ["one", "system", "turns"])
def test_the_last_turn_of_a_history_is_answered_where_no_section_asks(layout: str, mode: str) -> None:
    found = composed(sections={"instructions": "Be kind."}, history=ASKED, layout=layout, mode=mode, examples=EXAMPLES)
    assert found.messages[0].role == "system" and "Be kind." in found.messages[0].content
    assert found.messages[-3:] == tuple(ASKED) and found.begun == ""


def test_a_recap_follows_the_turn_that_is_answered() -> None:
    found = composed(sections={"instructions": "Be kind.", "recap": "In a word."}, history=ASKED, layout="markdown")
    assert found.messages[-1].content == "When do you open?\n\n## Recap\n\nIn a word."


def test_a_users_text_goes_after_a_history_whatever_that_ends_with() -> None:
    found = composed(sections={"user": "And you?"}, history=ASKED)
    assert found.messages == (*ASKED, Message("user", "And you?"))


def test_system_messages_of_a_history_are_a_part_of_the_system_text() -> None:
    history = [Message("system", "Today is Monday."), Message("user", "Hi.")]
    found = composed(sections={"system": "Be kind."}, history=history)
    assert found.messages == (Message("system", "Be kind.\n\nToday is Monday."), Message("user", "Hi."))
    (only,) = composed(sections={"system": "Be kind."}, history=history, system_role=False).messages
    assert only == Message("user", "Be kind.\n\nToday is Monday.\n\nHi.")


def test_a_layout_of_ones_own_sees_sections_examples_and_labels(tmp_path: Path) -> None:
    layout = tmp_path / "mine.j2"
    layout.write_text("---\ncue: 'So:'\n---\n{{ sections }}{{ examples | map(attribute='cue') }}{{ labels }}")
    found = composed(layout=layout, sections={"input": "x"}, examples=EXAMPLES[:1], labels=["l"])
    assert found.messages[0].content == '{"examples": "", "input": "x"}["So:"]["l"]' and found.begun == "So:"
    layout.write_text("changed")
    assert composed(layout=layout).messages[0].content == "changed"


def test_a_broken_layout_and_an_unknown_one_are_our_errors(tmp_path: Path) -> None:
    layout = tmp_path / "mine.j2"
    layout.write_text("---\nceu: x\n---\n")
    (problem,) = problems_of(lambda: composed(layout=layout))
    assert (problem.line, problem.hint) == (2, "did you mean `cue`?")
    layout.write_text("\n{{ sectoins }}")
    (problem,) = problems_of(lambda: composed(layout=layout))
    assert (problem.line, problem.hint) == (2, "did you mean `sections`?")
    (problem,) = problems_of(lambda: composed(layout="markdwon"))
    assert problem.hint == "did you mean `markdown`?"
