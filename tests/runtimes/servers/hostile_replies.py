"""What a hostile, broken or careless server may send in answer to a chat, and what must become of it.

A case is what is sent, as bytes, to a request for at most LIMIT tokens. Most cases are a protocol, a place in its
answer and a value there; the honest answer is `positive`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from promptkit.errors import (
    AccessDenied,
    BadReply,
    ContextOverflow,
    ModelMissing,
    PromptkitError,
    RequestRefused,
    ServerBusy,
    ServerFailed,
)
from promptkit.runtimes.api_keys import QUOTE_LIMIT
from promptkit.runtimes.reply_reader import (
    CHARACTERS_PER_THOUGHT,
    CHARACTERS_PER_TOKEN,
    MOST_THOUGHTS,
    MOST_TOKENS,
    PIECES_PER_TOKEN,
    SPARE_PIECES,
)

KEY = "sk-CANARY/4f9a1c+KEY"
LIMIT = 10
HUGE = 10**400
INFINITE = "1e999"

Protocol = Literal["openai", "ollama"]
PROTOCOLS: tuple[Protocol, Protocol] = ("openai", "ollama")
Kind = Literal["server", "key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Becomes:
    """A reply: its text (None: any), how it ended, its thoughts (None: any), and its tokens in and out (None: any)."""

    text: str | None = "positive"
    finish: str = "stop"
    thoughts: str | None = None
    counts: tuple[int | None, int | None] | None = None


Outcome = Becomes | type[PromptkitError]


@dataclass(frozen=True, slots=True)
class Case:
    """What a server sends, and what must come of it: a reply or an error."""

    name: str
    protocol: Protocol
    sent: bytes
    outcome: Outcome
    kind: Kind = "server"
    status: int = 200

    def __str__(self) -> str:
        return f"{self.protocol}: {self.name}"


class Raw(str):
    """A text that stands in JSON as it is: numbers that Python's writer has not, and keys given twice."""


def raw_json(value: Any) -> str:
    """Return a value as JSON, with `Raw` parts as they are."""
    match value:
        case Raw():
            return str(value)
        case dict():
            parts = ",".join(f"{json.dumps(key)}:{raw_json(part)}" for key, part in value.items())
            return f"{{{parts}}}"
        case list():
            return f"[{','.join(map(raw_json, value))}]"
    return json.dumps(value)


# The parts of an answer in both protocols


def piece(protocol: Protocol, text: Any = "positive", **more: Any) -> dict[str, Any]:
    """Return a part of an answer. `more`: `thought`, `logprobs`, and what else belongs to a message."""
    thought, logprobs = more.pop("thought", None), more.pop("logprobs", None)
    if protocol == "openai":
        delta = {"content": text, **({"reasoning_content": thought} if thought is not None else {}), **more}
        return {"choices": [{"index": 0, "delta": delta, "logprobs": {"content": logprobs}, "finish_reason": None}]}
    message = {"role": "assistant", "content": text, **({"thinking": thought} if thought is not None else {}), **more}
    return {"message": message, "done": False, **({"logprobs": logprobs} if logprobs is not None else {})}


def end(protocol: Protocol, reason: Any = "stop", text: Any = "", **counts: Any) -> list[dict[str, Any]]:
    """Return the end of an answer. `counts` have the protocol's own names; ABSENT as reason leaves it out."""
    if protocol == "openai":
        counted = {"prompt_tokens": 3, "completion_tokens": 1, **counts}
        choice = {"index": 0, "delta": {"content": text}, **({} if reason is ABSENT else {"finish_reason": reason})}
        return [{"choices": [choice]}, {"choices": [], "usage": counted}]
    counted = {"prompt_eval_count": 3, "eval_count": 1, "load_duration": 5, **counts}
    last = {"message": {"role": "assistant", "content": text}, "done": True, **counted}
    return [last if reason is ABSENT else {**last, "done_reason": reason}]


ABSENT = object()


def stream(protocol: Protocol, parts: list[Any], *, done: bool = True) -> bytes:
    """Return parts as the protocol sends them. Bytes are lines as they are."""
    lines = [part if isinstance(part, bytes) else _line(protocol, raw_json(part)) for part in parts]
    closing = [b"data: [DONE]"] if protocol == "openai" and done else []
    return b"\n".join([*lines, *closing, b""])


def _line(protocol: Protocol, text: str) -> bytes:
    return f"data: {text}\n".encode() if protocol == "openai" else text.encode()


def answer(protocol: Protocol, *parts: Any, **counts: Any) -> bytes:
    """Return a whole answer of these parts (none: POSITIVE) with an honest end."""
    return stream(protocol, [*(parts or (piece(protocol),)), *end(protocol, **counts)])


def token(logprob: Any = -0.1, other: Any = -2.5, **more: Any) -> dict[str, Any]:
    """Return a listed token with one alternative."""
    listed = {"token": "positive", "logprob": logprob, "bytes": list(b"positive")}
    return {**listed, "top_logprobs": [{"token": "no", "logprob": other, "bytes": list(b"no")}], **more}


# Why it ended

ENDS: dict[str, tuple[Any, Outcome]] = {
    "stop": ("stop", Becomes()),
    "eos": ("eos", Becomes()),
    "eos_token": ("eos_token", Becomes()),
    "stop_sequence": ("stop_sequence", Becomes()),
    "length": ("length", Becomes(finish="length")),
    "max_tokens": ("max_tokens", Becomes(finish="length")),
    "model_length": ("model_length", Becomes(finish="length")),
    "content_filter": ("content_filter", RequestRefused),
    "refusal": ("refusal", RequestRefused),
    "tool_calls": ("tool_calls", BadReply),
    "function_call": ("function_call", BadReply),
    "error": ("error", ServerFailed),
    "load": ("load", ServerFailed),
    "unload": ("unload", ServerFailed),
    "unknown": ("insufficient_system_resource", BadReply),
    "in capitals": ("STOP", BadReply),
    "with a blank": ("stop ", BadReply),
    "a long text": ("x" * 5000, BadReply),
    "a list": (["stop"], BadReply),
    "an empty list": ([], BadReply),
    "a mapping": ({"reason": "stop"}, BadReply),
    "a number": (1, BadReply),
    "zero": (0, BadReply),
    "true": (True, BadReply),
    "false": (False, BadReply),
    "an empty text": ("", BadReply),
}


def ends() -> Iterator[Case]:
    for protocol in PROTOCOLS:
        for name, (reason, outcome) in ENDS.items():
            sent = stream(protocol, [piece(protocol), *end(protocol, reason)])
            yield Case(f"ended by {name}", protocol, sent, outcome)
    no_reason = stream("ollama", [piece("ollama"), *end("ollama", ABSENT)])
    yield Case("ended without a reason, as of old", "ollama", no_reason, Becomes())
    yield Case("ended by null", "ollama", stream("ollama", [piece("ollama"), *end("ollama", None)]), Becomes())
    yield Case(
        "ended without a reason", "openai", stream("openai", [piece("openai"), *end("openai", ABSENT)]), BadReply
    )
    yield Case("ended by null", "openai", stream("openai", [piece("openai"), *end("openai", None)]), BadReply)


# Numbers

COUNTS = {
    "openai": ("prompt_tokens", "completion_tokens", "completion_tokens_details"),
    "ollama": ("prompt_eval_count", "eval_count"),
}
NO_COUNTS = {
    "negative": -1,
    "far below": -HUGE,
    "a fraction": 1.5,
    "a float": 1.0,
    "true": True,
    "a text": "3",
    "a list": [3],
    "above a thousand million": MOST_TOKENS + 1,
    "of 400 digits": HUGE,
    "of 5,000 digits": Raw("9" * 5000),
    "infinite": Raw(INFINITE),
    "no number": Raw("NaN"),
}
GOOD_COUNTS = {"nought": 0, "a thousand million": MOST_TOKENS, "null": None}
NO_DURATIONS = {
    "negative": -1,
    "minus infinite": Raw(f"-{INFINITE}"),
    "infinite": Raw(INFINITE),
    "of 30,000 years": 10**21,
    "a negative number of 21 digits": -(10**21),
    "a text": "5",
    "true": True,
    "a list": [5],
}
NO_LOGPROBS: dict[str, Any] = {
    "null": None,
    "a text": "-0.1",
    "true": True,
    "a list": [-0.1],
    "infinite": Raw(INFINITE),
    "of 400 digits": -HUGE,
    "no number": Raw("NaN"),
    "that of a probability above 1": 0.5,
    "too large to take its power": 1e300,
    "a whole number above nought": 1,
}
GOOD_LOGPROBS: dict[str, Any] = {"minus infinite": Raw(f"-{INFINITE}"), "nought": 0, "rounded": 1e-7, "least": -1e308}


def possible_counts(protocol: Protocol, place: str, value: int | None) -> tuple[int | None, int | None]:
    """Return the tokens in and out of an answer in which a count is 0, a thousand million or null.

    A text has tokens, so 0 becomes None, and so does a thousand million where LIMIT were asked for.
    """
    prompt, answered = COUNTS[protocol][:2]
    if place == prompt:
        return value or None, 1
    assert place == answered
    return 3, None


def counts() -> Iterator[Case]:
    for protocol in PROTOCOLS:
        for place in COUNTS[protocol]:
            nested = place.endswith("details")
            wrong: list[tuple[str, Any, Outcome]] = [(name, value, BadReply) for name, value in NO_COUNTS.items()]
            good: list[tuple[str, Any, Outcome]] = [
                (name, value, Becomes() if nested else Becomes(counts=possible_counts(protocol, place, value)))
                for name, value in GOOD_COUNTS.items()
            ]
            for name, value, outcome in (*wrong, *good):
                told = {place: {"reasoning_tokens": value} if nested else value}
                yield Case(f"{place} is {name}", protocol, answer(protocol, **told), outcome)
    for name, value in NO_DURATIONS.items():
        yield Case(f"load_duration is {name}", "ollama", answer("ollama", load_duration=value), BadReply)


def logprobs() -> Iterator[Case]:
    for protocol in PROTOCOLS:
        for place in ("logprob", "other"):
            for name, value in NO_LOGPROBS.items():
                sent = answer(protocol, piece(protocol, logprobs=[token(**{place: value})]))
                yield Case(f"the {place} of a token is {name}", protocol, sent, BadReply)
            for name, value in GOOD_LOGPROBS.items():
                sent = answer(protocol, piece(protocol, logprobs=[token(**{place: value})]))
                yield Case(f"the {place} of a token is {name}", protocol, sent, Becomes())
        for name, listed in {
            "a text": "abc",
            "a mapping": {"token": "a"},
            "numbers": [1, 2],
            "without a logarithm": [{"token": "a"}],
            "with bytes above 255": [token(bytes=[300])],
            "with bytes that are a number": [token(bytes=10**9)],
            "with alternatives that are a text": [token(top_logprobs="ab")],
        }.items():
            sent = answer(protocol, piece(protocol, logprobs=listed))
            yield Case(f"tokens that are {name}", protocol, sent, BadReply)


# Types

NO_TEXTS = {"a number": 5, "nought": 0, "true": True, "a list": ["positive"], "a mapping": {"text": "positive"}}
NO_OBJECTS = {"a text": "x", "a list": [1], "a number": 5, "true": True}


def types() -> Iterator[Case]:
    for protocol in PROTOCOLS:
        for name, value in NO_TEXTS.items():
            yield Case(f"the text is {name}", protocol, answer(protocol, piece(protocol, value)), BadReply)
            if value:
                thinking = piece(protocol, "", thought=value)
                yield Case(f"the thought is {name}", protocol, answer(protocol, thinking), BadReply)
        for name, value in NO_OBJECTS.items():
            yield Case(f"a part is {name}", protocol, stream(protocol, [piece(protocol), value]), BadReply)
    for name, value in NO_OBJECTS.items():
        for part in ({"choices": value}, {"choices": [value]}, {"choices": [{"delta": value}]}, {"usage": value}):
            place = raw_json(part)
            yield Case(f"misshapen {place}", "openai", answer("openai", piece("openai"), part), BadReply)
        part = {"message": value, "done": False}
        yield Case(f"the message is {name}", "ollama", answer("ollama", part), BadReply)
    for name, done in {"a text": "true", "one": 1, "null": None, "a list": [True]}.items():
        last = {**end("ollama")[0], "done": done}
        yield Case(f"done is {name}", "ollama", stream("ollama", [piece("ollama"), last]), BadReply)


# Order


def order() -> Iterator[Case]:
    for protocol in PROTOCOLS:
        said, last = piece(protocol), end(protocol)
        yield Case("an honest answer", protocol, answer(protocol), Becomes())
        yield Case("the text in the last part", protocol, stream(protocol, end(protocol, text="positive")), Becomes())
        yield Case(
            "text after the end", protocol, stream(protocol, [said, *last, piece(protocol, "negative")]), BadReply
        )
        yield Case(
            "thoughts after the end",
            protocol,
            stream(protocol, [said, *last, piece(protocol, "", thought="x")]),
            BadReply,
        )
        yield Case("two answers", protocol, answer(protocol) + answer(protocol), BadReply)
        yield Case("no end", protocol, stream(protocol, [said], done=False), BadReply)
        yield Case("nothing", protocol, b"", BadReply)
        yield Case("blank lines", protocol, b"\n" * 100 + answer(protocol), Becomes())
        yield Case("blank lines after the end", protocol, answer(protocol) + b"\n" * 100, Becomes())
        yield Case(
            "a tool call beside the text", protocol, answer(protocol, piece(protocol, tool_calls=[{"id": 1}])), BadReply
        )
    said, last = piece("openai"), end("openai")
    first, usage = last
    other = {"choices": [{"index": 1, "delta": {"content": "negative"}}]}
    yield Case("a second choice", "openai", stream("openai", [said, other, *last]), BadReply)
    both = {"choices": [*said["choices"], *other["choices"]]}
    yield Case("two choices at once", "openai", stream("openai", [both, *last]), BadReply)
    for name, index in {"a text": "0", "false": False, "a float": 0.0, "null": None, "negative": -1}.items():
        part = {"choices": [{**said["choices"][0], "index": index}]}
        yield Case(f"the choice's index is {name}", "openai", stream("openai", [part, *last]), BadReply)
    part = {"choices": [{"delta": {"content": "positive"}}]}
    yield Case("no index", "openai", stream("openai", [part, *last]), Becomes())
    yield Case("text after [DONE]", "openai", answer("openai") + stream("openai", [said]), BadReply)
    yield Case("[DONE] before the end", "openai", stream("openai", [said]) + stream("openai", last), BadReply)
    yield Case("[DONE] twice", "openai", answer("openai") + b"data: [DONE]\n", Becomes())
    yield Case("no [DONE]", "openai", stream("openai", [said, *last], done=False), Becomes())
    yield Case("the counts before the end", "openai", stream("openai", [said, usage, first]), Becomes())
    yield Case("the counts twice", "openai", stream("openai", [said, *last, usage]), Becomes())
    yield Case("the end twice", "openai", stream("openai", [said, first, *last]), Becomes())
    yield Case("two different ends", "openai", stream("openai", [said, first, *end("openai", "length")]), BadReply)
    yield Case("an empty part after the end", "openai", stream("openai", [said, *last, piece("openai", "")]), Becomes())
    yield Case("comments", "openai", b": waiting\n" * 100 + answer("openai"), Becomes())
    yield Case("a function call", "openai", answer("openai", piece("openai", function_call={"name": "f"})), BadReply)
    yield Case("a refusal", "openai", answer("openai", piece("openai", None, refusal="I cannot")), RequestRefused)
    only_roles = piece("openai", None, role="assistant", tool_calls=None, refusal=None)
    yield Case("what is null and harmless", "openai", stream("openai", [only_roles, said, *last]), Becomes())
    yield Case("a part after done", "ollama", stream("ollama", [piece("ollama"), *end("ollama"), {"x": 1}]), BadReply)
    twice = stream("ollama", [piece("ollama"), *end("ollama"), *end("ollama")])
    yield Case("done twice", "ollama", twice, BadReply)
    yield Case("a comment", "ollama", answer("ollama") + b"# over\n", BadReply)


# What careless servers and gateways send


def careless() -> Iterator[Case]:
    positive, last = piece("openai"), end("openai")
    parts: list[tuple[str, Any, Outcome]] = [
        ("one text", [{"type": "text", "text": "positive"}], Becomes()),
        ("two texts", [{"type": "text", "text": "posi"}, {"type": "text", "text": "tive"}], Becomes()),
        ("no text", [], Becomes(text="")),
        ("an image", [{"type": "image_url", "image_url": {"url": "x"}}], BadReply),
        ("a refusal", [{"type": "refusal", "refusal": "I cannot"}], BadReply),
        ("a text that is a number", [{"type": "text", "text": 1}], BadReply),
        ("no type", [{"text": "positive"}], BadReply),
        (
            "thoughts and a text",
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "positive"}],
            Becomes(thoughts="hm"),
        ),
    ]
    for name, content, outcome in parts:
        yield Case(f"content in parts: {name}", "openai", answer("openai", piece("openai", content)), outcome)
    for name in ("reasoning", "reasoning_content"):
        sent = answer("openai", piece("openai", None, **{name: "hm"}), positive)
        yield Case(f"thoughts in {name}", "openai", sent, Becomes(thoughts="hm"))
    refused = stream("openai", [piece("openai", None, refusal="I cannot"), *last])
    yield Case("a refusal that ends by stop", "openai", refused, RequestRefused)
    yield Case("a role and a refusal", "openai", answer("openai", piece("openai", "", refusal="No")), RequestRefused)

    silent = Becomes(counts=(None, None))
    yield Case("no counts", "openai", stream("openai", [positive, last[0]]), silent)
    yield Case("counts that are null", "openai", stream("openai", [positive, {**last[0], "usage": None}]), silent)
    growing = [{**positive, "usage": {"prompt_tokens": 3, "completion_tokens": 0}}, last[0], last[1]]
    yield Case("counts in each part", "openai", stream("openai", growing), Becomes(counts=(3, 1)))
    yield Case(
        "no text, and no tokens",
        "openai",
        stream("openai", end("openai", completion_tokens=0)),
        Becomes(text="", counts=(3, 0)),
    )
    yield Case(
        "choices that are null",
        "openai",
        stream("openai", [positive, last[0], {**last[1], "choices": None}]),
        Becomes(),
    )

    yield Case("lines ended by CR LF", "openai", answer("openai").replace(b"\n", b"\r\n"), Becomes(counts=(3, 1)))
    waiting = b": waiting\r\n\r\n: OPENROUTER PROCESSING\r\n\r\n"
    named = b"event: message\nid: 1\nretry: 10\n"
    yield Case(
        "comments between events", "openai", waiting + answer("openai").replace(b"\n\n", b"\n\n" + waiting), Becomes()
    )
    yield Case("events with names", "openai", named + answer("openai").replace(b"\n\n", b"\n\n" + named), Becomes())
    yield Case("no blank after data:", "openai", answer("openai").replace(b"data: ", b"data:"), Becomes())

    faults: list[tuple[str, Any, type[PromptkitError]]] = [
        ("a message", {"message": "out of memory"}, ServerFailed),
        ("a text", "out of memory", ServerFailed),
        ("an empty text", "", ServerFailed),
        ("code 429", {"message": "slow down", "code": 429}, ServerBusy),
        ("code 502", {"message": "no upstream", "code": 502}, ServerFailed),
        ("code 400", {"message": "no such field", "code": 400}, RequestRefused),
        ("a full window", {"message": "the request exceeds the available context size", "code": 400}, ContextOverflow),
        ("the code of a filter", {"message": "no", "code": "content_filter"}, RequestRefused),
        ("code 200", {"message": "odd", "code": 200}, ServerFailed),
        ("code true", {"message": "odd", "code": True}, ServerFailed),
    ]
    for name, error, kind in faults:
        yield Case(f"an error in the stream: {name}", "openai", stream("openai", [positive, {"error": error}]), kind)
        for shape, text in (
            ("a line", json.dumps({"error": error})),
            ("lines", json.dumps({"error": error}, indent=1)),
        ):
            yield Case(f"an error instead of a stream, in {shape}: {name}", "openai", text.encode(), kind)
    old = {"object": "error", "message": "out of memory", "type": "BadRequestError", "code": 500}
    yield Case("an error of older vLLM", "openai", stream("openai", [positive, old]), ServerFailed)
    whole = {"choices": [{"index": 0, "message": {"content": "positive"}, "finish_reason": "stop"}]}
    yield Case("a whole answer", "openai", json.dumps(whole).encode(), BadReply)
    yield Case("a whole answer as an event", "openai", stream("openai", [whole]), BadReply)
    yield Case("a page", "openai", b"<html>\n<body>Welcome</body>\n</html>", BadReply)
    yield Case("a line before the events", "openai", b"hello\n" + answer("openai"), Becomes())


# JSON

NO_JSON = {
    "half a line": b'{"a": "b',
    "HTML": b"<html>Welcome</html>",
    "bad UTF-8": b'{"a": "\xff"}',
    "a byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "not a number": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "deep nesting": b"[" * 100_000,
    "single quotes": b"{'a': 1}",
    "a comma too many": b'{"a": 1,}',
    "control characters": b'{"a": "\x01"}',
    "a NUL": b"\x00",
}
TWICE = {
    "openai": [
        '{"choices":[{"index":0,"delta":{"content":"negative","content":"positive"}}]}',
        '{"choices":[{"index":0,"index":0,"delta":{"content":"positive"}}]}',
        '{"choices":[],"choices":[{"index":0,"delta":{"content":"positive"}}]}',
        '{"choices":[{"index":0,"delta":{},"finish_reason":"content_filter","finish_reason":"stop"}]}',
        '{"choices":[],"usage":{"prompt_tokens":1,"prompt_tokens":2}}',
    ],
    "ollama": [
        '{"message":{"content":"negative","content":"positive"},"done":false}',
        '{"message":{"content":"negative"},"message":{"content":"positive"},"done":false}',
        '{"message":{"content":"positive"},"done":true,"done":false}',
        '{"message":{"content":"positive"},"done":true,"done_reason":"load","done_reason":"stop"}',
        '{"message":{"content":""},"error":"no","error":null,"done":false}',
    ],
}


def json_faults() -> Iterator[Case]:
    for protocol in PROTOCOLS:
        prefix = b"data: " if protocol == "openai" else b""
        for name, line in NO_JSON.items():
            yield Case(name, protocol, stream(protocol, [piece(protocol), prefix + line, *end(protocol)]), BadReply)
        for text in TWICE[protocol]:
            yield Case(f"a key twice: {text}", protocol, answer(protocol, piece(protocol), Raw(text)), BadReply)


# Limits


def limits() -> Iterator[Case]:
    cut = Becomes(text=None, finish="length")
    most = PIECES_PER_TOKEN * LIMIT + SPARE_PIECES
    for protocol in PROTOCOLS:
        short = piece(protocol, "x")
        pieces = stream(protocol, [short] * most, done=False)
        yield Case(
            "as many pieces as there may be",
            protocol,
            pieces + answer(protocol, piece(protocol, "")),
            Becomes(text="x" * most),
        )
        yield Case("a piece too many", protocol, pieces + answer(protocol, short), cut)
        thought = piece(protocol, "", thought="x")
        thoughts = stream(protocol, [thought] * (2 * most), done=False)
        yield Case("thoughts that are not counted", protocol, thoughts + answer(protocol), Becomes())
        most_thoughts = CHARACTERS_PER_THOUGHT * (MOST_THOUGHTS + LIMIT)
        long_thought = piece(protocol, "", thought="x" * (most_thoughts + 1))
        yield Case("thoughts without an end", protocol, stream(protocol, [long_thought], done=False), cut)
        long = "x" * CHARACTERS_PER_TOKEN * LIMIT
        yield Case("as long as it may be", protocol, answer(protocol, piece(protocol, long)), Becomes(text=long))
        yield Case("too long", protocol, answer(protocol, piece(protocol, long + "x")), cut)
        listed = piece(protocol, "x", logprobs=[token()])
        ten = [listed] * LIMIT
        yield Case("as many tokens as were asked for", protocol, answer(protocol, *ten), Becomes(text="x" * LIMIT))
        yield Case("a token too many", protocol, answer(protocol, *ten, listed), cut)
        many = piece(protocol, "x", logprobs=[token()] * (LIMIT + 1))
        yield Case("a token too many at once", protocol, answer(protocol, many), cut)
        both = piece(protocol, "x", thought="x")
        yield Case("text beside thoughts", protocol, stream(protocol, [both] * (most + 1), done=False), cut)
        one_listed = stream(protocol, [listed, *[short] * most], done=False)
        yield Case("one token listed, and then pieces without an end", protocol, one_listed, cut)
        yield Case("a line of 5 MB", protocol, b"x" * 5_000_000, BadReply)
    yield Case("2 MB of comments", "openai", b": wait\n" * 300_000 + answer("openai"), BadReply)
    for protocol in PROTOCOLS:
        yield Case("2 MB of blank lines", protocol, b"\n" * 2_000_000 + answer(protocol), BadReply)


# Keys

SAYS = {
    "as a text": f"bad key Bearer {KEY}",
    "in JSON": json.dumps({"error": {"message": f"bad key {KEY}", "key": KEY}}),
    "in JSON of an unknown shape": json.dumps([{KEY: [KEY]}]),
    "escaped": json.dumps({"error": KEY}).replace("/", "\\/").replace("C", "\\u0043"),
    "in an address": f"see https://a/?key={KEY.replace('/', '%2F').replace('+', '%2B')}",
    "in 20 MB": json.dumps({"error": f"{KEY} " * 1_000_000}),
}
STATUSES: Mapping[int, type[PromptkitError]] = {
    101: BadReply,
    302: BadReply,
    400: RequestRefused,
    401: AccessDenied,
    404: RequestRefused,
    429: ServerBusy,
    500: ServerFailed,
}


def keys() -> Iterator[Case]:
    for protocol in PROTOCOLS:
        for status, error in STATUSES.items():
            yield Case(f"the key with {status}", protocol, SAYS["in JSON"].encode(), error, "key", status)
        for name, text in SAYS.items():
            yield Case(f"the key with 500, {name}", protocol, text.encode(), ServerFailed, "key", 500)
        for name, told in {
            "a text": f"no {KEY}",
            "a mapping": {"message": KEY},
            "a list": [KEY],
            "a key": {KEY: 1},
        }.items():
            sent = stream(protocol, [piece(protocol), {"error": told}])
            yield Case(f"the key in an error that is {name}", protocol, sent, ServerFailed, "key")
        prefix = b"data: " if protocol == "openai" else b""
        no_json = stream(protocol, [prefix + f"oops {KEY}".encode()])
        yield Case("the key in a line that is no JSON", protocol, no_json, BadReply, "key")
        named = stream(protocol, [piece(protocol), *end(protocol, KEY)])
        yield Case("the key as the end", protocol, named, BadReply, "key")
        missing = json.dumps({"error": f"model '{KEY}' not found"}).encode()
        refused = ModelMissing if protocol == "openai" else RequestRefused
        yield Case("the key as a model's name", protocol, missing, refused, "key", 404)
        context = json.dumps({"error": f"the context is full: {KEY}"}).encode()
        yield Case("the key in a full window", protocol, context, ContextOverflow, "key", 400)
        redacted = Becomes(text="it is …!")
        for size in (1, 3, 1000):
            text = f"it is {KEY}!"
            parts = [piece(protocol, text[start : start + size]) for start in range(0, len(text), size)]
            yield Case(f"the key in a reply, in pieces of {size}", protocol, answer(protocol, *parts), redacted, "key")
            parts = [piece(protocol, "", thought=text[start : start + size]) for start in range(0, len(text), size)]
            sent = answer(protocol, *parts, piece(protocol))
            yield Case(f"the key in thoughts, in pieces of {size}", protocol, sent, Becomes(), "key")
        begun = Becomes(text=KEY[:-1])
        yield Case("the beginning of the key", protocol, answer(protocol, piece(protocol, KEY[:-1])), begun, "key")
        for name, listed in {
            "a token": token(token=KEY, bytes=None),
            "an alternative": token(top_logprobs=[{"token": KEY, "logprob": -1}]),
        }.items():
            sent = answer(protocol, piece(protocol, logprobs=[listed]))
            yield Case(f"the key as {name}", protocol, sent, Becomes(), "key")
    sent = stream("openai", [{**part, "model": KEY} for part in (piece("openai"), *end("openai"))])
    yield Case("the key as the name of what answers", "openai", sent, Becomes(), "key")
    sent = b"error: " + json.dumps(f"no {KEY}").encode() + b"\n"
    yield Case("the key in an event of an error", "openai", sent, ServerFailed, "key")


def is_short(text: str) -> bool:
    """Tell whether a message quotes no more than it may, with room for our own words."""
    return len(text) <= QUOTE_LIMIT + 250


CASES = [
    *ends(),
    *counts(),
    *logprobs(),
    *types(),
    *order(),
    *careless(),
    *json_faults(),
    *limits(),
    *keys(),
]
