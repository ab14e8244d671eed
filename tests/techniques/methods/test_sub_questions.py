"""The lines of a decomposer: what they ask of which handler, over which answers, and how the answers come together."""

from typing import Any

import pytest

from promptkit.techniques.methods.sub_questions import InvalidSubQuestion, read_reply, read_sub_question

ANSWERS: dict[str, Any] = {
    **{str(number): number for number in range(3, 11)},
    "1": ["Ada", "King"],
    "2": [["Ada", 1815], ["King", [1835, 1852]]],
    "C": ["first", "second"],
}


def ask(line: str, replies: list[Any] | None = None) -> tuple[list[str], Any]:
    """Return the questions that a line asks, and what the replies come to."""
    step = read_sub_question(line)
    parts = step.parts(ANSWERS)
    return [part.question for part in parts], step.merged(parts, replies) if replies is not None else None


@pytest.mark.parametrize(
    ("line", "operation", "handler", "text"),
    [
        ("[split] Words of #1?", "select", "split", "Words of #1?"),
        (" (select) [ask] Who?", "select", "ask", "Who?"),
        ("(project_values_flat_unique) [ask]  Who is #1?", "project", "ask", "Who is #1?"),
        ("QS: [merge] Put [a] together.", "select", "merge", "Put [a] together."),
        ("[EOQ]", "select", "EOQ", ""),
        ("- [EOQ]", "select", "EOQ", ""),
        ("EOQ.", "select", "EOQ", ""),
        ("**QS:** [ask] Who?", "select", "ask", "Who?"),
        ("Who wrote #1?", "select", "ask", "Who wrote #1?"),
        ("(project) Who wrote #1?", "project", "ask", "Who wrote #1?"),
        ("[ask] Who wrote [EOQ]?\nA: nobody\nQS: [EOQ]", "select", "ask", "Who wrote [EOQ]?"),
    ],
)
def test_a_line_is_read(line: str, operation: str, handler: str, text: str) -> None:
    step = read_sub_question(line)

    assert (step.operation, step.handler, step.text) == (operation, handler, text)


@pytest.mark.parametrize(
    "line", ["", "[ask]", "(sort) [ask] #1?", "(project_sorted) [ask] #1?", "(Project) [ask] #1?", "\n"]
)
def test_a_line_that_is_none_is_told(line: str) -> None:
    with pytest.raises(InvalidSubQuestion):
        read_sub_question(line)


def test_select_puts_answers_in_as_json() -> None:
    assert ask("[ask] Of #1 or #10?", ["x"]) == (['Of ["Ada", "King"] or 10?'], "x")


def test_project_asks_once_for_each_item_with_its_bare_text() -> None:
    questions = ['Age of "Ada"?', 'Age of "King"?']

    assert ask('(project) [ask] Age of "#1"?', [36, 40]) == (questions, [["Ada", 36], ["King", 40]])
    assert ask('(project_values) [ask] Age of "#1"?', [36, 40]) == (questions, [36, 40])
    assert ask('(project_keys) [ask] Age of "#1"?', [36, 40]) == (questions, ["Ada", "King"])


def test_answers_are_flattened_and_freed_of_repetitions() -> None:
    replies = [["b", "a"], ["a", "c"]]

    assert ask("(project_values_flat) [ask] #1?", replies)[1] == ["b", "a", "a", "c"]
    assert ask("(project_values_flat_unique) [ask] #1?", replies)[1] == ["b", "a", "c"]


def test_pairs_are_gone_through_by_their_keys_or_values() -> None:
    assert ask("(projectKeys) [ask] Is #2?", ["x", "y"]) == (
        ['Is "Ada"?', 'Is "King"?'],
        [["x", 1815], ["y", [1835, 1852]]],
    )
    assert ask("(projectValues) [ask] Is #2?", ["x", "y"]) == (
        ["Is 1815?", "Is [1835, 1852]?"],
        [["Ada", "x"], ["King", "y"]],
    )


@pytest.mark.parametrize("yes", ["yes", "Yes.", True, "true", 1])
def test_filter_keeps_what_is_answered_yes(yes: Any) -> None:
    assert ask("(filter) [ask] Is #1 a king?", [yes, "no"])[1] == ["Ada"]


def test_paragraphs_of_the_context_are_gone_through_too() -> None:
    assert ask("(project_values) [ask] In #C?", ["x", "y"]) == (["In first?", "In second?"], ["x", "y"])


def test_a_text_alone_is_a_list_of_one() -> None:
    step = read_sub_question("(project_values) [ask] Is #1?")

    assert [part.question for part in step.parts({"1": "Ada"})] == ["Is Ada?"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[ask] Is #11?", "#11"),
        ("(project) [ask] Is it?", "not 0"),
        ("(project) [ask] Is #1 #2?", "not 2"),
        ("(project) [ask] Is #3?", "not a list"),
        ("(projectKeys) [ask] Is #1?", "pairs"),
    ],
)
def test_what_cannot_be_asked_is_told(line: str, said: str) -> None:
    with pytest.raises(InvalidSubQuestion, match=said):
        ask(line)


@pytest.mark.parametrize("line", ["(select_flat) [ask] #1?", "(filter_values) [ask] #1?"])
def test_answers_that_cannot_be_put_together_are_told(line: str) -> None:
    step = read_sub_question(line)
    parts = step.parts(ANSWERS)

    with pytest.raises(InvalidSubQuestion):
        step.merged(parts, ["yes"] * len(parts))


@pytest.mark.parametrize(
    ("text", "value"), [(' "a"', "a"), ('["a", 1]', ["a", 1]), (" true", True), (" Ada King \n", "Ada King")]
)
def test_a_reply_is_json_or_its_text(text: str, value: Any) -> None:
    assert read_reply(text) == value
