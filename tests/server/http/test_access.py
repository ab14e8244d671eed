"""Who may use the server: tokens, hosts and web pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.base import Request
from promptkit.server.http.access import AccessLog
from promptkit.server.http.options import HttpOptions, checked_token
from tests.server.http.serving import serving, write_project

BODY = {"inputs": {"text": "a refund"}}


def reply(request: Request) -> str:
    return "billing"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.com"])
def test_other_machines_are_let_in_only_with_a_token(host: str) -> None:
    with pytest.raises(InputError, match="needs a token"):
        HttpOptions(host=host)
    assert HttpOptions(host=host, token="secret").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_needs_none(host: str) -> None:
    assert HttpOptions(host=host).is_loopback


@pytest.mark.parametrize("name", ["read_timeout", "deadline", "grace"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_times_are_seconds_above_0(name: str, value: float) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(InputError, match=f"--{name.replace('_', '-')} is a number of seconds above 0"):
        HttpOptions(**given)


@pytest.mark.parametrize("text", ["", " \n", "two words", "sécret", "a\tb"])
def test_a_token_that_no_header_can_hold_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="the token of FILE must be printable"):
        checked_token(text, "FILE")


def test_blanks_around_a_token_do_not_count() -> None:
    assert checked_token(" secret\n", "FILE") == "secret"


async def test_every_path_but_those_of_health_needs_the_token(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply, token="secret") as served:
        for path in ("/", "/openapi.json", "/metrics", "/v1/models", "/nothing"):
            status, record = await served.get(path)
            assert (status, record["error"]["code"]) == (401, "invalid_token"), path
        for given in ("Bearer wrong", "Bearer secret2", "Bearer", "Basic secret", "secret", "Bearer s\xe9cret"):
            status, _ = await served.post("/pipelines/topic", BODY, headers={"Authorization": given})
            assert status == 401, given
        assert served.runtime.requests == []
        right = {"Authorization": "Bearer secret"}
        assert (await served.post("/pipelines/topic", BODY, headers=right))[0] == 200
        assert (await served.get("/healthz"))[0] == (await served.get("/readyz"))[0] == 200
        _, document = await served.get("/openapi.json", headers=right)
    assert document["security"] == [{"bearer": []}]
    assert "secret" not in json.dumps(document)


async def test_a_name_that_was_resolved_to_this_machine_is_refused(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1.evil.example", "", "[::1"):
            assert (await served.get("/v1/models", headers={"Host": host}))[0] == 403, host
        for host in ("localhost", f"localhost:{served.port}", "127.0.0.1:80", "[::1]:8000"):
            assert (await served.get("/v1/models", headers={"Host": host}))[0] == 200, host


async def test_a_web_page_may_use_the_server_only_where_cors_names_it(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply, origins=("https://ours.example",)) as served:
        foreign, _ = await served.post("/pipelines/topic", BODY, headers={"Origin": "https://evil.example"})
        own, _ = await served.post("/pipelines/topic", BODY, headers={"Origin": served.url})
        assert (foreign, own) == (403, 200)
        allowed = {"Origin": "https://ours.example"}
        async with served.client.options(f"{served.url}/pipelines/topic", headers=allowed) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "https://ours.example"
            assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        async with served.client.post(f"{served.url}/pipelines/topic", json=BODY, headers=allowed) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "https://ours.example"
        async with served.client.get(f"{served.url}/v1/models") as response:
            assert "Access-Control-Allow-Origin" not in response.headers
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_each_request_leaves_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for log in (AccessLog(), AccessLog(json=True), AccessLog(quiet=True)):
        async with serving(write_project(tmp_path), reply, log=log) as served:
            await served.post("/pipelines/topic", BODY)
            await served.get("/a%0Ab?token=secret")
    person, other, record, unknown = capsys.readouterr().err.splitlines()
    assert " POST /pipelines/topic 200 " in person
    assert " GET /a%0Ab 404 " in other
    assert json.loads(record)["status"] == 200
    assert json.loads(unknown) | {"time": "", "seconds": 0, "client": ""} == {
        "time": "",
        "client": "",
        "method": "GET",
        "path": "/a%0Ab",
        "model": None,
        "status": 404,
        "seconds": 0,
    }
