"""The catalog of techniques as people read it: one line each, and one at length."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from promptkit.reports.columns import WIDTH, columns, cut
from promptkit.reports.numbers import tokens_text
from promptkit.reports.text import visible
from promptkit.storage import plain

if TYPE_CHECKING:
    from promptkit.engine import Result
    from promptkit.project import Project
    from promptkit.techniques import Technique

SHOWN_TASKS = 3


def catalog_text(techniques: Sequence[Technique], project: Project, *, width: int | None = None) -> str:
    """Return one line a technique, of at most `width`: name, title, most requests at its defaults, family and so on."""
    from promptkit.techniques import usual_cost

    rows = [("technique", "title", "requests ≤", "family", "needs", "tasks")]
    for each in techniques:
        most = usual_cost(each, project).requests
        needs = " ".join(sorted(each.needs)) or "-"
        rows.append((each.name, each.card.title, f"{most:g}", each.card.family, needs, _first(each.card.tasks)))
    return "\n".join(cut(line, width) for line in columns(rows, right=[2]))


def _first(tasks: Sequence[str]) -> str:
    """Return the first tasks and how many more there are, so that a line fits."""
    more = f" +{len(tasks) - SHOWN_TASKS}" if len(tasks) > SHOWN_TASKS else ""
    return " ".join(tasks[:SHOWN_TASKS]) + more if tasks else "-"


def technique_text(technique: Technique, project: Project, example: Result | None) -> str:
    """Return all that is known of a technique, and, where it has an example, each prompt that it sends there."""
    return visible("\n".join(_lines(technique, project, example)))


def _lines(technique: Technique, project: Project, example: Result | None) -> Iterator[str]:
    from promptkit.techniques import usual_cost

    card = technique.card
    yield f"{technique.name} · {card.title or technique.name} · {card.family}"
    yield from wrap(card.about or technique.about, WIDTH)
    if card.citation:
        yield from ("", *wrap(str(card.citation), WIDTH, subsequent_indent="  "))
    if card.algorithm:
        yield ""
        for number, line in enumerate(card.algorithm, start=1):
            yield from wrap(f"{number}. {line}", WIDTH, subsequent_indent="   ")
    yield ""
    free, bound = (usual_cost(technique, project, decide=decide) for decide in ("generate", "constrain"))
    yield f"calls      {technique.calls}"
    yield f"requests   {technique.requests}"
    yield f"at most    requests at the defaults: {free.requests:g} (decide: generate), {bound.requests:g} (constrain)"
    yield f"depth      {bound.depth:g} requests that wait for each other"
    for name, text in (
        ("tokens", card.growth),
        ("needs", ", ".join(sorted(technique.needs))),
        ("helps", ", ".join(card.soft)),
        ("roles", ", ".join(f"{role.name}{' (optional)' if role.optional else ''}" for role in technique.roles)),
        ("tasks", ", ".join(card.tasks)),
        ("model", f"{card.size:g}B parameters or more" if card.size else ""),
    ):
        if text:
            yield from wrap(f"{name:<9}  {text}", WIDTH, subsequent_indent=" " * 11)
    yield from _parameters(technique)
    yield from _calls(technique)
    yield from _example(example)


def _parameters(technique: Technique) -> Iterator[str]:
    from promptkit.techniques import settings_of

    found = settings_of(technique)
    rows = [("parameter", "default", "in the paper")]
    for each in found:
        paper = "" if each.paper is None else _plain(each.paper)
        choices = f" ({', '.join(map(str, each.choices))})" if each.choices else ""
        rows.append((each.name, f"{_plain(each.default)}{choices}", paper))
    others = set(technique.card.paper) - {each.name for each in found}
    rows += [(name, "-", _plain(technique.card.paper[name])) for name in technique.card.paper if name in others]
    if len(rows) > 1:
        yield from ("", *columns(rows))


def _calls(technique: Technique) -> Iterator[str]:
    from promptkit.techniques import hidden, kinds_of_call

    yield ""
    rows = [("call", "produces", "leaves out of the prompt", "what it does")]
    for call in kinds_of_call(technique):
        made = f"{call.produces}, after thoughts" if call.thinks else call.produces
        out = "all but the persona" if call.hides == "all" else " ".join(hidden(call)) or "-"
        rows.append((call.name, made, out, call.about))
    yield from columns(rows)


def _example(example: Result | None) -> Iterator[str]:
    if example is None:
        return
    yield ""
    yield f"on its example (promptkit run {example.target}), with replies written for it:"
    for node in example.trace.nodes():
        for call in sorted(node.calls, key=lambda call: call.started):
            tokens = tokens_text(call.reply.tokens_in or 0, call.reply.tokens_out or 0)
            yield f"── {call.call} · level {call.level} · {tokens}"
            for message in call.request.messages:
                yield from (f"[{message.role}]", message.content)
            if call.request.begun:
                yield from ("[assistant, begun]", call.request.begun)
            yield from ("[reply]", call.reply.text.strip("\n"))
    yield "── answer"
    yield json.dumps(example.output, ensure_ascii=False)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
