"""API keys of servers, read from the environment only, and their removal from texts that messages quote."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from promptkit.errors import AccessDenied

OPENAI_HOST = "api.openai.com"


def api_key_for(base_url: str, variable: str | None = None) -> str | None:
    """Return the key to send to a server, or None.

    `PROMPTKIT_OPENAI_KEY` goes to any server that is named; `OPENAI_API_KEY`, which other programs set too, goes only
    to OpenAI, to the host of `OPENAI_BASE_URL` and to this machine: a pipeline from elsewhere may name any server.
    Raises AccessDenied for a value that cannot be a key.
    """
    names = [variable] if variable else ["PROMPTKIT_OPENAI_KEY"]
    if not variable and _may_get_openai_key(base_url):
        names.append("OPENAI_API_KEY")
    return next((key for key in map(api_key_from_environment, names) if key), None)


def api_key_from_environment(name: str) -> str | None:
    """Return the key in a variable, or None. Raises AccessDenied for a value that cannot be a key."""
    key = os.environ.get(name, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise AccessDenied(f"the key in {name} holds characters that no key has")
    return key or None


def _may_get_openai_key(base_url: str) -> bool:
    host = _host(base_url)
    if host in (OPENAI_HOST, "localhost", _host(os.environ.get("OPENAI_BASE_URL", "")) or OPENAI_HOST):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def partial_match_start(text: str, mark: str) -> int:
    """Return the start of the longest end of a text that may begin the mark; the text's length where none may.

    Reads at most the mark's length. The text must not hold the whole mark.
    """
    at = text.find(mark[0], max(0, len(text) - len(mark) + 1))
    while at >= 0 and not mark.startswith(text[at:]):
        at = text.find(mark[0], at + 1)
    return len(text) if at < 0 else at


QUOTE_LIMIT = 400
"""Characters of a server's text in a message."""
QUOTE_WINDOW = 4096
"""Characters that are redacted before the text is cut to QUOTE_LIMIT."""
SHORTEST_KEY = 4
"""A shorter key, such as `x`, is not redacted: messages would lose letters."""
SHORTEST_SECRET = 8
LONGEST_WORD = 15
"""A word up to here is not a secret: local servers take any key, such as `EMPTY`, which a reply may hold by chance."""

_LONGEST_ESCAPE = 6  # \u0041
_ACCESS_TOKENS = re.compile(
    r"(?i:(bearer)\s+)[^\s\"'\\,;<>]{6,}"
    r"|\b(?:sk-|gsk_|hf_|xai-|AIza)[\w*-]{8,}"
    r"|\beyJ[\w-]{8,}(?:\.[\w-]+){1,2}"
)
"""Access tokens of anybody: a proxy may show its own."""

Filter = Callable[[str], str]


class Redactor:
    """Removes one key from texts. The key is in closures only, so that no dump of attributes shows it."""

    def __init__(self, key: str | None = None) -> None:
        """`key` is the key that is sent to the server whose texts are redacted, or None."""
        spelled = _key_pattern(key) if key and len(key) >= SHORTEST_KEY else None
        secret = key if key and _is_secret(key) else None
        unshown = _LONGEST_ESCAPE * len(key or "")

        def quote(text: str | bytes) -> str:
            start = text[:QUOTE_WINDOW].decode(errors="replace") if isinstance(text, bytes) else text[:QUOTE_WINDOW]
            start = _ACCESS_TOKENS.sub(_without_token, spelled.sub("…", start) if spelled else start)
            if len(text) > QUOTE_WINDOW and unshown:
                start = start[:-unshown]  # the window may end within the key
            line = _visible(start).strip()
            return line if len(line) <= QUOTE_LIMIT else f"{line[: QUOTE_LIMIT - 1]}…"

        self.quote = quote
        """Return a server's text for a message: one line of at most QUOTE_LIMIT characters without keys and tokens."""
        self.has_secret = secret is not None
        """True where there is a key to find in texts of any length."""
        self.finds: Callable[[str], bool] = lambda text: secret is not None and secret in text
        """Tell whether a text holds the key."""
        self.clean: Filter = lambda text: text.replace(secret, "…") if secret else text
        """Return a text of any length without the key. A key that may be an ordinary word stays."""
        self.stream: Callable[[], RedactedStream] = lambda: RedactedStream(secret)
        """Start redacting a text that arrives in pieces."""


class RedactedStream:
    """`clean` for a text that arrives in pieces. Holds back the end of a piece that may begin the key."""

    def __init__(self, secret: str | None) -> None:
        held = ""

        def feed(piece: str) -> str:
            nonlocal held
            if secret is None or (not held and secret[0] not in piece):
                return piece
            text = (held + piece).replace(secret, "…")
            start = partial_match_start(text, secret)
            held = text[start:]
            return text[:start]

        def end() -> str:
            nonlocal held
            rest, held = held, ""
            return rest

        self.feed = feed
        """Take a piece and return the text that can be shown."""
        self.end = end
        """Return the text that was held back."""


def _is_secret(key: str) -> bool:
    return len(key) >= SHORTEST_SECRET and not (key.isalpha() and len(key) <= LONGEST_WORD)


def _key_pattern(key: str) -> re.Pattern[str]:
    """Return a pattern that finds the key under any escaping: JSON, percent signs, HTML."""
    return re.compile("".join(_character_pattern(sign) for sign in key))


def _character_pattern(sign: str) -> str:
    code = ord(sign)
    return rf"(?:\\?{re.escape(sign)}|(?i:\\u{code:04x}|%{code:02x}|&#{code};|&#x{code:x};))"


def _without_token(found: re.Match[str]) -> str:
    return f"{found[1]} …" if found[1] else "…"


def _visible(text: str) -> str:
    """Return a text as one line. Control and invisible characters are spelled out."""
    return text if text.isprintable() else "".join(map(_visible_sign, text))


def _visible_sign(sign: str) -> str:
    if sign.isprintable():
        return sign
    return " " if sign.isspace() else sign.encode("unicode_escape").decode()
