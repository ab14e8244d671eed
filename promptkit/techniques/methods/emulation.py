"""A program run line by line: the sandbox runs each statement, the model emulates what no interpreter can run."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from promptkit.techniques.reading import read_json
from promptkit.techniques.task import Task
from promptkit.tools.python import Execution, Sandbox

Emulated = Literal["value", "changes"]
Flow = Literal["break", "continue"]


class Stuck(ValueError):
    """Neither the interpreter nor the model can go on; the message says why."""


class Emulate(Protocol):
    """What says what a line comes to that the interpreter cannot run: its value, or the variables that it changes.

    `seen` is what the line depends on of the `state`. Raises Stuck.
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
    """A program on its way through a sandbox. `state` are its variables that are plain data, `trace` the lines done."""

    def __init__(self, sandbox: Sandbox, emulate: Emulate, most: int) -> None:
        self._sandbox = sandbox
        self._emulate = emulate
        self._left = most
        self._loops = 0
        self.state: dict[str, Any] = {}
        self.trace: list[dict[str, Any]] = []
        self.capped = False

    async def run(self, program: str) -> Execution:
        """Go through a program and return what `answer` is then. Raises Stuck; SyntaxError for what is no Python."""
        try:
            await self._block(ast.parse(program).body)
        except RecursionError:
            raise Stuck("the program is nested too deep") from None
        return await self._sandbox.run("answer")

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
        """Keep what a loop goes through under a name of its own, and return how many these are."""
        self._count()
        # Counted by a loop and no function: a program may have given `list` and `len` another meaning.
        counted = f"count_{items}"
        program = (
            f"{items} = [*{ast.unparse(node.iter)}]\n{counted} = 0\nfor _ in {items}:\n    {counted} += 1\n{counted}"
        )
        ran = await self._sandbox.run(program)
        if isinstance(ran.value, int):
            return ran.value
        found = await self._ask(ast.unparse(node.iter), "value", node.iter)
        if not isinstance(found, list) or (await self._sandbox.run("None", inputs={items: found})).failure:
            raise Stuck(f"`{_head(node)}` has no list to go through")
        return len(found)

    async def _while(self, node: ast.While) -> Flow | None:
        while await self._truth(node.test, node):
            if await self._block(node.body) == "break":
                return None
        return await self._block(node.orelse)

    async def _truth(self, test: ast.expr, node: ast.stmt) -> bool:
        """Return whether a condition holds: by the interpreter, else by the model."""
        self._count()
        ran = await self._sandbox.run(f"True if ({ast.unparse(test)}) else False")
        value = ran.value if ran.failure is None else await self._ask(ast.unparse(test), "value", test)
        value = value.strip().lower() in ("true", "yes") if isinstance(value, str) else bool(value)
        self._done(_head(node), value)
        return value

    async def _statement(self, node: ast.stmt) -> None:
        self._count()
        ran = await self._sandbox.run(ast.unparse(node))
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
            raise Stuck(f"`{_head(node)}` changes what is no variable")

    async def _ask(self, line: str, wants: Emulated, node: ast.AST) -> Any:
        seen = {name: self.state[name] for name in _names(node) if name in self.state}
        return await self._emulate(line, wants, state=self.state, seen=seen, trace=self.trace)

    async def _changes(self, node: ast.AST) -> dict[str, Any]:
        """Return the variables of a line that are others now, and take them into the state."""
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
    """Return the variables that a line names, in order, but for functions that it only calls."""
    called = {id(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)}
    named = (part for part in ast.walk(node) if isinstance(part, ast.Name) and id(part) not in called)
    return list(dict.fromkeys(name.id for name in named))


def _only_target(node: ast.stmt) -> str:
    """Return the one variable that a line assigns, to which a mere value belongs. Raises Stuck."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.AugAssign(target=ast.Name(id=name)):
            return name
    raise Stuck(f"`{_head(node)}`: the model said a value and no changes")


def _head(node: ast.stmt) -> str:
    return ast.unparse(node).partition("\n")[0]


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)


LONGEST_VALUE: Final = 4_000
"""How many characters of a variable's value a request shows."""
LONGEST_RESULT: Final = 200
"""How many characters of what a line done came to a request shows."""
MOST_LINES: Final = 50
"""How many of the lines done a request shows, the last ones."""

_YES_NO: Final = {"yes": True, "no": False}


class Emulator:
    """The model as interpreter of a program: what a call or line comes to, the same one over the same values once."""

    def __init__(self, task: Task, program: str, limit: int) -> None:
        self.task, self.program = task, program
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
        reply = await self.task.ask("emulate", temperature=0.0, program=self.program, **shown)
        try:
            return read_value(reply.said)
        except ValueError:
            self.task.note(reply, "the reply is no value")
            raise Stuck(f"the model gives no value for `{shown['line']}`") from None


def _shortened(value: Any, most: int) -> Any:
    """Return a value as a prompt shows it: a long one as a text that is cut."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= most else f"{text[:most]}…"


def read_value(text: str) -> Any:
    """Return the value in a reply: a literal, yes or no, or one word as text. Raises ValueError."""
    text = text.strip().partition("\n")[0].strip("` ").removesuffix(".")
    if text.lower() in _YES_NO:
        return _YES_NO[text.lower()]
    return text if text.isalpha() and text.lower() not in ("true", "false", "null", "none") else read_json(text)


def literal(value: Any) -> str:
    """Return a value as Python writes it, texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)
