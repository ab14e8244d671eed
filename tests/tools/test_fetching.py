"""Fetching over loopback: public addresses alone, bounded in time, size and redirects."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from promptkit.tools.fetching import MOST_REDIRECTS, Fetched, FetchFailed, fetch, is_public, origin_of
from tests.runtimes.servers.fault_server import drip, endless, faulty, gzip_bomb, silence
from tests.tools.web import Site, serving

INSIDE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "192.0.0.192",
    "168.63.129.16",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::1",
    "::",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:1::1",
    "fe80::1%lo",
    "fec0::1",
    "fd00::1",
    "ff02::1",
    "5f00::1",
]
BOMB = gzip_bomb(20_000_000)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


async def get(url: str, *, most_bytes: int = 10_000, seconds: float = 5.0, private: bool = True) -> Fetched:
    return await fetch(url, most_bytes=most_bytes, seconds=seconds, private_origin=url if private else None)


async def failure(url: str, **settings: Any) -> str:
    with pytest.raises(FetchFailed) as caught:
        await get(url, **settings)
    return str(caught.value)


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_of_machine_and_network_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


async def test_an_allowed_address_is_fetched(site: Site) -> None:
    url = site.put("/a", "hello", kind="text/plain", ETag='"1"')
    fetched = await get(url)
    assert (fetched.url, fetched.status, fetched.body) == (url, 200, b"hello")
    assert fetched.content_type == "text/plain"
    assert fetched.headers["etag"] == '"1"'


@pytest.mark.attack("address")
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "①②⑦.0.0.1"],
)
async def test_no_form_of_an_address_leads_inside(site: Site, host: str) -> None:
    site.put("/", "secret")
    port = site.url.rpartition(":")[2]
    assert "not" in await failure(f"http://{host}:{port}/", private=False)
    assert site.requests == []


@pytest.mark.attack("address")
async def test_a_name_is_resolved_once_and_its_address_is_checked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads outside at first and inside the next time (DNS rebinding) is asked for once."""
    port = int(site.url.rpartition(":")[2])
    asked: list[Any] = []

    async def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    site.put("/", "secret")
    text = await failure(f"http://news.example:{port}/", private=False)
    assert text == f"http://news.example:{port}/ leads into the machine or its network, which is not allowed"
    assert asked == ["news.example"]
    assert site.requests == []


@pytest.mark.attack("address")
async def test_a_redirect_leads_inside_only_at_the_allowed_host_and_port(site: Site) -> None:
    async with serving() as other:
        secret = other.put("/secret", "secret")
        site.put("/away", "", status=302, Location=secret)
        site.put("/on", "", status=301, Location="/there")
        site.put("/there", "here")
        assert (await get(f"{site.url}/on")).body == b"here"
        assert "leads into the machine" in await failure(f"{site.url}/away")
        assert other.requests == []


async def test_redirects_are_bounded(site: Site) -> None:
    url = site.put("/loop", "", status=307, Location="/loop")
    assert "redirects" in await failure(url)
    assert len(site.requests) == MOST_REDIRECTS + 1


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "http://me:secret@127.0.0.1/", "http://[", "http://xn--/", "", "javascript:x"]
)
async def test_a_redirect_to_anything_but_an_address_fails(site: Site, location: str) -> None:
    text = await failure(site.put("/a", "", status=302, Location=location))
    assert "secret" not in text


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "example.org",
        "http://",
        "http://a b/",
        "http://[::1/",
        "http://xn--/",
        "",
    ],
)
def test_what_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(FetchFailed, match="not an address"):
        origin_of(url)


def test_an_origin_is_host_and_port() -> None:
    assert origin_of("https://Example.org/a?b") == ("example.org", 443)
    assert origin_of("http://example.org:81") == ("example.org", 81)


async def test_neither_query_nor_password_is_shown(site: Site) -> None:
    assert "secret" not in await failure(f"{site.url}/missing?key=secret")
    assert "secret" not in await failure("http://me:secret@127.0.0.1/", private=False)


@pytest.mark.parametrize(("status", "words"), [(404, "nothing at this address"), (410, "gone"), (500, "500")])
async def test_a_status_that_is_no_success_fails(site: Site, status: int, words: str) -> None:
    assert words in await failure(site.put("/a", "text", status=status))


@pytest.mark.attack("server")
@pytest.mark.parametrize("misdeed", [silence, drip])
async def test_time_is_bounded(misdeed: Any) -> None:
    async with faulty(misdeed) as server:
        assert "within 0.1 s" in await failure(server.url, seconds=0.1)


@pytest.mark.attack("server")
async def test_an_endless_body_is_cut_off() -> None:
    async with faulty(endless) as server:
        assert "too large" in await failure(server.url)


@pytest.mark.attack("server")
async def test_a_body_is_measured_unpacked(site: Site) -> None:
    url = site.put("/bomb", BOMB, Content_Encoding="gzip")
    assert "too large" in await failure(url, most_bytes=100_000)
    small = site.put("/small", gzip.compress(b"hello"), Content_Encoding="gzip")
    assert (await get(small, most_bytes=5)).body == b"hello"
    assert "too large" in await failure(small, most_bytes=4)


async def test_no_server_is_an_error() -> None:
    assert "no server answers" in await failure("http://127.0.0.1:1/")
