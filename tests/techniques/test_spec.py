"""A technique as a step names it: demonstrations, documents, what it is put over, and all that is wrong there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.errors import InputError, Problem
from promptkit.prompts.front_matter import PromptInput
from promptkit.techniques.description import call_specs
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import check_spec, configure, parse_spec, technique_files, with_nested
from tests.techniques.steps import Bench

INPUTS = {"question": PromptInput(type="text")}
DEMO = {"input": "DEMO-MARK 1+1?", "output": "def solution():\n    return 2"}
PROGRAM = "def solution():\n    return 7"
DEFAULTING = """
from promptkit.techniques import Answer, Spec, Task, technique


@technique()
async def defaulting(task: Task, *, over: Spec = "pal") -> Answer:
    return await task.run(over)
"""


def told(spec: Any, folder: Path) -> list[Problem]:
    return check_spec(spec, Bench(folder, []).project, INPUTS, folder)


def messages(spec: Any, folder: Path) -> list[str]:
    return [problem.message for problem in told(spec, folder)]


@pytest.mark.parametrize(
    ("spec", "name", "parameters"),
    [
        ("pal", "pal", {}),
        ({"pal": None}, "pal", {}),
        ({"pal": {}}, "pal", {}),
        ({"pal": {"samples": 3}}, "pal", {"samples": 3}),
    ],
)
def test_a_technique_is_a_name_or_one_name_with_its_settings(spec: Any, name: str, parameters: Any) -> None:
    assert parse_spec(spec) == (name, parameters)


@pytest.mark.parametrize("spec", [None, 3, [], ["pal"], {}, {"pal": 3}, {"pal": []}, {"pal": {}, "react": {}}, {3: {}}])
def test_what_is_none_is_told_what_one_is(tmp_path: Path, spec: Any) -> None:
    (message,) = messages(spec, tmp_path)

    assert message == "a technique is a name, or one name with its parameters: `{NAME: {parameter: value}}`"


@pytest.mark.parametrize("ending", ["jsonl", "json", "yaml"])
async def test_demonstrations_may_lie_in_a_file_of_rows(tmp_path: Path, ending: str) -> None:
    rows = json.dumps(DEMO) if ending == "jsonl" else json.dumps([DEMO])
    (tmp_path / f"demos.{ending}").write_text(rows)

    await asked_with({"program": f"demos.{ending}"}, tmp_path)


async def test_demonstrations_may_be_a_list(tmp_path: Path) -> None:
    await asked_with({"program": [DEMO]}, tmp_path)


async def asked_with(demos: Any, folder: Path) -> None:
    """Ask with demonstrations, which must be right, and see that they stand in the place of the technique's own."""
    bench = Bench(folder, [PROGRAM])
    spec = {"pal": {"demos": demos}}
    shipped = [demo["input"] for call in call_specs(configure("pal", bench.project).technique) for demo in call.demos]
    assert shipped and messages(spec, folder) == []

    answer = await perform(spec, bench.step(folder=folder))

    assert answer.value == 7
    assert "DEMO-MARK" in bench.texts[0]
    assert [text for text in shipped if text in bench.texts[0]] == []


def test_a_text_where_the_shipped_demonstrations_have_a_list_is_told(tmp_path: Path) -> None:
    demo = {"input": "a", "questions": "MYQ?"}

    assert messages({"least_to_most": {"demos": {"reduce": [demo]}}}, tmp_path) == [
        "demonstration 1 of `reduce` must have a list as `questions`"
    ]


def test_an_empty_list_shows_no_demonstrations_and_an_empty_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "demos.jsonl").write_text("")

    assert messages({"pal": {"demos": {"program": []}}}, tmp_path) == []
    assert messages({"pal": {"demos": {"program": "demos.jsonl"}}}, tmp_path) == [
        "there are no demonstrations for `program` in demos.jsonl; `[]` shows none"
    ]


@pytest.mark.parametrize(
    ("demos", "message", "hint"),
    [
        ("demos.jsonl", "`demos` of technique `pal` is `{CALL: FILE}`", None),
        (None, "`demos` of technique `pal` is `{CALL: FILE}`", None),
        ([DEMO], "`demos` of technique `pal` is `{CALL: FILE}`", None),
        ({"progam": [DEMO]}, "technique `pal` has no call `progam` to show demonstrations in", "`program`"),
        ({3: [DEMO]}, "technique `pal` has no call `3` to show demonstrations in", None),
        ({"program": [{"input": "a"}]}, "demonstration 1 of `program` lacks `output`", None),
        ({"program": [DEMO, {}]}, "demonstration 2 of `program` lacks `input`, `output`", None),
        ({"program": ["text"]}, "demonstrations are a file of rows, or a list of mappings", None),
        ({"program": 3}, "demonstrations are a file of rows, or a list of mappings", None),
        ({"program": "../demos.jsonl"}, "the path `../demos.jsonl` leaves the project", None),
        ({"program": "/etc/demos.jsonl"}, "the path `/etc/demos.jsonl` leaves the project", None),
        ({"program": "demo\0.jsonl"}, "cannot be read", None),
        ({"program": "demos.jsonl"}, "no such file", None),
        ({"program": "ask.j2"}, "rows are not read from a file with this ending", ".jsonl"),
    ],
)
def test_wrong_demonstrations_are_told(tmp_path: Path, demos: Any, message: str, hint: str | None) -> None:
    (problem,) = told({"pal": {"demos": demos}}, tmp_path)

    assert message in problem.message
    assert hint is None or hint in (problem.hint or "")


def test_a_row_of_a_file_that_lacks_a_key_is_told_by_number(tmp_path: Path) -> None:
    (tmp_path / "demos.jsonl").write_text(f'{json.dumps(DEMO)}\n{{"input": "a"}}\n')

    assert messages({"pal": {"demos": {"program": "demos.jsonl"}}}, tmp_path) == [
        "demonstration 2 of `program` lacks `output`"
    ]


def test_documents_are_those_of_a_folder_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / "deep" / "a.txt").write_text("A text.")
    spec = {"react": {"folder": "docs"}}

    assert messages(spec, tmp_path) == []
    assert tmp_path / "docs" / "deep" / "a.txt" in set(technique_files(spec, Bench(tmp_path, []).project, tmp_path))


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("docs", "`folder` is a folder of texts from the pipeline's file, and there is none HERE/docs"),
        ("ask.j2", "`folder` is a folder of texts from the pipeline's file, and there is none HERE/ask.j2"),
        (["docs"], "`folder` is a folder of texts from the pipeline's file, and there is none HERE/['docs']"),
        ("..", "the path `..` leaves the project"),
        ("/etc", "the path `/etc` leaves the project"),
    ],
)
def test_a_folder_that_is_none_or_lies_outside_is_told(tmp_path: Path, folder: Any, message: str) -> None:
    assert messages({"react": {"folder": folder}}, tmp_path) == [message.replace("HERE", str(tmp_path))]


def test_a_technique_that_searches_nothing_takes_no_folder(tmp_path: Path) -> None:
    assert messages({"pal": {"folder": "docs"}}, tmp_path) == ["technique `pal` has no parameter `folder`"]


@pytest.mark.parametrize(
    ("spec", "nearest"),
    [
        ({"pal": {"sampels": 3}}, "did you mean `samples`?"),
        ({"three_hop": {"targte": "question"}}, "did you mean `target`?"),
        ({"pal": {"demo": {}}}, "did you mean `demos`?"),
        ({"react": {"fodler": "docs"}}, "did you mean `folder`?"),
        ({"instructed": {"ovre": "pal"}}, "did you mean `over`?"),
        ({"pal": {3: 4}}, "known: attempts, demos, question, samples, temperature"),
    ],
)
def test_an_unknown_parameter_is_told_with_the_nearest_of_all_that_may_stand_there(
    tmp_path: Path, spec: Any, nearest: str
) -> None:
    problem = told(spec, tmp_path)[0]

    assert "has no parameter" in problem.message
    assert problem.hint == nearest


@pytest.mark.parametrize("value", ["3", 0, 2000, 1.5, True, None, [3]])
def test_a_value_that_a_parameter_cannot_be_is_told(tmp_path: Path, value: Any) -> None:
    (message,) = messages({"pal": {"samples": value}}, tmp_path)

    assert message.startswith("`samples` of technique `pal`: ")


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"pal": {"sampels": 3}}, "technique `pal` has no parameter `sampels`"),
        ({"pal": {"samples": "3"}}, "`samples` of technique `pal`"),
        ({"pal": {"demos": {"program": "no.jsonl"}}}, "no such file"),
        ("three_hop", "no input plays the role `target`"),
        ("palm", "unknown technique `palm`"),
        (3, "a technique is a name"),
    ],
)
def test_what_a_technique_is_put_over_is_checked_to_any_depth(
    tmp_path: Path, spec: Any, message: str, depth: int
) -> None:
    for _ in range(depth):
        spec = {"instructed": {"over": spec}}

    (found,) = messages(spec, tmp_path)

    assert message in found


def test_nothing_is_put_over_only_where_a_technique_can_stand_alone(tmp_path: Path) -> None:
    assert messages({"self_consistency": {"over": None}}, tmp_path) == []
    assert messages({"instructed": {"over": None}}, tmp_path)[0].startswith("a technique is a name")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    spec = {"pal": {"sampels": 3, "samples": "many", "question": "nowhere", "demos": {"progam": [DEMO]}}}

    assert len(messages(spec, tmp_path)) == 4


def test_without_the_inputs_roles_are_not_checked(tmp_path: Path) -> None:
    assert check_spec("three_hop", Bench(tmp_path, []).project) == []


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("pal", ["pal"]),
        ({"instructed": {"over": {"self_consistency": {"over": "pal"}}}}, ["instructed", "self_consistency", "pal"]),
        ("instructed", ["instructed", "vanilla"]),
        ("defaulting", ["defaulting", "pal"]),
        ({"defaulting": {"over": "vanilla"}}, ["defaulting", "vanilla"]),
    ],
)
def test_what_a_technique_is_put_over_is_what_the_step_says_else_its_default(
    tmp_path: Path, spec: Any, names: list[str]
) -> None:
    (tmp_path / "techniques").mkdir()
    (tmp_path / "techniques" / "defaulting.py").write_text(DEFAULTING)
    project = Bench(tmp_path, []).project

    assert [each.technique.name for each in with_nested(configure(spec, project), project)] == names


def test_the_files_of_a_technique_are_those_of_all_that_it_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "techniques").mkdir()
    (tmp_path / "techniques" / "defaulting.py").write_text(DEFAULTING)
    (tmp_path / "demos.jsonl").write_text(json.dumps(DEMO))
    project = Bench(tmp_path, []).project

    default = {path.name for path in technique_files("defaulting", project, tmp_path)}
    over = {"defaulting": {"over": {"pal": {"demos": {"program": "demos.jsonl"}}}}}

    assert {"defaulting.py", "program.j2", "technique.yaml"} <= default
    assert tmp_path / "demos.jsonl" in set(technique_files(over, project, tmp_path))


def test_an_unknown_technique_beneath_is_an_error_of_the_whole(tmp_path: Path) -> None:
    project = Bench(tmp_path, []).project

    with pytest.raises(InputError, match=r"unknown technique `palm`(?s:.*)`pal`"):
        list(with_nested(configure({"instructed": {"over": "palm"}}, project), project))


KEYS = st.sampled_from(["samples", "over", "demos", "folder", "question", "target", "table", "program", "variant", "x"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5) | KEYS
SETTINGS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS | LEAVES, inner, max_size=3), max_leaves=6
)
NAMES = st.sampled_from(
    ["pal", "react", "three_hop", "instructed", "decomposed", "tree_of_thoughts", "binder", "nothing"]
)


@given(SETTINGS | NAMES | st.dictionaries(NAMES, st.dictionaries(KEYS, SETTINGS | st.dictionaries(NAMES, SETTINGS))))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_says_of_a_technique_is_right_or_told(tmp_path: Path, spec: Any) -> None:
    for problem in told(spec, tmp_path):
        assert problem.message
