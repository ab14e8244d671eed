"""`allow:` lets tools with effects be called, by name or by effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from promptkit.tools.base import Effect, Tool, Toolset
from promptkit.tools.permissions import permission_hint, refusal, toolset_refusal


class Remote(Tool):
    name = "github_create"
    description = "Create."
    parameters: Mapping[str, Any] = {"type": "object"}

    def __init__(self, *effects: Effect) -> None:
        self.effects = frozenset(effects)

    @property
    def permission_names(self) -> tuple[str, ...]:
        return ("mcp:github", "mcp:github/create")

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        raise AssertionError


class Server(Toolset):
    name = "mcp:github"

    async def tools(self) -> Mapping[str, Tool]:
        raise AssertionError

    async def close(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("allow", "is_allowed"),
    [
        ((), False),
        (("mcp:github",), True),
        (("mcp:github/create",), True),
        (("mcp:github/other",), False),
        (("mcp:gitlab",), False),
        (("github_create",), False),
        (("network",), False),
        (("writes",), False),
        (("network", "writes"), True),
    ],
)
def test_a_tool_is_allowed_by_one_of_its_names_or_by_all_of_its_effects(
    allow: tuple[str, ...], is_allowed: bool
) -> None:
    assert (refusal(Remote("network", "writes"), allow) is None) == is_allowed
    assert (toolset_refusal(Server(), "mcp:github/create", allow) is None) == is_allowed


def test_a_tool_without_effects_is_always_allowed() -> None:
    assert refusal(Remote(), ()) is None


def test_a_tool_that_is_named_like_an_effect_is_not_allowed_by_that_effect() -> None:
    class Named(Remote):
        permission_names = ("network",)

    assert refusal(Named("writes"), ("network",)) is not None


def test_the_reason_names_the_effects_that_are_not_allowed() -> None:
    tool = Remote("network", "writes")
    assert (
        refusal(tool, ()) == "the tool `github_create` is not allowed here: it may use the network and may change data"
    )
    assert refusal(tool, ("network",)) == "the tool `github_create` is not allowed here: it may change data"


def test_a_server_is_used_where_one_of_its_tools_is_allowed() -> None:
    assert toolset_refusal(Server(), "mcp:github", ("mcp:github/create",)) is None
    assert toolset_refusal(Server(), "mcp:github", ("mcp:github2/create",)) is not None


def test_the_line_that_allows_a_tool_keeps_what_is_allowed() -> None:
    assert permission_hint("news", {"spends"}) == "`allow: [spends, news]` in the pipeline allows it"
