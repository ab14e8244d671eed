"""The parameter of a step's wording: edits of its prompt by rules, without a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from promptkit.answers.labels import Label
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError
from promptkit.evaluation.suite.near_duplicates import words_of
from promptkit.project import LIBRARY
from promptkit.prompts.template_loader import render_file
from promptkit.tuning.prompt_edits import edit_sections, section_source
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Choice, Parameter
from promptkit.tuning.search_space.demonstration import Demonstration
from promptkit.tuning.search_space.typical_words import typical_words

MOST_EDITS: Final = 6
DROPPED: Final = ("persona", "constraints", "context", "recap")
SHORTENED: Final = ("instructions", "persona")
SHORT_INSTRUCTIONS: Final = 200
"""Instructions of at most this many characters are repeated whole at the end, of longer ones the first sentence."""
DEFINITION_TEMPLATE: Final = LIBRARY / "templates" / "tuning" / "definition.j2"
_SENTENCE: Final = re.compile(r"(.+?[.!?:])(?:\s|\Z)", re.DOTALL)
_JINJA: Final = re.compile(r"\{[{%#]")
TYPICAL_WORDS: Final = "labels with their typical words"
REPEATED: Final = "instructions again at the end"
_RULE_NAME: Final = re.compile(rf"{AS_WRITTEN}|{TYPICAL_WORDS}|{REPEATED}|without \w+|\w+ in one sentence")


def is_edit_by_rule(name: str) -> bool:
    """Tell whether a choice of wording has the name of an edit by rule, which holds no text of the project."""
    return _RULE_NAME.fullmatch(name) is not None


def wording_parameter(
    pipeline: Pipeline, step: Step, labelled: Sequence[Demonstration]
) -> tuple[Parameter, tuple[str, ...]]:
    """Return the parameter `STEP.wording`, at most 6 edits by rule, and notes on what is not tried.

    A section is dropped or shortened to its first sentence; the instructions are repeated at the end; labels are
    defined by their typical words in the `labelled` rows.
    """
    notes: tuple[str, ...] = ()
    try:
        choices = [*_definitions(step, labelled), *_edits(pipeline, step)]
    except InputError as error:
        choices = list(_definitions(step, labelled))
        notes = (f"{step.name}: its wording is not varied: {error.problems[0].message}",)
    return Parameter(
        name=f"{step.name}.wording", step=step.name, kind="wording", choices=(Choice(AS_WRITTEN), *choices[:MOST_EDITS])
    ), notes


def _edits(pipeline: Pipeline, step: Step) -> Iterator[Choice]:
    """Yield edits of sections. Raises InputError if the prompt cannot be edited."""
    prompt = step.prompt
    assert prompt is not None, "only a step that asks has a prompt"
    sources = {name: source for name in prompt.blocks if (source := section_source(prompt, name))}
    for name, sections, about in _rules(sources):
        yield Choice(name, edit_sections(pipeline, step.name, sections), about)


def _rules(sources: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield each edit: its name, the new source of its sections, and a text about it."""
    instructions = sources.get("instructions", "")
    if instructions and "recap" not in sources and "input" in sources:
        recap = instructions if len(instructions) <= SHORT_INSTRUCTIONS else shortened(instructions)
        if recap and not _has_jinja(recap):
            yield REPEATED, {"recap": recap}, recap
    for section in SHORTENED:
        short = shortened(sources.get(section, ""))
        if short:
            yield f"{section} in one sentence", {section: short}, short
    for section in DROPPED:
        # A section that reads an input is not only wording.
        if section in sources and not _has_jinja(sources[section]):
            yield f"without {section}", {section: ""}, ""


def shortened(source: str) -> str | None:
    """Return the first sentence of a section; None if it is all, or if more than plain text would be lost."""
    match = _SENTENCE.match(source)
    if match is None or _JINJA.search(source) or match[1].endswith(":") or re.match(r"\s*(?:\d+[.)]|[-*])", source):
        return None
    return match[1].strip() if source[match.end() :].strip() else None


def _has_jinja(source: str) -> bool:
    """Tell whether a section reads inputs or has statements."""
    return bool(_JINJA.search(source))


def _definitions(step: Step, labelled: Sequence[Demonstration]) -> Iterator[Choice]:
    """Yield the choice in which labels are defined, if they are not and the labels are shown as answer words."""
    asking = step.prompt_call
    assert asking is not None, "only a step that asks has an answer"
    answer = asking.answer
    if not isinstance(answer, Label) or any(answer.labels.values()) or "output_format" in asking.prompt.blocks:
        return
    words = typical_words(
        [(words_of(demo.inputs), str(demo.label)) for demo in labelled if demo.label is not None], answer.alternatives()
    )
    if 2 * len(words) >= len(answer.labels):
        definitions = {
            label: render_file(DEFINITION_TEMPLATE, {"words": words[label]}) if label in words else ""
            for label in answer.labels
        }
        about = "; ".join(f"{label}: {text}" for label, text in definitions.items() if text)
        yield Choice(TYPICAL_WORDS, {f"{step.name}.answer": {"label": definitions}}, about)
