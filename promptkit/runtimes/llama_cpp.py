"""llama.cpp's server in this process (package `xllamacpp`), with its dangers walled in.

Each rule below was found by experiment: threads must wait passively, or two processes starve each other; a server
that never answered hangs when it is deleted; most failures are returned as dictionaries; a forked child hangs at
its first call and at its exit. The server also always listens on a loopback port, for what the binding lacks (chat
template, tokenizer); a random key keeps other users of the machine out.

All methods block: call them from worker threads, never from the main thread, where they would hold up ctrl-C.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import mmap
import os
import re
import secrets
import struct
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from promptkit.errors import (
    BadReply,
    ContextOverflow,
    InputError,
    ModelLoadFailed,
    PromptkitError,
    RequestRefused,
    RuntimeFailure,
    ServerBusy,
    ServerFailed,
    Unsupported,
    place,
)
from promptkit.runtimes.api_keys import Redactor
from promptkit.runtimes.control_tokens import is_control_token
from promptkit.storage.files import open_file

PROMPT_CACHE_MEBIBYTES = 512
"""Memory for prompts that a slot dropped. llama.cpp's default of 8 GB is too much for a laptop."""

BATCH = 256
"""Tokens of a prompt in one batch. A request can only be ended between batches; larger ones were no faster on a CPU."""

_loaded_models: weakref.WeakSet[Llama] = weakref.WeakSet()


class Llama:
    """One loaded model.

    `context` is the window of each slot, `trained` the one that the model was trained on, `template` the source of its
    chat template, and `system_role` whether that has a system role.
    """

    def __init__(self, path: Path, *, context: int, slots: int, threads: int | None, embeddings: bool = False) -> None:
        """Load a GGUF file. Raises ModelLoadFailed with the file and the reason."""
        library = load_library()
        _check_file(path)
        self._process = os.getpid()
        self._path = path
        self._letters: dict[str, tuple[int, ...]] = {}
        self._key = secrets.token_hex(16)
        parameters = library.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = context * slots
        parameters.n_parallel = slots
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads or usable_cores()
        parameters.cache_ram_mib = PROMPT_CACHE_MEBIBYTES
        parameters.prefill_assistant = False
        parameters.api_keys = [self._key]
        parameters.ui = False
        parameters.verbosity = 0
        parameters.n_batch = BATCH
        if embeddings:
            parameters.n_batch = parameters.n_ubatch = context  # a text must fit one batch
            parameters.embedding = True
            parameters.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
        try:
            self._server = library.Server(parameters)
        except (RuntimeError, ValueError) as error:
            reason = "the file is cut off, or of a kind that this llama.cpp does not know, or memory is short"
            raise ModelLoadFailed(f"cannot load {place(path)}: {reason}") from error
        # A server that is deleted before its first answer hangs forever.
        self._server.handle_completions({"prompt": "a", "max_tokens": 1})
        _loaded_models.add(self)
        self._address = self._server.listening_address.removeprefix("http://")
        properties = self._call("GET", "/props")
        self.context: int = properties["default_generation_settings"]["n_ctx"]
        self.template: str = properties["chat_template"]
        self.system_role: bool = properties["chat_template_caps"]["supports_system_role"]
        self.trained: int = self._call("GET", "/v1/models")["data"][0]["meta"]["n_ctx_train"]

    def complete(
        self, query: Mapping[str, Any], on_chunk: Callable[[dict[str, Any]], object], ended: Callable[[], bool]
    ) -> None:
        """Continue a raw text. `query` has llama.cpp's own keys; each chunk of the answer goes to `on_chunk`.

        `ended` is called between the batches of the prompt and at each token; true cancels the request.
        Raises RuntimeFailure, Unsupported.
        """
        self._refuse_after_fork()
        _refuse_lone_surrogates(query)
        failures: list[Mapping[str, Any]] = []

        def take(chunk: dict[str, Any]) -> bool:
            if "error" in chunk:
                failures.append(chunk["error"])
            elif "prompt_progress" not in chunk:
                on_chunk(chunk)
            return bool(failures) or ended()

        try:
            self._server.handle_completions({**query, "stream": True, "return_progress": True}, take)
        except (RuntimeError, ValueError) as error:
            raise RequestRefused(f"llama.cpp does not take this request: {error}") from error
        if failures:
            raise llama_error(failures[0])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a unit vector for each text. Raises RuntimeFailure, Unsupported."""
        self._refuse_after_fork()
        _refuse_lone_surrogates(texts)
        try:
            answer = self._server.handle_embeddings({"input": list(texts)})
        except (RuntimeError, ValueError) as error:
            raise RequestRefused(f"llama.cpp does not take these texts: {error}") from error
        if "error" in answer:
            raise llama_error(answer["error"])
        return [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]

    def tokenize(self, text: str | Sequence[str | int]) -> tuple[bytes, ...]:
        """Return the tokens of a text, or of texts with tokens between them, as byte pieces."""
        tokens = self._call("POST", "/tokenize", {"content": text, "with_pieces": True})["tokens"]
        return tuple(_piece_bytes(token["piece"]) for token in tokens)

    @cached_property
    def control_tokens(self) -> re.Pattern[str]:
        """The pattern of the model's control tokens written out in a text. Reads the file at the first use."""
        tokens = sorted(read_control_tokens(self._path), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, tokens)) or "(?!)")

    def letters(self, token: str) -> tuple[int, ...]:
        """Return the tokens of a control token's letters; none where a prompt does not obey its text."""
        if token not in self._letters:
            plain, obeyed = (
                tuple(self._call("POST", "/tokenize", {"content": token, "parse_special": parsed})["tokens"])
                for parsed in (False, True)
            )
            self._letters[token] = () if plain == obeyed else plain
        return self._letters[token]

    def apply_template(self, messages: Iterable[Mapping[str, str]], **options: Any) -> str:
        """Return the text that the messages become, with the assistant's turn begun. `options` go to the template."""
        body = {"messages": list(messages), "chat_template_kwargs": options}
        return str(self._call("POST", "/apply-template", body)["prompt"])

    def _call(self, method: str, route: str, body: Mapping[str, Any] | None = None) -> Any:
        self._refuse_after_fork()
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self._address)
        try:
            connection.request(method, route, json.dumps(body) if body is not None else None, headers)
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BadReply(f"llama.cpp's listener broke off: {error}") from error
        finally:
            connection.close()
        if "error" in answer:
            raise llama_error(answer["error"])
        return answer

    def _refuse_after_fork(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeFailure(
                "the embedded model was loaded before this process was forked, and cannot be used in it",
                hint="load it after the fork, or start processes by `spawn`",
            )


def _refuse_lone_surrogates(asked: Mapping[str, Any] | Sequence[str]) -> None:
    # The library's own exception depends on whether orjson is installed.
    try:
        json.dumps(asked, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise RequestRefused(
            f"llama.cpp does not take this request: {half} in it is half of a surrogate pair"
        ) from error


def llama_error(error: Mapping[str, Any]) -> PromptkitError:
    """Return the error that llama.cpp's error object stands for."""
    code, message = error.get("code"), Redactor().quote(str(error.get("message", "no reason given")))
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflow(
            f"the prompt has {error['n_prompt_tokens']} tokens, the window {error['n_ctx']}",
            hint="shorten the prompt, or set the option `context` higher",
        )
    if code == 501:
        return Unsupported(f"llama.cpp: {message}")
    if code == 503:
        return ServerBusy(f"llama.cpp: {message}")
    if code in (400, 413, 422):
        return RequestRefused(f"llama.cpp does not take this request: {message}")
    return ServerFailed(f"llama.cpp failed: {message}")


def load_library() -> Any:
    """Import llama.cpp. Raises ModelLoadFailed with the command that mends it."""
    # Threads that spin at barriers starve every other process; libgomp reads this once, at the import.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as error:
        if "libgomp" in str(error):
            raise ModelLoadFailed(
                f"llama.cpp needs a library of the system: {error}", hint="apt-get install libgomp1"
            ) from error
        raise ModelLoadFailed(
            f"llama.cpp cannot be loaded: {error}", hint="pip install --force-reinstall xllamacpp"
        ) from error
    return xllamacpp


def library_version() -> str:
    """Return the version of llama.cpp's package, without loading it."""
    from importlib.metadata import version

    return version("xllamacpp")


def usable_cores() -> int:
    """Return how many threads to use: the cores of this process, half of them where they are likely virtual."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores <= 4 else cores // 2


def _check_file(path: Path) -> None:
    """Raise ModelLoadFailed with the reason why a file cannot be loaded; llama.cpp gives none."""
    try:
        with open_file(path) as file:
            start = file.read(64)
    except InputError as error:
        (wrong,) = error.problems
        raise ModelLoadFailed(f"cannot load {place(path)}: {wrong.message}", hint=wrong.hint) from None
    except OSError as error:
        raise ModelLoadFailed(f"cannot load {place(path)}: {error.strerror or error}") from error
    if start.startswith(b"version https://git-lfs"):
        raise ModelLoadFailed(
            f"cannot load {place(path)}: it is a pointer to the weights, not the weights", hint="git lfs pull"
        )
    if not start.startswith(b"GGUF"):
        raise ModelLoadFailed(f"cannot load {place(path)}: it is not a GGUF file")


def _piece_bytes(piece: str | list[int]) -> bytes:
    return piece.encode() if isinstance(piece, str) else bytes(piece)


def _abandon_in_child() -> None:
    """Keep a forked child from waiting forever for llama.cpp's threads, which it does not have."""
    if not _loaded_models:
        return
    for llama in _loaded_models:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(llama._server))
    with suppress(AttributeError):  # only glibc has it; the child then ends before C++ destructors run
        library = ctypes.CDLL(None)
        library.on_exit(library._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_in_child)


TOKENS_KEY: Final = "tokenizer.ggml.tokens"
TOKEN_TYPES_KEY: Final = "tokenizer.ggml.token_type"
UNKNOWN, CONTROL = 2, 3
"""Token types of control tokens."""

_SCALARS: Final = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


def read_control_tokens(path: Path) -> frozenset[str]:
    """Return the texts of a model's control tokens: those that the file marks, and those of a known form.

    llama.cpp obeys the latter whatever the file says. Raises OSError; ValueError and struct.error
    for what is not a GGUF file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = _GgufReader(data).values({TOKENS_KEY, TOKEN_TYPES_KEY})
    texts = [text.decode("utf-8", "replace") for text in found.get(TOKENS_KEY, ())]
    kinds = found.get(TOKEN_TYPES_KEY) or [0] * len(texts)
    return frozenset(
        text
        for text, kind in zip(texts, kinds, strict=True)
        if text and (kind in (UNKNOWN, CONTROL) or (text[0] in "<[" and is_control_token(text)))
    )


class _GgufReader:
    """Reads the metadata at the start of a GGUF file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def values(self, keys: set[str]) -> dict[str, Any]:
        """Return the values under `keys`, texts as bytes. Stops reading at the last of them."""
        magic, _version, _tensors, count = self._take("4sIQQ")
        if magic != b"GGUF":
            raise ValueError("not a GGUF file")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._text().decode("utf-8", "replace")
            value = self._value(*self._take("I"))
            if key in keys:
                found[key] = value
                if len(found) == len(keys):
                    break
        return found

    def _take(self, form: str) -> tuple[Any, ...]:
        taken = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return taken

    def _text(self) -> bytes:
        (length,) = self._take("Q")
        start, self._at = self._at, self._at + length
        return self._data[start : self._at]

    def _texts(self, count: int) -> list[bytes]:
        """Return `count` texts. A vocabulary has some 100,000, too many for a call for each."""
        data, at, length = self._data, self._at, struct.Struct("<Q").unpack_from
        texts = []
        for _ in range(count):
            start = at + 8
            at = start + length(data, at)[0]
            texts.append(data[start:at])
        self._at = at
        return texts

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            inner, count = self._take("IQ")
            if inner in _SCALARS:
                return self._take(f"{count}{_SCALARS[inner]}")
            return self._texts(count) if inner == _TEXT else [self._value(inner) for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"a GGUF file has no values of the kind {kind}")
        return self._take(_SCALARS[kind])[0]
