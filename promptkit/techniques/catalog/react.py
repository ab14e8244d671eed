"""ReAct: thoughts and actions in turn, each action with its observation."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from promptkit.answers.text import undressed
from promptkit.errors import ToolFailed, ToolRefused
from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.document_reader import DocumentReader
from promptkit.techniques.methods.tool_calls import ToolSignature
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.reading import one_line
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

_HEAD: Final = re.compile(r"[*_#]{0,3}[ \t]?Thought[ \t]*\d*[*_]{0,2}[ \t]*:[*_]{0,2}", re.IGNORECASE)
_ACTION: Final = re.compile(r"(?:^|\n)[ \t*_#]*Action[ \t]*\d*[*_]{0,2}[ \t]*:[*_]{0,2}", re.IGNORECASE)
_INVENTED: Final = re.compile(r"\n[ \t*_#]*(?:Observation|Thought)[ \t]*\d*[*_]{0,2}[ \t]*:", re.IGNORECASE)
_CALLED: Final = re.compile(r"[`*]*([A-Za-z]\w*)[ \t]*\((.*)\)[`*.]*[ \t]*", re.DOTALL)
_WITH_INPUT: Final = re.compile(
    r"[`*]*([A-Za-z]\w*)[`*]*[ \t]*\n[ \t*_#]*Action Input[ \t]*\d*[*_]{0,2}[ \t]*:[*_]{0,2}([^\n]*)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Action:
    """An action as a model writes it: `name[argument]`."""

    name: str
    argument: str


def own_part(reply: str) -> str:
    """Return a reply up to an observation or a further thought, which the model invents."""
    return _INVENTED.split(reply.strip(), maxsplit=1)[0].rstrip()


def read_step(reply: str) -> tuple[str, str]:
    """Return the thought of a step, on one line, and its action as written; either is empty if missing."""
    text = own_part(reply)
    text = text[head.end() :] if (head := _HEAD.match(text)) else text
    thought, *action = _ACTION.split(text, maxsplit=1)
    if not action:
        thought = thought.strip().partition("\n")[0]
    return " ".join(thought.split()), action[0].strip() if action else ""


def read_action(text: str) -> Action | None:
    """Return the action in a text, None if it does not have the form `name[argument]` or `name(argument)`.

    A name with a line `Action Input: argument` after it is read too. Quotes around the whole argument are left out. The
    argument ends at the last `]` of the line on which the first `[` is closed, so that it may contain brackets.
    """
    if given := _WITH_INPUT.match(text.strip()):
        return Action(given[1], undressed(given[2]))
    line = text.strip().partition("\n")[0]
    if called := _CALLED.fullmatch(line):
        return Action(called[1], undressed(called[2]))
    name, bracket, rest = text.strip("`*").partition("[")
    if not bracket or not name.strip() or "\n" in name.strip():
        return None
    closed = _closing(rest)
    if closed is None:
        return None
    line = rest[: closed + len(rest[closed:].partition("\n")[0])]
    return Action(name.strip(), undressed(line[: line.rindex("]")]))


def _closing(text: str) -> int | None:
    """Return the position in a text that closes a bracket opened before it; if none does, its last `]`."""
    depth = 1
    for sign in re.finditer(r"[\[\]]", text):
        depth += 1 if sign[0] == "[" else -1
        if depth == 0:
            return sign.start()
    return text.rindex("]") if "]" in text else None


Fallback = Literal["none", "after", "before"]
FINISH, SEARCH, LOOKUP = "finish", "search", "lookup"


@technique(
    needs={"tools", "stop"},
    roles=["question", "documents?"],
    calls="2 * steps + (0 if fallback == 'none' else samples)",
    requests="2 * steps + decided + (0 if fallback == 'none' else samples * (1 + decided))",
    sampling="fallback != 'none'",
)
async def react(
    task: Task,
    *,
    steps: Count = 5,
    observation: Count = 300,
    fallback: Fallback = "none",
    samples: Count = 5,
    temperature: Warmth = 0.7,
) -> Answer:
    """Think, act by one of the step's tools, see what comes back, and so on up to an answer (Yao et al. 2023).

    Where there are documents, `search[…]` and `lookup[…]` read them. `observation` is the most characters of what an
    action gives back. `fallback` asks self-consistency: `after` a walk without an answer, or `before`, and walks only
    if no answer has half of the votes.
    """
    voting = {"self_consistency": {"samples": samples, "temperature": temperature}}
    if fallback == "before":
        voted = await task.run(voting)
        most = max((vote["weight"] for vote in voted.extra.get("votes", ())), default=int(voted.flag is None))
        if 2 * most >= samples:
            return voted
    answer = await walk(task, steps, observation)
    if fallback == "after" and answer.extra.get("capped"):
        return (await task.run(voting)).with_extra(**answer.extra)
    return answer


async def walk(task: Task, most: int, longest: int) -> Answer:
    """Take steps until one finishes with an answer; none within `most` of them is no answer."""
    reader = DocumentReader(task) if task.has_documents else None
    taken: list[dict[str, Any]] = []
    while len(taken) < most:
        exchange, thought, written = await step(task, taken, (SEARCH, LOOKUP) if reader else ())
        action = read_action(written)
        if action and action.name.casefold() == FINISH:
            taken.append({"thought": thought, "action": written})
            answer = task.parse(action.argument)
            if answer.flag and task.decides:
                answer = await task.decide(exchange)
            return answer.with_extra(steps=taken)
        seen = await act(task, action, reader)
        if "text" in seen:
            seen["text"] = short_line(seen["text"], longest)
        taken.append({"thought": thought, "action": short_line(written, longest), **seen})
    return task.no_answer(f"no answer within {most} steps").with_extra(steps=taken, capped=True)


async def step(task: Task, taken: list[dict[str, Any]], reading: Sequence[str]) -> tuple[Exchange, str, str]:
    """Return the next step, its thought and its action; a thought without an action is asked for its action."""
    number = len(taken) + 1
    reading = [name for name in reading if name not in task.tools]
    shown: dict[str, Any] = {
        "number": number,
        "steps": taken,
        "tools": [ToolSignature.of(name, tool).shown for name, tool in task.tools.items()],
        "reading": reading,
        "actions": [*task.tools, *reading, FINISH],
    }
    exchange = await task.ask("step", stop=[f"\nObservation {number}:", f"\nThought {number + 1}:"], **shown)
    exchange = replace(exchange, reply=replace(exchange.reply, text=f" {own_part(exchange.said)}"))
    thought, action = read_step(exchange.text)
    if not action:
        named = await task.ask("action", demos=task.demonstrations("step"), thought=thought, **shown)
        exchange = replace(exchange, request=replace(exchange.request, begun=named.request.begun), reply=named.reply)
        action = named.said
    return exchange, thought, action


async def act(task: Task, action: Action | None, reader: DocumentReader | None) -> dict[str, Any]:
    """Return the observation of an action, or the reason why there is none."""
    if action is None:
        return {"found": "unread"}
    names = {name.casefold(): name for name in task.tools} | {name: name for name in task.tools}
    name = names.get(action.name, names.get(action.name.casefold()))
    if name is not None:
        return await use(task, ToolSignature.of(name, task.tools[name]), action.argument)
    if reader and action.name.casefold() == SEARCH:
        passage = await reader.search(action.argument)
        task.record_tool_call(SEARCH, {"query": action.argument}, passage)
        return text_observation(passage)
    if reader and action.name.casefold() == LOOKUP:
        sentence = reader.look_up(action.argument)
        task.record_tool_call(LOOKUP, {"query": action.argument}, asdict(sentence) if sentence else None)
        return {"found": "sentence", **asdict(sentence)} if sentence else {"found": "nothing"}
    task.record_tool_call(action.name, {}, failure="there is no such tool")
    return {"found": "unknown"}


async def use(task: Task, tool: ToolSignature, argument: str) -> dict[str, Any]:
    """Return the observation of a tool's use: its result, its failure, or how its arguments are written."""
    given = tool.arguments(argument)
    if given is None:
        task.record_tool_call(tool.name, {}, failure=f"these are not its arguments: {argument}")
        return {"found": "misused", "tool": tool.name}
    try:
        return text_observation(await task.tool(tool.name, given))
    except ToolFailed as error:
        task.warn("tool_refused" if isinstance(error, ToolRefused) else "tool_failed")
        return {"found": "failed", "text": str(error)}


def text_observation(result: Any) -> dict[str, Any]:
    """Return a tool's result as an observation."""
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return {"found": "text", "text": text} if text.strip() else {"found": "nothing"}


def short_line(text: str, longest: int) -> str:
    """Return a text on one line, so that it can imitate no step, cut where it is too long."""
    text = one_line(text)
    return text if len(text) <= longest else f"{text[:longest].rstrip()}…"
