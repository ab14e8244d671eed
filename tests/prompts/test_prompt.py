"""Prompts: sections, parents, front matter, layers, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.prompts.examples import read_examples
from promptkit.prompts.front_matter import split_front_matter
from promptkit.prompts.load import Prompts
from promptkit.prompts.prompt import Example, Layer
from promptkit.prompts.sections import SECTIONS
from promptkit.storage.yaml import load as load_yaml
from tests.prompts.conftest import Load, Write, problems_of


def test_sections_come_in_their_fixed_order_stripped_and_without_the_blank_ones(load: Load) -> None:
    prompt = load(
        "{% block cue %}Answer:{% endblock %}\n"
        "{% block recap %}  {% endblock %}\n"
        "{% block input %}\n  {{ text }}\n\n{% endblock %}\n"
        "{% block persona %}You are brief.{% endblock %}\n"
    )
    sections = prompt.sections({"text": "hello"})
    assert list(sections.items()) == [("persona", "You are brief."), ("input", "hello"), ("cue", "Answer:")]
    assert [name for name in SECTIONS if name in sections] == list(sections)


def test_a_file_without_blocks_is_its_instructions(load: Load) -> None:
    assert load("Say {{ word }}.").sections({"word": "yes"}) == {"instructions": "Say yes."}


def test_a_texts_own_methods_work_within_sections_and_loops(load: Load) -> None:
    prompt = load(
        "{% block input %}{% for x in ['a-b'] %}{{ x.replace('-', '+') }}{{ '/'.join(x) }}{% endfor %}{% endblock %}"
    )
    assert prompt.sections({}) == {"input": "a+ba/-/b"}


def test_a_prompt_that_declares_no_inputs_takes_the_names_it_uses(load: Load) -> None:
    prompt = load(
        "{% set a = 1 %}{% block input %}{{ text }} {{ a }} {% for x in rows %}{{ x }}{% endfor %}{% endblock %}"
    )
    assert set(prompt.inputs) == {"text", "rows"} == prompt.names()


def test_a_child_overrides_one_section_and_can_repeat_the_parents(load: Load, write: Write) -> None:
    write(
        "templates/prompts/base.j2",
        "{% block persona %}You are kind.{% endblock %}{% block recap %}Short.{% endblock %}",
    )
    prompt = load('{% extends "base" %}{% block persona %}{{ super() }} And brief.{% endblock %}')
    assert prompt.sections({}) == {"persona": "You are kind. And brief.", "recap": "Short."}


def test_the_parent_of_all_prompts_may_be_named(load: Load) -> None:
    assert load('{% extends "sections.j2" %}{% block recap %}{{ super() }}x{% endblock %}').sections({}) == {
        "recap": "x"
    }


def test_what_a_file_sets_and_imports_at_its_top_reaches_every_block(load: Load, write: Write) -> None:
    write("templates/prompts/macros.j2", "{% macro twice(a) %}{{ a }}{{ a }}{% endmacro %}")
    prompt = load(
        '{% from "macros.j2" import twice %}{% import "macros.j2" as m %}{% set word = "go" %}'
        "{% block input %}{{ twice(word) }} {{ m.twice(word) }}{% endblock %}"
    )
    assert prompt.sections({}) == {"input": "gogo gogo"}
    assert prompt.names() == frozenset()


def test_front_matter_merges_inputs_by_name_and_replaces_all_else(load: Load, write: Write) -> None:
    front = "about: base\ninputs: {a: {about: first}, b: {default: 2}}\nlayout: xml\noptions: {seed: 1, stop: [x]}\n"
    write("templates/prompts/base.j2", f"---\n{front}---\n" + "{% block input %}{{ a }}{{ b }}{% endblock %}")
    prompt = load('---\ninputs: {a: {example: 1}}\noptions: {seed: 2}\n---\n{% extends "base.j2" %}')
    assert prompt.about == "base"
    assert set(prompt.inputs) == {"a", "b"}
    assert prompt.inputs["a"].about == "" and prompt.inputs["a"].example == 1
    assert prompt.settings == {"layout": "xml", "options": {"seed": 2}}
    assert prompt.sections({"a": 1}) == {"input": "12"}


def test_a_prompts_document_is_its_own_front_matter_not_its_parents(load: Load, write: Write) -> None:
    write("templates/prompts/base.j2", "---\nlayout: xml\n---\n")
    assert load('{% extends "base.j2" %}').document is None


def test_a_problem_with_an_inherited_setting_is_placed_in_the_parents_file(load: Load, write: Write) -> None:
    base = write("templates/prompts/base.j2", "---\nlayout: xml\noptions:\n  seed: 1\n---\n")
    prompt = load('---\nlayout: prefix\n---\n{% extends "base.j2" %}')
    inherited, declared = prompt.problem(("options", "seed"), "no"), prompt.problem(("layout",), "no")
    assert inherited.file is not None and Path(inherited.file).resolve() == base.resolve()
    assert (inherited.line, declared.line) == (4, 2)


def test_an_include_brings_no_front_matter_into_the_text(load: Load, write: Write) -> None:
    part = write("templates/prompts/part.j2", "---\nabout: x\n---\nPart of {{ text }}.")
    prompt = load('{% block input %}{% include "part.j2" %}{% endblock %}')
    assert prompt.sections({"text": "it"}) == {"input": "Part of it."}
    assert part in prompt.files


def test_a_default_makes_an_input_optional_even_when_it_is_null(load: Load) -> None:
    prompt = load("---\ninputs: {a: {default: }, b: }\n---\n{% block input %}{{ a is none }}{{ b }}{% endblock %}")
    assert prompt.inputs["a"].has_default and not prompt.inputs["b"].has_default
    assert prompt.sections({"b": 1}) == {"input": "true1"}


def test_lists_print_as_json_and_booleans_in_lower_case(load: Load) -> None:
    prompt = load("{{ a }} {{ b }} {{ a[0] ~ b }} {{ c.items }} {{ a | map('upper') }}")
    assert prompt.sections({"a": ["é", "x"], "b": True, "c": {"items": 1}}) == {
        "instructions": '["é", "x"] true étrue 1 ["É", "X"]'
    }


@pytest.mark.parametrize(
    "template", ["{{ a }}", "{{ a.b }}", "{{ [a] }}{{ a.b.c }}", "{{ a ~ 'x' }}", "{% for x in a.b %}{% endfor %}"]
)
def test_null_and_undefined_values_are_errors_with_file_and_line(template: str, load: Load) -> None:
    prompt = load(f"---\ninputs: {{a: }}\n---\nhello\n{template}")
    (problem,) = problems_of(lambda: prompt.sections({"a": None}))
    assert problem.file is not None and problem.line == 5


def test_a_misspelt_key_of_a_value_names_the_nearest(load: Load) -> None:
    prompt = load("\n{{ row.titel }}")
    (problem,) = problems_of(lambda: prompt.sections({"row": {"title": 1}}))
    assert (problem.line, problem.hint) == (2, "did you mean `title`?")


def test_layers_lie_over_a_prompt_in_order_each_with_its_own_call_values(load: Load, write: Write) -> None:
    layer = write(
        "techniques/t.j2", "{% extends prompt %}{% block recap %}{{ super() }}<{{ call.draft }}>{% endblock %}"
    )
    prompt = load("{% block input %}{{ draft }}{% endblock %}{% block recap %}Short.{% endblock %}")
    layers = [Layer(layer, {"draft": number}) for number in (1, 2)]
    assert prompt.sections({"draft": "mine"}, layers=layers) == {"input": "mine", "recap": "Short.<1><2>"}
    assert prompt.sections({"draft": "mine"}, layers=layers[:1])["recap"] == "Short.<1>"
    assert prompt.sections({"draft": "mine"})["recap"] == "Short."


def test_a_layer_may_extend_another_that_lies_on_the_prompt(load: Load, write: Write) -> None:
    write(
        "techniques/base.j2", "{% extends prompt %}{% block recap %}{{ super() }} Think of {{ call.a }}.{% endblock %}"
    )
    layer = write("techniques/top.j2", '{% extends "base.j2" %}{% block persona %}P{% endblock %}')
    prompt = load("{% block recap %}Short.{% endblock %}")
    Prompts(Project.find(layer)).check_layer(layer)
    assert prompt.sections({}, layers=[Layer(layer, {"a": 1})]) == {"persona": "P", "recap": "Short. Think of 1."}


def test_a_layer_that_uses_a_name_of_the_user_is_refused(write: Write) -> None:
    layer = write("techniques/t.j2", "{% extends prompt %}\n{% block recap %}{{ call.a }}{{ text }}{% endblock %}")
    (problem,) = problems_of(lambda: Prompts(Project.find(layer)).check_layer(layer))
    assert (problem.line, problem.column, problem.message) == (2, 33, "`text` is undefined")


def test_an_inline_prompt_is_a_text_or_a_mapping_of_sections(write: Write) -> None:
    path = write(
        "pipelines/p.yaml",
        "a: Say {{ word }}\nb:\n  persona: Kind\n  input: |\n    First\n    {{ wrong | uper }}\n  inptu: x\n",
    )
    document = load_yaml(path.read_bytes(), file=str(path))
    prompts = Prompts(Project.find(path))
    prompt = prompts.inline(document.value["a"], document, ("a",))
    assert prompt.sections({"word": "yes"}) == {"instructions": "Say yes"} and set(prompt.inputs) == {"word"}
    wrong, misspelt = problems_of(lambda: prompts.inline(document.value["b"], document, ("b",)))
    assert (misspelt.line, misspelt.hint) == (7, "did you mean `input`?")
    assert (wrong.line, wrong.hint) == (6, "did you mean `upper`?")


def test_an_inline_prompt_takes_layers_and_includes_files_beside_its_pipeline(write: Write) -> None:
    path = write("pipelines/p.yaml", "input: \"{% include 'part.j2' %}\"\n")
    write("pipelines/part.j2", "part {{ x }}")
    layer = write("techniques/t.j2", "{% extends prompt %}{% block recap %}{{ call.a }}{% endblock %}")
    document = load_yaml(path.read_bytes(), file=str(path))
    prompt = Prompts(Project.find(path)).inline(document.value, document, ())
    assert prompt.sections({"x": 1}, layers=[Layer(layer, {"a": "b"})]) == {"input": "part 1", "recap": "b"}


def test_a_snapshot_sees_no_edit_and_a_new_one_does(write: Write) -> None:
    path = write("templates/prompts/a.j2", "one")
    old = Prompts(Project.find(path))
    assert old.load("a").sections({}) == {"instructions": "one"}
    path.write_text("two")
    assert old.load("a").sections({}) == {"instructions": "one"}
    assert Prompts(Project.find(path)).load("a").sections({}) == {"instructions": "two"}


def test_examples_are_written_by_the_prompts_own_input_section(load: Load) -> None:
    prompt = load("{% block input %}Text: {{ text }} ({{ language }}){% endblock %}")
    (written,) = prompt.written([Example({"text": "hi"}, [1, 2], "Easy.")], [str], {"text": "no", "language": "en"})
    assert (written.input, written.output, written.thoughts) == ("Text: hi (en)", "[1, 2]", "Easy.")


def test_an_example_that_cannot_be_written_is_placed_at_its_output(load: Load) -> None:
    prompt = load("---\nexamples:\n  - input: {a: 1}\n    output: x\n---\n{% block input %}{{ a }}{% endblock %}")

    def refuse(value: Any) -> str:
        raise ValueError("not a number")

    examples = read_examples(prompt).shown()
    (problem,) = problems_of(lambda: prompt.written(examples, [refuse]))
    assert problem.line == 4 and "not a number" in problem.message


WRONG = [
    ("---\nexamples:\n  - {input: {a: 1}, output: x}\n---\n{{ a }}", 2, "no section `input`", "block input"),
    ("{% block instrctions %}a{% endblock %}", 1, "instrctions", "instructions"),
    ("{% block input %}a{% endblock %}\nlost", 2, "outside", "section"),
    ("{% block input %}a{% endblock %}\n{{ lost }}", 2, "outside", "section"),
    ("{% block input %}\n{% block recap %}{% endblock %}{% endblock %}", 2, "is inside", "side by side"),
    ("{% for a in [1] %}\n{% block input %}{% endblock %}{% endfor %}", 2, "is inside", "side by side"),
    ("{% if true %}{% block input %}{% endblock %}{% endif %}", 1, "is inside", "side by side"),
    ("{% macro m() %}{% block input %}{% endblock %}{% endmacro %}", 1, "is inside", "side by side"),
    ("{% block input %}a{% endblock %}\n{% block input %}b{% endblock %}", 2, "twice", None),
    ("one\n{{ a | uper }}", 2, "no filter `uper`", "upper"),
    ("one\n{% if a is defind %}{% endif %}", 2, "no test `defind`", "defined"),
    ("---\ninputs: {text: }\n---\n\n{{ txet }}", 5, "`txet` is not an input", "text"),
    ("---\ninputs: {prompt: }\n---\nhi", 2, "`prompt` is a reserved name", None),
    ("---\ninputs: {range: }\n---\nhi", 2, "`range` is a reserved name", None),
    ("---\ninputs: {a b: }\n---\nhi", 2, "`a b` is not a name", "letters"),
    ("---\ninputs: {a: {abuot: x}}\n---\nhi", 2, "unknown key `abuot`", "about"),
    ("---\nlayuot: xml\n---\nhi", 2, "unknown key `layuot`", "layout"),
    ("---\nmessages: two\n---\nhi", 2, "messages", None),
    ("---\nabout: x\nhi", 1, "no end", "---"),
    ("{{ call.a }}", 1, "`call` is not an input", "techniques"),
    ('\n{% extends "nothing" %}', 2, "no template `nothing`", None),
    ('{% block input %}\n{% include "nothing" %}{% endblock %}', 2, "no template `nothing`", None),
    ('{% extends "main" %}', 1, "extends this prompt", None),
    ("hello {{ name", 1, "`{{` is not closed", "}}"),
    ("hello\n{% block input %}", 2, "`input` is not closed", "endblock"),
    ("hello\n{% frobnicate %}", 2, "unknown tag", None),
]


@pytest.mark.parametrize(("text", "line", "message", "hint"), WRONG)
def test_what_is_wrong_has_its_line_and_a_hint(
    text: str, line: int, message: str, hint: str | None, load: Load
) -> None:
    problems = problems_of(lambda: load(text))
    found = [problem for problem in problems if message in problem.message]
    assert found, problems
    assert found[0].line == line
    assert hint is None or hint in (found[0].hint or "")


def test_all_problems_of_a_prompt_and_its_parents_are_found_at_once(load: Load, write: Write) -> None:
    write("templates/prompts/base.j2", "---\nlayuot: xml\n---\n{% block inptu %}{% endblock %}")
    problems = problems_of(
        lambda: load('---\nabuot: x\n---\n{% extends "base" %}\n{% block recap %}{{ a | uper }}{% endblock %}')
    )
    assert len(problems) == 4


def test_an_unknown_prompt_is_reported_where_it_is_named(write: Write) -> None:
    path = write("templates/prompts/classify.j2", "hi")
    at = Problem("", "pipeline.yaml", 7, 13)
    (problem,) = problems_of(lambda: Prompts(Project.find(path)).load("clasify", at=at))
    assert (problem.file, problem.line, problem.column) == ("pipeline.yaml", 7, 13)
    assert problem.hint == "did you mean `classify`?"


def test_a_file_that_is_not_utf8_is_our_error(write: Write) -> None:
    path = write("templates/prompts/a.j2", "")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError):
        Prompts(Project.find(path)).load(path)


@pytest.mark.parametrize(
    ("text", "value", "body", "line"),
    [
        ("hi", None, "hi", 1),
        ("---\na: 1\n---\nhi\n", {"a": 1}, "hi\n", 4),
        ("--- \r\na: 1\r\n---\r\nhi", {"a": 1}, "hi", 4),
        ("---\n---\nhi", None, "hi", 3),
        ("---\na: 1\n---", {"a": 1}, "", 3),
        ("----\nhi", None, "----\nhi", 1),
    ],
)
def test_front_matter_is_split_from_the_body(text: str, value: Any, body: str, line: int) -> None:
    document, found, first_line = split_front_matter(text, "a.j2")
    assert (document.value if document else None, found, first_line) == (value, body, line)
