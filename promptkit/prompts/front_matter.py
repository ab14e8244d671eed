"""The YAML between two `---` lines at the top of a template."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from promptkit.errors import InputError, Problem
from promptkit.prompts.sandbox import GLOBALS
from promptkit.prompts.sections import RESERVED
from promptkit.storage.models import Problems, read_rest
from promptkit.storage.yaml import Document, load

_FENCE: Final = re.compile(r"---[ \t]*(?:\r\n|\r|\n|$)")
_CLOSING_FENCE: Final = re.compile(r"^---[ \t]*(?:\r\n|\r|\n|\Z)", re.MULTILINE)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def split_front_matter(text: str, file: str) -> tuple[Document | None, str, int]:
    """Return the front matter, the body below it and the body's first line number. Raises InputError.

    A file that does not begin with `---` has no front matter.
    """
    yaml, body, first_line = cut_front_matter(text)
    if yaml is None:
        return None, body, first_line
    if first_line == 1:
        raise InputError(Problem("the front matter has no end", file, 1, 1, hint="close it with a line `---`"))
    document = _read_yaml(yaml, file)
    return (None if document.value is None else document), body, first_line


@lru_cache(maxsize=500)
def _read_yaml(yaml: str, file: str) -> Document:
    """Parse front matter, cached by content, since parsing YAML takes longer than rendering. A Document is never
    changed.
    """
    return load(yaml, file=file, first_line=2)


def cut_front_matter(text: str) -> tuple[str | None, str, int]:
    """Return the front matter's text (None without one), the body, and its first line (1 where the front matter is not
    closed).
    """
    opening = _FENCE.match(text)
    if opening is None:
        return None, text, 1
    closing = _CLOSING_FENCE.search(text, opening.end())
    if closing is None:
        return text[opening.end() :], "", 1
    first_line = 1 + len(_LINE_END.findall(text, 0, closing.end()))
    return text[opening.end() : closing.start()], text[closing.end() :], first_line


class InputModel(BaseModel):
    """One input in the front matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""
    type: Literal["text", "number", "boolean", "list", "table", "messages", "json"] | None = None
    choices: tuple[Any, ...] = ()
    example: Any = None
    default: Any = None


class FrontMatter(BaseModel):
    """The keys of a prompt's front matter. Values that other packages read are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""
    inputs: dict[str, InputModel | None] = {}
    answer: Any = None
    layout: str | None = None
    messages: Literal["one", "system", "turns"] | None = None
    examples: Any = None
    decide: Literal["constrain", "generate", "score", "head"] | None = None
    otherwise: Literal["constrain", "generate", "score"] | None = None
    calibrate: Any = None
    technique: Any = None
    think: Any = None
    programs: Any = None
    options: Any = None
    cue: str | None = None
    cases: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInput:
    """An input of a prompt. It is optional exactly when it has a default."""

    about: str = ""
    type: str | None = None
    choices: tuple[Any, ...] = ()
    example: Any = None
    has_example: bool = False
    default: Any = None
    has_default: bool = False


def read_front(document: Document, problems: Problems) -> tuple[dict[str, PromptInput], Collection[str]]:
    """Return the inputs of a prompt's front matter and its valid keys. Reports the rest in `problems`.

    An invalid input is returned by name, so that its uses are not reported as well.
    """
    front = read_rest(document, FrontMatter, problems) or FrontMatter()
    declared = document.value.get("inputs") if isinstance(document.value, dict) else None
    specs: dict[str, PromptInput] = {}
    for name in declared if isinstance(declared, dict) else ():
        if name in RESERVED or name in GLOBALS:
            problems.add(document.problem(("inputs", name), f"`{name}` is a reserved name in templates", key=True))
        elif not name.isidentifier():
            hint = "letters, digits and `_`, not a digit first"
            problems.add(document.problem(("inputs", name), f"`{name}` is not a name", hint, key=True))
        specs[name] = _input_spec(front.inputs.get(name) or InputModel())
    return specs, front.model_fields_set


def _input_spec(given: InputModel) -> PromptInput:
    return PromptInput(
        about=given.about,
        type=given.type,
        choices=given.choices,
        example=given.example,
        has_example="example" in given.model_fields_set,
        default=given.default,
        has_default="default" in given.model_fields_set,
    )
