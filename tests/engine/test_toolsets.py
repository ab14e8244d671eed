"""Tools when a step runs: toolsets opened once in a session, arguments and permissions checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.render import render
from promptkit.engine.results import Result
from promptkit.engine.toolsets import open_tools, sharing_toolsets
from promptkit.errors import InputError, ToolFailed
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, Given
from tests.engine.tool_kinds import Server, ServerTool, kinds_for_tests


@pytest.fixture(autouse=True)
def log() -> Iterator[list[str]]:
    with kinds_for_tests() as done:
        yield done


@pytest.fixture
def project(folder: Folder) -> Folder:
    folder.write("promptkit.yaml", "mcp: {git: {command: [git-server]}, dead: {command: [dead-server]}}\n")
    folder.write("pipelines/words.txt", "one")
    return folder


def kinds_of(log: list[str]) -> list[str]:
    return [line.partition(" ")[0] for line in log]


async def run_step(project: Folder, step: str, head: str = "") -> Result:
    return await project.run(f"{head}\nsteps: {{a: {{{step}}}}}", Scripted([]))


async def test_a_step_calls_a_declared_tool(project: Folder) -> None:
    result = await run_step(project, "tool: docs, with: {word: x}", "tools: {docs: {search: words.txt}}")

    assert result.output == {"word": "x", "content": "one", "bound": True}
    (call,) = result.trace.children[0].tool_calls
    assert (call.name, call.arguments) == ("docs", {"word": "x"})


async def test_a_step_calls_a_tool_of_a_server_and_the_connection_is_closed(project: Folder, log: list[str]) -> None:
    result = await run_step(project, 'tool: "mcp:git/write", with: {word: x}', 'allow: ["mcp:git/write"]')

    assert result.output == {"called": "git_write", "word": "x"}
    assert kinds_of(log) == ["asked", "closed"]
    assert result.notices == ("a line of the server",)


async def test_arguments_of_a_step_are_read_by_the_tools_schema(project: Folder) -> None:
    tools = "tools: {docs: {search: words.txt}}"

    result = await run_step(project, "tool: docs, with: {word: 5, limit: '7'}", tools)
    assert {"word": "5", "limit": 7}.items() <= result.output.items()

    failed = await run_step(project, "tool: docs, with: {word: x, limit: many}", tools)
    assert isinstance(failed.error, InputError)
    assert "step `a`: arguments of the tool `docs`: `limit` must be of the type integer" in str(failed.error)


async def test_a_function_of_the_project_gets_its_arguments_as_they_are(project: Folder) -> None:
    project.write("pipelines/look.py", "def find(word: str):\n    return type(word).__name__\n")

    result = await run_step(project, 'tool: "look.py:find", with: {word: 5}')

    assert result.output == "int"


async def test_a_server_that_cannot_be_opened_fails_the_step(project: Folder, log: list[str]) -> None:
    result = await run_step(project, 'tool: "mcp:dead/x"', 'allow: ["mcp:dead"]')

    assert isinstance(result.error, ToolFailed)
    assert result.error.message == "step `a`: the MCP server `dead` does not answer"
    assert result.error.exit_code == 3
    assert kinds_of(log) == ["asked", "closed"]


async def test_a_tool_that_the_server_lacks_is_named_with_the_nearest(project: Folder) -> None:
    result = await run_step(project, 'tool: "mcp:git/wrte"', 'allow: ["mcp:git"]')

    assert "there is no tool `mcp:git/wrte`\n  hint: did you mean `mcp:git/write`?" in str(result.error)


async def test_in_a_session_a_server_is_opened_once_and_closed_at_its_end(project: Folder, log: list[str]) -> None:
    async with sharing_toolsets():
        for _ in range(2):
            await run_step(project, 'tool: "mcp:git/read", with: {word: x}', 'allow: ["mcp:git"]')
        assert kinds_of(log) == ["asked", "asked"]
        assert len(set(log)) == 1, "each run has loaded a toolset of its own, and the first is used"
    assert kinds_of(log) == ["asked", "asked", "closed"]


async def test_sessions_that_overlap_share_their_servers(project: Folder, log: list[str]) -> None:
    entered, left = asyncio.Event(), asyncio.Event()

    async def another() -> None:
        async with sharing_toolsets():
            await open_server("mcp:git", {"mcp:git"})
            entered.set()
            await left.wait()

    async with sharing_toolsets():
        task = asyncio.create_task(another())
        await entered.wait()
        await open_server("mcp:git", {"mcp:git"})
    assert kinds_of(log) == ["asked", "asked"] and len(set(log)) == 1
    left.set()
    await task
    assert kinds_of(log) == ["asked", "asked", "closed"]


async def test_what_fails_in_a_session_closes_the_servers(project: Folder, log: list[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        async with sharing_toolsets():
            await open_server("mcp:git", {"mcp:git"})
            raise KeyboardInterrupt
    assert kinds_of(log) == ["asked", "closed"]


async def open_server(entry: str, allow: set[str], notices: list[str] | None = None, **others: Any) -> list[str]:
    async def no_client(reference: str) -> Any:
        raise AssertionError

    said: list[str] = [] if notices is None else notices
    tools = {entry: Server("mcp:git"), **others}
    return list(await open_tools(tools, root=Path(), allow=allow, client_of=no_client, notice=said.append))


async def test_of_a_server_the_tools_that_are_allowed_are_offered(log: list[str]) -> None:
    async with sharing_toolsets():
        notices: list[str] = []
        assert await open_server("mcp:git", {"mcp:git"}, notices) == ["git_read", "git_write"]
        assert await open_server("mcp:git", {"network", "writes"}, notices) == ["git_read", "git_write"]
        assert notices == ["a line of the server"] * 2
        assert await open_server("mcp:git", {"mcp:git/read"}, notices) == ["git_read"]
        assert notices[-1] == "1 of the 2 tools of `mcp:git` are not offered: `allow` does not name them"
        assert await open_server("mcp:git/read", {"mcp:git"}) == ["git_read"]


async def test_two_tools_of_one_name_are_an_error(log: list[str]) -> None:
    async with sharing_toolsets():
        with pytest.raises(ToolFailed, match="two tools of the step have the name `git_read`"):
            await open_server("mcp:git", {"mcp:git"}, git_read=ServerTool("other", "read"))


@pytest.mark.parametrize("tools", ["['mcp:git', {search: words.txt}]", "['mcp:git']"])
async def test_what_only_shows_requests_opens_no_connection(project: Folder, log: list[str], tools: str) -> None:
    pipeline = project.load(f"allow: [mcp:git]\nsteps: {{a: {{prompt: say it, technique: react, tools: {tools}}}}}")

    (shown,) = await render(pipeline, {}, models=Given(Scripted([])))

    assert log == []
    assert shown.notices == ("without the tools of `mcp:git`: no connection is opened here",)
