"""The parameter of a step's wording: edits of its prompt by rules, without a model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from promptkit.answers.labels import Label
from promptkit.errors import InputError
from promptkit.project import LIBRARY
from promptkit.prompts.template_loader import render_file
from promptkit.tuning.near_duplicates import words_of
from promptkit.tuning.prompt_edits import edit_sections, section_source
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Choice, Parameter

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.tuning.search_space.examples import Demonstration

MOST_EDITS: Final = 6
DROPPED: Final = ("persona", "constraints", "context", "recap")
SHORTENED: Final = ("instructions", "persona")
SHORT_INSTRUCTIONS: Final = 200
"""Instructions of at most so many characters are repeated whole at the end, of longer ones the first sentence."""
LEAST_ROWS_WITH_WORD: Final = 3
WORDS_A_LABEL: Final = 4
SHORTEST_WORD: Final = 4
"""Shorter words mostly join others, in whatever language."""
LEAST_Z: Final = 1.28
"""So many standard errors more often is a word said under a label that it stands for."""
LOG_ODDS_PRIOR: Final = 0.5
DEFINITION_TEMPLATE: Final = LIBRARY / "templates" / "tuning" / "definition.j2"
_SENTENCE: Final = re.compile(r"(.+?[.!?:])(?:\s|\Z)", re.DOTALL)
_JINJA: Final = re.compile(r"\{[{%#]")


def wording_parameter(
    pipeline: Pipeline, step: Step, labelled: Sequence[Demonstration]
) -> tuple[Parameter, tuple[str, ...]]:
    """Return the axis `STEP.wording`, at most 6 edits by rule, and what is not tried and why.

    A section is dropped, or shortened to its first sentence; the instructions come again at the end; labels are
    defined by the words that the `labelled` rows say under them.
    """
    notes: tuple[str, ...] = ()
    try:
        levels = [*_definitions(step, labelled), *_edits(pipeline, step)]
    except InputError as error:
        levels = list(_definitions(step, labelled))
        notes = (f"{step.name}: its wording is not edited: {error.problems[0].message}",)
    return Parameter(
        name=f"{step.name}.wording", step=step.name, kind="wording", levels=(Choice(AS_WRITTEN), *levels[:MOST_EDITS])
    ), notes


def _edits(pipeline: Pipeline, step: Step) -> Iterator[Choice]:
    """Yield edits of sections. Raises InputError where the prompt cannot be edited."""
    prompt = step.prompt
    assert prompt is not None, "only a step that asks has a prompt"
    sources = {name: source for name in prompt.blocks if (source := section_source(prompt, name))}
    for name, sections, about in _rules(sources):
        yield Choice(name, edit_sections(pipeline, step.name, sections), about)


def _rules(sources: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield the name of each edit, what the sections say after it, and about it."""
    instructions = sources.get("instructions", "")
    if instructions and "recap" not in sources and "input" in sources:
        recap = instructions if len(instructions) <= SHORT_INSTRUCTIONS else shortened(instructions)
        if recap and not _has_jinja(recap):
            yield "instructions again at the end", {"recap": recap}, recap
    for section in SHORTENED:
        short = shortened(sources.get(section, ""))
        if short:
            yield f"{section} in one sentence", {section: short}, short
    for section in DROPPED:
        # What reads an input is no words of the prompt's own.
        if section in sources and not _has_jinja(sources[section]):
            yield f"without {section}", {section: ""}, ""


def shortened(source: str) -> str | None:
    """Return the first sentence of a section; None where it is all, or where more than plain text would be lost."""
    found = _SENTENCE.match(source)
    if found is None or _JINJA.search(source) or found[1].endswith(":") or re.match(r"\s*(?:\d+[.)]|[-*])", source):
        return None
    return found[1].strip() if source[found.end() :].strip() else None


def _has_jinja(source: str) -> bool:
    """Tell whether a section reads inputs, or does more than to say plain text."""
    return bool(_JINJA.search(source))


def _definitions(step: Step, labelled: Sequence[Demonstration]) -> Iterator[Choice]:
    """Yield the level in which labels have definitions, where they have none and the answer's own words are shown."""
    asking = step.prompt_call
    assert asking is not None, "only a step that asks has an answer"
    answer = asking.answer
    if not isinstance(answer, Label) or any(answer.labels.values()) or "output_format" in asking.prompt.blocks:
        return
    said = typical_words(labelled, answer.alternatives())
    if 2 * len(said) >= len(answer.labels):
        definitions = {
            label: render_file(DEFINITION_TEMPLATE, {"words": said[label]}) if label in said else ""
            for label in answer.labels
        }
        about = "; ".join(f"{label}: {text}" for label, text in definitions.items() if text)
        yield Choice("labels with their typical words", {f"{step.name}.answer": {"label": definitions}}, about)


def typical_words(labelled: Sequence[Demonstration], labels: Sequence[str]) -> dict[str, list[str]]:
    """Return for each label the words that are said much more under it than under the others, at most 4.

    By log-odds with a Dirichlet prior over their standard error (Monroe, Colaresi & Quinn 2008, Political Analysis
    16:372), of words that are said in at least 3 rows of the label. A label without such words is left out.
    """
    held = {label: Counter[str]() for label in labels}
    for each in labelled:
        if each.label in held:
            held[str(each.label)].update(set(words_of(each.inputs)))
    total = Counter[str]()
    for counts in held.values():
        total.update(counts)
    found: dict[str, list[str]] = {}
    for label, counts in held.items():
        scores = {
            word: _log_odds(count, counts.total(), total[word] - count, total.total() - counts.total(), len(total))
            for word, count in counts.items()
            if count >= LEAST_ROWS_WITH_WORD and len(word) >= SHORTEST_WORD and not word.isdigit()
        }
        best = sorted((word for word in scores if scores[word] >= LEAST_Z), key=lambda word: (-scores[word], word))
        if best:
            found[label] = best[:WORDS_A_LABEL]
    return found


def _log_odds(own: int, own_total: int, other: int, other_total: int, kinds: int) -> float:
    """Return how many standard errors the smoothed odds of a word under a label are above those under the others."""
    first, second = own + LOG_ODDS_PRIOR, other + LOG_ODDS_PRIOR
    spread = LOG_ODDS_PRIOR * kinds
    odds = math.log(first / (own_total + spread - first)) - math.log(second / (other_total + spread - second))
    return odds / math.sqrt(1 / first + 1 / second)
