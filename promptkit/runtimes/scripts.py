"""Scripted answers from files: a YAML file of replies and rules, or a function in a Python file.

A YAML script holds a list of replies, given in order, or a mapping:

    model: tiny                      # the model's name (left out: the reference)
    capabilities: [chat, continue]   # left out: all but `embeddings` and `think`
    context: 2048
    delay: 0.5                       # seconds that each reply takes, spread over its pieces
    rules:                           # the first that fits and is not used up answers
      - {contains: billing, reply: pricing concerns}
      - {match: "(?i)refund|invoice", replies: [one, two]}
    replies: [one, {text: two, finish: length}, {error: the server is tired}]
    otherwise: others                # when no rule fits and no reply is left

A rule's `reply` serves `times` times (left out: always), its `replies` in order, `times` times over (left out: once).
A reply is a text, or a mapping of `text finish thoughts tokens_in tokens_out tokens error`; in `tokens`, a list of
`{piece: log-probability}`, the likeliest of each is the one that was generated.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import fields
from inspect import isawaitable
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, TypeAdapter, model_validator

from promptkit.errors import InputError, Problem, PromptkitError, RequestRefused, ServerFailed, nearest, place
from promptkit.project_code import (
    CodeReference,
    binds,
    constants_of,
    functions_of,
    guarded,
    literal,
    parse_source,
)
from promptkit.runtimes.base import Alternative, Capability, Finish, Reply, Request, Token
from promptkit.runtimes.reply_reader import checked_reply, understood
from promptkit.runtimes.scripted import CAPABILITIES, Answered, Scripted, quoted, whole_text
from promptkit.storage import load_file, read_model, read_text, resolved
from promptkit.workers import PatternFailed, pattern_fault, patterns_found

if TYPE_CHECKING:
    from promptkit.storage import Document


def _pattern(text: str) -> str:
    if fault := pattern_fault(text):
        raise ValueError(fault)
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GivenReply(_Strict):
    """A reply with more than its text, or the error that comes in its place."""

    text: str | None = None
    finish: Finish = "stop"
    thoughts: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens: list[Annotated[dict[str, float], Field(min_length=1)]] = []
    error: str | None = None

    def answer(self) -> Answered:
        """Return what the runtime answers; a mere text is left to be cut as the request says."""
        if self.error is not None:
            return ServerFailed(self.error)
        if self.model_fields_set == {"text"}:
            return self.text or ""
        tokens = tuple(_token(alternatives) for alternatives in self.tokens)
        said = b"".join(token.piece for token in tokens).decode("utf-8", "replace")
        return Reply(
            text=said if self.text is None else self.text,
            finish=self.finish,
            thoughts=self.thoughts,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            tokens=tokens,
        )


ReplyValue: TypeAlias = str | GivenReply


class Rule(_Strict):
    """Replies to the requests that contain a text or match a regular expression."""

    contains: str | None = None
    match: Annotated[str, AfterValidator(_pattern)] | None = None
    reply: ReplyValue | None = None
    replies: list[ReplyValue] | None = None
    times: Annotated[int, Field(ge=1, lt=2**31)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.contains is None) == (self.match is None):
            raise ValueError("a rule needs one of `contains` and `match`")
        if (self.reply is None) == (self.replies is None):
            raise ValueError("a rule needs one of `reply` and `replies`")
        return self

    def fits(self, text: str, found: Collection[str]) -> bool:
        """Tell whether the rule is for a request of this text, in which the patterns `found` find something."""
        return (self.contains or "") in text if self.match is None else self.match in found

    def supply(self) -> Iterator[ReplyValue]:
        """Yield the replies until the rule is used up."""
        if self.replies is not None:
            return chain.from_iterable(repeat(self.replies, self.times or 1))
        reply = self.reply or ""
        return repeat(reply) if self.times is None else repeat(reply, self.times)


class ScriptFile(_Strict):
    """What a YAML script may say."""

    model: str | None = None
    capabilities: list[Capability] | None = None
    context: Annotated[int, Field(ge=1)] | None = None
    delay: Annotated[float, Field(ge=0)] = 0.0
    rules: list[Rule] = []
    replies: list[ReplyValue] = []
    otherwise: ReplyValue | None = None


class _Replies(RootModel[list[ReplyValue]]):
    """The short form of a script."""


def load_script(path: Path, reference: str) -> Scripted:
    """Return the runtime that a YAML script describes. Raises InputError with all that is wrong in it."""
    document = load_file(path)
    script = _read(document)
    return Scripted(
        _Player(script, reference),
        capabilities=CAPABILITIES if script.capabilities is None else script.capabilities,
        digest=_digest(path),
        reference=script.model or reference,
        context=script.context,
        delay=script.delay,
        keep_requests=False,
    )


def load_function(path: Path, name: str, reference: str) -> Scripted:
    """Return the runtime whose answers a function in a Python file gives; the file is run when it is first asked.

    Raises InputError for a file that is not Python, or has no such function.
    """
    tree = parse_source(path)
    if not binds(tree, name):
        raise InputError(Problem(f"it has no function `{name}`", place(path), hint=nearest(name, functions_of(tree))))
    file = resolved(path)
    code = CodeReference(f"{place(path)}:{name}", path.name, name, file, file.parent)
    able = _capabilities(tree, name, path)
    return Scripted(
        _guarded(code, reference),
        capabilities=able,
        digest=_digest(path, name),
        reference=reference,
        keep_requests=False,
    )


def _capabilities(tree: ast.Module, name: str, path: Path) -> frozenset[Capability]:
    """Return what `FUNCTION.capabilities = {…}` in a script says, or what a function has without. Raises InputError."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if not isinstance(node, ast.Assign) or not isinstance(target, ast.Attribute) or target.attr != "capabilities":
            continue
        if isinstance(target.value, ast.Name) and target.value.id == name:
            try:
                return TypeAdapter(frozenset[Capability]).validate_python(literal(node.value, constants_of(tree)))
            except ValueError:
                message = f"`{name}.capabilities` must be a set of: {', '.join(get_args(Capability))}"
                raise InputError(Problem(message, place(path), node.lineno)) from None
    # A function says what it says; log-probabilities made up for it would be taken for its own.
    return CAPABILITIES - {"logprobs"}


def _guarded(code: CodeReference, reference: str) -> Callable[[Request], Awaitable[Answered]]:
    """Make what goes wrong in a person's function one of our errors."""

    def failed(told: str) -> ServerFailed:
        return ServerFailed(f"{reference} {told}")

    async def answer(request: Request) -> Answered:
        function = code.function(failed)
        with guarded(failed, code.file, passing=(PromptkitError,)):
            answered = function(request)
            if isawaitable(answered):
                answered = await answered
        if isinstance(answered, Reply):
            with understood(f"{reference} returned a Reply whose values cannot be true"):
                return checked_reply(**{each.name: getattr(answered, each.name) for each in fields(Reply)})
        if isinstance(answered, str | Exception):
            return answered
        raise ServerFailed(f"{reference} returned {type(answered).__name__}, not a str, a Reply or an Exception")

    return answer


class _Player:
    """Answers by the rules of a script, then by its replies in order, then by what it says otherwise."""

    def __init__(self, script: ScriptFile, reference: str) -> None:
        self._rules = [(rule, rule.supply()) for rule in script.rules]
        self._replies = iter(script.replies)
        self._otherwise = script.otherwise
        self._reference = reference
        self._patterns = [rule.match for rule in script.rules if rule.match is not None]
        self._turn = asyncio.Lock()  # replies are given in the order of the requests

    async def __call__(self, request: Request) -> Answered:
        text = whole_text(request)
        async with self._turn:
            try:
                found = await patterns_found(self._patterns, text)
            except PatternFailed as failed:
                raise ServerFailed(f"{self._reference}: {failed}") from None
            given = self._next(text, found)
        if given is None:
            raise RequestRefused(f"{self._reference} has no rule and no reply left for: {quoted(request)}")
        return given if isinstance(given, str) else given.answer()

    def _next(self, text: str, found: Collection[str]) -> ReplyValue | None:
        for rule, supply in self._rules:
            if rule.fits(text, found):
                for reply in supply:
                    return reply
        return next(self._replies, self._otherwise)


def _read(document: Document) -> ScriptFile:
    if isinstance(document.value, list):
        return ScriptFile(replies=read_model(document, _Replies).root)
    return read_model(document, ScriptFile)


def _token(alternatives: dict[str, float]) -> Token:
    ranked = sorted(alternatives.items(), key=lambda each: -each[1])
    others = tuple(Alternative(piece.encode("utf-8", "surrogatepass"), price) for piece, price in ranked)
    return Token(others[0].piece, others[0].logprob, others)


def _digest(path: Path, function: str = "") -> str:
    """Return what tells a script from others: two functions of one file are two models."""
    return hashlib.sha256(f"{read_text(path)}{function}".encode()).hexdigest()
