"""What may be spent: counted whether the model or the store answers, so that a second run decides alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

from promptkit.errors import BudgetSpent

if TYPE_CHECKING:
    from promptkit.runtimes.base import Reply

BudgetKind = Literal["calls", "tokens", "minutes"]


@dataclass(slots=True)
class BudgetedRequest:
    """A request under way; what it took is noted when its reply is there."""

    tokens: int = 0
    cached: bool = False

    def took(self, reply: Reply) -> None:
        """Note what the reply took."""
        self.tokens = (reply.tokens_in or 0) + (reply.tokens_out or 0)
        self.cached = reply.cached


class Budget:
    """At most `most` requests, and `tokens`, and no request begun after `seconds`; `spent` is how many were begun, of
    which `cached` were answered by the store.

    Of tokens, as many as the largest request took so far are set aside for each one under way, which are waited for
    where there are no more, and the first is made alone: more are spent only where a request takes more than any before
    it. `ended` says what was spent up when a request was refused.
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

    def charge(self, requests: int, tokens: int) -> None:
        """Count what an earlier run has spent on what is taken from it. Raises BudgetSpent where that is too much."""
        set_aside = self._in_flight * (self._largest or 0)
        over_tokens = self.spent_tokens + set_aside + tokens > self.most_tokens
        if self.spent + requests > self.most or over_tokens:
            self.ended = "tokens" if over_tokens else "calls"
            raise BudgetSpent(self._told(self.ended))
        self.spent += requests
        self.cached += requests
        self.spent_tokens += tokens

    def reach(self, requests: int, tokens: int) -> None:
        """Count at least so many in all: where what is asked and what is known do not take the same."""
        self.spent = max(self.spent, requests)
        self.spent_tokens = max(self.spent_tokens, tokens)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[BudgetedRequest]:
        """Make one request in the block. Raises BudgetSpent, once those in flight have their replies: none is lost."""
        while self._in_flight and self._waits():
            await self._landed.wait()
        if ended := self._over():
            if self._in_flight:
                await self._landed.wait()
            self.ended = ended
            raise BudgetSpent(self._told(ended))
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
        """Tell whether those in flight decide if there are tokens for another: they may take less than is set aside."""
        if self.most_tokens == inf or self.spent >= self.most:
            return False
        left = self.most_tokens - self.spent_tokens
        return self._largest is None or self._largest <= left < (self._in_flight + 1) * self._largest

    def _over(self) -> BudgetKind | None:
        if self.spent >= self.most:
            return "calls"
        if self.spent_tokens + (self._in_flight + 1) * (self._largest or 0) > self.most_tokens:
            return "tokens"
        return "minutes" if time.monotonic() >= self.deadline else None

    def _told(self, ended: BudgetKind) -> str:
        if ended == "calls":
            return f"the budget of {self.most:g} requests is spent"
        return f"the budget of {self.most_tokens:g} tokens is spent" if ended == "tokens" else "the time is up"
