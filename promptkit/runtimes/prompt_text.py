"""The one raw text that a request becomes for llama.cpp: the chat template applied, the begun turn after it.

llama.cpp looks for control tokens in all of a text. Where a message holds one written out, a character that stands
nowhere else goes through the template in its place, and llama.cpp is then given the tokens of its letters there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from promptkit.runtimes.base import Request
from promptkit.runtimes.llama import Llama
from promptkit.runtimes.thoughts import CLOSE, OPEN

PRIVATE: Final = range(0xF0000, 0xFFFFE)
"""Characters without a meaning, of which some that the messages do not use stand for control tokens in data."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A request's raw text, and how llama.cpp takes it: the text, or texts with the tokens of letters between them."""

    text: str
    sent: str | list[str | int]


def prompt_text(llama: Llama, request: Request) -> PromptText:
    """Return the raw text that llama.cpp continues. Where the template opens thoughts, a begun answer closes them.

    Control tokens in a request that is a raw text already are its author's.
    """
    if request.prompt is not None:
        text = request.prompt + request.begun
        return PromptText(text, text)
    contents = [message.content for message in request.messages]
    letters = _letters(llama, (*contents, request.begun))
    if not letters:
        text = _templated(llama, request, contents, request.begun)
        return PromptText(text, text)
    marks = dict(zip(letters, _unused((*contents, request.begun, llama.template)), strict=False))
    pattern = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))

    def marked(text: str) -> str:
        return pattern.sub(lambda found: marks[found[0]], text)

    text = _templated(llama, request, list(map(marked, contents)), marked(request.begun))
    return _unmarked(text, {mark: token for token, mark in marks.items()}, letters)


def answers_at_once(request: Request) -> bool:
    """Tell whether the reply to a request is the answer, without thoughts before it."""
    return bool(request.begun or request.grammar or request.schema) or request.think is False


def _letters(llama: Llama, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the control tokens that stand in texts, each with the tokens of its letters."""
    found = {token for text in texts for token in llama.control_tokens.findall(text)}
    return {token: letters for token in sorted(found) if (letters := llama.letters(token))}


def _templated(llama: Llama, request: Request, contents: Sequence[str], begun: str) -> str:
    options = {} if request.think is None else {"enable_thinking": bool(request.think)}
    messages = [
        {"role": message.role, "content": content} for message, content in zip(request.messages, contents, strict=True)
    ]
    text = llama.apply_template(messages, **options)
    if answers_at_once(request) and text.rstrip().endswith(OPEN):
        text = f"{text.rstrip()}\n\n{CLOSE}\n\n"
    return text + begun


def _unused(texts: Sequence[str]) -> Iterator[str]:
    """Yield characters that no text holds."""
    used = set().union(*texts)
    return (chr(code) for code in PRIVATE if chr(code) not in used)


def _unmarked(text: str, tokens: Mapping[str, str], letters: Mapping[str, tuple[int, ...]]) -> PromptText:
    pieces = re.split(f"([{''.join(tokens)}])", text)
    # The first is a text even where it is empty: llama.cpp puts the beginning of a sequence before it.
    sent: list[str | int] = [pieces[0]]
    for mark, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        sent += letters[tokens[mark]]
        sent += [piece] if piece else []
    shown = "".join(tokens.get(piece, piece) for piece in pieces)
    return PromptText(shown, sent if len(sent) > 1 else shown)
