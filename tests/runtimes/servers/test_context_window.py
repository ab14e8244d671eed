"""The window that Ollama is asked for: it follows the prompts' length, and only grows."""

from __future__ import annotations

import pytest

from promptkit.runtimes.servers.context_window import ContextWindow


def test_before_a_count_a_token_is_taken_for_three_bytes_and_the_template_for_a_hundred_tokens() -> None:
    fitting = (4096 - 100 - 16) * 3
    assert ContextWindow(None).fit(fitting, 16) == 4096
    assert ContextWindow(None).fit(fitting + 1, 16) == 8192


def test_a_count_tells_the_bytes_of_a_token() -> None:
    window = ContextWindow(None)
    window.learn(6000, 100 + 1000)
    assert window.fit((4096 - 100 - 16) * 6, 16) == 4096
    assert window.fit((4096 - 100 - 16) * 6 + 1, 16) == 8192


@pytest.mark.parametrize(("count", "window"), [(399, 8192), (400, 4096)])
def test_a_short_prompt_tells_nothing(count: int, window: int) -> None:
    known = ContextWindow(None)
    known.learn(6 * (count - 100), count)
    assert known.fit((4096 - 100 - 16) * 6, 16) == window


def test_of_several_counts_the_fewest_bytes_decide() -> None:
    window = ContextWindow(None)
    window.learn(8000, 100 + 1000)
    window.learn(5000, 100 + 1000)
    assert window.fit((4096 - 100 - 16) * 5, 16) == 4096
    assert window.fit((4096 - 100 - 16) * 5 + 1, 16) == 8192


def test_the_window_doubles_up_to_the_models_own() -> None:
    window = ContextWindow(10_000)
    assert window.fit(100_000, 16) == 10_000
    assert window.grow() is False


@pytest.mark.parametrize(
    ("size", "count", "cut"),
    [(13_000, 2050, True), (13_000, 2066, True), (13_000, 2067, False), (13_000, 2033, False), (12_300, 2050, False)],
)
def test_a_prompt_was_cut_where_its_count_is_half_the_window_and_far_below_its_bytes(
    size: int, count: int, cut: bool
) -> None:
    assert ContextWindow(None).was_cut(size, count, 4096) is cut


def test_a_prompt_outgrows_the_window_at_four_bytes_a_token() -> None:
    window = ContextWindow(None)
    assert not window.outgrown(4 * 4096, 4096)
    assert window.outgrown(4 * 4096 + 1, 4096)
