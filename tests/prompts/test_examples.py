"""Examples: from front matter, from a step and from files, and which of them are picked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from promptkit.prompts.examples import read_examples
from promptkit.prompts.prompt import Example, Prompt
from tests.prompts.conftest import Load, Write, problems_of

ROWS = "".join(
    f'{{"text": "{text}", "output": "{output}"}}\n'
    for text, output in [
        ("the line drops", "network"),
        ("no signal at home", "network"),
        ("the line is slow", "network"),
        ("my bill doubled", "price"),
        ("rude staff", "support"),
        ("a hidden fee on my bill", "price"),
    ]
)


def with_file(load: Load, write: Write, choice: str) -> Prompt:
    write("templates/prompts/rows.jsonl", ROWS)
    front = f"---\ninputs: {{text: }}\nexamples: {{file: rows.jsonl, {choice}}}\n---\n"
    return load(front + "{% block input %}{{ text }}{% endblock %}")


def test_examples_of_the_front_matter_are_taken_as_they_stand(load: Load) -> None:
    prompt = load(
        "---\ninputs: {a: }\nexamples:\n  - {input: {a: 1}, output: [x], thoughts: Easy.}\n"
        "  - {input: two, output: y}\n---\n{% block input %}{{ a }}{% endblock %}"
    )
    assert read_examples(prompt).shown() == (Example({"a": 1}, ["x"], "Easy."), Example({"a": "two"}, "y"))


def test_a_steps_own_examples_replace_the_prompts(load: Load) -> None:
    prompt = load("{% block input %}{{ a }}{% endblock %}")
    assert read_examples(prompt).shown() == ()
    assert read_examples(prompt, [{"input": {"a": 1}, "output": 2}]).shown() == (Example({"a": 1}, 2),)
    assert read_examples(prompt, []).shown() == ()


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ([{"inptu": {"a": 1}, "output": 2}], "unknown key `inptu`", "input"),
        ([{"output": 2}], "`input` is missing", None),
        ([{"input": {"b": 1}, "output": 2}], "`b` is not an input", "known: a"),
        ([{"input": {"a": 1}, "output": 2, "thoughts": 3}], "thoughts are a text", None),
        (["x"], "an example is", None),
        ("x", "examples are a list", None),
        ({"file": "x.jsonl", "pikc": "first"}, "unknown key `pikc`", "pick"),
        ({"file": "x.jsonl", "pick": "best"}, "`pick`", None),
        ({"file": "x.jsonl", "count": -1}, "`count`", None),
        ({"file": "nowhere.jsonl"}, "no such file", None),
    ],
)
def test_what_is_wrong_with_examples_is_said(spec: Any, message: str, hint: str | None, load: Load) -> None:
    prompt = load("{% block input %}{{ a }}{% endblock %}")
    (problem, *_) = problems_of(lambda: read_examples(prompt, spec))
    assert message in problem.message and (hint is None or hint in (problem.hint or ""))


def test_problems_of_the_front_matter_have_their_line(load: Load) -> None:
    prompt = load(
        "---\ninputs: {a: }\nexamples:\n  - {input: {a: 1}, output: 2}\n  - {input: {b: 1}, output: 2}\n---\n"
        "{% block input %}{{ a }}{% endblock %}"
    )
    (problem,) = problems_of(lambda: read_examples(prompt))
    assert problem.line == 5


def test_a_file_out_of_the_project_is_refused(load: Load, write: Write) -> None:
    write("../rows.jsonl", ROWS)
    prompt = load(
        "---\ninputs: {a: }\nexamples: {file: ../../../rows.jsonl}\n---\n{% block input %}{{ a }}{% endblock %}"
    )
    (problem,) = problems_of(lambda: read_examples(prompt))
    assert problem.line == 3 and "leaves the project" in problem.message


def test_the_first_rows_of_a_file_are_taken_in_order(load: Load, write: Write) -> None:
    prompt = with_file(load, write, "count: 2")
    assert [example.inputs["text"] for example in read_examples(prompt).shown()] == [
        "the line drops",
        "no signal at home",
    ]


def test_random_examples_are_the_same_for_the_same_seed(load: Load, write: Write) -> None:
    picks = [
        read_examples(with_file(load, write, f"pick: random, count: 4, seed: {seed}")).shown() for seed in (1, 1, 2)
    ]
    assert picks[0] == picks[1] != picks[2] and len(picks[0]) == 4


def test_balanced_examples_show_each_output_as_often(load: Load, write: Write) -> None:
    picked = read_examples(with_file(load, write, "pick: balanced, count: 3")).shown()
    assert Counter(example.output for example in picked) == {"network": 1, "price": 1, "support": 1}
    assert len(read_examples(with_file(load, write, "pick: balanced, count: 9")).shown()) == 6


def test_the_nearest_examples_share_the_rows_words_and_the_nearest_is_last(load: Load, write: Write) -> None:
    prompt = with_file(load, write, "nearest: 2")
    picked = read_examples(prompt).shown({"text": "What fee? My BILL!"})
    assert [example.inputs["text"] for example in picked] == ["my bill doubled", "a hidden fee on my bill"]


def test_the_row_that_is_asked_is_no_example(load: Load, write: Write) -> None:
    for how in (*(f"pick: {pick}, count: 6" for pick in ("first", "random", "balanced")), "nearest: 6"):
        prompt = with_file(load, write, how)
        picked = read_examples(prompt).shown({"text": "rude staff"})
        assert len(picked) == 5 and all(example.inputs["text"] != "rude staff" for example in picked)


@pytest.mark.parametrize("pick", ["first", "random", "balanced"])
def test_rows_that_are_no_example_see_the_same_examples(load: Load, write: Write, pick: str) -> None:
    examples = read_examples(with_file(load, write, f"pick: {pick}, count: 3"))
    usual = examples.shown({"text": "something else"})
    assert usual == examples.shown() and len(usual) == 3
    for row in examples.shown({"text": "nothing"}):
        others = examples.shown(row.inputs)
        assert len(others) == 3 and row not in others


def test_an_example_knows_its_number_and_place(load: Load, write: Write) -> None:
    (first, second, *_) = read_examples(with_file(load, write, "count: 2")).shown({"text": "the line drops"})
    assert (first.number, second.number) == (2, 3)
    assert first.place is not None and (first.place.file or "").endswith("rows.jsonl")


def test_a_changed_file_is_read_again(load: Load, write: Write) -> None:
    prompt = with_file(load, write, "count: 9")
    assert len(read_examples(prompt).shown()) == 6
    write("templates/prompts/rows.jsonl", ROWS + '{"text": "new", "output": "x"}\n')
    assert len(read_examples(prompt).shown()) == 7


def test_a_row_without_an_output_or_input_names_its_number(load: Load, write: Write) -> None:
    prompt = with_file(load, write, "count: 9")
    for row, message in [
        ('{"text": "a"}', "there is no field `output`"),
        ('{"output": "a"}', "there is none of"),
    ]:
        write("templates/prompts/rows.jsonl", ROWS + row)
        (problem,) = problems_of(lambda: read_examples(prompt))
        assert f"row 7: {message}" in problem.message and problem.line == 7
