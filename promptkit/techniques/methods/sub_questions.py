"""The sub-questions of a decomposer: `(operation) [handler] text`, over the answers to earlier ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.answers.reader.list_reader import bare_item
from promptkit.techniques.reading import first_line

END: Final = "EOQ"
DEFAULT: Final = "ask"
"""The handler of a sub-question that names none."""

_LINE: Final = re.compile(r"\s*(?:\((?P<operation>[A-Za-z]\w*)\)\s*)?(?:\[(?P<handler>[^\[\]\n]+)\])?(?P<text>[^\n]*)")
_END_LINE: Final = re.compile(r"\W*EOQ\W*")
_QUESTION_HEAD: Final = re.compile(r"[*_\s]*QS\d*[*_]{0,2}[ \t]*:[*_\s]*", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"#(\d+|C)\b")
_BASES: Final = ("select", "project", "projectKeys", "projectValues", "filter")
_SUFFIXES: Final = ("flat", "unique", "keys", "values")


class InvalidSubQuestion(ValueError):
    """A sub-question that cannot be asked, or whose answers cannot be merged; the message says why."""


@dataclass(frozen=True, slots=True)
class SubQuestionPart:
    """One question to a handler, and the list item that it is about, if any."""

    item: Any
    question: str


@dataclass(frozen=True, slots=True)
class SubQuestion:
    """One line of a decomposer. `operation` says how often it is asked, `suffixes` how its answers are merged."""

    line: str
    operation: str
    suffixes: tuple[str, ...]
    handler: str
    text: str

    def parts(self, answers: Mapping[str, Any]) -> list[SubQuestionPart]:
        """Return the questions to ask, with earlier answers filled in, by number. Raises InvalidSubQuestion."""
        named = list(dict.fromkeys(_REFERENCE.findall(self.text)))
        if missing := [name for name in named if name not in answers]:
            raise InvalidSubQuestion(f"`#{missing[0]}` refers to no answer so far")
        if self.operation == "select":
            return [SubQuestionPart(None, _REFERENCE.sub(lambda found: _json(answers[found[1]]), self.text))]
        if len(named) != 1:
            raise InvalidSubQuestion(f"`{self.operation}` needs one answer to loop over, not {len(named)}")
        items = answers[named[0]]
        items = [items] if isinstance(items, str) else items
        if not isinstance(items, list):
            raise InvalidSubQuestion(f"`#{named[0]}` is not a list to loop over")
        return [SubQuestionPart(item, self._filled(item)) for item in items]

    def merged(self, parts: Sequence[SubQuestionPart], answers: Sequence[Any]) -> Any:
        """Return the merged answers to the parts. Raises InvalidSubQuestion."""
        items = [part.item for part in parts]
        found: Any
        match self.operation:
            case "select":
                found = answers[0]
            case "filter":
                found = [item for item, answer in zip(items, answers, strict=True) if _is_yes(answer)]
            case "projectKeys":
                found = [[answer, item[1]] for item, answer in zip(items, answers, strict=True)]
            case "projectValues":
                found = [[item[0], answer] for item, answer in zip(items, answers, strict=True)]
            case _:
                found = [[item, answer] for item, answer in zip(items, answers, strict=True)]
        for suffix in self.suffixes:
            found = _apply_suffix(suffix, found)
        return found

    def _filled(self, item: Any) -> str:
        if self.operation in ("projectKeys", "projectValues"):
            if not (isinstance(item, list) and len(item) == 2):
                raise InvalidSubQuestion(f"`{self.operation}` loops over pairs, and there is none in {_json(item)}")
            text = _json(item[self.operation == "projectValues"])
        else:
            text = item if isinstance(item, str) else _json(item)
        return _REFERENCE.sub(lambda _: text, self.text)


def read_sub_question(reply: str) -> SubQuestion:
    """Return the sub-question in the first line of a reply; one that names no handler is for the default one.

    Raises InvalidSubQuestion for an unknown operation and for a reply without a question.
    """
    line = _QUESTION_HEAD.sub("", bare_item(first_line(reply)), count=1).strip(" *_`")
    if _END_LINE.fullmatch(line):
        return SubQuestion(line, "select", (), END, "")
    found = _LINE.match(line)
    assert found is not None, "every part of the pattern is optional"
    operation, *suffixes = (found["operation"] or "select").split("_")
    if operation not in _BASES or not set(suffixes) <= set(_SUFFIXES):
        raise InvalidSubQuestion(f"there is no operation `{found['operation']}`")
    handler, text = (found["handler"] or DEFAULT).strip(), found["text"].strip()
    if not text and handler != END:
        raise InvalidSubQuestion("the reply holds no question")
    return SubQuestion(line, operation, tuple(suffixes), handler, text)


def read_reply(text: str) -> Any:
    """Return a handler's answer: a JSON value, else its text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()


def _apply_suffix(suffix: str, found: Any) -> Any:
    if not isinstance(found, list):
        raise InvalidSubQuestion(f"`{suffix}` is for lists, not for {_json(found)}")
    match suffix:
        case "flat":
            return [part for item in found for part in (item if isinstance(item, list) else [item])]
        case "unique":
            return list({_json(item): item for item in found}.values())
    if not all(isinstance(item, list) and len(item) == 2 for item in found):
        raise InvalidSubQuestion(f"`{suffix}` is for pairs, not for {_json(found)}")
    return [item[suffix == "values"] for item in found]


def _is_yes(answer: Any) -> bool:
    return answer is True or str(answer).strip().lower().rstrip(".") in ("yes", "true", "1")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
