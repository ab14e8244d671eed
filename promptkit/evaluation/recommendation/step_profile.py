"""The profile of a step and its data: the likely task, what is available, and what the input is like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast, get_args

from promptkit.answers.base import AnswerType
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.step_rows import StepRows
from promptkit.errors import InputError, nearest
from promptkit.evaluation.recommendation.recommend import Flag
from promptkit.prompts.front_matter import PromptInput
from promptkit.runtimes.base import Model
from promptkit.techniques.needs import Available
from promptkit.techniques.roles import kind_of
from promptkit.techniques.thinking import thoughts_of

SENTIMENTS: Final = frozenset({"positive", "negative", "neutral", "mixed"})
MAJORITY: Final = 0.5
"""The share of the rows from which a property is a property of the input."""
OPINIONATED: Final = 0.2
LARGE_TABLE: Final = 50
MANY_PASSAGES: Final = 3
LONG_LIST: Final = 3
FREE_TEXT_WORDS: Final = 4

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_OPINION: Final = re.compile(r"\b(?:I (?:really |do |don't )?(?:think|believe|feel)|in my opinion)\b", re.IGNORECASE)


def likely_task(step: Step) -> tuple[str, str] | None:
    """Return the task that a step's answer type and inputs imply, with the reason; None if they imply none."""
    assert step.prompt_call is not None, "only a step that asks has a task"
    answer, inputs, name = step.prompt_call.answer, step.prompt_call.inputs, step.prompt_call.answer_name
    kinds = {role: kind_of(spec) for role, spec in inputs.items()}
    labels = (
        frozenset(label.lower() for label in answer.alternatives()) if isinstance(answer, AnswerType) else frozenset()
    )
    if "table" in kinds.values():
        return ("table_fact" if name in ("label", "boolean") else "table_qa"), "an input is a table"
    if name == "label" and labels and labels <= SENTIMENTS:
        return "sentiment", f"the labels are {', '.join(sorted(labels))}"
    by_answer = {
        "spans": ("ner", "the answer is spans in a text"),
        "labels": ("multilabel", "the answer is several labels"),
        "number": ("math", "the answer is a number"),
        "code": ("code", "the answer is code"),
    }
    if name in by_answer:
        return by_answer[name]
    if name == "label":
        return "classification", "the answer is a label"
    if "documents" in inputs:
        return "summarization", "an input holds documents"
    if "context" in inputs or "passages" in inputs:
        return "contextual_qa", "an input is a context"
    if name == "list":
        return "factoid", "the answer is a list"
    if name == "choice":
        return "classification", "the answer is one of several choices"
    return None


def available_for(pipeline: Pipeline, step: Step, model: Model) -> Available:
    """Return the capabilities available for a step on a model, whatever its technique."""
    assert step.prompt_call is not None, "only a step that asks is asked"
    asking = step.prompt_call
    beginning = f"{asking.home}."
    files = pipeline.file.parent.glob(f"{beginning}*.yaml")
    prepared = [file.stem.removeprefix(beginning) for file in files]
    inputs = dict(asking.inputs)
    if asking.prompt.file is None:  # An inline prompt gets the inputs that only its technique reads.
        inputs = {**{name: PromptInput(type=spec.type) for name, spec in pipeline.inputs.items()}, **inputs}
    return Available(capabilities=model.capabilities, inputs=inputs, has_tools=bool(asking.tools), prepared=prepared)


def thinks_by_itself(step: Step | None, model: Model) -> bool:
    """Tell whether a model thinks before it answers a step, without being asked to; without a step, by its default."""
    asking = step.prompt_call if step is not None else None
    return thoughts_of(asking.options.think if asking else None, model.capabilities).tokens > 0


def cost_inputs(step: Step, rows: StepRows | None) -> dict[str, Any]:
    """Return a step's and its data's values for cost formulas."""
    assert step.prompt_call is not None, "only a step that asks is asked"
    asking = step.prompt_call
    lists = [value for row in rows.rows for value in row.inputs.values() if isinstance(value, list)] if rows else []
    return {
        "decide": asking.decide,
        "answer": asking.answer_name,
        "examples_think": any(example.thoughts for example in asking.examples.all),
        **({"documents": max(map(len, lists))} if lists else {}),
    }


def needs_met_by_rows(rows: StepRows) -> set[str]:
    """Return the needs of techniques that rows of data meet."""
    needs = {"rows"}
    if any(row.expect is not None for row in rows.rows):
        needs.add("labels")
    if any(row.rationale for row in rows.rows):
        needs.add("rationales")
    return needs


def data_flags(rows: StepRows) -> dict[Flag, str]:
    """Return the flags of the rows, each with the count of rows that justifies it."""
    inputs = [row.inputs for row in rows.rows]
    tables = [list(_tables(row)) for row in inputs]
    large = [any(len(table) > LARGE_TABLE for table in row) for row in tables]
    found: tuple[tuple[Flag, list[bool], str, float], ...] = (
        ("numbers", [len(_NUMBER.findall(_text(row))) > 1 for row in inputs], "hold two numbers or more", MAJORITY),
        ("opinion", [bool(_OPINION.search(_text(row))) for row in inputs], "hold an opinion", OPINIONATED),
        ("passages", [any(map(_is_passages, row.values())) for row in inputs], "hold several passages", MAJORITY),
        ("large_table", large, f"hold a table of over {LARGE_TABLE} rows", MAJORITY),
        ("free_text_cells", [any(map(_has_free_text, row)) for row in tables], "hold free text in cells", MAJORITY),
        ("long_list", [_is_long(row.expect) for row in rows.rows], f"expect {LONG_LIST} items or more", MAJORITY),
    )
    return {
        flag: f"{sum(holds)} of {len(holds)} rows {says}"
        for flag, holds, says, share in found
        if any(holds) and sum(holds) >= share * len(holds)
    }


def parse_flags(names: Sequence[str]) -> dict[Flag, str]:
    """Return the flags that a person gives. Raises InputError with the nearest for an unknown one."""
    found: dict[Flag, str] = {}
    for name in names:
        if name not in get_args(Flag):
            raise InputError(f"there is no flag `{name}`", hint=nearest(name, get_args(Flag)))
        found[cast(Flag, name)] = f"the input has {name.replace('_', ' ')}, you say"
    return found


def _is_long(expected: Any) -> bool:
    return isinstance(expected, list) and len(expected) >= LONG_LIST


def _text(inputs: Mapping[str, Any]) -> str:
    return "\n".join(value for value in inputs.values() if isinstance(value, str))


def _is_passages(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= MANY_PASSAGES and all(isinstance(item, str) for item in value)


def _tables(inputs: Mapping[str, Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    for value in inputs.values():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            yield value


def _has_free_text(table: Sequence[Mapping[str, Any]]) -> bool:
    cells = [cell for row in table[:LARGE_TABLE] for cell in row.values()]
    return any(isinstance(cell, str) and len(cell.split()) >= FREE_TEXT_WORDS for cell in cells)
