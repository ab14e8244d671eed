"""The settings of the HTTP server."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from math import isfinite

from promptkit.errors import InputError

TOKEN_VARIABLE = "PROMPTKIT_SERVE_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """The address, the guards and the limits of the server.

    `token` is what a client sends as `Authorization: Bearer TOKEN`; `origins` are the web pages that a browser lets
    read answers. `max_body` is in bytes, all times are in seconds. `read_timeout` is for the headers of a request, for
    its body and for an idle connection; `deadline` for a request with its wait for a place; `grace` for running
    requests when the server is stopped. `max_requests` run at once, `max_waiting` more wait.

    Raises InputError for a host that other machines reach without a token.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    origins: tuple[str, ...] = ()
    max_body: int = 1 << 20
    max_requests: int = 64
    max_waiting: int = 256
    read_timeout: float = 20.0
    deadline: float = 600.0
    grace: float = 30.0

    def __post_init__(self) -> None:
        if not self.is_loopback and self.token is None:
            raise InputError(
                f"--host {self.host} lets other machines ask your models, so it needs a token",
                hint=f"set {TOKEN_VARIABLE}, or --token-file FILE",
            )
        for name in ("read_timeout", "deadline", "grace"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise InputError(f"--{name.replace('_', '-')} is a number of seconds above 0, not {value:g}")

    @property
    def is_loopback(self) -> bool:
        """True where only this machine reaches the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def checked_token(text: str, source: str) -> str:
    """Return a token without the blanks around it. Raises InputError for one that cannot stand in a header."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(f"the token of {source} must be printable ASCII characters without blanks")
    return token
