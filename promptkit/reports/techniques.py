"""Techniques as people read them: the catalog, one technique, recommendations, comparisons, preparations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptkit.reports.evaluation.comparisons import comparison_lines, comparison_notes
from promptkit.reports.layout import PARAGRAPH_WIDTH, columns, paragraph
from promptkit.reports.text import counted, one_line, row_warning_texts, seconds_text, tokens_text, visible
from promptkit.storage.strict_json import plain

if TYPE_CHECKING:
    from promptkit.engine.preparation import PreparedStep
    from promptkit.engine.results import Result
    from promptkit.evaluation.recommendation.recommend import Recommendation
    from promptkit.evaluation.recommendation.technique_comparison import TechniqueComparison, TechniqueResult
    from promptkit.project import Project
    from promptkit.runtimes.base import Message, Request
    from promptkit.techniques.description import Parameter
    from promptkit.techniques.registry import Technique

LONGEST_FORMULA = 90
SHOWN_TASKS = 3
WITH_TITLES = 140
"""The width from which titles have a column."""


def catalog_text(techniques: Sequence[Technique], project: Project, *, width: int = PARAGRAPH_WIDTH) -> str:
    """Return the techniques as a table of at most `width`: name, most requests at its defaults, family, needs, tasks.

    A table of WITH_TITLES characters has a column of titles; one below PARAGRAPH_WIDTH has no families, so that
    names are not broken.
    """
    from promptkit.techniques.description import default_cost

    rows: list[tuple[str, ...]] = [("technique", "title", "requests ≤", "family", "needs", "tasks")]
    for technique in techniques:
        most = default_cost(technique, project).requests
        needs = " ".join(sorted(technique.needs)) or "-"
        rows.append(
            (
                technique.name,
                (technique.card.title or technique.name),
                f"{most:g}",
                technique.card.family or "-",
                needs,
                _first_tasks(technique.card.tasks),
            )
        )
    if width < PARAGRAPH_WIDTH:
        rows = [(name, "requests" if at == 0 else most, *rest) for at, (name, _, most, _, *rest) in enumerate(rows)]
        return "\n".join(columns(rows, right=[1], width=width))
    if width < WITH_TITLES:
        rows = [(name, "requests" if at == 0 else most, *rest) for at, (name, _, most, *rest) in enumerate(rows)]
        return "\n".join(columns(rows, right=[1], width=width))
    return "\n".join(columns(rows, right=[2], width=width))


def _first_tasks(tasks: Sequence[str]) -> str:
    """Return the first tasks and the number of the others, so that a line fits."""
    more = f" +{len(tasks) - SHOWN_TASKS}" if len(tasks) > SHOWN_TASKS else ""
    return " ".join(tasks[:SHOWN_TASKS]) + more if tasks else "-"


def technique_text(
    technique: Technique, project: Project, example: Result | None, *, width: int = PARAGRAPH_WIDTH
) -> str:
    """Return the description of a technique and, if it has an example, each prompt that it sends there.

    Only lines of prompts are wider than `width`.
    """
    return visible("\n".join(_technique_lines(technique, project, example, min(width, PARAGRAPH_WIDTH))))


def _technique_lines(technique: Technique, project: Project, example: Result | None, width: int) -> Iterator[str]:
    card = technique.card
    yield from paragraph(" · ".join(filter(None, (technique.name, card.title, card.family))), width=width)
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
    """Yield facts about a technique, a line each: a name and a text, which may be empty."""
    from promptkit.techniques.description import default_cost, paper_facts, usage

    card = technique.card
    use = usage(technique)
    free, bound = (default_cost(technique, project, decide=decide) for decide in ("generate", "constrain"))
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
    """Yield the parameters of a technique and of its preparation, with the explanations of their docstrings."""
    from promptkit.techniques.description import parameter_notes, preparation_parameters, step_parameters

    yield from _table_of("parameter", step_parameters(technique), parameter_notes(technique.function), width)
    if technique.prepare:
        head = "in preparation (techniques prepare)"
        yield from _table_of(head, preparation_parameters(technique), parameter_notes(technique.prepare), width)


def _table_of(head: str, found: Sequence[Parameter], notes: Iterable[str], width: int) -> Iterator[str]:
    rows = [(head, "default", "in the paper")]
    for parameter in found:
        paper = "" if parameter.paper is None else _plain(parameter.paper)
        choices = f" ({', '.join(map(str, parameter.choices))})" if parameter.choices else ""
        rows.append((parameter.name, f"{_plain(parameter.default)}{choices}", paper))
    if found:
        yield from ("", *columns(rows, width=width))
    for text in notes:
        yield from ("", *paragraph(text, width=width))


def _calls(technique: Technique, width: int) -> Iterator[str]:
    """Yield the kinds of call and, for those with demonstrations, the fields of a row of these."""
    from promptkit.techniques.description import call_specs, hidden_sections

    yield ""
    rows = [("call", "produces", "leaves out of the prompt", "what it does")]
    demos = [("demonstrations of your own", "fields of a row")]
    for call in call_specs(technique):
        made = f"{call.product}, after thoughts" if call.thinks else call.product
        out = "all but the persona" if call.hides == "all" else " ".join(hidden_sections(call)) or "-"
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
    """Yield the messages of a request, or the number of an earlier call with the same ones, and then the begun turn."""
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


LEGEND = (
    "The score: points for the fit with the task and the input, minus points for cost and for too small a model. "
    "The basis: P the technique's paper, checked; V one of the survey's 29 tasks; S, L second-hand lists of its "
    "results; M memory. More in docs/using-techniques.md under The score."
)


def recommendation_text(found: Recommendation, *, width: int = PARAGRAPH_WIDTH) -> str:
    """Return the techniques, best first, each with its cost and reasons, then those dropped, then a legend."""
    return visible("\n".join(_recommendation_lines(found, min(width, PARAGRAPH_WIDTH))))


def _recommendation_lines(found: Recommendation, width: int) -> Iterator[str]:
    for place, recommended in enumerate(found.ranked, start=1):
        requests = counted(round(recommended.cost.requests), "request")
        most = f"at most {requests} a row, {recommended.cost.depth:g} deep"
        line = f"{place}. {recommended.name} · {recommended.score:.2f} · {most}"
        yield from paragraph(line, width=width, rest="   ")
        for reason in recommended.reasons:
            yield from paragraph(reason, width=width, first="   ", rest="   ")
    if found.dropped:
        yield from ("", "dropped:")
        for left_out in found.dropped:
            yield from paragraph(f"{left_out.name}: {left_out.reason}", width=width, first="   ", rest="     ")
    yield from ("", *paragraph(LEGEND, width=width))


def recommendation_record(found: Recommendation) -> dict[str, Any]:
    """Return a recommendation as the documented JSON object."""
    return {
        "task": found.task,
        "title": found.title,
        "ranked": [
            {
                "technique": recommended.spec,
                "score": round(recommended.score, 3),
                "basis": recommended.basis,
                "calls": recommended.cost.calls,
                "requests": recommended.cost.requests,
                "depth": recommended.cost.depth,
                "reasons": list(recommended.reasons),
                "prepares": recommended.prepares,
            }
            for recommended in found.ranked
        ],
        "dropped": [{"technique": dropped.name, "reason": dropped.reason} for dropped in found.dropped],
    }


COLUMNS = ("technique", "right", "accuracy", "95 % interval", "calls", "requests", "tokens", "time", "")
NUMBERS = range(1, 8)
LEFT_OUT_WHEN_NARROW = ("accuracy", "calls", "")
"""Columns that a narrow table leaves out: `right` and `requests` say nearly the same, and notes get their own lines."""
ABOUT = (
    "Calls, requests, tokens (in+out) and time (the model's own) are per row.",
    "Dominated: another technique was right at least as often for no more requests, and better in one of the two.",
    "Techniques that are not dominated come first, the most accurate at the top.",
    "Each interval is that technique's own (Wilson).",
)


def technique_comparison_text(comparison: TechniqueComparison, *, width: int = PARAGRAPH_WIDTH) -> str:
    """Return a comparison as a table with a technique a line, the tests of differences, and what the columns mean."""
    width = min(width, PARAGRAPH_WIDTH)
    lines = [*result_lines(comparison.results, width)]
    if comparison.record is not None:
        differences = [line.plain.rstrip() for line in comparison_lines(comparison.record, width)]
        lines += ["", *differences] if differences else []
        notes = [*ABOUT, *comparison_notes(comparison.record)]
    else:
        notes = [*ABOUT]
    return "\n".join([*lines, "", *(line for text in notes for line in paragraph(text, width=width, rest="  "))])


def result_lines(results: Sequence[TechniqueResult], width: int = PARAGRAPH_WIDTH) -> list[str]:
    """Return the table, and below it why a technique was not measured, or not on all rows.

    A table narrower than PARAGRAPH_WIDTH leaves out LEFT_OUT_WHEN_NARROW and has its notes below.
    """
    rows = [COLUMNS, *map(_row, results)]
    notes = [f"{result.name}: {one_line(result.reason)}" for result in results if result.reason]
    if width < PARAGRAPH_WIDTH:
        rows = [
            tuple(cell for name, cell in zip(COLUMNS, row, strict=True) if name not in LEFT_OUT_WHEN_NARROW)
            for row in rows
        ]
        some = (result for result in results if result.state != "unavailable")
        notes = [*(f"{result.name}: {text}" for result in some if (text := _notes(result))), *notes]
    lines = columns(rows, right=range(1, len(rows[0])) if width < PARAGRAPH_WIDTH else NUMBERS, width=width)
    reasons = [line for text in notes for line in paragraph(text, width=width, rest="  ")]
    return [*lines, "", *reasons] if reasons else lines


def _row(result: TechniqueResult) -> tuple[str, ...]:
    if not result.n or result.state == "unavailable":
        return (result.name, *["-"] * len(NUMBERS), _notes(result))
    low, high = result.interval
    return (
        result.name,
        f"{result.right}/{result.n}",
        f"{result.accuracy:.1%}".replace("%", " %"),
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{result.per_row('calls'):.3g}",
        f"{result.per_row('requests'):.3g}",
        f"{result.per_row('tokens_in'):.0f}+{result.per_row('tokens_out'):.0f}",
        seconds_text(result.per_row("seconds")),
        _notes(result),
    )


def _notes(result: TechniqueResult) -> str:
    """Return the notes that a line needs to be read rightly."""
    if result.state == "unavailable":
        return "not measured, see below"
    notes = [
        f"{result.n} of {result.rows} rows" if result.missing else "",
        f"{result.unparsed} unparsed" if result.unparsed else "",
        f"{result.truncated} cut off" if result.truncated else "",
        *row_warning_texts(result.warnings, result.n, result.warned_by),
        f"{counted(result.seen, 'row')} seen when it was prepared" if result.seen else "",
        f"dominated by {result.dominated_by}" if result.dominated_by else "",
    ]
    return " · ".join(filter(None, notes))


def prepared_text(prepared: PreparedStep) -> str:
    """Return the result of a preparation in one line."""
    artifact = prepared.artifact
    parts = [f"{counted(len(artifact.items), 'item')} from {counted(len(artifact.rows), 'row')}"]
    if artifact.uncertain:
        parts.append(f"{counted(len(artifact.uncertain), 'uncertain item')} to check")
    if prepared.unfilled:
        parts.append(f"{prepared.unfilled} to fill in")
    return " · ".join(parts)
