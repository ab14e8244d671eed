"""Everything wrong in a file is found before the first call, all at once, at its place."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.errors import InputError
from tests.engine.helpers import Folder, messages


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("stepz: {}", "1:1", "unknown key `stepz`"),
        ("steps: {a: {promt: x y}}", "1:13", "did you mean `prompt`?"),
        ("steps:\n  a: {prompt: x y}\n  a: {prompt: x y}", "3:3", "a"),
        ("steps: {a: {about: x}}", "1:12", "one of `prompt`, `tool` and `pipeline`; this has none"),
        ("steps: {a: {prompt: extract_isues}}", "1:", "did you mean `extract_issues`?"),
        ("steps: {a: {prompt: x y, technique: chain_of_though}}", "1:", "did you mean `chain_of_thought`?"),
        ("steps: {a: {prompt: x y, layout: mardown}}", "1:", "did you mean `markdown`?"),
        ("steps: {a: {prompt: x y, model: olama/x}}", "1:", "olama/x"),
        ("steps: {a: {prompt: x y, answer: lable}}", "1:", "did you mean `label`?"),
        ("steps: {a: {prompt: x y, decide: score}}", "1:", "cannot be scored"),
        ("steps: {a: {prompt: x y, calibrate: {method: batch}}}", "1:", "`calibrate` has no `offsets`"),
        ("steps: {a: {tool: nothing}}", "1:", "unknown tool `nothing`"),
        ("steps: {a: {pipeline: feedbak}}", "1:", "did you mean `feedback`?"),
        ("steps: {a: {prompt: 'say {{ feedbck }}'}}\ninputs: {feedback: }", "1:", "`feedback`"),
        ("steps: {a: {prompt: x y, when: '{{ feedbck }}'}}\ninputs: {feedback: }", "1:", "did you mean `feedback`?"),
        ("steps: {a: {prompt: x y, when: '1 +'}}", "1:", ""),
        ("steps: {a: {prompt: x y, after: b}}", "1:", "unknown step `b`"),
        ("steps: {a: {prompt: x y, when: steps.b.status == 'done'}}", "1:", "unknown step `b`"),
        ("steps: {a: {prompt: 'x {{ b }}'}, b: {prompt: 'y {{ a }}'}}", "1:9", "circle: `a` needs `b` (input b)"),
        ("steps: {a: {prompt: x y, for_each: '{{ [] }}'}}", "1:", "needs `as`"),
        ("inputs: {b: }\nsteps: {a: {prompt: x y, for_each: b, as: b}}", "2:", "is an input already"),
        ("inputs: {a: }\nsteps: {a: {prompt: x y}}", "2:9", "is an input and a step"),
        ("inputs: {range: }\nsteps: {a: {prompt: x y}}", "1:10", "means something else"),
        ("inputs: {b: {type: numbr}}\nsteps: {a: {prompt: x y}}", "1:", "number"),
        ("inputs: {b: {type: number, default: x}}\nsteps: {a: {prompt: x y}}", "1:", "must be a number"),
        ("steps: {a: {prompt: x y, with: {b: 1}}}", "1:", "has no input `b`"),
        ("steps: {a: {prompt: x y, options: {max_token: 3}}}", "1:", "did you mean `max_tokens`?"),
        ("steps: {a: {prompt: x y, on_error: skipp}}", "1:", "`fail`, `skip` or"),
        ("steps: {a: {prompt: {instuctions: x}}}", "1:", "did you mean `instructions`?"),
        ("steps: {a: {prompt: ../../../x.j2}}", "1:", "leaves the project"),
        ("tools: {t: ../../../t.py:f}\nsteps: {a: {prompt: x y}}", "1:", "leads out of the project"),
        ("tools: {t: t.py:f}\nsteps: {a: {prompt: x y}}", "1:", "no such file"),
        ("tools: {t: 5}\nsteps: {a: {prompt: x y}}", "1:12", "must be `FILE.py:FUNCTION`, a shipped kind"),
        ("tools: {t: {functon: t.py:f}}\nsteps: {a: {prompt: x y}}", "1:12", "unknown key `functon`"),
        ("output: '{{ b }}'\nsteps: {a: {prompt: x y}}", "1:9", "unknown name `b`"),
        ("cases: [{inputs: {b: 1}}]\nsteps: {a: {prompt: x y}}", "1:", "unknown input `b`"),
        ("steps: {}", "1:", ""),
        ("steps: {a: {prompt: x y, when: {{ a }}}}", "1:", ""),
        ("steps: {a: {pipeline: test}}", "1:", "circle"),
    ],
)
def test_a_mistake_is_named_at_its_place_with_a_hint(folder: Folder, text: str, place: str, words: str) -> None:
    found = folder.problems(text)
    assert found, "nothing was found"
    found_messages = messages(found)
    assert f"test.yaml:{place}" in found_messages
    assert words in found_messages


def test_all_mistakes_are_found_at_once(folder: Folder) -> None:
    text = """
    about: 3
    steps:
      a: {promt: x}
      b: {prompt: "x {{ nothing }}", layout: nowhere, technique: unheard}
      c: {prompt: no_such_prompt}
    output: "{{ d }}"
    """
    found_messages = messages(folder.problems(text))
    for words in ("`about`", "`promt`", "`nothing`", "`nowhere`", "`unheard`", "`no_such_prompt`", "`d`"):
        assert words in found_messages


def test_a_mistake_in_a_prompt_is_named_in_its_file(folder: Folder) -> None:
    path = folder.write("templates/prompts/mine.j2", "---\ndecide: scor\n---\nSay it")
    problems = folder.problems_in(path)
    assert [(problem.line, "mine.j2" in (problem.file or "")) for problem in problems] == [(2, True)]


def test_a_wrong_set_is_named_as_it_was_typed(folder: Folder) -> None:
    text = "steps: {one: {prompt: say it}}"
    assert "did you mean `one`?" in messages(folder.problems(text, ["on.layout=xml"]))
    assert "--set one.repairs" in messages(folder.problems(text, ["one.repairs=many"]))
    assert "STEP.KEY=VALUE" in messages(folder.problems(text, ["one"]))
    assert "unknown layout `nowhere`" in messages(folder.problems(text, ["one.layout=nowhere"]))


@pytest.mark.parametrize("answer", ["number", "{label: ['{{ nope }}']}"])
def test_a_wrong_answer_type_of_a_set_is_named_as_it_was_typed(folder: Folder, answer: str) -> None:
    front = "---\nanswer: {label: [a, b]}\nexamples:\n  - {input: {}, output: a}\n---\n"
    prompt = folder.write("templates/prompts/mine.j2", front + "{% block input %}x{% endblock %}")
    with pytest.raises(InputError) as raised:
        load_target(prompt, folder.project, sets=[f"mine.answer={answer}"])
    assert [problem.message.split(":")[0] for problem in raised.value.problems] == ["--set mine.answer"]
    in_pipeline = folder.problems("steps: {one: {prompt: mine}}", [f"one.answer={answer}"])
    assert [problem.message.split(":")[0] for problem in in_pipeline] == ["--set one.answer"]


def test_a_default_or_example_of_another_type_than_its_input_is_told_in_the_prompt(folder: Folder) -> None:
    front = "---\ninputs:\n  n: {type: number, default: x}\n  m: {choices: [a, b], example: c}\n---\n"
    path = folder.write("templates/prompts/mine.j2", front + "{{ n }} {{ m }}")
    problems = folder.problems_in(path)
    assert [(problem.line, problem.message) for problem in problems] == [
        (3, "`default` must be a number, not a text"),
        (4, "`example` must be one of a, b, not `c`"),
    ]


LABELS = ("1", "yes", "012", "1.0", "null", "true")


@pytest.mark.parametrize(
    "answer",
    [
        "{label: [1, yes, 012, 1.0, null, true]}",
        "{labels: [1, yes, 012, 1.0, null, true]}",
        "{choice: [1, yes, 012, 1.0, null, true]}",
        "{list: {of: {label: [1, yes, 012, 1.0, null, true]}}}",
        "{spans: {classes: [1, yes, 012, 1.0, null, true], text: some}}",
    ],
)
@pytest.mark.parametrize("where", ["step", "front matter", "--set"])
def test_labels_are_the_text_that_is_written(folder: Folder, answer: str, where: str) -> None:
    text, sets = "steps: {a: {prompt: say it}}", [f"a.answer={answer}"]
    if where == "step":
        text, sets = f"steps: {{a: {{prompt: say it, answer: {answer}}}}}", []
    elif where == "front matter":
        folder.write("templates/prompts/mine.j2", f"---\nanswer: {answer}\n---\nSay it")
        text, sets = "steps: {a: {prompt: mine}}", []
    asking = folder.load(text, sets).steps["a"].prompt_call
    assert asking is not None
    assert labels_of(asking.answer) == LABELS


def labels_of(answer: Any) -> tuple[str, ...]:
    if hasattr(answer, "of"):
        return labels_of(answer.of)
    names = next(getattr(answer, name) for name in ("labels", "options", "classes") if hasattr(answer, name))
    return tuple(names)


def test_labels_that_are_set_alone_are_the_text_that_is_typed(folder: Folder) -> None:
    asking = folder.load("steps: {a: {prompt: say it}}", ["a.answer.list.of.label=[012, 1.0]"]).steps["a"].prompt_call
    assert asking is not None
    assert labels_of(asking.answer) == ("012", "1.0")


def test_a_change_beside_the_labels_leaves_them_as_they_are_written(folder: Folder) -> None:
    text = "steps: {a: {prompt: say it, answer: {list: {separator: ',', of: {label: [012, 1.0]}}}}}"
    asking = folder.load(text, ["a.answer.list.separator=;"]).steps["a"].prompt_call
    assert asking is not None
    assert labels_of(asking.answer) == ("012", "1.0")


def test_a_prompts_labels_are_those_that_its_parent_writes(folder: Folder) -> None:
    folder.write(
        "templates/prompts/base.j2", "---\nanswer: {label: [012, 1.0]}\n---\n{% block context %}{% endblock %}"
    )
    path = folder.write("templates/prompts/mine.j2", "---\nabout: Mine\n---\n{% extends 'base.j2' %}")
    asking = load_target(path, folder.project).steps["mine"].prompt_call
    assert asking is not None
    assert labels_of(asking.answer) == ("012", "1.0")


def test_edges_say_why_a_step_needs_another(folder: Folder) -> None:
    pipeline = folder.load(
        """
        steps:
          a: {prompt: say it}
          b: {prompt: "of {{ a }}", when: steps.a.status == 'done'}
          c: {for_each: "{{ b }}", as: item, prompt: "{{ item }}", after: a}
        """
    )
    edges = {(edge.step, edge.needs, edge.reason) for edge in pipeline.edges}
    assert edges == {
        ("b", "a", "input a"),
        ("b", "a", "when (steps.a)"),
        ("c", "b", "for_each"),
        ("c", "a", "after"),
    }
