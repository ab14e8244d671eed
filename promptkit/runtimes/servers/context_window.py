"""The context window that an Ollama server is asked for."""

from __future__ import annotations

from math import ceil

SMALLEST_WINDOW = 4096
LARGEST_WINDOW = 2**24
"""The largest window to ask for where the model's own is not known: more than any model has."""
TEMPLATE_TOKENS = 100
"""Tokens that a chat template may add: gpt-oss adds about 70, SmolLM2 a system message of 20."""
CAUTIOUS_BYTES = 3.0
USUAL_BYTES = 4.0
"""Bytes in a token before a count is known: English has 4 to 5, other scripts and code 2.5 to 4."""
FEWEST_TOKENS_LEARNT_FROM = 400
"""A shorter prompt says little about bytes in a token, because the template outweighs it."""


class ContextWindow:
    """The context window of a run. It only grows, in powers of two, because every change reloads the model."""

    def __init__(self, limit: int | None) -> None:
        """`limit` is the model's own window, where known."""
        self.limit = limit
        self.tokens = self._capped(SMALLEST_WINDOW)
        self._least_bytes: float | None = None
        self._most_bytes: float | None = None

    def fit(self, size: int, max_tokens: int) -> int:
        """Return a window for a prompt of `size` bytes and its answer."""
        needed = ceil(size / (self._least_bytes or CAUTIOUS_BYTES)) + TEMPLATE_TOKENS + max_tokens
        while self.tokens < needed and self.grow():
            pass
        return self.tokens

    def grow(self) -> bool:
        """Double the window; return whether it is larger now."""
        before, self.tokens = self.tokens, self._capped(2 * self.tokens)
        return self.tokens > before

    @property
    def is_largest(self) -> bool:
        """True if the window cannot grow."""
        return self._capped(2 * self.tokens) == self.tokens

    def learn(self, size: int, count: int) -> None:
        """Learn from an uncut prompt of `size` bytes that was counted as `count` tokens."""
        if count < FEWEST_TOKENS_LEARNT_FROM:
            return
        ratio = size / (count - TEMPLATE_TOKENS)
        self._least_bytes = min(self._least_bytes or ratio, ratio)
        self._most_bytes = max(self._most_bytes or ratio, ratio)

    def was_cut(self, size: int, count: int, window: int) -> bool:
        """Tell whether a prompt of `size` bytes, counted as `count` tokens, was silently cut to the window.

        A cut prompt is counted after the cut, at about half the window, so that its bytes do not fit the count.
        """
        usual = self._most_bytes or USUAL_BYTES
        return abs(count - (window // 2 + 2)) <= 16 and size / count > 1.5 * usual

    def outgrown(self, size: int, window: int) -> bool:
        """Tell whether a prompt of `size` bytes exceeds the window, by the usual bytes in a token."""
        return size / (self._most_bytes or USUAL_BYTES) > window

    def _capped(self, tokens: int) -> int:
        return min(tokens, self.limit or LARGEST_WINDOW)
