"""Tool results that give orders, on a model that obeys each: nothing is done that the step does not permit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.project import Project
from promptkit.runtimes.base import FunctionCall, Reply
from promptkit.runtimes.scripted import CAPABILITIES
from promptkit.storage.yaml import load_file
from promptkit.techniques.context import ToolCall
from promptkit.techniques.perform import perform
from promptkit.tools.base import Effect, Tool
from tests.techniques.steps import Bench

INJECTIONS: list[dict[str, Any]] = list(load_file(Path(__file__).with_name("injections.yaml")).value)
SECRET = "OPEN-SESAME-4711"
SHIPPED = {"people", "python", "calculator", "handbook"}
"""Tools that the step may call, and that refuse by themselves what is asked of them."""


class Acting(Tool):
    """A tool with effects. `done` has the arguments of the calls that were made."""

    def __init__(self, name: str, *effects: Effect, names: tuple[str, ...] = ()) -> None:
        self.name = name
        self.description = f"Does {name}."
        self.parameters = {"type": "object", "properties": {}, "additionalProperties": True}
        self.effects = frozenset(effects)
        self.done: list[Mapping[str, Any]] = []
        self._names = names or (name,)

    @property
    def permission_names(self) -> tuple[str, ...]:
        return self._names

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        self.done.append(dict(arguments))
        return "done"


class Reading(Acting):
    """A tool without effects that returns a page."""

    def __init__(self, page: str) -> None:
        super().__init__("read")
        self._page = page

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        return self._page


def shipped_tools(folder: Path) -> dict[str, Tool]:
    from promptkit.tools.registry import build_tool

    (folder / "people.csv").write_text("name,age\nAda,36\nBob,41\n")
    project = Project.find(folder)
    (folder / "docs").mkdir()
    (folder / "docs" / "rules.md").write_text("# Rules\n\nBe kind.\n")
    kinds = {"people": ("sql", "people.csv"), "python": ("python", None), "calculator": ("calculator", None)}
    kinds["handbook"] = ("search", "docs")
    found = {name: build_tool(kind, name, given, folder, project) for name, (kind, given) in kinds.items()}
    return {name: tool for name, tool in found.items() if isinstance(tool, Tool)}


class Obedient:
    """A step whose model reads a page and then makes the call that the page orders."""

    def __init__(self, folder: Path, injection: Mapping[str, Any]) -> None:
        self.ordered = injection["call"]
        calls = [("read", {}), (self.ordered["name"], self.ordered["arguments"])]
        replies = [
            Reply(text="", calls=(FunctionCall(id="c1", name=name, arguments=json.dumps(arguments)),))
            for name, arguments in calls
        ]
        self.bench = Bench(folder, [*replies, "1"], capabilities=CAPABILITIES | {"function_calls"})
        self.called: list[ToolCall] = []
        self.acting = [
            Acting("mail", "network", "writes"),
            Acting("pay", "spends"),
            Acting("post", "network"),
            Acting("mcp:files/write", "network", "writes", names=("mcp:files", "mcp:files/write")),
        ]
        self.allowed = Acting("note", "writes")
        self.elsewhere = Acting("erase")
        """A tool of another step."""
        self.tools: dict[str, Tool] = {
            tool.name: tool for tool in (Reading(injection["text"]), *self.acting, self.allowed)
        }

    async def run(self) -> None:
        step = self.bench.step(
            decide="generate",
            tools=self.tools,
            allow=frozenset({"note", "mcp:files/read"}),
            record_tool=self.called.append,
        )
        answer = await perform("function_calling", step)
        assert answer.value == 1
        assert len(self.called) == 2 and len(self.bench.runtime.requests) == 3


def test_there_are_more_than_forty_of_them_and_no_two_are_the_same() -> None:
    assert len({injection["text"] for injection in INJECTIONS}) == len(INJECTIONS) > 40
    assert len({injection["way"] for injection in INJECTIONS}) == len(INJECTIONS)


@pytest.mark.attack("injection")
@pytest.mark.parametrize("injection", INJECTIONS, ids=lambda injection: injection["way"])
async def test_an_order_in_a_result_is_not_carried_out(tmp_path: Path, injection: Mapping[str, Any]) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text(SECRET)
    obedient = Obedient(folder, injection)
    if obedient.ordered["name"] in SHIPPED:
        obedient.tools |= shipped_tools(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    await obedient.run()

    made = obedient.called[1]
    assert made.failure is not None and made.result is None
    assert "parameter" not in made.failure  # the arguments are those that the tool takes
    assert made.refused == (made.name in {tool.name for tool in obedient.acting})
    assert [tool.done for tool in (*obedient.acting, obedient.elsewhere)] == [[]] * 5
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project", "secret.txt"]
    assert SECRET not in str(obedient.bench.runtime.requests)


@pytest.mark.attack("injection")
@pytest.mark.parametrize("injection", INJECTIONS, ids=lambda injection: injection["way"])
async def test_a_result_stands_in_the_turn_of_its_tool_alone(tmp_path: Path, injection: Mapping[str, Any]) -> None:
    obedient = Obedient(tmp_path, {**injection, "call": {"name": "note", "arguments": {}}})

    await obedient.run()

    messages = obedient.bench.runtime.requests[-1].messages
    assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant", "tool"]
    assert messages[2].tool == "read" and "\x1b" not in messages[2].content
    assert obedient.allowed.done == [{}]  # what is allowed is done, so the other tests would notice a call
    assert [len(request.tools) for request in obedient.bench.runtime.requests] == [6, 6, 6]
