"""`tools`: the list of kinds and of a target's tools, and a call without a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptkit.cli.tools import complete_allowed, complete_listed, complete_tool
from promptkit.tools.registry import KINDS
from tests.cli.conftest import Run
from tests.engine.tool_kinds import kinds_for_tests

PIPELINE = """\
tools:
  docs: {search: ../words.txt}
  code: mcp:git
  gone: mcp:dead
allow: ["mcp:git/read"]
steps:
  a: {prompt: say it, technique: react, tools: [docs, code, "../look.py:find"]}
  b: {tool: docs, with: {word: x}}
"""
LOOK = '''\
def find(word: str, limit: int = 3, extra=None):
    """Find a word."""
    return [word, limit, extra]


def fails():
    raise ValueError("no luck")
'''


@pytest.fixture(autouse=True)
def log() -> Iterator[list[str]]:
    with kinds_for_tests() as done:
        yield done


@pytest.fixture
def tools(promptkit: Run, project: Path) -> Run:
    (project / "promptkit.yaml").write_text(
        "mcp: {git: {command: [git-server]}, dead: {command: [dead]}}\nfeeds: {bbc: 'https://example.com/rss'}\n"
    )
    (project / "words.txt").write_text("one")
    (project / "look.py").write_text(LOOK)
    (project / "pipelines" / "tools.yaml").write_text(PIPELINE)
    return promptkit


def test_without_a_target_the_kinds_and_what_the_project_names_are_listed(tools: Run) -> None:
    done = tools("tools", "list", "--json")
    assert [kind["kind"] for kind in done.json["kinds"]] == list(KINDS)
    assert (done.json["servers"], done.json["feeds"]) == (["mcp:git", "mcp:dead"], ["bbc"])
    shown = tools("tools", "list").out
    assert "MCP servers: mcp:git, mcp:dead\nfeeds: bbc\n" in shown
    assert all(kind.form in shown for kind in KINDS.values())


def test_the_tools_of_a_target_are_listed_and_a_server_that_is_not_there_is_named(tools: Run) -> None:
    done = tools("tools", "list", "tools", "--json")
    found = [(tool["entry"], tool["name"], tool["allowed"], tool["steps"]) for tool in done.json]
    assert found == [
        ("docs", "docs", True, ["a", "b"]),
        ("code", "git_read", True, ["a"]),
        ("code", "git_write", False, ["a"]),
        ("gone", "", True, []),
        ("find", "find", True, ["a"]),
    ]
    assert done.json[0]["parameters"]["required"] == ["word"]
    assert done.json[1]["effects"] == ["network", "writes"]
    assert done.json[3]["problem"] == "the MCP server `dead` does not answer"
    assert done.code == 3


def test_a_target_is_listed_for_people(tools: Run) -> None:
    shown = tools("tools", "list", "tools").out
    assert "docs  (step a, b)\n  Look a word up.\n    word: string\n    limit: integer, default 3\n" in shown
    assert "git_write  from code  (network, writes; not allowed; step a)\n" in shown
    assert "gone  (network, writes)\n  the MCP server `dead` does not answer\n" in shown


def test_the_tools_of_a_pipeline_within_the_target_are_listed_with_its_allow(tools: Run, project: Path) -> None:
    (project / "pipelines" / "outer.yaml").write_text("steps: {o: {pipeline: tools}}\n")
    (project / "pipelines" / "tools.yaml").write_text(PIPELINE.replace("  gone: mcp:dead\n", ""))
    done = tools("tools", "list", "outer", "--json")
    assert [(tool["name"], tool["allowed"], tool["steps"]) for tool in done.json] == [
        ("docs", True, ["o.a", "o.b"]),
        ("git_read", True, ["o.a"]),
        ("git_write", False, ["o.a"]),
        ("find", True, ["o.a"]),
    ]


def test_a_kind_is_listed_by_its_name_unless_a_pipeline_has_it(tools: Run, project: Path) -> None:
    assert "`search` needs settings" in tools("tools", "list", "search").err
    (project / "pipelines" / "news.yaml").write_text("steps: {a: {prompt: say it}}\n")
    assert tools("tools", "list", "news").out == "no tools\n"


def test_a_server_named_without_mcp_is_answered_with_its_name(tools: Run) -> None:
    assert tools("tools", "list", "git").err.endswith("`git`\n  hint: promptkit tools list mcp:git\n")
    assert "hint: promptkit" not in tools("tools", "list", "gti").err


def test_a_server_is_listed_by_its_name(tools: Run, log: list[str]) -> None:
    done = tools("tools", "list", "mcp:git", "--json")
    assert [tool["name"] for tool in done.json] == ["git_read", "git_write"] and done.code == 0
    assert [line.partition(" ")[0] for line in log] == ["asked", "closed"]


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        (("look.py:find", "word=5", "limit=7", "extra=[1]"), ["5", 7, [1]]),
        (("look.py:find", "word=a", "extra=b c"), ["a", 3, "b c"]),
        (("{search: words.txt}", "word=x"), {"word": "x", "content": "one", "bound": True}),
        (("docs", "--target", "tools", "word=x"), {"word": "x", "content": "one", "bound": True}),
        (("find", "--target", "tools", "word=x"), ["x", 3, None]),
        (("news", "--allow", "network"), "no news"),
        (("mcp:git/write", "--allow", "mcp:git", "word=x"), {"called": "git_write", "word": "x"}),
        (("mcp:git/read", "--target", "tools", "word=x"), {"called": "git_read", "word": "x"}),
    ],
)
def test_a_tool_is_called_by_its_entry_or_by_its_name_in_a_target(
    tools: Run, arguments: tuple[str, ...], result: object
) -> None:
    done = tools("tools", "call", *arguments, "--json")
    assert (done.json["result"], done.code) == (result, 0), done.err


def test_a_result_is_shown_for_people_without_control_characters(tools: Run, project: Path) -> None:
    (project / "words.txt").write_text("one\x1b[31m")
    assert tools("tools", "call", "news", "--allow", "news").out == "no news\n"
    shown = tools("tools", "call", "{search: words.txt}", "word=x").out
    assert '"content": "one' in shown and "\x1b" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nws",), 2, "there is no tool `nws`\n  hint: did you mean `news`?"),
        (("fnd", "--target", "tools"), 2, "there is no tool `fnd`\n  hint: did you mean `find`?"),
        (("search",), 2, "`search` needs settings\n  hint: write `{search: …}`"),
        (("news",), 2, "it may use the network\n  hint: --allow news allows it for this call"),
        (("mcp:git/write", "word=x"), 2, "hint: --allow mcp:git/write allows it for this call"),
        (("mcp:git/write", "--target", "tools", "word=x"), 2, "is not allowed here"),
        (("mcp:git", "--allow", "mcp:git"), 2, "promptkit tools list mcp:git shows them"),
        (("mcp:git/wrte", "--allow", "mcp:git"), 3, "there is no tool `mcp:git/wrte`"),
        (("mcp:dead/x", "--allow", "mcp:dead"), 3, "the MCP server `dead` does not answer"),
        (
            ("look.py:find",),
            2,
            "`word` is missing\n  hint: promptkit tools call look.py:find word=… [limit=…]",
        ),
        (("look.py:find", "word=a", "limit=x"), 2, "`limit` must be of the type integer"),
        (("look.py:find", "wrd=a"), 2, "there is no parameter `wrd` (did you mean `word`?)"),
        (("look.py:find", "word"), 2, "`word` is not an argument\n  hint: write NAME=VALUE"),
        (("look.py:fails",), 3, "raised ValueError: no luck (look.py:7)"),
        (("os:system",), 2, "`os` is neither a file of the project"),
        (("{search: words.txt",), 2, "did not find expected"),
    ],
)
def test_a_mistake_in_a_call_is_named(tools: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = tools("tools", "call", *arguments)
    assert (done.code, done.out) == (code, "") and words in done.err, done.err


def test_check_and_a_dry_run_name_the_tools_of_each_step(tools: Run) -> None:
    done = tools("check", "tools")
    assert "step `a` of pipelines/tools.yaml may call docs, mcp:git (network, writes), find\n" in done.err
    assert "would run look.py:find (tool `find` of pipelines/tools.yaml)\n" in done.err
    (first, *_) = tools("check", "tools", "--json").json["tools"]
    assert first == {"file": "pipelines/tools.yaml", "step": "a", "name": "docs", "effects": []}
    planned = tools("run", "tools", "--dry-run", "--model", "auto", "--json").json["steps"]
    assert planned[0]["tools"][1] == {"name": "mcp:git", "effects": ["network", "writes"]}
    shown = tools("run", "tools", "--dry-run", "--model", "auto").out
    assert "technique react, tools docs, mcp:git (network, writes), find" in shown


def test_names_are_completed(tools: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert complete_tool("") == ["calculator", "python", "news", "mcp:git/", "mcp:dead/"]
    assert complete_tool("mcp:g") == ["mcp:git/"]
    assert {"tools", "mcp:git"} <= set(complete_listed(""))
    assert complete_allowed("n") == ["network"]
    (project / "promptkit.yaml").write_text("mcp: [")
    assert complete_allowed("mcp") == []
