"""The catalog of techniques as a page, made from their cards: `python -m tests.docs.refresh` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from promptkit.engine.render import example_file
from promptkit.project import LIBRARY, Project
from promptkit.techniques.description import (
    Parameter,
    call_specs,
    default_cost,
    hidden_sections,
    paper_facts,
    parameter_notes,
    preparation_parameters,
    step_parameters,
    usage,
)
from promptkit.techniques.registry import Technique, find_technique, technique_names
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "techniques.md"
HEAD = """\
# The catalog of techniques

Generated from the techniques by `python -m tests.docs.refresh`. [Using techniques](using-techniques.md) shows how to
put one on a step or over another and how to prepare it, [Writing a technique](writing-a-technique.md) how to add one,
and [Techniques, measured](techniques-measured.md) their results on a small model. `promptkit techniques show NAME`
prints each prompt that a technique sends.

A *call* is one rendered template and its reply, as papers count. A *request* is sent to a server: thoughts that are
then decided under a grammar are two. The column *requests* has the most for one row at the defaults, under `decide:
constrain`. A call *leaves out* sections of the user's prompt; one that leaves out the instructions and judges or plans
has them, and what the answer is, in its own words.
"""


def catalog() -> str:
    """Return the page."""
    project = Project(LIBRARY / "pipelines" / "techniques")
    found = [technique for name in technique_names(project) if (technique := find_technique(name, project))]
    rows: list[tuple[str, ...]] = [("technique", "", "family", "requests", "needs", "suits")]
    for each in found:
        most = f"{default_cost(each, project).requests:g}"
        suits, needs = ", ".join(each.card.tasks), ", ".join(sorted(each.needs)) or "-"
        rows.append((f"[`{each.name}`](#{each.name})", each.card.title, each.card.family or "", most, needs, suits))
    return "\n".join([HEAD, *_table(rows), "", *(line for each in found for line in _section(each, project))])


def _section(technique: Technique, project: Project) -> Iterator[str]:
    card = technique.card
    yield from (f"## {technique.name}", "", card.about, "")
    if card.citation:
        yield from (str(card.citation), "")
    yield from (f"{number}. {line}" for number, line in enumerate(card.algorithm, start=1))
    yield ""
    facts = {
        "calls": f"`{technique.calls}`",
        "requests": f"`{technique.requests}`",
        "tokens": card.growth,
        "needs": ", ".join(sorted(technique.needs)),
        "helped by": ", ".join(card.soft),
        "roles": ", ".join(f"`{role.name}`{' (optional)' if role.optional else ''}" for role in technique.roles),
        "comfortable": f"from {card.size:g}B parameters" if card.size else "",
        "prepared": "by `promptkit techniques prepare`" if technique.prepare else "",
        "the paper": ", ".join(f"{name} {_plain(value)}" for name, value in paper_facts(technique).items()),
        "use": f"`{usage(technique)}`",
        "leaves out": "; ".join(f"`{given}`" if given.isidentifier() else given for given in card.leaves_out),
    }
    yield from _table([("", ""), *((name, text) for name, text in facts.items() if text)])
    yield ""
    yield from _table([("call", "produces", "leaves out of the prompt", "what it does"), *_calls(technique)])
    yield ""
    for head, settings, function in (
        ("parameter", step_parameters(technique), technique.function),
        ("parameter of the preparation", preparation_parameters(technique), technique.prepare),
    ):
        if settings and function:
            yield from _table([(head, "default", "in the paper"), *_parameters(settings)])
            yield ""
            yield from (line for part in parameter_notes(function) for line in (part, ""))
    if example_file(technique.name, project):
        yield from (f"Example: [`{technique.name}`](../pipelines/techniques/{technique.name}.yaml).", "")


def _calls(technique: Technique) -> Iterator[tuple[str, ...]]:
    for call in call_specs(technique):
        made = f"{call.product}, after thoughts" if call.thinks else call.product
        sections = ", ".join(f"`{section}`" for section in hidden_sections(call))
        yield f"`{call.name}`", made, "all but `persona`" if call.hides == "all" else sections or "-", call.about


def _parameters(settings: Iterable[Parameter]) -> Iterator[tuple[str, ...]]:
    for each in settings:
        choices = f" ({', '.join(f'`{choice}`' for choice in each.choices)})" if each.choices else ""
        yield f"`{each.name}`", f"`{_plain(each.default)}`{choices}", "" if each.paper is None else _plain(each.paper)


def _table(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    head, *rest = rows
    yield f"| {' | '.join(head)} |".replace("|  |", "| |")
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rest:
        cells = (cell.replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
