"""Reads by rules what a sentence says about a task: the kind of answer, labels, fields, bounds, inputs and a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from promptkit.api.start.checks import LABEL_LIMIT, clean_text, input_name, is_label, labels_fault, slug
from promptkit.api.start.vocabulary import (
    ENGLISH,
    FIELD_TYPES,
    GERMAN,
    KNOWN_LABELS,
    LANGUAGES,
    PROPERTIES,
    WRITING,
    Kind,
    Language,
)
from promptkit.errors import InputError

MOST_CHARACTERS: Final = 10_000
"""The longest sentence that is read."""


@dataclass(frozen=True, slots=True)
class SentenceFacts:
    """The facts that rules find in a sentence. Empty or None where it does not say them.

    `is_usual`: the labels are the usual ones of what the sentence names. `bounds` are the least and the greatest
    number, `most_words` is the length of the longest text, `subject` the phrase that names the input (`support mails`).
    """

    sentence: str
    kind: Kind | None = None
    labels: tuple[str, ...] = ()
    is_usual: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None
    most_words: int | None = None
    subject: str = ""
    inputs: tuple[str, ...] = ()
    verb: str = ""
    name: str = ""


def read_sentence(text: str) -> SentenceFacts:
    """Return the facts of a sentence, by rules alone. Raises InputError for one that is empty or too long."""
    sentence = clean_text(text)
    if (inner := _ALL_QUOTED.fullmatch(sentence)) is not None:
        sentence = inner.group(1).strip()
    if not re.search(r"\w", sentence):
        raise InputError("the sentence is empty", hint='promptkit start "sort support mails into billing and other"')
    if len(sentence) > MOST_CHARACTERS:
        raise InputError(f"the sentence has {len(sentence):,} characters, more than the {MOST_CHARACTERS:,} allowed")
    core = _PREFACE.sub("", sentence)
    language, verb, kind = _verb(core)
    reader = _Reader(core, language, verb, kind)
    return reader.read(sentence)


_ALL_QUOTED: Final = re.compile(r"[\"“„«']([^\"“”„«»']*)[\"”“»']")
_PREFACE: Final = re.compile(
    r"^(?:(?:please|bitte|i (?:want|need|would like)(?: you)?(?: to)?|we (?:want|need)(?: to)?|can you|could you|"
    r"help me(?: to)?|(?:a|an|the)?\s*(?:prompt|pipeline|classifier|tool|model|program)\s+(?:that|which|to|for)|"
    r"(?:build|create|make)(?: me)? an?\s+(?:prompt|pipeline|classifier|tool|model)\s+(?:that|which|to|for)(?: can)?)"
    r"[\s,:]+)+",
    re.IGNORECASE,
)
_LIST_END: Final = re.compile(
    r"[.!?;](?=\s|$)|\s[-–—]\s|\s(?:so that|based on|depending on|for each|using|when|which|that|because|whenever)\b|\n"
)
_NOUNS_OF_LABELS: Final = (
    r"categor(?:y|ies)|class(?:es)?|labels?|groups?|topics?|types?|kinds?|departments?|teams?|folders?|queues?|levels?|"
    r"buckets?|tags?|values?|kategorien?|klassen?|themen?|gruppen?|catégories?|classes?|categorías?|clases?"
)
_OPENING: Final = re.compile(
    rf"^(?:\s*(?:one of|either|the|these|following|two|three|four|five|six|\d+|den|die|drei|vier|les|las|los)\b)*\s*"
    # A noun in the singular is a part of the first label (`topic 1`) unless a mark follows.
    rf"(?:(?:{_NOUNS_OF_LABELS})\b(?:(?<=[sn])|(?=\s*[:(–-])))?\s*[:(–-]?\s*",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"[\"“„«]([^\"“”„«»]{1,200})[\"”“»]|(?<!\w)'([^']{1,200})'(?!\w)|‘([^’]{1,200})’")
_MULTIPLE: Final = re.compile(
    r"[(,]?\s*\b(?:all (?:labels )?that apply|one or more|multiple (?:labels|tags|topics|categories)|any of|several of)"
    r"\b",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(
    r"(?:from|between|scale of|scale from|von|de|entre)?\s*(-?\d{1,9}(?:\.\d+)?)\s*(?:to|and|-|–|bis|à|a|y|et|und)\s*"
    r"(-?\d{1,9}(?:\.\d+)?)\b",
    re.IGNORECASE,
)
_COUNTED: Final = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
_LENGTH: Final = re.compile(
    rf"\b(\d{{1,4}}|{'|'.join(_COUNTED)})\s+(?:short\s+)?(words?|sentences?|paragraphs?|lines?)\b", re.IGNORECASE
)
_WORDS_OF: Final = {"word": 1, "sentence": 30, "paragraph": 120, "line": 20}
"""The most words that each unit of length is taken to have."""
_QUESTION_ABOUT: Final = re.compile(
    r"\bquestions?\b.*?\b(?:about|from|on|based on|using|given|over)\s+(.+)", re.IGNORECASE
)


class _Reader:
    """Reads one sentence, whose language, verb and the verb's kind of answer are known where it has them."""

    def __init__(self, core: str, language: Language, verb: re.Match[str] | None, kind: Kind | None) -> None:
        self._core = core
        self._language = language
        self._verb = verb
        self._kind = kind

    def read(self, sentence: str) -> SentenceFacts:
        labels = self._labels()
        kind = self._kind_of(labels)
        usual: tuple[str, ...] = ()
        if kind in ("label", "labels") and not labels:
            usual = next((known for of, known in KNOWN_LABELS.items() if self._has(of)), ())
        fields = self._fields() if kind == "record" else {}
        if kind == "record" and self._is_all(fields):
            kind, fields = "list", {}
        subject = self._subject(kind)
        inputs = self._inputs(subject)
        verb = slug(self._verb.group()) if self._verb else ""
        verb = verb.removesuffix("s") if self._language is ENGLISH else verb
        return SentenceFacts(
            sentence=sentence,
            kind=kind,
            labels=(labels or usual) if kind in ("label", "labels") else (),
            is_usual=bool(usual),
            fields=fields,
            bounds=self._bounds() if kind == "number" else None,
            most_words=self._most_words() if kind == "text" else None,
            subject=subject,
            inputs=inputs,
            verb=verb,
            name=self._name(verb or _VERBS.get(kind or "text", ""), inputs),
        )

    def _has(self, pattern: str) -> bool:
        return re.search(rf"\b(?:{pattern})\b", self._core, re.IGNORECASE) is not None

    def _kind_of(self, labels: Sequence[str]) -> Kind | None:
        is_question = re.match(rf"(?:{self._language.yes_no})\b", self._core, re.IGNORECASE) is not None
        if re.search(
            r"\b(?:yes\s*(?:/|or|-)\s*no|true\s*(?:/|or|-)\s*false|ja\s*/?\s*(?:oder)?\s*nein)\b", self._core, re.I
        ):
            return "boolean"
        is_list = self._kind == "list" and not self._has("|".join(KNOWN_LABELS))
        if self._kind in ("text", "record") or is_list:
            return "record" if self._kind == "text" and self._has("json") else self._kind
        if labels:
            return "labels" if self._kind == "labels" or _MULTIPLE.search(self._core) else "label"
        if self._has(self._language.how_many):
            return "number"
        if (
            self._kind in (None, "list", "number")
            and not _RANGE.search(self._core)
            and self._has("|".join(KNOWN_LABELS))
        ):
            return "label"
        if self._has(self._language.whether) or (is_question and self._verb is None):
            return "boolean"
        if self._kind == "label" and _MULTIPLE.search(self._core):
            return "labels"
        return self._kind

    def _labels(self) -> tuple[str, ...]:
        """Return the labels that the sentence lists, none where it lists fewer than two."""
        if self._kind in ("text", "record", "list"):
            return ()
        return next((found for found in self._candidate_labels() if labels_fault(found) is None), ())

    def _candidate_labels(self) -> Iterator[tuple[str, ...]]:
        """Yield lists that may be labels, the likeliest first: quoted texts, lists after an opening, alternatives."""
        yield tuple(_distinct([next(filter(None, found.groups())) for found in _QUOTED.finditer(self._core)]))
        for at in self._list_starts():
            items = tuple(self._items(self._core[at:]))
            if not all(item.replace(".", "").lstrip("-").isdigit() for item in items):
                yield items
        yield self._alternatives()

    def _list_starts(self) -> Iterator[int]:
        """Yield the offsets where a list of labels may begin: after a colon, a bracket, or `into`."""
        yield from (found.end() for found in re.finditer(r"[:：(]", self._core))
        into = rf"(?<!\w)(?:{self._language.into})(?!\w)"
        yield from (found.end() for found in re.finditer(into, self._core, re.IGNORECASE))

    def _items(self, text: str) -> Iterator[str]:
        """Yield the items of the list that a text begins with; nothing where one of them is not a label."""
        text = _OPENING.sub("", text, count=1)
        text = _MULTIPLE.sub("", text)
        end = _LIST_END.search(text)
        text = text[: end.start()] if end else text
        text = text.partition(")")[0]
        joins = rf"\s*[,;、，；/|]\s*(?:(?:{self._language.joins})\s+)?|\s+(?:{self._language.joins})\s+"
        parts = [self._bare(part) for part in re.split(joins, text, flags=re.IGNORECASE)]
        if len(parts) >= 2 and all(part and is_label(part) and len(part.split()) <= 5 for part in parts):
            yield from _distinct(parts)

    def _bare(self, phrase: str) -> str:
        """Return a phrase without quotes and determiners."""
        text = phrase.strip(" \"'“”‘’«».:?!")
        return re.sub(rf"^(?:(?:{self._language.determiners})\s+)+", "", text, flags=re.IGNORECASE)

    def _alternatives(self) -> tuple[str, ...]:
        """Return the alternatives that end a sentence (`Is it good or bad?`), without the words before the first."""
        if self._language is not ENGLISH or not re.search(r"\bor\b", self._core, re.IGNORECASE):
            return ()
        end = _LIST_END.search(self._core)
        parts = re.split(r"\s*,\s*(?:or\s+)?|\s+or\s+", self._core[: end.start()] if end else self._core, flags=re.I)
        parts = [part.strip(" ?.!") for part in parts]
        first, *others = parts
        if not others or any(len(part.split()) > 2 or not is_label(part) for part in others) or " " not in first:
            return ()
        return tuple(_distinct([first.split()[-1], *others]))

    def _fields(self) -> dict[str, str]:
        """Return the fields of a record with their types, from what is to be extracted."""
        assert self._verb is not None
        rest = self._core[self._verb.end() :]
        listed = re.search(r"\b(?:into|with|fields?:?|keys?:?)\s+(.+)|:\s*(.+)", rest, re.IGNORECASE)
        source = re.search(rf"\s(?:{self._language.out_of})\s", rest, re.IGNORECASE)
        if listed and not re.match(r"\s*json\s*$", listed.group(1) or listed.group(2), re.IGNORECASE):
            text = listed.group(1) or listed.group(2)
        else:
            text = rest[: source.start()] if source else rest
        end = _LIST_END.search(text)
        text = re.sub(r"\([^)]*\)", "", text[: end.start()] if end else text)
        text = re.sub(r"^\s*(?:a\s+)?json(?:\s+\w+)?\s+(?:with|of)\b|\b(?:as|to|into|in) json\b", "", text, flags=re.I)
        joins = rf"\s*[,;、，]\s*(?:(?:{self._language.joins})\s+)?|\s+(?:{self._language.joins})\s+|\s+as well as\s+"
        fields: dict[str, str] = {}
        for part in re.split(joins, text, flags=re.IGNORECASE):
            phrase = self._bare(part)
            name = slug(re.sub(r"^whether\s+(?:it|they|he|she)?\s*", "", phrase, flags=re.IGNORECASE))
            if name and len(phrase.split()) <= 5:
                fields.setdefault(name, field_type(phrase))
        return fields if len(fields) <= MOST_FIELDS else {}

    def _is_all(self, fields: dict[str, str]) -> bool:
        """Tell whether an extraction asks for every thing of one sort: `extract all people`."""
        assert self._verb is not None
        after = self._core[self._verb.end() :].split()[:1]
        return len(fields) == 1 and bool(after) and after[0].lower() in ("all", "every", "alle", "tous", "todos")

    def _bounds(self) -> tuple[float, float] | None:
        found = _RANGE.search(self._core)
        if found:
            least, most = sorted(map(float, found.groups()))
            return (least, most) if least < most else None
        if out_of := re.search(r"\bout of (\d{1,6})\b", self._core, re.IGNORECASE):
            return 0.0, float(out_of.group(1))
        return (1.0, 5.0) if self._has("stars?") else (0.0, 100.0) if self._has("percent|percentage") else None

    def _most_words(self) -> int | None:
        found = _LENGTH.search(self._core)
        if found is None:
            return None
        count = _COUNTED.get(found.group(1).lower()) or int(found.group(1))
        return max(1, count * _WORDS_OF[found.group(2).lower().rstrip("s")])

    def _subject(self, kind: Kind | None) -> str:
        """Return the phrase that names the input: the source of an extraction, else the object of the verb."""
        if kind in ("record", "list", "number"):
            for found in re.finditer(rf"(?<!\w)(?:{self._language.out_of})(?!\w)", self._core, re.IGNORECASE):
                if phrase := self._noun_phrase(self._core[found.end() :]):
                    return phrase
        if self._verb is not None:
            return self._object(self._core[self._verb.end() :])
        question = re.search(rf"(?:{self._language.whether}|{self._language.yes_no})\s+", self._core, re.IGNORECASE)
        if question is None:
            return self._source(self._core)
        rest = self._core[question.end() :]
        words = self._noun_phrase(rest).split()
        # `Is the review long?`: the last word is what is asked of it; not so in `Is the review about food?`.
        goes_on = rf"\s+(?!(?:{self._language.joins})\b)(?:{self._language.before})\b"
        is_whole = re.search(re.escape(" ".join(words)) + goes_on, rest, re.IGNORECASE)
        return " ".join(words if is_whole else words[:-1] or words)

    def _object(self, rest: str) -> str:
        """Return the object of a verb; of a property (`the tone of mails`) and of a text to write, what it is of."""
        assert self._verb is not None
        phrase = self._noun_phrase(rest)
        if re.fullmatch(WRITING, self._verb.group(), re.IGNORECASE):
            return self._source(rest)
        if re.search(rf"\b(?:{PROPERTIES})$", phrase, re.IGNORECASE):
            return self._source(rest)
        return phrase

    def _source(self, text: str) -> str:
        """Return the phrase after `of`, `to` or `for`; nothing where there is none."""
        found = re.search(r"\b(?:of|to|for|about|from)\s+", text, re.IGNORECASE)
        return self._noun_phrase(text[found.end() :]) if found and self._language is ENGLISH else ""

    def _noun_phrase(self, text: str) -> str:
        """Return the words up to a preposition or a mark, without determiners; nothing for more than four words."""
        text = text.lstrip(" ,:")
        whether = re.match(rf"(?:{self._language.whether}|if)\s+", text, re.IGNORECASE)
        text = text[whether.end() :] if whether else text
        kept: list[str] = []
        for word in re.findall(r"[^\s,.:;!?()\[\]{}\"“”]+|[,.:;!?()\[\]{}\"“”]", text):
            if re.fullmatch(rf"(?:{self._language.determiners}|\d+|one|two|three)", word, re.IGNORECASE):
                if kept:
                    break
                continue
            if re.fullmatch(rf"(?:{self._language.before})|\W+", word, re.IGNORECASE):
                break
            kept.append(word)
        while self._language is GERMAN and len(kept) > 1 and kept[0][:1].isupper() and not kept[-1][:1].isupper():
            kept.pop()  # nouns have a capital: `Mail dringend`
        return " ".join(kept) if 1 <= len(kept) <= 4 else ""

    def _inputs(self, subject: str) -> tuple[str, ...]:
        """Return the names of the inputs that the sentence names."""
        about = _QUESTION_ABOUT.search(self._core)
        if about and self._kind == "text" and (phrase := self._noun_phrase(about.group(1))):
            source = self._head(phrase)
            return ("question", source) if source != "question" else ("question",)
        return (self._head(subject),) if subject else ()

    def _head(self, phrase: str) -> str:
        words = phrase.split()
        word = words[0] if self._language is not ENGLISH and len(words) > 1 and words[1][:1].islower() else words[-1]
        return input_name(singular(word) if self._language is ENGLISH else word)

    def _name(self, verb: str, inputs: Sequence[str]) -> str:
        words = [verb, *inputs[-1:]] if verb or inputs else re.findall(r"\w+", self._core)[:3]
        return slug("_".join(filter(None, words)))[:40].strip("_")


MOST_FIELDS: Final = 30
_WORDS_BEFORE_VERB: Final = 6
_VERBS: Final[Mapping[str, str]] = {"label": "sort", "labels": "tag", "boolean": "check", "number": "rate"}
"""The verb in the name of a task whose sentence has none."""


def _verb(core: str) -> tuple[Language, re.Match[str] | None, Kind | None]:
    """Return the language of the first known verb among the first words, with the verb and its kind of answer."""
    head = core[:200]
    best: tuple[Language, re.Match[str] | None, Kind | None] = (_language_of(head), None, None)
    for language in LANGUAGES:
        for pattern, kind in language.verbs.items():
            found = _verb_in(head, pattern, language)
            if found is not None and (best[1] is None or found.start() < best[1].start()):
                best = (language, found, kind)
    if best[1] is not None and best[1].start() and re.match(rf"(?:{best[0].yes_no}|{best[0].how_many})\b", core, re.I):
        return best[0], None, None
    return best


def _verb_in(head: str, pattern: str, language: Language) -> re.Match[str] | None:
    """Return the first place among the first words where a pattern is a verb, not a noun or an adjective."""
    for found in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", head, re.IGNORECASE):
        before = head[: found.start()]
        if len(before.split()) > _WORDS_BEFORE_VERB:
            return None
        if not re.search(rf"(?<!\w)(?:{language.determiners}|is|are|be)\s+$", before, re.IGNORECASE):
            return found
    return None


def _language_of(text: str) -> Language:
    """Return the language whose determiners and joining words a text has most of."""
    words = text.casefold().split()

    def score(language: Language) -> int:
        return sum(bool(re.fullmatch(rf"{language.determiners}|{language.joins}", word)) for word in words)

    return max(LANGUAGES, key=score)


def _distinct(items: Sequence[str]) -> Iterator[str]:
    """Yield items without repeats that differ by case alone, each clean and at most LABEL_LIMIT long."""
    seen: set[str] = set()
    for item in items:
        text = clean_text(unicodedata.normalize("NFC", item))[:LABEL_LIMIT].strip()
        if text and text.casefold() not in seen:
            seen.add(text.casefold())
            yield text


def field_type(phrase: str) -> str:
    """Return the type of a record's field by the words of its name."""
    return next((kind for pattern, kind in FIELD_TYPES if pattern.search(phrase.lower())), "text")


_SAME_IN_BOTH: Final = frozenset({"news", "sms", "series", "species", "status", "bus", "gas", "analysis", "address"})


def singular(noun: str) -> str:
    """Return the singular of an English noun by the regular rules."""
    lower = noun.lower()
    if lower in _SAME_IN_BOTH or lower.endswith(("ss", "us", "is")) or not lower.endswith("s") or len(noun) < 4:
        return noun
    if lower.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if lower.endswith(("sses", "xes", "ches", "shes")):
        return noun[:-2]
    return noun[:-1]
