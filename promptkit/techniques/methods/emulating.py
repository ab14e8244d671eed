"""A model as the interpreter of what no interpreter can run: calls and lines, and the values in its replies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from promptkit.techniques.methods.stepping import Stuck, Wants
from promptkit.techniques.reading import read_json
from promptkit.techniques.task import Task

LONGEST_VALUE: Final = 4_000
"""How many characters of a variable's value a request shows."""
LONGEST_RESULT: Final = 200
"""How many characters of what a line done came to a request shows."""
MOST_LINES: Final = 50
"""How many of the lines done a request shows, the last ones."""

_SAID: Final = {"yes": True, "no": False}


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
        wants: Wants,
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
        shown["state"] = {name: _cut(value, LONGEST_VALUE) for name, value in shown["state"].items()}
        shown["trace"] = [
            {**done, "result": _cut(done["result"], LONGEST_RESULT)} for done in shown["trace"][-MOST_LINES:]
        ]
        reply = await self.task.ask("emulate", temperature=0.0, program=self.program, **shown)
        try:
            return read_value(reply.said)
        except ValueError:
            self.task.note(reply, "the reply is no value")
            raise Stuck(f"the model gives no value for `{shown['line']}`") from None


def _cut(value: Any, most: int) -> Any:
    """Return a value as a prompt shows it: a long one as a text that is cut."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= most else f"{text[:most]}…"


def read_value(text: str) -> Any:
    """Return the value in a reply: a literal, yes or no, or one word as text. Raises ValueError."""
    text = text.strip().partition("\n")[0].strip("` ").removesuffix(".")
    if text.lower() in _SAID:
        return _SAID[text.lower()]
    return text if text.isalpha() and text.lower() not in ("true", "false", "null", "none") else read_json(text)


def literal(value: Any) -> str:
    """Return a value as Python writes it, texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return repr(value)
