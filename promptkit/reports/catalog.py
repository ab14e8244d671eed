"""The catalog of techniques as people read it: one line each, and one at length."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptkit.reports.columns import WIDTH, columns, paragraph
from promptkit.reports.numbers import counted, tokens_text
from promptkit.reports.text import visible
from promptkit.storage import plain

if TYPE_CHECKING:
    from promptkit.engine import Result
    from promptkit.project import Project
    from promptkit.runtimes import Message, Request
    from promptkit.techniques import Parameter, Technique

LONGEST_FORMULA = 90
SHOWN_TASKS = 3
WITH_TITLES = 140
"""Characters of a line from which titles have a column."""


def catalog_text(techniques: Sequence[Technique], project: Project, *, width: int = WIDTH) -> str:
    """Return the techniques as a table of at most `width`: name, most requests at its defaults, family, needs, tasks.

    Titles have a column where there is room for them.
    """
    from promptkit.techniques import usual_cost

    rows: list[tuple[str, ...]] = [("technique", "title", "requests ≤", "family", "needs", "tasks")]
    for each in techniques:
        most = usual_cost(each, project).requests
        needs = " ".join(sorted(each.needs)) or "-"
        rows.append(
            (each.name, (each.card.title or each.name), f"{most:g}", each.card.family, needs, _first(each.card.tasks))
        )
    if width < WITH_TITLES:
        rows = [(name, "requests" if at == 0 else most, *rest) for at, (name, _, most, *rest) in enumerate(rows)]
        return "\n".join(columns(rows, right=[1], width=width))
    return "\n".join(columns(rows, right=[2], width=width))


def _first(tasks: Sequence[str]) -> str:
    """Return the first tasks and how many more there are, so that a line fits."""
    more = f" +{len(tasks) - SHOWN_TASKS}" if len(tasks) > SHOWN_TASKS else ""
    return " ".join(tasks[:SHOWN_TASKS]) + more if tasks else "-"


def technique_text(technique: Technique, project: Project, example: Result | None, *, width: int = WIDTH) -> str:
    """Return all that is known of a technique, and, where it has an example, each prompt that it sends there.

    Lines are at most `width` wide, but for those of prompts.
    """
    return visible("\n".join(_lines(technique, project, example, min(width, WIDTH))))


def _lines(technique: Technique, project: Project, example: Result | None, width: int) -> Iterator[str]:
    card = technique.card
    yield from paragraph(f"{technique.name} · {card.title or technique.name} · {card.family}", width=width)
    yield from paragraph(card.about or technique.about, width=width)
    if card.citation:
        yield from ("", *paragraph(str(card.citation), width=width, rest="  "))
    if card.algorithm:
        yield ""
        for number, line in enumerate(card.algorithm, start=1):
            yield from paragraph(f"{number}. {line}", width=width, rest="   ")
    yield ""
    for name, text in _facts(technique, project):
        if text:
            yield from paragraph(f"{name:<9}  {text}", width=width, rest=" " * 11)
    yield from _parameters(technique, width)
    yield from _calls(technique, width)
    yield from _example(example)


def _facts(technique: Technique, project: Project) -> Iterator[tuple[str, str]]:
    """Yield what is known of a technique in a line each, a name and a text, which may be empty."""
    from promptkit.techniques import paper_facts, usage, usual_cost

    card = technique.card
    use = usage(technique)
    free, bound = (usual_cost(technique, project, decide=decide) for decide in ("generate", "constrain"))
    for name, formula in (("calls", technique.calls), ("requests", technique.requests)):
        yield name, formula if len(formula) <= LONGEST_FORMULA else ""
    yield "at most", f"requests at the defaults: {free.requests:g} (decide: generate), {bound.requests:g} (constrain)"
    yield "depth", counted(round(bound.depth), "request") + (" that wait for each other" if bound.depth > 1 else "")
    yield from (
        ("tokens", card.growth),
        ("needs", ", ".join(sorted(technique.needs))),
        ("helps", ", ".join(card.soft)),
        ("roles", ", ".join(f"{role.name}{' (optional)' if role.optional else ''}" for role in technique.roles)),
        ("tasks", ", ".join(card.tasks)),
        ("model", f"{card.size:g}B parameters or more" if card.size else ""),
        ("paper", ", ".join(f"{name} {_plain(value)}" for name, value in paper_facts(technique).items())),
        ("use", f"{use}    # or inputs named so" if "INPUT" in use else use),
        ("prepare", f"promptkit techniques prepare {technique.name} TARGET --data FILE" if technique.prepare else ""),
    )


def _parameters(technique: Technique, width: int) -> Iterator[str]:
    """Yield the parameters of a technique and of its preparation, each with what the docstring says of them."""
    from promptkit.techniques import explained, preparation_settings_of, settings_of

    yield from _table_of("parameter", settings_of(technique), explained(technique.function), width)
    if technique.prepare:
        head = "in preparation (techniques prepare)"
        yield from _table_of(head, preparation_settings_of(technique), explained(technique.prepare), width)


def _table_of(head: str, found: Sequence[Parameter], said: Iterable[str], width: int) -> Iterator[str]:
    rows = [(head, "default", "in the paper")]
    for each in found:
        paper = "" if each.paper is None else _plain(each.paper)
        choices = f" ({', '.join(map(str, each.choices))})" if each.choices else ""
        rows.append((each.name, f"{_plain(each.default)}{choices}", paper))
    if found:
        yield from ("", *columns(rows, width=width))
    for text in said:
        yield from ("", *paragraph(text, width=width))


def _calls(technique: Technique, width: int) -> Iterator[str]:
    """Yield the kinds of call, and what a row of one's own demonstrations holds for those that have some."""
    from promptkit.techniques import hidden, kinds_of_call

    yield ""
    rows = [("call", "produces", "leaves out of the prompt", "what it does")]
    demos = [("demonstrations of your own", "fields of a row")]
    for call in kinds_of_call(technique):
        made = f"{call.produces}, after thoughts" if call.thinks else call.produces
        out = "all but the persona" if call.hides == "all" else " ".join(hidden(call)) or "-"
        rows.append((call.name, made, out, call.about))
        if call.demos:
            demos.append((f"demos: {{{call.name}: FILE}}", ", ".join(call.demos[0])))
    yield from columns(rows, width=width)
    if len(demos) > 1:
        yield from ("", *columns(demos, width=width))


def _example(example: Result | None) -> Iterator[str]:
    if example is None:
        return
    yield ""
    yield f"on its example (promptkit run {example.target}), with replies written for it:"
    calls = [call for node in example.trace.nodes() for call in sorted(node.calls, key=lambda call: call.started)]
    known: dict[tuple[tuple[Message, ...], str], int] = {}
    for number, call in enumerate(calls, start=1):
        tokens = tokens_text(call.reply.tokens_in or 0, call.reply.tokens_out or 0)
        yield f"── call {number}: {call.call} · level {call.level} · {tokens}"
        yield from _request(call.request, known)
        known.setdefault((call.request.messages, call.request.begun), number)
        yield from ("[reply]", call.reply.text.strip("\n"))
    if example.error:
        yield from ("── error", str(example.error))
    else:
        yield from ("── answer", json.dumps(example.output, ensure_ascii=False))


def _request(request: Request, known: Mapping[tuple[tuple[Message, ...], str], int]) -> Iterator[str]:
    """Yield the messages of a request, or the earlier call that is known to have the same, and then the begun turn."""
    whole = known.get((request.messages, request.begun))
    if whole is not None:
        yield f"(the same messages as call {whole})"
        return
    same = [number for (messages, _), number in known.items() if messages == request.messages and request.begun]
    if same:
        yield f"(the same messages as call {same[0]}, but for the begun turn)"
    else:
        for message in request.messages:
            yield from (f"[{message.role}]", message.content)
    if request.begun:
        yield from ("[assistant, begun]", request.begun)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
