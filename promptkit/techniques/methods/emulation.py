"""A program run line by line: the sandbox runs each statement, the model evaluates what no interpreter can run."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, Protocol

from promptkit.answers.reader.json_reader import read_json
from promptkit.techniques.task import Task
from promptkit.tools.python import Execution, Sandbox

Emulated = Literal["value", "changes"]
Flow = Literal["break", "continue"]


class Stuck(ValueError):
    """Raised if neither the interpreter nor the model can continue; the message says why."""


class Emulate(Protocol):
    """Emulates a line that the interpreter cannot run: returns its value, or the variables that it changes.

    `seen` is the part of the `state` that the line depends on. Raises Stuck.
    """

    async def __call__(
        self,
        line: str,
        wants: Emulated,
        *,
        state: Mapping[str, Any],
        seen: Mapping[str, Any],
        trace: Sequence[Mapping[str, Any]],
    ) -> Any: ...


class ProgramStepper:
    """Runs a program line by line in a sandbox. `state` are its variables of plain data, `trace` the executed lines."""

    def __init__(self, sandbox: Sandbox, emulate: Emulate, most: int) -> None:
        self._sandbox = sandbox
        self._emulate = emulate
        self._left = most
        self._loops = 0
        self._output = ""
        self.state: dict[str, Any] = {}
        self.trace: list[dict[str, Any]] = []
        self.capped = False

    async def run(self, program: str) -> Execution:
        """Run a program and return the value of `answer`, with what its statements printed.

        Raises Stuck, and SyntaxError for text that is not Python.
        """
        try:
            await self._block(ast.parse(program).body)
        except RecursionError:
            raise Stuck("the program is nested too deep") from None
        return replace(await self._sandbox.run("answer"), output=self._output)

    async def _block(self, body: Sequence[ast.stmt]) -> Flow | None:
        for node in body:
            flow: Flow | None = None
            match node:
                case ast.If():
                    flow = await self._block(node.body if await self._truth(node.test, node) else node.orelse)
                case ast.For():
                    flow = await self._for(node)
                case ast.While():
                    flow = await self._while(node)
                case ast.Break():
                    return "break"
                case ast.Continue():
                    return "continue"
                case _:
                    await self._statement(node)
            if flow:
                return flow
        return None

    async def _for(self, node: ast.For) -> Flow | None:
        self._loops += 1
        items = f"items_{self._loops}_"
        for place in range(await self._keep(items, node)):
            self._count()
            ran = await self._sandbox.run(f"{ast.unparse(node.target)} = {items}[{place}]")
            if ran.failure:
                raise Stuck(f"`{_head(node)}`: {ran.failure.message}")
            self._done(_head(node), await self._changes(node.target))
            if await self._block(node.body) == "break":
                return None
        return await self._block(node.orelse)

    async def _keep(self, items: str, node: ast.For) -> int:
        """Keep a loop's items under a name of their own and return their number."""
        self._count()
        # Counted by a loop instead of `len`: a program may have redefined `list` and `len`.
        counted = f"count_{items}"
        program = (
            f"{items} = [*{ast.unparse(node.iter)}]\n{counted} = 0\nfor _ in {items}:\n    {counted} += 1\n{counted}"
        )
        ran = await self._sandbox.run(program)
        if isinstance(ran.value, int):
            return ran.value
        found = await self._ask(ast.unparse(node.iter), "value", node.iter)
        if not isinstance(found, list) or (await self._sandbox.run("None", inputs={items: found})).failure:
            raise Stuck(f"`{_head(node)}` has no list to loop over")
        return len(found)

    async def _while(self, node: ast.While) -> Flow | None:
        while await self._truth(node.test, node):
            if await self._block(node.body) == "break":
                return None
        return await self._block(node.orelse)

    async def _truth(self, test: ast.expr, node: ast.stmt) -> bool:
        """Evaluate a condition by the interpreter, else by the model."""
        self._count()
        ran = await self._sandbox.run(f"True if ({ast.unparse(test)}) else False")
        value = ran.value if ran.failure is None else await self._ask(ast.unparse(test), "value", test)
        value = value.strip().lower() in ("true", "yes") if isinstance(value, str) else bool(value)
        self._done(_head(node), value)
        return value

    async def _statement(self, node: ast.stmt) -> None:
        self._count()
        ran = await self._sandbox.run(ast.unparse(node))
        self._output += ran.output
        if ran.failure:
            changes = await self._ask(ast.unparse(node), "changes", node)
            if not isinstance(changes, Mapping):
                changes = {_only_target(node): changes}
            await self._take(changes, node)
        self._done(_head(node), await self._changes(node))

    async def _take(self, changes: Mapping[str, Any], node: ast.stmt) -> None:
        wrong = [name for name in changes if not str(name).isidentifier()]
        ran = await self._sandbox.run("None", inputs=changes) if not wrong else None
        if ran is None or ran.failure:
            raise Stuck(f"`{_head(node)}` changes something that is not a variable")

    async def _ask(self, line: str, wants: Emulated, node: ast.AST) -> Any:
        seen = {name: self.state[name] for name in _names(node) if name in self.state}
        return await self._emulate(line, wants, state=self.state, seen=seen, trace=self.trace)

    async def _changes(self, node: ast.AST) -> dict[str, Any]:
        """Return the variables of a line that have changed, and update the state with them."""
        changed = {}
        for name in _names(node):
            ran = await self._sandbox.run(name)
            if ran.failure is None and (name not in self.state or not _same(self.state[name], ran.value)):
                changed[name] = ran.value
        self.state |= changed
        return changed

    def _done(self, line: str, result: Any) -> None:
        self.trace.append({"line": line, "result": result})

    def _count(self) -> None:
        if not self._left:
            self.capped = True
            raise Stuck("the program takes too many steps")
        self._left -= 1


def _names(node: ast.AST) -> list[str]:
    """Return the variables that a line names, in order, without functions that it only calls."""
    called = {id(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    named = (part for part in ast.walk(node) if isinstance(part, ast.Name) and id(part) not in called)
    return list(dict.fromkeys(name.id for name in named))


def _only_target(node: ast.stmt) -> str:
    """Return the only variable that a line assigns, which takes a bare value. Raises Stuck."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.AugAssign(target=ast.Name(id=name)):
            return name
    raise Stuck(f"`{_head(node)}`: the model gave a value instead of the changed variables")


def _head(node: ast.stmt) -> str:
    return ast.unparse(node).partition("\n")[0]


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)


VALUE_TOKENS: Final = 128
"""The tokens for a line's value, besides those for writing the variables of the state again."""
LONGEST_VALUE: Final = 4_000
"""The characters of a variable's value that a request shows."""
LONGEST_RESULT: Final = 200
"""The characters of an executed line's result that a request shows."""
MOST_LINES: Final = 50
"""The number of executed lines that a request shows, the last ones."""

_YES_NO: Final = {"yes": True, "no": False}


class Emulator:
    """The model as the interpreter of lines of `program`; the same line with the same values is asked once."""

    def __init__(self, task: Task, limit: int) -> None:
        self.task, self.program = task, ""
        self.asked, self.capped = 0, False
        self._limit = limit
        self._known: dict[str, Any] = {}

    async def __call__(
        self,
        line: str,
        wants: Emulated,
        *,
        state: Mapping[str, Any],
        seen: Mapping[str, Any],
        trace: Sequence[Mapping[str, Any]],
    ) -> Any:
        key = json.dumps([line, wants, seen])
        if key not in self._known:
            self._known[key] = await self._ask(line=line, wants=wants, state=state, trace=trace)
        return self._known[key]

    async def _ask(self, **shown: Any) -> Any:
        if self.asked == self._limit:
            self.capped = True
            raise Stuck("the program asks the model too often")
        self.asked += 1
        shown["state"] = {name: _shortened(value, LONGEST_VALUE) for name, value in shown["state"].items()}
        shown["trace"] = [
            {**done, "result": _shortened(done["result"], LONGEST_RESULT)} for done in shown["trace"][-MOST_LINES:]
        ]
        reply = await self.task.ask(
            "emulate",
            temperature=0.0,
            max_tokens=VALUE_TOKENS + len(json.dumps(shown["state"])) // 2,
            stop=("\n",) if await self.task.can("continue") else (),
            program=self.program,
            **shown,
        )
        found = await self.task.read(reply, lambda text: [read_value(text)])
        if found is None:
            raise Stuck(f"the model gives no value for `{shown['line']}`")
        return found[0]


def _shortened(value: Any, most: int) -> Any:
    """Return a value as a prompt shows it, a long one as shortened text."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= most else f"{text[:most]}…"


def read_value(text: str) -> Any:
    """Return the value in a reply: a literal, yes or no, or one word as text. Raises ValueError."""
    text = text.strip()
    first = text.partition("\n")[0].strip("` ").removesuffix(".")
    if text.startswith("```"):
        return read_json(text)
    if first.lower() in _YES_NO:
        return _YES_NO[first.lower()]
    if first.isalpha() and first.lower() not in ("true", "false", "null", "none"):
        return first
    try:
        return read_json(first)
    except ValueError:
        return read_json(text)


def literal(value: Any) -> str:
    """Return a value as a Python literal, with texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)
