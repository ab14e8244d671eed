"""`mcp:SERVER`: the tools of a real server, and of servers that are at fault."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, MissingExtra, ToolFailed
from promptkit.project import McpServer
from promptkit.tools.mcp import connection, screen, stdio, toolset
from promptkit.tools.mcp.toolset import McpToolset
from tests.tools.mcp.servers import children, failure, opened, project_of, raw

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def short_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(screen, "MAX_MESSAGES", 1_000)


@pytest.mark.attack("mcp")
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("silent", "did not answer within 0.5 s"),
        ("no list", "did not answer within 0.5 s"),
        ("deaf", "did not answer the call of `act` within 0.5 s"),
        ("not JSON", "did not answer the call of `act` within 0.5 s"),
    ],
)
async def test_a_server_that_does_not_answer_is_given_up_at_the_deadline(wrong: str, says: str, tmp_path: Path) -> None:
    async with opened(raw(wrong, timeout=0.5), tmp_path) as tools:
        assert says in await failure(tools)


@pytest.mark.attack("mcp")
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("dies", "ended with exit code 3: settings: no such file"),
        ("bad list", "in a way that does not follow the protocol"),
        ("endless pages", "lists its tools on more than 100 pages"),
        ("2,001 tools", "lists more than 2,000 tools"),
        ("endless line", "sent a message of more than 2 MB, during the call of `act`"),
        ("flood", "sent more than 1,000 messages without being asked, during the call of `act`"),
        ("unknown content", "answered the call of `act` with what is not the result of a tool"),
        ("no result", "answered the call of `act` with what is not the result of a tool"),
        ("150 levels", "answered the call of `act` with data that is nested too deep"),
        ("300 levels", "answered the call of `act` with what is not the result of a tool"),
        ("a schema of 300 levels", "in a way that does not follow the protocol"),
    ],
)
async def test_a_server_at_fault_ends_in_a_failure_that_says_so(wrong: str, says: str, tmp_path: Path) -> None:
    async with opened(raw(wrong, timeout=60), tmp_path) as tools:
        assert says in await failure(tools)


async def test_a_banner_on_stdout_does_no_harm(tmp_path: Path) -> None:
    async with opened(raw("nothing"), tmp_path) as tools:
        assert await (await tools.tools())["srv_act"].call({}) == "done"


async def test_500_tools_have_names_of_their_own(tmp_path: Path) -> None:
    async with opened(raw("500 tools"), tmp_path) as source:
        tools = await source.tools()
    assert len(tools) == 500 and tools["srv_act499"].permission_names == ("mcp:srv", "mcp:srv/act499")


async def test_a_tool_of_a_session_that_has_ended_cannot_be_called(tmp_path: Path) -> None:
    async with opened(raw("nothing"), tmp_path) as source:
        tools = await source.tools()
    with pytest.raises(ToolFailed, match="the MCP server `srv` is no longer used: its session has ended"):
        await tools["srv_act"].call({})


async def test_other_definitions_after_a_restart_are_not_taken_over(tmp_path: Path) -> None:
    async with opened(raw("changed"), tmp_path) as tools:
        assert "exit code 1" in await failure(tools)
        assert "exit code 1" in await failure(tools)
        assert next(iter((await tools.tools()).values())).description == "Act."
        assert tools.notices == ("the MCP server `srv` has changed its tools: those of its first listing are used",)
        before = next(iter((await tools.tools()).values())).identity
    async with opened(raw("changed"), tmp_path) as tools:
        assert next(iter((await tools.tools()).values())).identity["definition"] != before["definition"]


async def test_a_server_that_keeps_dying_is_started_four_times(tmp_path: Path) -> None:
    async with opened(raw("changed"), tmp_path) as tools:
        for _ in range(connection.MAX_STARTS):
            assert "exit code 1" in await failure(tools)
        assert await failure(tools) == "the MCP server `srv` has ended 4 times without an answer"


async def test_a_locked_server_with_other_tools_is_not_used(tmp_path: Path) -> None:
    locked = raw("changed").model_copy(update={"lock": "new"})
    async with opened(locked, tmp_path) as tools:
        with pytest.raises(ToolFailed) as failed:
            await tools.tools()
    assert failed.value.hint is not None
    lock = failed.value.hint.rpartition(" ")[2].strip("`")
    assert failed.value.message.endswith(f"their digest is `{lock}`")
    (tmp_path / "started").unlink()
    fitting = locked.model_copy(update={"lock": lock})
    async with opened(fitting, tmp_path) as tools:
        assert list(await tools.tools()) == ["srv_act"]
        assert tools.identity["lock"] == lock
    async with opened(fitting, tmp_path) as tools:
        with pytest.raises(ToolFailed, match="do not match its `lock`"):
            await tools.tools()


async def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    async with opened(McpServer(command=["no-such-command"]), tmp_path) as tools:
        assert await failure(tools) == (
            "the MCP server `srv` cannot be started: `no-such-command`: No such file or directory"
        )


async def test_a_missing_variable_is_named_before_the_server_starts(tmp_path: Path) -> None:
    server = raw("nothing").model_copy(update={"env": {"TOKEN": "$NOT_THERE"}})
    async with opened(server, tmp_path) as tools:
        assert "needs the environment variable `NOT_THERE`, which is not set" in await failure(tools)


async def test_ctrl_c_ends_the_server(tmp_path: Path) -> None:
    async with opened(raw("deaf", timeout=60), tmp_path) as tools:
        task = asyncio.create_task(failure(tools))
        async with asyncio.timeout(10):
            while not children():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_loop_that_ends_takes_its_server_with_it(tmp_path: Path) -> None:
    async def leave() -> None:
        tools = McpToolset.of("mcp:srv", None, tmp_path, project_of(tmp_path, srv=raw("nothing")))
        assert await tools.tools()

    asyncio.run(leave())
    assert not children()


async def test_a_file_of_the_project_is_part_of_the_tool(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text((HERE / "raw_server.py").read_text())
    server = McpServer(command=[sys.executable, "server.py", "nothing"])
    async with opened(server, tmp_path) as tools:
        tool = (await tools.tools())["srv_act"]
        assert tools.files == tool.files == (tmp_path / "server.py",)
        assert tool.identity["command"] == server.command


class TestOf:
    @pytest.mark.parametrize("settings", ["srv", None])
    def test_a_server_of_the_project(self, settings: str | None, tmp_path: Path) -> None:
        found = McpToolset.of("mcp:srv", settings, tmp_path, project_of(tmp_path, srv=raw("nothing")))
        assert found.name == "mcp:srv"

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ("serv", "there is no MCP server `serv` in promptkit.yaml"),
            (["srv"], "`mcp` takes the name of a server in promptkit.yaml"),
        ],
    )
    def test_anything_else_is_refused(self, settings: Any, says: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=says):
            McpToolset.of("x", settings, tmp_path, project_of(tmp_path, srv=raw("nothing")))


async def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolset, "find_spec", lambda name: None)
    async with opened(raw("nothing"), tmp_path) as tools:
        with pytest.raises(MissingExtra) as missing:
            await tools.tools()
    assert missing.value.hint == "pip install 'promptkit[mcp]'"
