"""How large a context window to ask a server for, when only its counts of past prompts tell what a token is."""

from __future__ import annotations

from math import ceil

SMALLEST = 4096
LARGEST = 2**24
"""Tokens that are asked for at most where the model's own window is not known: more than models have."""
OVERHEAD = 100
"""Tokens that a chat template may add; gpt-oss adds about 70, SmolLM2 a system message of 20."""
CAUTIOUS_BYTES = 3.0
USUAL_BYTES = 4.0
"""Bytes of text in a token, before a count is known: English has 4 to 5, other scripts and code 2.5 to 4."""
NOTICEABLE = 400
"""A prompt with fewer tokens says little about bytes in a token: the template outweighs it."""


class Window:
    """The window of a run. It only grows, in powers of two, since every change loads the model again."""

    def __init__(self, limit: int | None) -> None:
        """`limit` is the model's own window, where known."""
        self.limit = limit
        self.tokens = self._capped(SMALLEST)
        self._least_bytes: float | None = None
        self._most_bytes: float | None = None

    def fit(self, size: int, max_tokens: int) -> int:
        """Return a window for a prompt of `size` bytes and its answer."""
        needed = ceil(size / (self._least_bytes or CAUTIOUS_BYTES)) + OVERHEAD + max_tokens
        while self.tokens < needed and self.grow():
            pass
        return self.tokens

    def grow(self) -> bool:
        """Double the window; return whether it is larger now."""
        before, self.tokens = self.tokens, self._capped(2 * self.tokens)
        return self.tokens > before

    def learn(self, size: int, count: int) -> None:
        """Take note that an uncut prompt of `size` bytes was counted as so many tokens."""
        if count < NOTICEABLE:
            return
        ratio = size / (count - OVERHEAD)
        self._least_bytes = min(self._least_bytes or ratio, ratio)
        self._most_bytes = max(self._most_bytes or ratio, ratio)

    def was_cut(self, size: int, count: int, window: int) -> bool:
        """Tell whether a prompt of `size` bytes, counted as `count` tokens, was cut to the window in silence.

        A cut prompt is counted after the cut, at about half the window; then its bytes do not fit the count.
        """
        usual = self._most_bytes or USUAL_BYTES
        return abs(count - (window // 2 + 2)) <= 16 and size / count > 1.5 * usual

    def outgrown(self, size: int, window: int) -> bool:
        """Tell whether a prompt of `size` bytes is more than the window holds, by the usual bytes in a token."""
        return size / (self._most_bytes or USUAL_BYTES) > window

    def _capped(self, tokens: int) -> int:
        return min(tokens, self.limit or LARGEST)
