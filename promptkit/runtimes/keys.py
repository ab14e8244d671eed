"""Keys of hosted servers: from the environment only, and only to whom they belong."""

from __future__ import annotations

import os
from ipaddress import ip_address

from promptkit.errors import AccessDenied

OWN_HOST = "api.openai.com"


def key_for(base_url: str, variable: str | None = None) -> str | None:
    """Return the key to send to a server, or None.

    `PROMPTKIT_OPENAI_KEY` goes to any server that is named; `OPENAI_API_KEY`, which other programs set too, goes only
    to OpenAI, to the host of `OPENAI_BASE_URL` and to this machine: a pipeline from elsewhere may name any server.
    Raises AccessDenied for a key that cannot be one.
    """
    names = [variable] if variable else ["PROMPTKIT_OPENAI_KEY"]
    if not variable and _belongs(base_url):
        names.append("OPENAI_API_KEY")
    return next((key for key in map(environment_key, names) if key), None)


def environment_key(name: str) -> str | None:
    """Return the key in a variable, None where it has none. Raises AccessDenied for a key that cannot be one."""
    key = os.environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise AccessDenied(f"the key in {name} holds characters that no key has")
    return key or None


def _belongs(base_url: str) -> bool:
    host = _host(base_url)
    if host in (OWN_HOST, "localhost", _host(os.environ.get("OPENAI_BASE_URL", "")) or OWN_HOST):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _host(url: str) -> str:
    from httpx import URL, InvalidURL

    try:
        return URL(url).host
    except InvalidURL:
        return ""
