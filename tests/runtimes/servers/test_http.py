"""Every fault of a server ends in one of our errors, with the right decision about trying again, in time."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import aiohttp
import pytest

from promptkit.errors import (
    AccessDenied,
    BadReply,
    ConnectionFailed,
    InputError,
    PromptkitError,
    RequestRefused,
    ServerBusy,
    ServerFailed,
)
from promptkit.runtimes.servers.http import Server, transport_error
from tests.runtimes.servers.fault_server import Misdeed, answers, drip, endless, faulty, gzip_bomb, sends, silence

OK = b"HTTP/1.1 200 OK\r\n"
FAULTS: list[tuple[str, Misdeed, type[PromptkitError], bool]] = [
    ("closes at once", sends(b""), ConnectionFailed, True),
    ("half a body", sends(OK + b'Content-Length: 100\r\n\r\n{"a": '), ConnectionFailed, True),
    ("half a chunk", sends(OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\n{"), ConnectionFailed, True),
    ("a garbled status line", sends(b"HELLO\r\n\r\n"), ConnectionFailed, True),
    ("a header of 300 kB", sends(OK + b"X: " + b"x" * 300_000 + b"\r\n\r\n{}"), ConnectionFailed, True),
    ("never answers", silence, ConnectionFailed, True),
    ("drips", drip, ConnectionFailed, True),
    ("HTML", answers(b"<html>Welcome</html>", Content_Type="text/html"), BadReply, False),
    ("nothing", answers(b""), BadReply, False),
    ("bad UTF-8", answers(b'{"a": "\xff"}'), BadReply, False),
    ("NaN", answers(b'{"a": NaN}'), BadReply, False),
    ("Infinity", answers(b'{"a": -Infinity}'), BadReply, False),
    ("a number of 5,000 digits", answers(b"1" * 5000), BadReply, False),
    ("nested 100,000 deep", answers(b"[" * 100_000 + b"]" * 100_000), BadReply, False),
    ("bad gzip", answers(b"no gzip", Content_Encoding="gzip"), BadReply, False),
    ("an unknown packing", answers(b"{}", Content_Encoding="br"), BadReply, False),
    ("a gzip bomb", answers(gzip_bomb(50_000_000), Content_Encoding="gzip"), BadReply, False),
    ("an endless body", endless, BadReply, False),
    ("a redirect", answers(b"", status="302 Found", Location="http://169.254.169.254/"), BadReply, False),
    ("status 0", answers(b"", status="000 Nothing"), BadReply, False),
    ("101", answers(b"", status="101 Switching Protocols"), BadReply, False),
    ("408", answers(b"", status="408 Request Timeout"), ServerBusy, True),
    ("425", answers(b"", status="425 Too Early"), ServerBusy, True),
    ("429", answers(b"", status="429 Too Many Requests"), ServerBusy, True),
    ("503", answers(b'{"error": "busy"}', status="503 Service Unavailable"), ServerBusy, True),
    ("401", answers(b"", status="401 Unauthorized"), AccessDenied, False),
    ("403", answers(b"", status="403 Forbidden"), AccessDenied, False),
    ("400", answers(b"", status="400 Bad Request"), RequestRefused, False),
    ("404", answers(b"", status="404 Not Found"), RequestRefused, False),
    ("500", answers(b"", status="500 Internal Server Error"), ServerFailed, False),
    ("502", answers(b"", status="502 Bad Gateway"), ServerFailed, True),
    ("504", answers(b"", status="504 Gateway Timeout"), ServerFailed, True),
]
NOT_JSON = {"HTML", "nothing", "bad UTF-8", "NaN", "Infinity", "a number of 5,000 digits", "nested 100,000 deep"}
IN_STREAMS = [row for row in FAULTS if row[0] not in NOT_JSON | {"drips"}]


@asynccontextmanager
async def connected(url: str, *, key: str | None = None) -> AsyncIterator[Server]:
    server = Server(url, key=key, read_seconds=0.3, limit=1_000_000)
    try:
        yield server
    finally:
        await server.close()


async def streamed(server: Server) -> list[bytes]:
    return [line async for line in server.lines("/chat", {"a": 1})]


@pytest.mark.attack("server")
@pytest.mark.parametrize(("what", "misdeed", "error", "retry"), FAULTS, ids=[row[0] for row in FAULTS])
async def test_a_fault_is_our_error(what: str, misdeed: Misdeed, error: type[PromptkitError], retry: bool) -> None:
    async with faulty(misdeed) as faults, connected(faults.url, key="planted-key") as server:
        with pytest.raises(error) as caught:
            await server.post("/chat", {"a": 1}, within=1)
    assert (caught.value.retry, len(faults.heads)) == (retry, 1)
    assert "bearer planted-key" in faults.heads[0].lower()
    assert "planted-key" not in f"{caught.value} {caught.value!r} {server!r} {vars(server)}"


@pytest.mark.attack("server")
@pytest.mark.parametrize(("what", "misdeed", "error", "retry"), IN_STREAMS, ids=[row[0] for row in IN_STREAMS])
async def test_a_fault_in_a_stream_is_our_error(
    what: str, misdeed: Misdeed, error: type[PromptkitError], retry: bool
) -> None:
    async with faulty(misdeed) as faults, connected(faults.url) as server:
        with pytest.raises(error) as caught:
            await streamed(server)
    assert caught.value.retry is retry


async def test_a_callers_deadline_ends_a_stream_that_never_rests() -> None:
    async with faulty(drip) as faults, connected(faults.url) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await streamed(server)


@pytest.fixture
def bomb() -> bytes:
    """300 MB, packed outside of the event loop."""
    return gzip_bomb(300_000_000)


@pytest.mark.attack("server")
async def test_a_gzip_bomb_is_never_unpacked_whole(bomb: bytes) -> None:
    async with faulty(answers(bomb, Content_Encoding="gzip")) as faults, connected(faults.url) as server:
        tracemalloc.start()
        with pytest.raises(BadReply, match="too large"):
            await server.post("/chat", {})
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.attack("server")
async def test_a_gzip_bomb_holds_nobody_up(bomb: bytes) -> None:
    async with faulty(answers(bomb, Content_Encoding="gzip")) as faults, connected(faults.url) as server:
        with pytest.raises(BadReply):
            await streamed(server)
        with pytest.raises(BadReply, match="too large"):
            await server.get("/models")


async def test_honest_gzip_is_unpacked() -> None:
    packed = answers(gzip.compress(b'{"a": "\xc3\xa9"}'), Content_Encoding="gzip")
    async with faulty(packed) as faults, connected(faults.url) as server:
        assert await server.get("/models") == {"a": "é"}


@pytest.mark.attack("server")
async def test_a_redirect_is_never_followed_and_the_key_goes_nowhere_else() -> None:
    async with faulty(answers(b"{}")) as other:
        elsewhere = answers(b"", status="307 Temporary Redirect", Location=f"{other.url}/steal")
        async with faulty(elsewhere) as faults, connected(faults.url, key="planted-key") as server:
            with pytest.raises(BadReply, match="redirects are not followed"):
                await server.post("/chat", {})
    assert other.heads == []


async def test_lines_end_at_line_feeds_only() -> None:
    body = '{"a": "x\u2028y\u0085z"}\r\n\n  \n{"b": 1}'.encode()
    async with faulty(answers(body)) as faults, connected(faults.url) as server:
        assert await streamed(server) == ['{"a": "x\u2028y\u0085z"}\r'.encode(), b'{"b": 1}']


@pytest.mark.attack("server")
@pytest.mark.parametrize("status", ["000 Nothing", "101 Switching Protocols"])
async def test_a_status_that_is_no_redirect_is_not_called_one(status: str) -> None:
    async with faulty(answers(b"", status=status)) as faults, connected(faults.url) as server:
        with pytest.raises(BadReply, match=f"answered {int(status[:3])}, which") as caught:
            await server.post("/chat", {})
    assert "redirect" not in str(caught.value)


@pytest.mark.attack("server")
async def test_of_an_errors_body_no_more_is_read_than_is_shown() -> None:
    async with faulty(endless_error) as faults, connected(faults.url) as server:
        with pytest.raises(ServerFailed, match="xxx"):
            await server.post("/chat", {}, within=5)


async def endless_error(writer: asyncio.StreamWriter) -> None:
    """Fail with a body without an end."""
    writer.write(b"HTTP/1.1 500 Error\r\n\r\n")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [({"Retry_After": "7"}, 7), ({"Retry_After": "-7"}, None), ({"Retry_After": "soon"}, None), ({}, None)],
)
async def test_a_busy_server_says_when_to_come_back(header: dict[str, str], seconds: float | None) -> None:
    async with faulty(answers(b"", status="429 Busy", **header)) as faults, connected(faults.url) as server:
        with pytest.raises(ServerBusy) as caught:
            await server.post("/chat", {})
    assert caught.value.retry_after == seconds


async def test_a_busy_server_may_give_a_date() -> None:
    date = formatdate(time.time() + 30, usegmt=True)
    async with faulty(answers(b"", status="503 Busy", Retry_After=date)) as faults, connected(faults.url) as server:
        with pytest.raises(ServerBusy) as caught:
            await server.post("/chat", {})
    assert caught.value.retry_after == pytest.approx(30, abs=3)


SAID = [
    (b'{"error": "no such model"}', "no such model"),
    (b'{"error": {"message": "no such model", "code": 404}}', "no such model"),
    (b'{"detail": "no such model"}', "no such model"),
    (b'{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
    (b"no such model\n", "no such model"),
    (b"[" * 100_000, "[[["),
    (b"\xff\xfe", "answered 400"),
]


@pytest.mark.parametrize(("body", "text"), SAID)
async def test_an_error_repeats_the_servers_own_words(body: bytes, text: str) -> None:
    async with faulty(answers(body, status="400 Bad Request")) as faults, connected(faults.url) as server:
        with pytest.raises(RequestRefused) as caught:
            await server.post("/chat", {})
    assert text in caught.value.message
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    "url", ["", "localhost:8080", "ftp://127.0.0.1/", "http://", "http://[::1", "http://a:b:c/", "http://a:99999"]
)
def test_a_base_url_that_is_none_is_an_error_of_the_input(url: str) -> None:
    with pytest.raises(InputError):
        Server(url)


@pytest.mark.attack("key")
@pytest.mark.parametrize(
    "url", ["http://user:planted-key@[::1", "http://user:planted-key@127.0.0.1:1/?key=planted-key"]
)
async def test_a_password_in_an_address_is_in_no_message(url: str) -> None:
    with pytest.raises(PromptkitError) as caught:
        async with connected(url) as server:
            await server.get("/models")
    assert "planted-key" not in f"{caught.value} {caught.value!r}"


RAISED = sorted(
    (kind for _, kind in inspect.getmembers(aiohttp, inspect.isclass) if issubclass(kind, aiohttp.ClientError)),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", [*RAISED, ValueError])
def test_every_exception_of_aiohttp_becomes_an_error_that_names_the_server(
    kind: type[aiohttp.ClientError | ValueError],
) -> None:
    error = transport_error(kind.__new__(kind), "http://127.0.0.1:1")
    assert type(error) in (InputError, ConnectionFailed, BadReply)
    assert "http://127.0.0.1:1" in error.message


def test_only_an_unreachable_server_gets_the_hint_how_to_reach_it() -> None:
    unreachable, broken = aiohttp.ClientConnectorError, aiohttp.ServerDisconnectedError
    errors = [transport_error(kind.__new__(kind), "http://a", "start it") for kind in (unreachable, broken)]
    assert [error.hint for error in errors] == ["start it", None]


@pytest.mark.parametrize("url", ["http://a\n.b/", " http://a", "http://a\tb/", "http://user@a/", "http:///v1"])
def test_an_address_that_a_parser_would_mend_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        Server(url)


@pytest.mark.parametrize(("size", "is_refused"), [(2**16, False), (2**16 + 1, True)])
async def test_comments_without_an_answer_are_read_up_to_64_kilobytes(size: int, is_refused: bool) -> None:
    comments = b":" + b"x" * (size - 2) + b"\n"
    async with faulty(answers(comments + b"{}")) as faults, connected(faults.url) as server:
        if is_refused:
            with pytest.raises(BadReply, match="sends comments and no answer"):
                await streamed(server)
        else:
            assert await streamed(server) == [b"{}"]
