"""Every metric as a part of its page, made from the classes: `python -m tests.docs.refresh docs/metrics.md`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from promptkit.evaluation.metrics.base import Metric, NoParameters
from promptkit.evaluation.metrics.registry import kind_named, kinds
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "metrics.md"
MARK = "## Every metric\n"
HEAD = """
Made from the metrics themselves by `python -m tests.docs.refresh docs/metrics.md`.
"""


class Said(NamedTuple):
    """Which interval a metric has, and by what two variants are compared; `example` is how a suite writes it."""

    example: str
    interval: str
    comparison: str


RIGHT = ("Wilson", "Tango, McNemar's mid-p")
GRADED = ("Wilson's form", "t with two pseudo-rows, sign flips")
AMOUNT = ("median, limits by ranks", "ratio of geometric means, t")
RATIO = ("Wilson's form, by influences", "t on influences, swapped rows")
CORPUS = ("percentile bootstrap", "percentile bootstrap, swapped rows")

SAID: Mapping[str, Said] = {
    "exact": Said("exact", *RIGHT),
    "normalized": Said("normalized", *RIGHT),
    "regex": Said('{regex: "^[A-Z]{2}-[0-9]+$"}', *RIGHT),
    "contains": Said("{contains: {any: [sorry, apologies], ignore_case: true}}", *RIGHT),
    "number": Said("{number: {tolerance: 0.01}}", *RIGHT),
    "label": Said("label", *RIGHT),
    "balanced_accuracy": Said("balanced_accuracy", *RATIO),
    "f1": Said("{f1: macro}", f"{RATIO[0]}; of `micro` Wilson", f"{RATIO[1]}; of `micro` Tango, McNemar's mid-p"),
    "set_f1": Said(
        "{set_f1: {by: row}}",
        f"{GRADED[0]}; by `micro` with influences",
        f"{GRADED[1]}; by `micro` {RATIO[1]}",
    ),
    "json": Said("{json: {fields: [customer, date]}}", *GRADED),
    "schema": Said("{schema: {schema: {type: object, properties: {sum: {}}, required: [sum]}}}", *RIGHT),
    "bleu": Said("bleu", *CORPUS),
    "chrf": Said("{chrf: {word_order: 2}}", *CORPUS),
    "rouge": Said("{rouge: {variant: rougeL}}", *GRADED),
    "edit": Said("edit", *GRADED),
    "embedding": Said("{embedding: {model: ollama/nomic-embed-text}}", *GRADED),
    "code": Said("{code: {seconds: 2}}", *RIGHT),
    "table": Said("table", *RIGHT),
    "tool_calls": Said("{tool_calls: {ordered: false}}", *RIGHT),
    "calibration": Said("calibration", f"{GRADED[0]}; none of the calibration error", GRADED[1]),
    "length": Said(
        "{length: {max: 60}}",
        f"{AMOUNT[0]}; with bounds Wilson",
        f"{AMOUNT[1]}; with bounds Tango, McNemar's mid-p",
    ),
    "tokens": Said("{tokens: out}", *AMOUNT),
    "latency": Said("latency", *AMOUNT),
    "first_token": Said("first_token", *AMOUNT),
    "tokens_per_second": Said("tokens_per_second", *AMOUNT),
    "format": Said("format", *RIGHT),
    "agreement": Said("agreement", CORPUS[0], "none"),
    "pass_at": Said("{pass_at: {k: 3}}", f"{GRADED[0]}, rows as cells", GRADED[1]),
    "pass_all": Said("{pass_all: {k: 3}}", f"{GRADED[0]}, rows as cells", GRADED[1]),
    "judge": Said(
        "{judge: {rubric: Does it name an action?, scale: [1, 5]}}",
        f"{GRADED[0]}; with labels prediction-powered",
        f"{GRADED[1]}; with labels prediction-powered",
    ),
    "human": Said(
        "{human: [poor, fair, good]}",
        "Wilson; of more than two levels Wilson's form",
        "Tango, McNemar's mid-p; of more than two levels t with two pseudo-rows, sign flips",
    ),
    "pairwise": Said(
        "{pairwise: {rubric: Which names an action?}}", "Tango, of consistent wins and losses", "the same"
    ),
    "assert": Said("{assert: {field: checks}}", *RIGHT),
    "python": Said(
        '{python: "metrics/mine.py:score"}',
        "Wilson for 0 and 1, Wilson's form within bounds, median without",
        "Tango, t with two pseudo-rows, or ratio",
    ),
}
"""Of each kind; a test holds it to the families of the classes and to the methods that their differences name."""

EXTRAS = dict.fromkeys(("bleu", "chrf", "rouge"), "text")
"""The kinds that need an extra; a test tries them without its packages."""


def page() -> str:
    """Return the page: what a person wrote above the mark, and every metric below it."""
    written = PAGE.read_text("utf-8").partition(MARK)[0]
    return "\n".join([written + MARK + HEAD, *_overview(), "", *(line for word in kinds() for line in _section(word))])


def _overview() -> Iterator[str]:
    yield from ("| metric | what it says | interval | comparison |", "| --- | --- | --- | --- |")
    for word in kinds():
        said = SAID[word]
        yield f"| [`{word}`](#{word}) | {kind_named(word).about} | {said.interval} | {said.comparison} |"


def _section(word: str) -> Iterator[str]:
    kind = kind_named(word)
    yield from (f"### {word}", "", f"`NAME: {SAID[word].example}`", "")
    yield from (*_paragraphs(kind), *_facts(kind))
    if kind.Parameters is not NoParameters:
        yield from (*_paragraphs(kind.Parameters), "| parameter | default | |", "| --- | --- | --- |")
        for name, field in kind.Parameters.model_fields.items():
            cells = (f"`{field.alias or name}`", _default(field), _choices(field))
            yield f"| {' | '.join(cells)} |".replace("|  |", "| |")
        yield ""


def _paragraphs(kind: type) -> Iterator[str]:
    for paragraph in inspect.cleandoc(kind.__doc__ or "").split("\n\n"):
        yield from (" ".join(paragraph.split()), "")


def _facts(kind: type[Metric]) -> Iterator[str]:
    facts = []
    if not kind.higher_is_better and kind.bounds is not None:
        facts.append("Lower is better.")
    if not kind.needs_expected:
        facts.append("Nothing need be expected.")
    if extra := EXTRAS.get(kind.kind):
        facts.append(f"Needs the extra `{extra}`: `pip install 'promptkit[{extra}]'`.")
    if facts:
        yield from (" ".join(facts), "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    return "" if field.default is None else f"`{json.dumps(field.default)}`"


def _choices(field: FieldInfo) -> str:
    literal: Any = field.annotation
    choices = get_args(literal) if get_origin(literal) is Literal else ()
    return ", ".join(f"`{choice}`" for choice in choices)
