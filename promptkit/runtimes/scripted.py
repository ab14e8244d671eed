"""The scripted runtime: replies from a list, a function, or a file.

A YAML script holds a list of replies, given in order, or a mapping:

    model: tiny                      # the model's name (default: the reference)
    capabilities: [chat, continue]   # default: all but vectors, thoughts, calls and `guidance choice regex json_object`
    context: 2048
    delay: 0.5                       # seconds that each reply takes, spread over its pieces
    rules:                           # the first rule that matches and is not used up answers
      - {contains: billing, reply: pricing concerns}
      - {match: "(?i)refund|invoice", replies: [one, two]}
    replies: [one, {text: two, finish: length}, {error: the server is tired}]
    otherwise: others                # when no rule matches and no reply is left

A rule's `reply` serves `times` times (default: always), its `replies` in order, `times` times over (default: once).
A reply is a text, or a mapping of `text finish thoughts calls tokens_in tokens_out tokens error`; in `tokens`, a list
of `{piece: log-probability}`, the likeliest piece of each is the generated one. `calls` are calls of tools, each
`{name: TOOL, arguments: {…}}`; the model needs the capability `function_calls`.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from inspect import isawaitable
from itertools import chain, repeat
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, TypeAdapter, model_validator

from promptkit.errors import (
    InputError,
    Problem,
    PromptkitError,
    RequestRefused,
    ServerFailed,
    Unsupported,
    nearest,
    place,
)
from promptkit.project_code.file_reads import collecting_reads, running_async_code
from promptkit.project_code.reference import CodeReference, guarded
from promptkit.project_code.source import binds, constants_of, functions_of, literal_value, parse_source
from promptkit.runtimes.base import (
    Alternative,
    Capability,
    Finish,
    FunctionCall,
    Message,
    Model,
    OnText,
    Reply,
    Request,
    Runtime,
    Thought,
    Token,
    ToolDefinition,
)
from promptkit.runtimes.function_calls import tool_fields
from promptkit.runtimes.reply_reader import checked_foreign_reply
from promptkit.storage.files import read_text, resolved
from promptkit.storage.models import read_model
from promptkit.storage.strict_json import compact
from promptkit.storage.yaml import Document, load_file
from promptkit.workers.patterns import PatternFailed, matching_patterns, pattern_fault

ScriptedAnswer: TypeAlias = str | Reply | Exception
Script: TypeAlias = Callable[[Request], ScriptedAnswer | Awaitable[ScriptedAnswer]]
Tokenizer: TypeAlias = Callable[[str], Sequence[bytes]]
Embedder: TypeAlias = Callable[[str], list[float]]

CAPABILITIES: frozenset[Capability] = frozenset(get_args(Capability)) - {
    "embeddings",
    "hidden_states",
    "guidance",
    "choice",
    "regex",
    "object_schema",
    "json_object",
    "think",
    "thinks",
    "after_thoughts",
    "function_calls",
}
"""The default capabilities of a scripted runtime."""

LONGEST_QUOTED = 80
"""Characters of a request that an error shows."""

_PIECE = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")


def split_tokens(text: str) -> tuple[bytes, ...]:
    """Split a text into tokens as a small tokenizer does: words with the blanks before them, single signs."""
    return tuple(piece.encode("utf-8", "surrogatepass") for piece in _PIECE.findall(text))


def request_text(request: Request) -> str:
    """Return the whole text of a request: the messages with their calls, or the prompt, then the begun turn."""
    parts = [request.prompt] if request.prompt is not None else [_turn_text(message) for message in request.messages]
    return "\n".join([*parts, request.begun] if request.begun else parts)


def _turn_text(message: Message) -> str:
    """Return a turn's text, with each call on a line as `name(arguments)`."""
    calls = [f"{call.name}({call.arguments})" for call in message.calls]
    return "\n".join([message.content, *calls] if message.content or not calls else calls)


def quoted_request(request: Request) -> str:
    """Return the end of a request's text, where its input stands, in one line of at most LONGEST_QUOTED characters."""
    line = " ".join(request_text(request).split())
    if len(line) <= LONGEST_QUOTED:
        return line
    end = line[1 - LONGEST_QUOTED :]
    word = "" if line[-LONGEST_QUOTED] == " " else end.partition(" ")[2]
    return f"…{word or end}"


class Scripted(Runtime):
    """A runtime with given answers: from a function of the request, or from a list, in order.

    A text is cut at a stop sequence and at `max_tokens`, and gets log-probabilities where the request asks for them. A
    `Reply` is returned unchanged; an exception is raised. `requests` holds the requests (with `keep_requests`), `peak`
    the most that were in flight together.
    """

    def __init__(
        self,
        answers: Script | Iterable[ScriptedAnswer],
        *,
        capabilities: Iterable[Capability] = CAPABILITIES,
        digest: str = "scripted",
        reference: str = "scripted",
        context: int | None = None,
        parallel: int = 8,
        delay: float = 0.0,
        tokenizer: Tokenizer = split_tokens,
        embedder: Embedder | None = None,
        keep_requests: bool = True,
    ) -> None:
        self.requests: list[Request] = []
        self.peak = 0
        self._in_flight = 0
        self.script = answers if callable(answers) else _answers_in_order(answers, reference)
        self._delay = delay
        self._tokenizer = tokenizer
        self._embedder = embedder
        self._keep_requests = keep_requests
        can: set[Capability] = {*capabilities, "embeddings"} if embedder else {*capabilities}
        self._model = Model(
            reference=reference,
            digest=digest,
            capabilities=frozenset(can),
            context=context,
            parallel=parallel,
        )

    async def model(self) -> Model:
        """Return the script's description of the model."""
        return self._model

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Return the script's next answer to the request. Raises RequestRefused where it has none."""
        if self._keep_requests:
            self.requests.append(request)
        self._in_flight += 1
        self.peak = max(self.peak, self._in_flight)
        started = time.monotonic()
        try:
            with collecting_reads() as read:
                answered = self.script(request)
                if isawaitable(answered):
                    answered = await answered
            if isinstance(answered, Exception):
                raise answered
            reply = self._obey(request, answered) if isinstance(answered, str) else answered
            if read.digests:
                reply = replace(reply, reads=read.digests)
            await self._stream(reply, on_text)
        finally:
            self._in_flight -= 1
        return reply if reply.seconds else self._timed(reply, time.monotonic() - started)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text by the given function. Raises Unsupported without one."""
        if self._embedder is None:
            raise Unsupported(f"{self._model.reference} has no embeddings")
        return [self._embedder(text) for text in texts]

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return the text's tokens, or None without the capability `tokenize`."""
        return tuple(self._tokenizer(text)) if "tokenize" in self._model.capabilities else None

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        """Return messages and tools in a plain template, or None without the capability `template`."""
        return _templated(messages, begun, tools) if "template" in self._model.capabilities else None

    def _obey(self, request: Request, text: str) -> Reply:
        """Return the reply of a text, cut at the request's limits."""
        for stop in filter(None, request.stop):
            text = text.split(stop, 1)[0]
        given = tuple(self._tokenizer(text))
        kept = given[: request.max_tokens]
        asked = request.prompt
        if asked is None:
            asked = _templated(request.messages, request.begun, request.tools)
        return Reply(
            text=b"".join(kept).decode("utf-8", "surrogatepass") if len(kept) < len(given) else text,
            finish="length" if len(kept) < len(given) else "stop",
            tokens_in=len(self._tokenizer(asked)),
            tokens_out=len(kept),
            tokens=tuple(_certain(piece) for piece in kept) if request.alternatives else (),
        )

    async def _stream(self, reply: Reply, on_text: OnText | None) -> None:
        """Wait for the script's delay, passing each piece to the listener."""
        parts = _streamed_parts(reply)
        if on_text is None or not parts:
            await asyncio.sleep(self._delay)
            return
        for part in parts:
            await asyncio.sleep(self._delay / len(parts))
            on_text(part)

    def _timed(self, reply: Reply, seconds: float) -> Reply:
        """Return a reply with its time; where the script has a delay, its first piece took an equal part of that."""
        parts = _streamed_parts(reply) if self._delay else ()
        return replace(reply, seconds=seconds, first_token=seconds / len(parts) if parts else None)


def _streamed_parts(reply: Reply) -> list[str]:
    return [*map(Thought, _PIECE.findall(reply.thoughts)), *_PIECE.findall(reply.text)]


def _certain(piece: bytes) -> Token:
    return Token(piece, 0.0, (Alternative(piece, 0.0),))


def _templated(messages: Sequence[Message], begun: str, tools: Sequence[ToolDefinition]) -> str:
    offered = f"<|tools|>\n{compact(tool_fields(tools))}\n" if tools else ""
    turns = "".join(f"<|{message.role}|>\n{_turn_text(message)}\n" for message in messages)
    return f"{offered}{turns}<|assistant|>\n{begun}"


def _answers_in_order(answers: Iterable[ScriptedAnswer], reference: str) -> Script:
    left: Iterator[ScriptedAnswer] = iter(answers)
    given = 0

    def script(request: Request) -> ScriptedAnswer:
        nonlocal given
        for answered in left:
            given += 1
            return answered
        asked = quoted_request(request)
        raise RequestRefused(f"{reference} has no reply left: all {given} are used, and the request was: {asked}")

    return script


def _pattern(text: str) -> str:
    if fault := pattern_fault(text):
        raise ValueError(fault)
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ScriptCall(_Strict):
    """A call of a tool. Arguments that are a text are given as they are, also where they are not JSON."""

    name: str
    arguments: dict[str, Any] | str = {}
    id: str | None = None

    def call(self, number: int) -> FunctionCall:
        """Return the call for the reply. Without an `id` it gets its number."""
        arguments = self.arguments if isinstance(self.arguments, str) else compact(self.arguments)
        return FunctionCall(id=self.id or f"call_{number}", name=self.name, arguments=arguments)


class ScriptReply(_Strict):
    """A reply with more than its text, or an error in its place."""

    text: str | None = None
    finish: Finish = "stop"
    thoughts: str = ""
    calls: list[ScriptCall] = []
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens: list[Annotated[dict[str, float], Field(min_length=1)]] = []
    error: str | None = None

    def answer(self) -> ScriptedAnswer:
        """Return the answer for the runtime. A text alone is left for the runtime to cut."""
        if self.error is not None:
            return ServerFailed(self.error)
        if self.model_fields_set == {"text"}:
            return self.text or ""
        tokens = tuple(_token(alternatives) for alternatives in self.tokens)
        text = b"".join(token.piece for token in tokens).decode("utf-8", "replace")
        return Reply(
            text=text if self.text is None else self.text,
            finish=self.finish,
            thoughts=self.thoughts,
            calls=tuple(call.call(number) for number, call in enumerate(self.calls, start=1)),
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            tokens=tokens,
        )


ReplyValue: TypeAlias = str | ScriptReply


class ScriptRule(_Strict):
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
        """Tell whether the rule matches a request of this text, in which the patterns `found` find something."""
        return (self.contains or "") in text if self.match is None else self.match in found

    def supply(self) -> Iterator[ReplyValue]:
        """Yield the replies until the rule is used up."""
        if self.replies is not None:
            return chain.from_iterable(repeat(self.replies, self.times or 1))
        reply = self.reply or ""
        return repeat(reply) if self.times is None else repeat(reply, self.times)


class ScriptFile(_Strict):
    """The fields of a YAML script."""

    model: str | None = None
    capabilities: list[Capability] | None = None
    context: Annotated[int, Field(ge=1)] | None = None
    delay: Annotated[float, Field(ge=0)] = 0.0
    rules: list[ScriptRule] = []
    replies: list[ReplyValue] = []
    otherwise: ReplyValue | None = None


class _Replies(RootModel[list[ReplyValue]]):
    """The short form of a script."""


def load_script(path: Path, reference: str) -> Scripted:
    """Return the runtime of a YAML script. Raises InputError with everything that is wrong in it."""
    document = load_file(path)
    script = _read_script(document)
    return Scripted(
        _RulePlayer(script, reference),
        capabilities=CAPABILITIES if script.capabilities is None else script.capabilities,
        digest=_digest(path),
        reference=script.model or reference,
        context=script.context,
        delay=script.delay,
        keep_requests=False,
    )


def load_function(path: Path, name: str, reference: str) -> Scripted:
    """Return the runtime of a function in a Python file. The file runs at the first request.

    Raises InputError for a file that is not Python, or has no such function.
    """
    tree = parse_source(path)
    if not binds(tree, name):
        raise InputError(Problem(f"it has no function `{name}`", place(path), hint=nearest(name, functions_of(tree))))
    file = resolved(path)
    code = CodeReference(f"{place(path)}:{name}", path.name, name, file, file.parent)
    able = _capabilities(tree, name, path)
    return Scripted(
        _guarded_script(code, reference),
        capabilities=able,
        digest=_digest(path, name),
        reference=reference,
        keep_requests=False,
    )


def _capabilities(tree: ast.Module, name: str, path: Path) -> frozenset[Capability]:
    """Return the capabilities that `FUNCTION.capabilities = {…}` names, else the default ones. Raises InputError."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if not isinstance(node, ast.Assign) or not isinstance(target, ast.Attribute) or target.attr != "capabilities":
            continue
        if isinstance(target.value, ast.Name) and target.value.id == name:
            try:
                return TypeAdapter(frozenset[Capability]).validate_python(literal_value(node.value, constants_of(tree)))
            except ValueError:
                message = f"`{name}.capabilities` must be a set of: {', '.join(get_args(Capability))}"
                raise InputError(Problem(message, place(path), node.lineno)) from None
    # Log-probabilities that are made up for a function would pass for its own.
    return CAPABILITIES - {"logprobs"}


def _guarded_script(code: CodeReference, reference: str) -> Callable[[Request], Awaitable[ScriptedAnswer]]:
    """Return a script that calls a person's function, with its faults as promptkit's errors."""

    def failed(problem: str) -> ServerFailed:
        return ServerFailed(f"{reference} {problem}")

    async def answer(request: Request) -> ScriptedAnswer:
        function = code.function(failed)
        with guarded(failed, code.file, passing=(PromptkitError,)):
            async with running_async_code(code.file, code.root):
                answered = function(request)
                if isawaitable(answered):
                    answered = await answered
        if isinstance(answered, Reply):
            return checked_foreign_reply(answered, reference)
        if isinstance(answered, str | Exception):
            return answered
        raise ServerFailed(f"{reference} returned {type(answered).__name__}, not a str, a Reply or an Exception")

    return answer


class _RulePlayer:
    """Answers by the rules of a script, then by its replies in order, then by `otherwise`."""

    def __init__(self, script: ScriptFile, reference: str) -> None:
        self._rules = [(rule, rule.supply()) for rule in script.rules]
        self._replies = iter(script.replies)
        self._otherwise = script.otherwise
        self._reference = reference
        self._patterns = [rule.match for rule in script.rules if rule.match is not None]
        self._turn = asyncio.Lock()  # replies are given in the order of the requests

    async def __call__(self, request: Request) -> ScriptedAnswer:
        text = request_text(request)
        async with self._turn:
            try:
                found = await matching_patterns(self._patterns, text)
            except PatternFailed as failed:
                raise ServerFailed(f"{self._reference}: {failed}") from None
            given = self._next(text, found)
        if given is None:
            raise RequestRefused(f"{self._reference} has no rule and no reply left for: {quoted_request(request)}")
        return given if isinstance(given, str) else given.answer()

    def _next(self, text: str, found: Collection[str]) -> ReplyValue | None:
        for rule, supply in self._rules:
            if rule.fits(text, found):
                for reply in supply:
                    return reply
        return next(self._replies, self._otherwise)


def _read_script(document: Document) -> ScriptFile:
    if isinstance(document.value, list):
        return ScriptFile(replies=read_model(document, _Replies).root)
    return read_model(document, ScriptFile)


def _token(alternatives: dict[str, float]) -> Token:
    ranked = sorted(alternatives.items(), key=lambda pair: -pair[1])
    others = tuple(Alternative(piece.encode("utf-8", "surrogatepass"), price) for piece, price in ranked)
    return Token(others[0].piece, others[0].logprob, others)


def _digest(path: Path, function: str = "") -> str:
    """Return the digest of a script. Two functions of one file are two models."""
    return hashlib.sha256(f"{read_text(path)}{function}".encode()).hexdigest()
