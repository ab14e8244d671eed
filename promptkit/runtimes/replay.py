"""Recordings: a run's requests and replies in a file, and a runtime that replays them offline and identically.

A recording is a file of JSON lines. After a header, each line holds one question and its answer:

    {"describe": "model", "answer": {"reference": …, "digest": …, "capabilities": […]}}
    {"request": {"messages": […]}, "answer": {"text": …}}
    {"of": "ollama/judge:7b", "tokenize": "a text", "answer": ["a", " text"]}

`of` names the model in the run; it is absent for the run's default. The last answer to a question counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import SequenceMatcher, unified_diff
from pathlib import Path
from typing import Any, TypeVar

from promptkit.errors import InputError, NotRecorded, Problem, StoreFailed, place
from promptkit.runtimes.base import Message, Model, OnText, Reply, Request, Runtime, ToolDefinition
from promptkit.runtimes.reply_reader import finite_number
from promptkit.runtimes.serialization import (
    model_from,
    model_record,
    piece_from,
    piece_record,
    reply_from,
    reply_record,
    request_from,
    request_record,
    to_json,
)

T = TypeVar("T")

HEADER = {"promptkit": "recording", "version": 1}
KINDS = ("describe", "request", "tokenize", "template", "embed")
DIFF_LINES = 40


@dataclass(frozen=True, slots=True)
class RecordingEntry:
    """A line of a recording: a question of one kind to one model of the run, and its answer."""

    name: str | None
    kind: str
    question: Any
    answer: Any
    line: int = 0

    @property
    def key(self) -> str:
        """The model, kind and question as one text."""
        return to_json([self.name, self.kind, self.question])

    def to_line(self) -> bytes:
        """Return the entry as its line in the file."""
        record = {"of": self.name} if self.name is not None else {}
        text = to_json({**record, self.kind: self.question, "answer": self.answer}) + "\n"
        return text.encode("utf-8", "backslashreplace")


class Recorder:
    """Appends questions and answers to a recording, each line by one write, without repeating any.

    An interrupted run leaves at most a partial last line, which the next run cuts off.
    """

    def __init__(self, path: Path) -> None:
        """Open or create a recording, for its owner alone. Raises StoreFailed, and InputError for a wrong place."""
        from promptkit.storage.files import check_destination, create_private, open_to_append

        self._path = path
        check_destination(path, f"--record {path}")
        create_private(path)
        self._file = open_to_append(path)
        try:
            self._known = self._begin()
        except BaseException:
            self.close()
            raise

    def model(self, name: str | None, model: Model) -> None:
        """Keep the description of a model."""
        self._keep(RecordingEntry(name, "describe", "model", model_record(model)))

    def answer(self, name: str | None, request: Request, reply: Reply) -> None:
        """Keep a reply."""
        self._keep(RecordingEntry(name, "request", request_record(request), reply_record(reply)))

    def pieces(self, name: str | None, text: str, pieces: tuple[bytes, ...] | None) -> None:
        """Keep a text's tokens."""
        if pieces is not None:
            self._keep(RecordingEntry(name, "tokenize", text, [piece_record(piece) for piece in pieces]))

    def template(
        self,
        name: str | None,
        messages: Sequence[Message],
        begun: str,
        tools: Sequence[ToolDefinition],
        text: str | None,
    ) -> None:
        """Keep the text of messages and tools after the chat template."""
        if text is not None:
            self._keep(RecordingEntry(name, "template", _templated(messages, begun, tools), text))

    def vectors(self, name: str | None, texts: Sequence[str], vectors: Sequence[list[float]]) -> None:
        """Keep the vector of each text."""
        for text, vector in zip(texts, vectors, strict=True):
            self._keep(RecordingEntry(name, "embed", text, vector))

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._file.close()

    def _keep(self, entry: RecordingEntry) -> None:
        key, answer = entry.key, _without_times(entry)
        if key not in self._known or self._known[key] != answer:
            self._append(entry.to_line())
            self._known[key] = answer

    def _begin(self) -> dict[str, Any]:
        """Return the recorded answers, after cutting off a partial last line and writing a missing header."""
        from promptkit.storage.files import read_uncached

        data = read_uncached(self._path)
        whole = data[: data.rfind(b"\n") + 1]
        if not whole and not _header().startswith(data):
            raise InputError(_no_recording(self._path))
        entries = read_entries(self._path, whole.decode("utf-8", "replace")) if whole else []
        with self._failures():
            self._file.truncate(len(whole))
        if not whole:
            self._append(_header())
        return {entry.key: _without_times(entry) for entry in entries}

    def _append(self, line: bytes) -> None:
        with self._failures():
            written = self._file.write(line)
        if written != len(line):
            raise StoreFailed(f"cannot record to {place(self._path)}: only part of a line was written")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as failure:
            raise StoreFailed(f"cannot record to {place(self._path)}: {failure.strerror}") from failure


class Replay(Runtime):
    """A runtime that answers from a recording, as the recorded model did; `of` names another model of that run."""

    def __init__(self, path: Path, *, of: str | None = None) -> None:
        """Read the recording. Raises InputError with every line that is wrong."""
        from promptkit.storage.files import read_text

        self._path = path
        self._of = of
        entries = read_entries(path, read_text(path))
        models = {entry.name for entry in entries if entry.kind == "describe"}
        if of not in models and len(models) == 1:
            (self._of,) = models
        self._entries = {entry.key: entry for entry in entries if entry.name == self._of}

    async def model(self) -> Model:
        """Return the recorded model's description, with a note that answers come from a recording."""
        entry = self._find("describe", "model")
        if entry is None:
            whose = f"of `{self._of}`" if self._of else "of the run's default model"
            raise NotRecorded(f"{place(self._path)} holds no answers {whose}")
        model = self._decode(entry, model_from)
        return replace(model, notes=(*model.notes, f"answers come from the recording {place(self._path)}"))

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Return the recorded reply. Raises NotRecorded with the difference from the nearest recorded request."""
        record = request_record(request)
        entry = self._find("request", record)
        if entry is None:
            raise NotRecorded(
                f"{place(self._path)} has no answer to this request{self._difference(record)}",
                hint=f"record again: --record {place(self._path)}",
            )
        reply = self._decode(entry, reply_from)
        if on_text is not None:
            on_text(reply.text)
        return reply

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the recorded vectors. Raises NotRecorded."""
        return [self._vector(text) for text in texts]

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return the recorded tokens, or None."""
        entry = self._find("tokenize", text)
        return None if entry is None else self._decode(entry, lambda pieces: tuple(map(piece_from, pieces)))

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        """Return the recorded text, or None."""
        entry = self._find("template", _templated(messages, begun, tools))
        return None if entry is None else self._decode(entry, str)

    def _find(self, kind: str, question: object) -> RecordingEntry | None:
        return self._entries.get(RecordingEntry(self._of, kind, question, None).key)

    def _vector(self, text: str) -> list[float]:
        entry = self._find("embed", text)
        if entry is None:
            raise NotRecorded(f"{place(self._path)} has no vector of: {text[:80]}")
        return self._decode(entry, lambda vector: [finite_number(number) for number in vector])

    def _decode(self, entry: RecordingEntry, read: Callable[[Any], T]) -> T:
        try:
            return read(entry.answer)
        except (KeyError, TypeError, ValueError, AttributeError) as failure:
            message = f"this answer is not what promptkit records ({failure})"
            raise InputError(Problem(message, place(self._path), entry.line)) from failure

    def _difference(self, record: Mapping[str, Any]) -> str:
        """Return the difference from the nearest recorded request, as a diff of their texts."""
        recorded = [_readable(entry.question) for entry in self._entries.values() if entry.kind == "request"]
        if not recorded:
            return ", and none to any other"
        asked = _readable(record)
        matcher = SequenceMatcher(autojunk=False)
        matcher.set_seq2(asked)

        def likeness(text: str) -> float:
            matcher.set_seq1(text)
            return matcher.quick_ratio()

        nearest = max(recorded, key=likeness).splitlines()
        lines = list(unified_diff(nearest, asked.splitlines(), "recorded", "asked", lineterm="", n=1))
        more = [f"… {len(lines) - DIFF_LINES} more lines"] if len(lines) > DIFF_LINES else []
        return "; the nearest recorded one differs:\n" + "\n".join(lines[:DIFF_LINES] + more)


def read_entries(path: Path, text: str) -> list[RecordingEntry]:
    """Read a recording's lines. A partial last line, of an interrupted run, is ignored.

    Raises InputError with every line that is wrong.
    """
    first, *lines = text.split("\n")
    if first != to_json(HEADER):
        raise InputError(_no_recording(path))
    entries, problems = [], []
    for number, line in enumerate(lines[:-1], start=2):
        try:
            entries.append(_entry(_json(line), number))
        except (ValueError, RecursionError) as failure:
            problems.append(Problem(str(failure), place(path), number))
    if problems:
        raise InputError(problems)
    return entries


def _entry(record: Any, line: int) -> RecordingEntry:
    """Read one line's value. Raises ValueError."""
    if isinstance(record, dict) and "answer" in record:
        for kind in KINDS:
            if record.keys() - {"of"} == {kind, "answer"}:
                _check_question(kind, record[kind])
                if not isinstance(record.get("of"), str | None):
                    raise ValueError("`of` must be the name of a model")
                return RecordingEntry(record.get("of"), kind, record[kind], record["answer"], line)
    raise ValueError(f"not a line of a recording: it needs `answer` and one of {', '.join(KINDS)}")


def _check_question(kind: str, question: Any) -> None:
    """Raise ValueError for a question that is never asked."""
    if kind not in ("request", "template"):
        if not isinstance(question, str):
            raise ValueError(f"`{kind}` must be a text")
        return
    try:
        request_from(question)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"`{kind}` is not what promptkit records ({error})") from None


def _json(line: str) -> Any:
    """Return the value of a line, which may hold lone surrogates as models write them. Raises ValueError."""
    value = json.loads(line)
    to_json(value)
    return value


def _header() -> bytes:
    return to_json(HEADER).encode() + b"\n"


def _no_recording(path: Path) -> Problem:
    hint = "a recording is made by `promptkit run TARGET --record FILE`"
    return Problem("this is not a recording of this version of promptkit", place(path), 1, hint=hint)


_TIMES = ("seconds", "first_token")


def _without_times(entry: RecordingEntry) -> Any:
    """Return an answer without its times, in which two answers to the same request differ."""
    if entry.kind == "request" and isinstance(entry.answer, dict):
        return {name: value for name, value in entry.answer.items() if name not in _TIMES}
    return entry.answer


def _templated(messages: Sequence[Message], begun: str, tools: Sequence[ToolDefinition]) -> dict[str, Any]:
    return request_record(Request(messages=tuple(messages), begun=begun, tools=tuple(tools)))


def _readable(record: Mapping[str, Any]) -> str:
    """Return a request as a person reads it: the messages first, then its other fields."""
    parts = [
        "\n".join([f"[{message['role']}]\n{message['content']}", *map(to_json, message.get("calls", ()))])
        for message in record.get("messages", ())
    ]
    parts += [f"[{name}]\n{record[name]}" for name in ("prompt", "begun") if name in record]
    rest = {name: value for name, value in record.items() if name not in {"messages", "prompt", "begun"}}
    return "\n".join([*parts, *(f"{name}: {to_json(value)}" for name, value in rest.items())])
