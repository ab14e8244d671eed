"""A request as llama.cpp takes it: one raw text, or messages with tools, and the options of the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.runtimes.base import EncodedReply, Request, sample_seed
from promptkit.runtimes.control_tokens import with_texts
from promptkit.runtimes.function_calls import openai_turn, tool_fields
from promptkit.runtimes.in_process.llama_cpp import Llama
from promptkit.runtimes.thoughts import THINK_CLOSE, THINK_OPEN, ThoughtSplitter

PRIVATE: Final = range(0xF0000, 0xFFFFE)
"""Private-use characters. Those that no message uses stand for control tokens in data."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A request's raw text, and its form for llama.cpp: the text, or texts with the tokens of letters between them."""

    text: str
    sent: str | list[str | int]


def prompt_text(llama: Llama, request: Request) -> PromptText:
    """Return the raw text that llama.cpp continues. Where the template opens thoughts, a begun answer closes them.

    llama.cpp obeys control tokens anywhere in a text. One that a message holds is replaced by an unused character for
    the chat template, and llama.cpp then gets the tokens of its letters. A raw text keeps its control tokens. In a
    request with tools, which llama.cpp gets as messages, they have a backslash. The tokens of a soft prompt come first.
    """
    prompt = _without_soft_prompt(llama, request)
    soft = "".join(llama.soft_prompt.values())
    if not soft:
        return prompt
    sent = soft + prompt.sent if isinstance(prompt.sent, str) else [f"{soft}{prompt.sent[0]}", *prompt.sent[1:]]
    return PromptText(soft + prompt.text, sent)


def _without_soft_prompt(llama: Llama, request: Request) -> PromptText:
    if request.prompt is not None:
        text = request.prompt + request.begun
        return PromptText(text, text)
    if request.tools:
        text = _templated(llama, _escaped(llama, request))
        return PromptText(text, text)
    texts = _texts(request)
    letters = _control_tokens_in(llama, texts)
    if not letters:
        text = _templated(llama, request)
        return PromptText(text, text)
    marks = dict(zip(letters, _unused_characters((*texts, llama.template)), strict=False))
    pattern = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))
    marked = with_texts(request, lambda text, _: pattern.sub(lambda found: marks[found[0]], text))
    return _unmarked(_templated(llama, marked), {mark: token for token, mark in marks.items()}, letters)


def _escaped(llama: Llama, request: Request) -> Request:
    """Return a request with a backslash in each of the model's control tokens that its texts hold."""
    letters = _control_tokens_in(llama, _texts(request))

    def escaped(text: str, _: bool) -> str:
        return llama.control_tokens.sub(
            lambda found: f"{found[0][:1]}\\{found[0][1:]}" if found[0] in letters else found[0], text
        )

    return with_texts(request, escaped) if letters else request


def _texts(request: Request) -> list[str]:
    """Return all texts of a request's messages, begun turn and tools."""
    texts: list[str] = []

    def seen(text: str, _: bool) -> str:
        texts.append(text)
        return text

    with_texts(request, seen)
    return texts


def _answers_without_thoughts(request: Request) -> bool:
    """Tell whether the reply to a request is the answer, without thoughts before it."""
    return bool(request.begun or request.constrained) or request.think is False


def _control_tokens_in(llama: Llama, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the control tokens in texts, each with the tokens of its letters."""
    found = {token for text in texts for token in llama.control_tokens.findall(text)}
    return {token: letters for token in sorted(found) if (letters := llama.letters(token))}


def _templated(llama: Llama, request: Request) -> str:
    messages = [openai_turn(turn) for turn in request.messages]
    text = llama.apply_template(messages, tool_fields(request.tools), **_template_options(request))
    if _answers_without_thoughts(request) and text.rstrip().endswith(THINK_OPEN):
        text = f"{text.rstrip()}\n\n{THINK_CLOSE}\n\n"
    return text + request.begun


def _template_options(request: Request) -> dict[str, Any]:
    return {} if request.think is None else {"enable_thinking": bool(request.think)}


def _unused_characters(texts: Sequence[str]) -> Iterator[str]:
    """Yield private-use characters that no text holds."""
    used = set().union(*texts)
    return (chr(code) for code in PRIVATE if chr(code) not in used)


def _unmarked(text: str, tokens: Mapping[str, str], letters: Mapping[str, tuple[int, ...]]) -> PromptText:
    pieces = re.split(f"([{''.join(tokens)}])", text)
    # The first item is a text, even an empty one: llama.cpp puts the beginning of a sequence before it.
    sent: list[str | int] = [pieces[0]]
    for mark, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        sent += letters[tokens[mark]]
        sent += [piece] if piece else []
    shown = "".join(tokens.get(piece, piece) for piece in pieces)
    return PromptText(shown, sent if len(sent) > 1 else shown)


def thought_splitter(request: Request, text: str) -> ThoughtSplitter:
    """Return the splitter of thoughts and answer for the continuation of a raw text."""
    off = request.prompt is not None or bool(request.begun or request.constrained)
    return ThoughtSplitter(opened=not off and text.rstrip().endswith(THINK_OPEN), off=off)


def prompt_query(llama: Llama, request: Request, prompt: PromptText) -> dict[str, Any]:
    """Return the body of a request to continue a raw text."""
    scored = {"logprobs": request.alternatives} if request.alternatives else {}
    # They have a soft prompt's vectors, which a tied output would write.
    barred = {"logit_bias": [[token, False] for token in llama.soft_prompt]} if llama.soft_prompt else {}
    return {"prompt": prompt.sent, **scored, **barred, **_options(request)}


def tool_query(llama: Llama, request: Request) -> dict[str, Any]:
    """Return the body of a request with tools in OpenAI's protocol."""
    request = _escaped(llama, request)
    return {
        "messages": [openai_turn(turn) for turn in request.messages],
        "tools": tool_fields(request.tools),
        "tool_choice": request.tool_choice,
        "parallel_tool_calls": True,
        "chat_template_kwargs": _template_options(request),
        **_options(request),
    }


def _options(request: Request) -> dict[str, Any]:
    options = {
        "max_tokens": request.most_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": sample_seed(request),
        "stop": None if request.thought_tokens else list(request.stop) or None,
        "grammar": request.grammar,
        "json_schema": request.schema,
        "cache_prompt": None if request.reuse_prefix else False,
    }
    return {key: value for key, value in options.items() if value is not None}


def encoded_reply(llama: Llama, request: Request, reply: str) -> EncodedReply:
    """Return a request and a reply to it as token ids: as llama.cpp reads the one and writes the other."""
    sent = prompt_text(llama, request).sent
    before = llama.token_ids(sent)
    after: tuple[int, ...] = ()
    if isinstance(sent, str) and llama.control_tokens.search(reply) is None:
        whole = llama.token_ids(sent + reply)
        after = whole[len(before) :] if whole[: len(before)] == before else ()
    if not after:  # A token would cross the border, or the reply holds a control token as text.
        after = llama.token_ids(reply, begins=False, obeys=False)
    end = llama.end_token
    return EncodedReply(before, after if end is None else (*after, end))
