"""Tools in pipelines: how they are declared, listed and allowed, and what is wrong where they are not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from promptkit.engine.dependencies import code_of, files_of, tool_uses
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.spec import json_schema
from promptkit.tools.registry import KINDS
from tests.engine.helpers import Folder
from tests.engine.tool_kinds import FileTool, NewsTool, Server, kinds_for_tests

SERVERS = "mcp: {git: {command: [git-server]}}\n"


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    with kinds_for_tests():
        yield


@pytest.fixture
def project(folder: Folder) -> Folder:
    folder.write("promptkit.yaml", SERVERS)
    folder.write("pipelines/look.py", 'def find(word: str):\n    """Find a word."""\n    return word\n')
    folder.write("pipelines/words.txt", "one")
    folder.write("root.py", "")
    return folder


def loaded(project: Folder, tools: str, head: str = "") -> Pipeline:
    return project.load(f"{head}\nsteps: {{a: {{prompt: say it, tools: {tools}}}}}")


def problem(project: Folder, tools: str, head: str = "") -> str:
    return "\n".join(map(str, project.problems(f"{head}\nsteps: {{a: {{prompt: say it, tools: {tools}}}}}")))


def tools_of(pipeline: Pipeline) -> dict[str, type]:
    call = pipeline.steps["a"].prompt_call
    assert call is not None
    return {name: type(tool) for name, tool in call.tools.items()}


def test_a_step_lists_tools_in_every_form(project: Folder) -> None:
    pipeline = loaded(
        project,
        '[look, docs, news, {search: words.txt}, "mcp:git", "look.py:find"]',
        'tools: {look: "look.py:find", docs: {search: {file: words.txt}}}\nallow: [network, mcp:git/write]',
    )
    assert list(tools_of(pipeline)) == ["look", "docs", "news", "search", "mcp:git", "find"]
    assert list(tools_of(pipeline).values())[1:5] == [FileTool, NewsTool, FileTool, Server]
    assert pipeline.steps["a"].allow == {"network", "mcp:git/write"}


def test_one_tool_may_be_listed_without_a_list(project: Folder) -> None:
    assert list(tools_of(loaded(project, "look.py:find"))) == ["find"]
    assert list(tools_of(loaded(project, "{search: words.txt}"))) == ["search"]


def test_a_declared_name_stands_for_a_kind_of_the_same_name(project: Folder) -> None:
    (tool,) = tools_of(loaded(project, "[news]", 'tools: {news: "look.py:find"}')).values()
    assert tool is not NewsTool


def test_a_declared_server_is_allowed_by_its_declared_name(project: Folder) -> None:
    pipeline = loaded(project, "[code]", "tools: {code: mcp:git}\nallow: [code]")
    assert list(tools_of(pipeline)) == ["mcp:git"] and pipeline.allow == {"mcp:git"}


def test_tools_of_all_steps_are_found_from_the_file_that_lists_them(project: Folder) -> None:
    project.write("promptkit.yaml", "defaults: {tools: [{search: root.txt}]}\n")
    project.write("root.txt", "two")
    pipeline = project.load("steps: {a: {prompt: say it}}")
    assert project.root.resolve() / "root.txt" in files_of(pipeline)


@pytest.mark.parametrize(
    ("tools", "place", "words"),
    [
        ("[calculatr]", "2:37", "unknown tool `calculatr`\n  hint: did you mean `calculator`?"),
        ("[nws]", "2:37", "did you mean `news`?"),
        ("[news, serch]", "2:43", "did you mean `search`?"),
        ("[search]", "2:37", "`search` needs settings\n  hint: write `{search: …}`"),
        ("[{search: gone.txt}]", "2:37", "there is no file `gone.txt`\n  hint: name a file"),
        ("[{serch: words.txt}]", "2:37", "unknown key `serch`\n  hint: did you mean `search`?"),
        (
            "[{search: words.txt, top: 3}]",
            "2:37",
            "a tool is one kind, and this has `search`, `top`\n  hint: write `{search:",
        ),
        ('["look.py:"]', "2:37", "tool `look.py:` must be `FILE.py:FUNCTION`"),
        ("[{}]", "2:37", "`function` is missing"),
        ('["mcp:"]', "2:37", "must be `mcp:SERVER` or `mcp:SERVER/TOOL`"),
        ('["gone.py:f"]', "2:37", "no such file"),
        ('["root.py:f"]', "2:37", "pipelines/root.py: no such file\n  hint: did you mean `../root.py`?"),
        ('["look.py"]', "2:37", "unknown tool `look.py`\n  hint: a function of it is `look.py:FUNCTION`"),
        ('["look.py:fnd"]', "2:37", "has no function `fnd`\n  hint: did you mean `find`?"),
        ('["os:system"]', "2:37", "`os` is neither a file of the project"),
        ("[{search: words.txt}, {search: {file: words.txt}}]", "2:58", "two tools have the name `search`"),
        ("5", "2:36", "must be names of tools"),
        ("[5]", "2:36", "must be names of tools"),
    ],
)
def test_a_mistake_in_a_steps_tools_is_named_at_its_place(project: Folder, tools: str, place: str, words: str) -> None:
    found = problem(project, tools, "allow: [network]")
    assert f"test.yaml:{place}: " in found and words in found


@pytest.mark.parametrize(
    ("head", "place", "words"),
    [
        ("tools: {a b: news}", "1:9", "`a b` is not a name of a tool"),
        (f"tools: {{{'a' * 65}: news}}", "1:9", "at most 64"),
        ("tools: {network: news}", "1:9", "`network` is an effect in `allow`: take another name"),
        ("tools: {t: calculatr}", "1:12", "`calculatr` is not a tool"),
        ("tools: {t: search}", "1:12", "`search` needs settings"),
        ("tools: {t: {function: 'look.py:find', effects: [sings]}}", "1:12", "`effects`"),
        ("tools: {t: {reads: words.txt}}", "1:12", "`function` is missing"),
        ("allow: [netwrk]", "1:9", "`netwrk` is neither an effect nor a tool of the pipeline\n  hint: did you mean"),
        ("allow: [news, mcp:gti]", "1:15", "hint: did you mean `mcp:git`?"),
    ],
)
def test_a_mistake_in_what_a_pipeline_declares_is_named_at_its_place(
    project: Folder, head: str, place: str, words: str
) -> None:
    found = problem(project, "[]", head)
    assert f"test.yaml:{place}: " in found and words in found


@pytest.mark.parametrize("entry", ["network", "news", "t", "find", "mcp:git", "mcp:git/write", "calculator"])
def test_an_entry_of_allow_is_an_effect_a_tool_or_a_server(project: Folder, entry: str) -> None:
    assert not problem(project, '["look.py:find"]', f'tools: {{t: {{search: words.txt}}}}\nallow: ["{entry}"]')


def test_all_mistakes_are_found_at_once(project: Folder) -> None:
    found = problem(project, "[nws, news]", "tools: {t: {search: gone.txt}}\nallow: [x]")
    assert [line.partition(": ")[2] for line in found.splitlines() if "test.yaml" in line] == [
        "there is no file `gone.txt`",
        "`allow`: `x` is neither an effect nor a tool of the pipeline",
        "unknown tool `nws`",
        "the tool `news` is not allowed here: it may use the network",
    ]


@pytest.mark.parametrize(
    ("tools", "words", "hint"),
    [
        ("[news]", "the tool `news` is not allowed here: it may use the network", "[spends, news]"),
        ('["mcp:git"]', "`mcp:git` is not allowed here: it may use the network and may change data", "mcp:git]"),
        ('["mcp:git/write"]', "`mcp:git/write` is not allowed here", "mcp:git/write]"),
        ("[{function: 'look.py:find', effects: writes}]", "`find` is not allowed here: it may change data", "find]"),
    ],
)
def test_a_tool_with_effects_that_is_not_allowed_is_a_problem_of_its_step(
    project: Folder, tools: str, words: str, hint: str
) -> None:
    found = problem(project, tools, "allow: [spends]")
    assert "test.yaml:2:37: " in found and words in found
    assert f"hint: `allow: [spends, {hint.removeprefix('[spends, ')}` in the pipeline allows it" in found


def test_a_pipeline_within_another_has_tools_and_allow_of_its_own(project: Folder) -> None:
    project.write("pipelines/inner.yaml", "steps: {b: {prompt: say it, tools: [news]}}")
    outer = "allow: [network]\nsteps: {a: {pipeline: inner}}"
    assert "inner.yaml:1:" in str(project.problems(outer)[0])
    project.write("pipelines/inner.yaml", "allow: [news]\nsteps: {b: {prompt: say it, tools: [news]}}")
    assert not project.problems(outer.replace("allow: [network]\n", ""))


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("nws", "2:19: unknown tool `nws`\n  hint: did you mean `news`?"),
        ("news", "2:19: the tool `news` is not allowed here"),
        ("search", "2:19: `search` needs settings"),
        ('"mcp:git"', "2:19: a step calls one tool, and `mcp:git` has several"),
        ("docs", "nothing gives the input `word` of tool `docs`"),
        ("docs, with: {wrd: x, word: y}", "tool `docs` has no input `wrd`\n  hint: did you mean `word`?"),
    ],
)
def test_a_mistake_in_a_tool_step_is_named(project: Folder, tool: str, words: str) -> None:
    text = f"tools: {{docs: {{search: words.txt}}}}\nsteps: {{a: {{tool: {tool}}}}}"
    assert words in "\n".join(map(str, project.problems(text)))


def test_a_target_names_its_tools_with_their_effects_and_the_python_that_runs(project: Folder) -> None:
    pipeline = project.load(
        """
        allow: [network, writes]
        steps:
          a: {prompt: say it, tools: ["look.py:find", news, "mcp:git"]}
          b: {tool: "look.py:find", with: {word: x}}
        """
    )
    assert [(use.step, use.name, use.effects) for use in tool_uses(pipeline)] == [
        ("a", "find", ()),
        ("a", "news", ("network",)),
        ("a", "mcp:git", ("network", "writes")),
    ]
    assert [use.code.name for use in code_of(pipeline, model="auto")] == ["find"]


def test_the_schema_for_editors_has_the_forms_of_a_tool() -> None:
    schema = json_schema("pipeline")
    text, function, kind = schema["properties"]["tools"]["additionalProperties"]["anyOf"]
    assert text == {"type": "string"}
    assert function["required"] == ["function"] and "effects" in function["properties"]
    assert kind["properties"].keys() == KINDS.keys()
    step = schema["$defs"]["StepSpec"]["properties"]["tools"]["anyOf"]
    assert step == [text, function, kind, {"type": "array", "items": {"anyOf": [text, function, kind]}}]
    assert schema["properties"]["allow"]["anyOf"]
