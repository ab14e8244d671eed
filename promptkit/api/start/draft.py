"""The draft of a project: every choice with its source, before a file is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from promptkit.api.start.checks import LABEL_LIMIT, input_name
from promptkit.api.start.rows import RowsFacts
from promptkit.api.start.sentence import SentenceFacts
from promptkit.api.start.vocabulary import Kind
from promptkit.project import LIBRARY
from promptkit.prompts.template_loader import render_file
from promptkit.reports.text import counted

Source = Literal["sentence", "data", "model", "default", "person", "option"]
"""Who made a choice."""
TEMPLATES: Final = LIBRARY / "templates" / "start"
SECTIONS: Final = ("persona", "instructions", "constraints", "input", "cue")
PLACEHOLDER_LABELS: Final = ("first label", "second label")
MOST_CASES: Final = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice for a person to read: what it is of, its value as text, and who made it."""

    what: str
    value: str
    source: Source


@dataclass(frozen=True, slots=True)
class DraftCase:
    """A case: its name, its inputs, the expected answer (None: not known), and who wrote it."""

    name: str
    inputs: Mapping[str, Any]
    expect: Any
    source: Source


@dataclass(slots=True)
class Draft:
    """A project as far as it is known.

    `labels` maps each label to its definition ('' for none), `inputs` the name of each input to a line for people,
    `fields` the fields of a record to their types. `sources` has the source of each choice by name; the source of a
    definition is at `definition of LABEL`. `model` is the reference of the model that proposes, empty without one.
    """

    reading: SentenceFacts
    kind: Kind = "text"
    labels: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    name: str = ""
    instructions: str = ""
    cases: list[DraftCase] = field(default_factory=list)
    rows: RowsFacts | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    model: str = ""
    notes: list[str] = field(default_factory=list)

    def missing(self, what: str) -> bool:
        """Tell whether nobody has made a choice yet."""
        return what not in self.sources

    @property
    def has_placeholders(self) -> bool:
        """Tell whether the labels are placeholders for a person to write over."""
        return tuple(self.labels) == PLACEHOLDER_LABELS

    def set_labels(self, labels: Sequence[str], source: Source) -> None:
        """Take labels, with the definitions of those that were there already."""
        self.labels = {label: self.labels.get(label, "") for label in labels}
        self.sources["labels"] = source

    def set_inputs(self, inputs: Mapping[str, str], source: Source) -> None:
        """Take inputs by name, each with a line for people."""
        self.inputs = dict(inputs)
        self.sources["inputs"] = source

    @property
    def item(self) -> str:
        """The input in words: its last one where there are several."""
        return next(reversed(self.inputs), "text").replace("_", " ")

    @property
    def step(self) -> str:
        """The name of the pipeline's one step."""
        verb = input_name(self.reading.verb) if self.reading.verb else "answer"
        return next(name for name in (verb, "answer", "decide") if name not in self.inputs)

    def section(self, name: str) -> str:
        """Return the text of a section as its template writes it."""
        values = {
            "kind": self.kind,
            "sentence": self.reading.sentence,
            "item": self.item,
            "inputs": list(self.inputs),
            "fields": self.fields,
            "proposed": self.instructions,
        }
        return render_file(TEMPLATES / f"{name}.j2", values)

    def choices(self) -> Iterator[Choice]:
        """Yield every choice with its source."""
        yield Choice("kind of answer", _KINDS[self.kind], self.sources["kind"])
        if self.kind in ("label", "labels"):
            yield Choice("labels", ", ".join(self.labels), self.sources["labels"])
            for label, definition in self.labels.items():
                if definition:
                    yield Choice(f"definition of {label}", definition, self.sources[f"definition of {label}"])
            if open_labels := [label for label, definition in self.labels.items() if not definition]:
                yield Choice("without a definition", ", ".join(open_labels), "default")
        if self.kind == "record":
            typed = (f"{name} ({kind})" for name, kind in self.fields.items())
            yield Choice("fields", ", ".join(typed), self.sources["fields"])
        if self.reading.bounds is not None and self.kind == "number":
            yield Choice("bounds", "{:g} to {:g}".format(*self.reading.bounds), "sentence")
        yield Choice("inputs", ", ".join(self.inputs), self.sources["inputs"])
        yield Choice("name", self.name, self.sources["name"])
        yield Choice("instructions", self.instructions or "your sentence", self.sources["instructions"])
        yield Choice("other sections", "persona, constraints, cue", "default")
        for case in self.cases:
            name = case.name if case.name.startswith("case ") else f"case {case.name}"
            yield Choice(name, " · ".join(map(str, case.inputs.values())), case.source)
        if self.rows is not None:
            fields = [self.rows.expect] if self.rows.expect else [*self.rows.record.values()]
            expected = f", expected answers in {', '.join(fields)}" if fields else ", no expected answers"
            yield Choice("rows", f"{counted(self.rows.count, 'row')} of {self.rows.file.name}{expected}", "data")

    def understood(self) -> str:
        """Return in one line what is known before a model is asked."""
        open_choices = ["the kind of answer"] if self.missing("kind") else []
        known = "" if self.missing("kind") else _KINDS[self.kind]
        if self.labels:
            known += f" of {', '.join(self.labels)}"
        elif self.kind in ("label", "labels"):
            open_choices.append("the labels")
        if self.fields:
            known += f" with {', '.join(self.fields)}"
        if self.missing("inputs"):
            open_choices.append("the input")
        else:
            known += f" for each {' and '.join(self.inputs)}"
        return "; ".join(filter(None, (known.strip(), f"open: {', '.join(open_choices)}" if open_choices else "")))

    def source_text(self, source: Source) -> str:
        """Return a source in words."""
        return _SOURCES[source].format(model=self.model)


_KINDS: Final[Mapping[Kind, str]] = {
    "label": "one label",
    "labels": "any number of labels",
    "boolean": "true or false",
    "number": "a number",
    "list": "a list",
    "record": "a JSON object",
    "text": "text",
}
_SOURCES: Final[Mapping[Source, str]] = {
    "sentence": "from the sentence",
    "data": "from the data",
    "model": "proposed by {model}",
    "default": "a default",
    "person": "typed by you",
    "option": "an option",
}


def settle_answer(draft: Draft) -> None:
    """Put defaults for the answer and the inputs where nobody chose them."""
    if draft.missing("kind"):
        draft.kind, draft.sources["kind"] = "text", "default"
        draft.notes.append("the kind of answer is not clear from the sentence: the prompt answers with text")
    if draft.missing("inputs"):
        draft.set_inputs({"text": "the text to work on"}, "default")
    if draft.kind in ("label", "labels") and draft.missing("labels"):
        draft.set_labels(PLACEHOLDER_LABELS, "default")
        draft.notes.append("no labels are known: write yours over `first label` and `second label`")
    if draft.kind == "record" and draft.missing("fields"):
        draft.fields, draft.sources["fields"] = {"value": "text"}, "default"
        draft.notes.append("no fields are known: write yours over `value`")


def settle_details(draft: Draft) -> None:
    """Put defaults for the instructions and the cases where nobody wrote them."""
    if draft.missing("instructions"):
        draft.sources["instructions"] = "sentence"
    if not draft.cases:
        draft.cases = list(_default_cases(draft))


def expected_answers(draft: Draft) -> tuple[Any, ...]:
    """Return the answers that cases are made for: the first labels, true and false, else one that is not known."""
    if draft.kind in ("label", "labels"):
        found = list(draft.labels)[:MOST_CASES]
        return tuple([label] for label in found) if draft.kind == "labels" else tuple(found)
    return (True, False) if draft.kind == "boolean" else (None, None)


def case_for(draft: Draft, expect: Any, number: int, text: str, source: Source) -> DraftCase:
    """Return the case with a text as its last input; further inputs have an example by default."""
    inputs = {name: _example(draft, None, number) for name in draft.inputs}
    inputs[next(reversed(draft.inputs))] = text
    return DraftCase(case_name(expect, number), inputs, expect, source)


def _default_cases(draft: Draft) -> Iterator[DraftCase]:
    for number, expect in enumerate(expected_answers(draft), 1):
        yield default_case(draft, expect, number)


def default_case(draft: Draft, expect: Any, number: int) -> DraftCase:
    """Return a case with a placeholder for a person to write over."""
    return case_for(draft, expect, number, _example(draft, expect, number), "default")


def _example(draft: Draft, expect: Any, number: int) -> str:
    return render_file(TEMPLATES / "example.j2", {"item": draft.item, "expect": answer_text(expect), "number": number})


def answer_text(expect: Any) -> str:
    """Return an expected answer in words, empty where it is not known."""
    if isinstance(expect, bool):
        return "yes" if expect else "no"
    return ", ".join(map(str, expect)) if isinstance(expect, list) else str(expect or "")


def case_name(expect: Any, number: int) -> str:
    """Return the name of a case: its answer where that is short, else its number."""
    text = answer_text(expect)
    return text if text and len(text) <= LABEL_LIMIT and not isinstance(expect, dict) else f"case {number}"
