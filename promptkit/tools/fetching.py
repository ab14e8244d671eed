"""Fetching from addresses that a file, a feed or a model names: public ones, unless the person allows another.

Connections are checked where their sockets are made, so a name cannot lead elsewhere after the check. Environment
proxies are not used, since a proxy would connect to addresses that are not checked here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import aiohttp
from yarl import URL

from promptkit.errors import PromptkitError
from promptkit.runtimes.servers.http import Response, public_address, tls_context, transport_error

MOST_REDIRECTS: Final = 5
CONNECT_SECONDS: Final = 5.0
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_PORTS: Final = {"http": 80, "https": 443}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_UNICAST: Final = ipaddress.ip_network("2000::/3")
# Tunnels: the address of the other end stands in that of the packet.
_TUNNELS: Final = (ipaddress.ip_network("2002::/16"), ipaddress.ip_network("2001::/32"))
# Relays, addresses of protocols, and that at which machines of Azure reach their host: clouds keep secrets at some.
_SPECIAL: Final = tuple(map(ipaddress.ip_network, ("192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32")))


class FetchFailed(Exception):
    """An address could not be fetched. The message is for a person and a model: it shows no query and no password."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer of a server: its `status` is 200, or 304 to a conditional request. `url` is where it came from."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        """The media type and its parameters, as the server gave them."""
        return self.headers.get("Content-Type", "")


async def fetch(
    url: str,
    *,
    most_bytes: int,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    private_origin: str | None = None,
) -> Fetched:
    """Fetch an address, following redirects. Raises FetchFailed.

    `most_bytes` bounds the unpacked body, `seconds` the time of it all. The host and port of the address
    `private_origin` may be inside the machine or its network; every other must be public.
    """
    private = None if private_origin is None else origin_of(private_origin)
    try:
        async with asyncio.timeout(seconds):
            for _ in range(MOST_REDIRECTS + 1):
                is_allowed_inside = origin_of(url) == private
                fetched = await _get(url, headers or {}, most_bytes, is_allowed_inside)
                if fetched.status not in _REDIRECTS:
                    return fetched
                url = _redirected(url, fetched.headers.get("Location", ""))
    except TimeoutError:
        raise FetchFailed(f"{public_address(url)} gave no whole answer within {seconds:g} s") from None
    except PromptkitError as error:
        raise FetchFailed(error.message.partition("\n")[0]) from None
    raise FetchFailed(f"{public_address(url)} is the last of more than {MOST_REDIRECTS} redirects")


def origin_of(url: str) -> tuple[str, int]:
    """Return the host and port of an address of http or https. Raises FetchFailed for any other, and for a password."""
    try:
        address = URL(url)
        host = address.host
    except ValueError:  # a host may be wrong only where it is decoded
        address, host = URL(), None
    if address.scheme not in _PORTS or not host or not url.isprintable() or " " in url:
        raise FetchFailed(f"`{public_address(url)[:200]}` is not an address of http or https")
    if "@" in address.raw_authority:
        raise FetchFailed(f"the address `{public_address(url)}` holds a user or a password")
    return host, address.port or _PORTS[address.scheme]


def is_public(address: str) -> bool:
    """Tell whether an IP address leads out of the machine and its networks, to one host."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None or ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        return ip.is_global and ip in _UNICAST and not any(ip in tunnel for tunnel in _TUNNELS)
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _SPECIAL)


def names_inside(url: str) -> bool:
    """Tell whether an address of http or https names a host in the machine or its network, without resolving it."""
    host = origin_of(url)[0].rstrip(".").lower()
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class _Sockets:
    """Makes the sockets of a connection, to public addresses alone unless all are allowed.

    `has_refused` is true once it has refused one.
    """

    def __init__(self, are_all_allowed: bool) -> None:
        self._are_all_allowed = are_all_allowed
        self.has_refused = False

    def make(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a socket for one entry of `getaddrinfo`. Raises OSError for one that is refused."""
        family, kind, protocol, _, (host, *_) = address
        if not self._are_all_allowed and not is_public(host):
            self.has_refused = True
            raise OSError("the address is not public")
        return socket.socket(family=family, type=kind, proto=protocol)


async def _get(url: str, headers: Mapping[str, str], most_bytes: int, is_allowed_inside: bool) -> Fetched:
    place = public_address(url)
    sockets = _Sockets(is_allowed_inside)
    connector = aiohttp.TCPConnector(
        ssl=_tls() if url.startswith("https:") else False, socket_factory=sockets.make, force_close=True
    )
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False, cookie_jar=jar) as session:
        try:
            answer = await session.get(
                url,
                headers={"User-Agent": "promptkit", **headers, "Accept-Encoding": "gzip"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            )
        except (aiohttp.ClientError, ValueError) as error:
            if sockets.has_refused:
                raise FetchFailed(f"{place} leads into the machine or its network, which is not allowed") from None
            raise transport_error(error, place) from None
        response = Response(answer, most_bytes, place)
        try:
            return Fetched(url, answer.status, answer.headers, await _body(response, place))
        finally:
            await response.close()


async def _body(response: Response, place: str) -> bytes:
    if response.status == 200:
        return await response.read()
    if response.status in (304, *_REDIRECTS):
        return b""
    meaning = {404: ": there is nothing at this address", 410: ": what was at this address is gone"}
    raise FetchFailed(f"{place} answered {response.status}{meaning.get(response.status, '')}")


def _redirected(url: str, location: str) -> str:
    try:
        return str(URL(url).join(URL(location)))
    except ValueError:
        raise FetchFailed(f"{public_address(url)} redirects to what is not an address") from None


@cache
def _tls() -> ssl.SSLContext:
    return tls_context()
