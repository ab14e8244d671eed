"""Term definitions: the prompt with the definitions of those terms of a glossary that stand in it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from promptkit.errors import InputError
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.parameters import Count
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@dataclass(frozen=True, slots=True)
class Term:
    """An entry of a glossary; `names` are what it may be called in a text, the term itself first."""

    names: tuple[str, ...]
    definition: str


@technique(
    needs={"glossary"},
    roles=["question", "context?", "glossary"],
    calls="over_calls",
    requests="over_requests",
)
async def term_definitions(task: Task, *, over: Spec = "vanilla", most: Count = 8) -> Answer:
    """Define the terms that stand in question or context, at most `most` (Vatsal, Singh and Tafreshi 2024).

    Without such a term the prompt is what it is without this technique. The terms defined are in `extra`. Raises
    InputError for a glossary that cannot be read.
    """
    context = task.role("context") or ""
    texts = [task.role("question"), task.section("input"), *(context if isinstance(context, list) else [context])]
    text = "\n".join(str(part) for part in [*texts, task.section("context")] if part)
    found = terms_in(text, list(read_glossary(task.role("glossary"))))[:most]
    definitions = [{"term": term.names[0], "definition": term.definition} for term in found]
    beneath = task.layer("answer", definitions=definitions) if definitions else None
    return (await task.run(over, beneath=beneath)).with_extra(terms=[definition["term"] for definition in definitions])


def terms_in(text: str, glossary: list[Term]) -> list[Term]:
    """Return the terms that a text holds as whole words in any case, in the order in which they first stand in it.

    A term's plural is the term; that of an abbreviation has its capitals (`PAs`). Where one term's words are part of
    another's, the longer one is meant.
    """
    spaced = " ".join(text.split())
    folded = spaced.casefold()
    called: dict[str, Term] = {}
    for term in glossary:
        for name in map(fold, term.names):
            if name in folded:
                called.setdefault(name, term)
    for term in glossary:
        for name in term.names:
            held = [form for form in plurals(name) if (form in spaced if name.isupper() else fold(form) in folded)]
            for form in held:
                called.setdefault(fold(form), term)
    longest_first = sorted(called, key=len, reverse=True)
    pattern = rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w)"
    return list(dict.fromkeys(called[name] for name in re.findall(pattern, folded)))


def plurals(name: str) -> list[str]:
    """Return the plurals that a term may have in English."""
    if name.isupper():
        return [f"{name}s"]
    regular = [f"{name}s", f"{name}es"]
    return [*regular, f"{name[:-1]}ies"] if name.endswith("y") else regular


def fold(text: str) -> str:
    """Return a text in one case, with single blanks for all white space."""
    return " ".join(text.split()).casefold()


def read_glossary(given: Any) -> Iterator[Term]:
    """Yield the entries of a glossary, in any of its forms. Raises InputError.

    A mapping of terms to definitions, or to mappings with `definition` and `aliases`; or a list of texts
    `TERM: definition`, of such mappings, or of rows with `term`, `definition` and `aliases`.
    """
    if isinstance(given, str) and ":" in given:
        term, _, definition = given.partition(":")
        yield read_entry(term, {"definition": definition})
    elif isinstance(given, Mapping) and "term" in given and "definition" in given:
        yield read_entry(given["term"], given)
    elif isinstance(given, Mapping):
        for term, entry in given.items():
            yield read_entry(term, entry if isinstance(entry, Mapping) else {"definition": entry})
    elif isinstance(given, list):
        for entry in given:
            yield from read_glossary(entry)
    else:
        raise InputError(f"the glossary holds {given!r}, which is no term with a definition")


def read_entry(term: Any, entry: Mapping[str, Any]) -> Term:
    """Return an entry; its aliases are a list, or a text with commas between them. Raises InputError."""
    aliases = entry.get("aliases") or []
    listed = aliases.split(",") if isinstance(aliases, str) else aliases
    names = [str(name).strip() for name in (term, *listed)]
    definition = str(entry.get("definition") or "").strip()
    if not names[0] or not definition:
        raise InputError(f"the glossary's entry `{names[0]}` needs a term and a definition")
    return Term(tuple(filter(None, names)), definition)
