"""The budget of a command in requests, tokens and time.

Cached replies count too, so that a second run makes the same decisions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Literal

from promptkit.errors import BudgetSpent
from promptkit.runtimes.base import Reply

BudgetKind = Literal["calls", "tokens", "minutes"]


@dataclass(slots=True)
class BudgetedRequest:
    """A request in flight; its cost is noted when its reply arrives."""

    tokens: int = 0
    cached: bool = False

    def note(self, reply: Reply) -> None:
        """Note the cost of the reply."""
        self.tokens = (reply.tokens_in or 0) + (reply.tokens_out or 0)
        self.cached = reply.cached


class Budget:
    """A limit of `most` requests and of `tokens`, and of `seconds` within which a request may start.

    `spent` counts the requests that were started, `cached` those of them that the store answered. For each request in
    flight as many tokens are reserved as the largest request so far took; a request waits where they do not suffice,
    and the first one runs alone. So the limit of tokens is exceeded only by a request larger than any before it.
    `ended` names the limit that refused a request.
    """

    def __init__(self, most: float, *, tokens: float = inf, seconds: float = inf) -> None:
        self.most = most
        self.most_tokens = tokens
        self.deadline = time.monotonic() + seconds
        self.spent = 0
        self.spent_tokens = 0
        self.cached = 0
        self.ended: BudgetKind | None = None
        self._largest: int | None = None
        self._in_flight = 0
        self._landed = asyncio.Event()

    @property
    def seconds_left(self) -> float:
        """Seconds in which a request may still start; below 0 once the time is up."""
        return self.deadline - time.monotonic()

    @property
    def largest_request(self) -> int:
        """The tokens of the largest request so far, which are reserved for each one in flight; 0 before the first."""
        return self._largest or 0

    def charge(self, requests: int, tokens: int) -> None:
        """Count the cost of results taken from an earlier run. Raises BudgetSpent where it exceeds the budget."""
        reserved = self._in_flight * self.largest_request
        over_tokens = self.spent_tokens + reserved + tokens > self.most_tokens
        if self.spent + requests > self.most or over_tokens:
            self.ended = "tokens" if over_tokens else "calls"
            raise BudgetSpent(self._spent_text(self.ended))
        self.spent += requests
        self.cached += requests
        self.spent_tokens += tokens

    def reach(self, requests: int, tokens: int) -> None:
        """Raise the counts to at least these totals."""
        self.spent = max(self.spent, requests)
        self.spent_tokens = max(self.spent_tokens, tokens)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[BudgetedRequest]:
        """Make one request in the block. Raises BudgetSpent, after the requests in flight have their replies."""
        while self._in_flight and self._waits():
            await self._landed.wait()
        if ended := self._over():
            if self._in_flight:
                await self._landed.wait()
            self.ended = ended
            raise BudgetSpent(self._spent_text(ended))
        self.spent += 1
        self._in_flight += 1
        self._landed.clear()
        request = BudgetedRequest()
        try:
            yield request
        finally:
            self.cached += request.cached
            self.spent_tokens += request.tokens
            self._largest = max(self._largest or 0, request.tokens)
            self._in_flight -= 1
            if not self._in_flight:
                self._landed.set()

    def _waits(self) -> bool:
        """Tell whether another request fits only if those in flight take fewer tokens than are reserved for them."""
        if self.most_tokens == inf or self.spent >= self.most:
            return False
        left = self.most_tokens - self.spent_tokens
        return self._largest is None or self._largest <= left < (self._in_flight + 1) * self._largest

    def _over(self) -> BudgetKind | None:
        if self.spent >= self.most:
            return "calls"
        if self.spent_tokens + (self._in_flight + 1) * self.largest_request > self.most_tokens:
            return "tokens"
        return "minutes" if self.seconds_left <= 0 else None

    def _spent_text(self, ended: BudgetKind) -> str:
        if ended == "calls":
            return f"the budget of {self.most:g} requests is spent"
        return f"the budget of {self.most_tokens:g} tokens is spent" if ended == "tokens" else "the time is up"
