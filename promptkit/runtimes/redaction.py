"""Taking keys out of what a server says, and cutting what is quoted of it to one short line."""

from __future__ import annotations

import re
from collections.abc import Callable

from promptkit.runtimes.partial import held_from

QUOTE_LIMIT = 400
"""Characters of a server's text in a message."""
WINDOW = 4096
"""Characters that are looked at for them: enough to redact before cutting."""
SHORTEST_KEY = 4
"""A key of fewer characters, such as `x`, is no key: messages would lose letters."""
SHORTEST_SECRET = 8
LONGEST_WORD = 15
"""Local servers take any key, so people write `EMPTY` or `anything`: a reply may hold such a word by itself."""

_ESCAPED = 6  # characters of one character in its longest form, \u0041
_TOKENS = re.compile(
    r"(?i:(bearer)\s+)[^\s\"'\\,;<>]{6,}"
    r"|\b(?:sk-|gsk_|hf_|xai-|AIza)[\w*-]{8,}"
    r"|\beyJ[\w-]{8,}(?:\.[\w-]+){1,2}"
)
"""What access tokens look like, whoever's they are: a proxy may show its own."""

Filter = Callable[[str], str]


class Redactor:
    """Removes one key from texts. The key is in closures only, so that no dump of attributes shows it."""

    def __init__(self, key: str | None = None) -> None:
        """`key` is what is sent to the server whose texts are read, or None."""
        spelled = _spelled(key) if key and len(key) >= SHORTEST_KEY else None
        secret = key if key and _is_secret(key) else None
        unshown = _ESCAPED * len(key or "")

        def quote(text: str | bytes) -> str:
            start = text[:WINDOW].decode(errors="replace") if isinstance(text, bytes) else text[:WINDOW]
            start = _TOKENS.sub(_without_token, spelled.sub("…", start) if spelled else start)
            if len(text) > WINDOW and unshown:
                start = start[:-unshown]  # the window may end within the key
            line = _visible(start).strip()
            return line if len(line) <= QUOTE_LIMIT else f"{line[: QUOTE_LIMIT - 1]}…"

        self.quote = quote
        """Return a server's text as messages may show it: no key, no token, one line of at most QUOTE_LIMIT."""
        self.has_secret = secret is not None
        """Whether there is a key to look for in texts of any length."""
        self.finds: Callable[[str], bool] = lambda text: secret is not None and secret in text
        """Tell whether a text holds the key."""
        self.clean: Filter = lambda text: text.replace(secret, "…") if secret else text
        """Return a text of any length without the key; a key that may be a word of its own stays."""
        self.stream: Callable[[], Stream] = lambda: Stream(secret)
        """Begin a text that arrives in pieces."""


class Stream:
    """`clean` for a text that arrives in pieces: the end of one that may begin the key is held back."""

    def __init__(self, secret: str | None) -> None:
        held = ""

        def feed(piece: str) -> str:
            nonlocal held
            if secret is None or (not held and secret[0] not in piece):
                return piece
            text = (held + piece).replace(secret, "…")
            start = held_from(text, secret)
            held = text[start:]
            return text[:start]

        def end() -> str:
            nonlocal held
            rest, held = held, ""
            return rest

        self.feed = feed
        """Take a piece and return what can be shown by now."""
        self.end = end
        """Return what was held back: it was not the key."""


def _is_secret(key: str) -> bool:
    return len(key) >= SHORTEST_SECRET and not (key.isalpha() and len(key) <= LONGEST_WORD)


def _spelled(key: str) -> re.Pattern[str]:
    """Return a pattern of the key however its characters are escaped: JSON, percent signs, HTML."""
    return re.compile("".join(_character(sign) for sign in key))


def _character(sign: str) -> str:
    code = ord(sign)
    return rf"(?:\\?{re.escape(sign)}|(?i:\\u{code:04x}|%{code:02x}|&#{code};|&#x{code:x};))"


def _without_token(found: re.Match[str]) -> str:
    return f"{found[1]} …" if found[1] else "…"


def _visible(text: str) -> str:
    """Return a text as one line; what steers a terminal or is unseen is spelled out."""
    return text if text.isprintable() else "".join(map(_visible_sign, text))


def _visible_sign(sign: str) -> str:
    if sign.isprintable():
        return sign
    return " " if sign.isspace() else sign.encode("unicode_escape").decode()
