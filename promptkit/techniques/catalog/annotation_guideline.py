"""Annotation guideline: the prompt with a guideline, and with rules learnt from mistakes on development rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from promptkit.errors import InputError, Problem
from promptkit.techniques.artifacts import Prepared, Row
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.methods.pool import AnswerComparison, Mistake, compare_answer, f1, question_of
from promptkit.techniques.parameters import Count
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task

EXAMPLES_OF_A_MISTAKE = 3
LONGEST_TEXT = 400
"""The characters of a text that are shown around a mistake in it."""
Frequent = Mapping[str, Any]


async def prepare(task: Task, rows: Sequence[Row], *, rounds: Count = 6, drafted: Count = 3) -> Prepared:
    """Learn rules from the mistakes on labelled development rows; keep each after which the score does not drop.

    All rows are annotated in each of at most `rounds` rounds: first with the guideline alone, then with one more rule.
    When none is left to try, the model drafts one for each of the `drafted` most frequent mistakes. The score is
    relaxed F1 for spans, else the share of right answers. `uncertain` has every rule tried with the scores before and
    after, and the mistakes that stay. Raises InputError for rows without an expected answer.
    """
    expected = [read_expected(task.on(row), row, number) for number, row in enumerate(rows, start=1)]

    async def annotate(rules: list[str]) -> list[AnswerComparison]:
        answers = await task.each(lambda row: annotate_row(task.on(row), rules), rows)
        kinds = [task.on(row).answer_type for row in rows]
        return [compare_answer(*row) for row in zip(kinds, answers, expected, strict=True)]

    kept: list[str] = []
    waiting: list[str] = []
    tried: list[dict[str, Any]] = []
    current = await annotate(kept)
    for _ in range(rounds - 1):
        if not waiting:
            seen = {proposal["rule"].casefold() for proposal in tried}
            drafts = await draft(task, most_frequent(task, rows, current)[:drafted])
            waiting = [rule for rule in drafts if rule.casefold() not in seen]
        if not waiting:
            break
        rule = waiting.pop(0)
        attempt = await annotate([*kept, rule])
        keeps = f1(attempt) >= f1(current)
        scores = {"before": round(f1(current), 4), "after": round(f1(attempt), 4)}
        tried.append({"rule": rule, "kept": keeps, **scores})
        if keeps:
            kept, current = [*kept, rule], attempt
    return Prepared(
        items=[{"rule": rule} for rule in kept],
        uncertain=[*tried, *map(mistake_record, most_frequent(task, rows, current))],
    )


async def annotate_row(task: Task, rules: list[str]) -> Answer:
    """Return the answer to one development row."""
    return await task.decide(await task.ask("annotate", rules=rules))


async def draft(task: Task, mistakes: Sequence[Frequent]) -> list[str]:
    """Return the rules that the model drafts against mistakes; without mistakes none, and without a call."""
    if not mistakes:
        return []
    rules = (await task.ask("rule", mistakes=mistakes)).value or []
    return list(dict.fromkeys(rules))[: len(mistakes)]


def most_frequent(task: Task, rows: Sequence[Row], comparisons: Sequence[AnswerComparison]) -> list[Frequent]:
    """Return the kinds of mistake, the frequent ones first, each with the texts of a few."""
    kinds: defaultdict[tuple[str | None, str | None], list[tuple[Row, Mistake]]] = defaultdict(list)
    for row, comparison in zip(rows, comparisons, strict=True):
        for mistake in comparison.mistakes:
            kinds[mistake.answered, mistake.right].append((row, mistake))
    return [
        {
            "said": answered,
            "right": right,
            "times": len(made),
            "examples": [
                {"text": excerpt(question_of(task, row), mistake.words), "words": mistake.words}
                for row, mistake in made[:EXAMPLES_OF_A_MISTAKE]
            ],
        }
        for (answered, right), made in sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    ]


def excerpt(text: str, words: str) -> str:
    """Return the part of a text around some words, so that long texts fit into the call that drafts rules."""
    begin = max(0, text.find(words) - max(0, LONGEST_TEXT - len(words)) // 2)
    part = text[begin : begin + LONGEST_TEXT]
    return f"{'…' if begin else ''}{part}{'…' if begin + len(part) < len(text) else ''}"


def mistake_record(mistake: Frequent) -> dict[str, Any]:
    """Return a kind of mistake as a person reads it."""
    first = mistake["examples"][0]
    answered, right = (mistake[key] or "nothing" for key in ("said", "right"))
    return {"said": answered, "right": right, "times": mistake["times"], "example": first["words"] or first["text"]}


def read_expected(task: Task, row: Row, number: int) -> Any:
    """Return a row's expected answer. Raises InputError where there is none, or it is none of the step's type."""
    if row.expect is None:
        raise InputError(f"row {number} has no expected answer to compare with")
    expected = task.answer(row.expect)
    if expected.flag is not None:
        raise InputError(f"row {number}: the expected answer is none of the step's type: {expected.problem}")
    return expected.value


@technique(
    needs={"guideline"},
    roles=["question", "guideline"],
    calls="over_calls or 1",
    requests="over_requests or 1",
    prepare=prepare,
)
async def annotation_guideline(task: Task, *, over: Spec | None = None, rules: bool = True) -> Answer:
    """Ask with a guideline, and with rules learnt from the mistakes on development rows (Hu et al. 2024).

    The guideline is an input: give it a default in the prompt, fill it by `with:`, or type `guideline=@FILE`. Without a
    preparation there are no rules yet; `rules: false` leaves them out. `over` asks by another technique.
    """
    learnt = read_rules(task) if rules else []
    if over is not None:
        return await task.run(over, beneath=task.layer("annotate", rules=learnt))
    return await task.decide(await task.ask("annotate", rules=learnt))


def read_rules(task: Task) -> list[str]:
    """Return the rules prepared for the step, none where nothing was. Raises InputError for an item that is no rule."""
    items = task.artifact.items if task.artifact else ()
    for number, item in enumerate(items, start=1):
        if not isinstance(item.get("rule"), str) or not item["rule"].strip():
            raise InputError(Problem(f"item {number} has no `rule`", f"{task.artifact_name}.yaml", hint="`rule: TEXT`"))
    return [item["rule"].strip() for item in items]
