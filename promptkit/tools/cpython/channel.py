"""Messages between promptkit and a jailed process: JSON, each after its length.

Never pickle: neither side runs what the other wrote.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, Final

MOST_BYTES: Final = 8 * 2**20
"""The size of a message that promptkit reads."""
MOST_PARTS: Final = 1_000_000
"""The characters and parts of what a jailed process sends in one message, which fit."""

_LENGTH: Final = struct.Struct("!I")


def encoded(message: dict[str, Any]) -> bytes:
    """Return a message as it is sent. Raises TypeError, ValueError and RecursionError for what JSON cannot write."""
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


class Messages:
    """The messages in bytes that come piece by piece."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._received = bytearray()

    def add(self, received: bytes) -> None:
        """Add bytes."""
        self._received += received

    def next(self) -> dict[str, Any] | None:
        """Return the next message, None where it is not complete. Raises ValueError for what is not a message."""
        if len(self._received) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._received)
        if length > self._most:
            raise ValueError("the message is too long")
        end = _LENGTH.size + length
        if len(self._received) < end:
            return None
        body = bytes(self._received[_LENGTH.size : end])
        del self._received[:end]
        try:
            message = json.loads(body)
        except RecursionError:
            raise ValueError("the message is nested too deeply") from None
        if not isinstance(message, dict):
            raise ValueError("the message is not an object")
        return message


def send(descriptor: int, message: bytes) -> None:
    """Write all bytes of a message."""
    left = memoryview(message)
    while left:
        left = left[os.write(descriptor, left) :]


def receive(descriptor: int, messages: Messages) -> dict[str, Any]:
    """Wait for the next message. Raises EOFError where there is none, and ValueError."""
    while (message := messages.next()) is None:
        if not (piece := os.read(descriptor, 2**16)):
            raise EOFError
        messages.add(piece)
    return message
