"""`promptkit serve --mcp` as a process: stdout carries the protocol alone. And over HTTP: the token, and the port."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from promptkit.api.session import ModelOptions
from promptkit.errors import InputError
from promptkit.server.mcp.http import bound_socket, with_token
from promptkit.server.mcp.server import ProjectServer
from tests.command import COMMAND, environment, run_command

LOUD = """\
import os, subprocess, sys

print("loaded")

def shout(text):
    print("from Python")
    open("pid", "w").write(str(os.getpid()))
    os.write(1, b"from the descriptor\\n")
    subprocess.run([sys.executable, "-ISc", "print('from a child')"], check=True)
    return text.upper()
"""


async def test_what_a_project_prints_stays_out_of_the_protocol_and_a_signal_ends_the_server(project: Path) -> None:
    (project / "loud.py").write_text(LOUD)
    (project / "pipelines" / "loud.yaml").write_text(
        "inputs: {text: {}}\ntools: {shout: ../loud.py:shout}\nsteps:\n  a: {tool: shout, with: {text: '{{ text }}'}}\n"
    )
    command = [*COMMAND[1:], "serve", "--mcp", "--folder", str(project), "loud"]
    server = StdioServerParameters(command=sys.executable, args=command, env=environment(), cwd="/")
    with (project / "stderr").open("w+") as stderr:
        async with Client(stdio_client(server, errlog=stderr)) as client:
            result = await client.call_tool("loud", {"text": "hello"})
            os.kill(int((project / "pid").read_text()), signal.SIGTERM)  # its input is open
            with pytest.raises(MCPError):
                async with asyncio.timeout(30):
                    while True:
                        await client.list_tools(cache_mode="bypass")
        stderr.seek(0)
        printed = stderr.read()
    assert result.structured_content == {"output": "HELLO"}
    assert all(f"from {what}" in printed for what in ("Python", "the descriptor", "a child"))


async def test_without_a_client_on_standard_input_the_server_ends(project: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "serve",
        "--mcp",
        cwd=project,
        env=environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            assert await process.communicate() == (b"", b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0


async def test_over_http_only_the_token_opens(project: Path) -> None:
    reached: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(app=with_token(application, "secret"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        found = [
            (await client.post("/mcp", headers=headers)).status_code
            for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer secret"})
        ]
    assert found == [401, 401, 200] and reached == ["/mcp"]


async def test_over_http_no_web_page_reaches_the_server(project: Path) -> None:
    application = ProjectServer((), ModelOptions()).protocol().streamable_http_app()
    async with application.router.lifespan_context(application):
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            kind = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
            evil = await client.post("/mcp", headers={**kind, "Origin": "http://evil.example"}, content=b"{}")
            rebound = await client.post("/mcp", headers={**kind, "Host": "evil.example"}, content=b"{}")
    assert (evil.status_code, rebound.status_code) == (403, 421)


def test_a_port_that_is_taken_is_an_error() -> None:
    with bound_socket(0) as taken, pytest.raises(InputError, match=r"port \d+ cannot be used: Address already in use"):
        bound_socket(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mcp", "--folder", "nowhere"], "there is no folder `nowhere`"),
        (["--mcp", "nail"], "there is no pipeline or prompt `nail`"),
    ],
)
def test_what_is_wrong_ends_the_command(options: list[str], says: str, project: Path) -> None:
    done = run_command("serve", *options, folder=project)
    assert done.code == 2 and says in done.err and done.out == ""


def test_without_the_package_the_extra_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.cli.serve.find_spec", lambda name: None)
    done = run_command("serve", "--mcp", folder=project)
    assert done.code == 2 and "pip install 'promptkit[mcp]'" in done.err
