"""The command `serve` as a process: it says where it listens, and loses no request when it is ended."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from tests.command import COMMAND, environment, run_command

PIPELINE = """\
inputs: {text: {}}
steps:
  topic: {prompt: "Give the topic. {{ text }}"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "topic.yaml").write_text(PIPELINE)
    (tmp_path / "promptkit.yaml").write_text("model: scripted:replies.yaml\nconcurrency: 1000\n")
    (tmp_path / "replies.yaml").write_text("delay: 0.3\notherwise: billing\n")
    return tmp_path


async def ask(client: ClientSession, url: str, number: int) -> tuple[int, str]:
    """Return the status of a request, and the output or the code of its error."""
    async with client.post(f"{url}/pipelines/topic", json={"inputs": {"text": str(number)}}) as response:
        record = await response.json()
        return response.status, record["output"] if response.status == 200 else record["error"]["code"]


async def test_an_edit_is_served_and_sigterm_in_the_middle_of_200_requests_loses_none(project: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "serve", "--port", "0", "--reload", cwd=project, env=environment(), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        first = (await process.stderr.readline()).decode()
        url = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert url is not None, first
        assert b"OpenAI base URL" in await process.stderr.readline()
        (project / "pipelines" / "topic.yaml").write_text(PIPELINE.replace("Give", "Name"))
        assert await process.stderr.readline() == b"reloaded 1 pipeline\n"
        log = asyncio.create_task(process.stderr.read())
        async with ClientSession(connector=TCPConnector(limit=0)) as client:
            asked = [asyncio.create_task(ask(client, url[0], number)) for number in range(200)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            process.send_signal(signal.SIGTERM)
            results = Counter(await asyncio.gather(*asked))
        assert await process.wait() == 0
    assert results.total() == 200
    assert results.keys() <= {(200, "billing"), (503, "server_stopping")}
    assert results[200, "billing"] > 0
    assert first == f"serving 1 pipeline at {url[0]}: topic\n"
    assert "stopping; running requests are finished first" in (await log).decode()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets other machines ask your models, so it needs a token"),
        (["--token-file", "empty"], "the token of empty must be printable ASCII characters without blanks"),
        (["--grace", "0"], "--grace is a number of seconds above 0, not 0"),
        (["nothing"], "there is no pipeline or prompt `nothing`"),
        (["--host", "127.0.0.300", "--token-file", "token"], "cannot listen on 127.0.0.300:8000"),
    ],
)
def test_a_mistake_ends_the_command_with_a_message(project: Path, arguments: list[str], message: str) -> None:
    (project / "empty").write_text("\n")
    (project / "token").write_text("secret\n")
    done = run_command("serve", *arguments, folder=project)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err
