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
import os
import re
import secrets
import struct
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

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
from promptkit.runtimes.base import Adapter, Pooling
from promptkit.runtimes.in_process.gguf import (
    RERANKING,
    read_control_tokens,
    read_end_token,
    read_kind,
    read_soft_prompt,
)
from promptkit.storage.files import open_file

PROMPT_CACHE_MEBIBYTES = 512
"""Memory for prompts that a slot dropped. llama.cpp's default of 8 GB is too much for a laptop.

With adapters there is none: llama.cpp finds a dropped prompt by its tokens alone, whichever adapter read it.
"""

BATCH = 256
"""Tokens of a prompt in one batch. A request can only be ended between batches; larger ones were no faster on a CPU."""

_loaded_models: weakref.WeakSet[LlamaServer] = weakref.WeakSet()


class LlamaServer:
    """A server of llama.cpp in this process, with one loaded model. `parameters` are added to what every server gets.

    Texts that it takes at once are `slots`, each with a window of `context` tokens.
    """

    def __init__(
        self, path: Path, *, context: int, slots: int, threads: int | None, parameters: Mapping[str, Any]
    ) -> None:
        """Load a GGUF file. Raises ModelLoadFailed with the file and the reason."""
        library = load_library()
        _check_file(path)
        self._process = os.getpid()
        self._path = path
        self._key = secrets.token_hex(16)
        settings = library.CommonParams()
        settings.model.path = str(path)
        settings.n_ctx = context * slots
        settings.n_parallel = slots
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads or usable_cores()
        settings.cache_ram_mib = PROMPT_CACHE_MEBIBYTES
        settings.prefill_assistant = False
        settings.api_keys = [self._key]
        settings.ui = False
        settings.verbosity = 0
        for name, value in parameters.items():
            setattr(settings, name, value)
        try:
            self._server = library.Server(settings)
        except (RuntimeError, ValueError) as error:
            reason = "the file is cut off, or of a kind that this llama.cpp does not know, or memory is short"
            raise ModelLoadFailed(f"cannot load {place(path)}: {reason}") from error
        # A server that is deleted before its first answer hangs forever.
        self._warm_up()
        _loaded_models.add(self)
        self._address = self._server.listening_address.removeprefix("http://")

    def _warm_up(self) -> None:
        raise NotImplementedError

    def tokenize(self, text: str | Sequence[str | int]) -> tuple[bytes, ...]:
        """Return the tokens of a text, or of texts with tokens between them, as byte pieces."""
        tokens = self._call("POST", "/tokenize", {"content": text, "with_pieces": True})["tokens"]
        return tuple(_piece_bytes(token["piece"]) for token in tokens)

    def token_ids(self, text: str | Sequence[str | int], *, begins: bool = True, obeys: bool = True) -> tuple[int, ...]:
        """Return the ids of a text's tokens, as of a prompt.

        `begins`: with the token that begins a sequence, where the model has one. `obeys`: control tokens written out
        in the text are control tokens.
        """
        body = {"content": text, "add_special": begins, "parse_special": obeys}
        return tuple(self._call("POST", "/tokenize", body)["tokens"])

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


class Llama(LlamaServer):
    """A model that completes texts.

    `context` is the window of each slot, `trained` the one that the model was trained on, `template` the source of its
    chat template, `system_role` whether that has a system role, `calls_functions` whether it writes tools and calls.
    `adapters` are the digests of the loaded ones.
    """

    def __init__(
        self, path: Path, *, context: int, slots: int, threads: int | None, adapters: Sequence[Adapter] = ()
    ) -> None:
        """Load a GGUF file with adapters, none of them applied. Raises ModelLoadFailed with the file and the reason."""
        parameters: dict[str, Any] = {"n_batch": BATCH}
        if adapters:
            library = load_library()
            parameters["lora_adapters"] = [
                library.CommonAdapterLoraInfo(str(adapter.path), 0.0) for adapter in adapters
            ]
            parameters |= {"lora_init_without_apply": True, "cache_ram_mib": 0}
        super().__init__(path, context=context, slots=slots, threads=threads, parameters=parameters)
        self.adapters = tuple(adapter.digest for adapter in adapters)
        self._letters: dict[str, tuple[int, ...]] = {}
        properties = self._call("GET", "/props")
        self.context: int = properties["default_generation_settings"]["n_ctx"]
        self.template: str = properties["chat_template"]
        known = properties["chat_template_caps"]
        self.system_role: bool = known["supports_system_role"]
        self.calls_functions: bool = known["supports_tools"] and known["supports_tool_calls"]
        self.trained: int = self._call("GET", "/v1/models")["data"][0]["meta"]["n_ctx_train"]

    def _warm_up(self) -> None:
        self._server.handle_completions({"prompt": "a", "max_tokens": 1})

    def scales(self, adapter: Adapter | None) -> dict[str, Any]:
        """Return the field of a query that applies one adapter, and no other that is loaded."""
        scales = [
            {"id": at, "scale": float(adapter is not None and digest == adapter.digest)}
            for at, digest in enumerate(self.adapters)
        ]
        return {"lora": scales} if scales else {}

    def complete(
        self, query: Mapping[str, Any], on_chunk: Callable[[dict[str, Any]], object], ended: Callable[[], bool]
    ) -> None:
        """Continue a raw text. `query` has llama.cpp's own keys; each chunk of the answer goes to `on_chunk`.

        `ended` is called between the batches of the prompt and at each token; true cancels the request.
        Raises RuntimeFailure, Unsupported.
        """
        self._generate(self._server.handle_completions, query, on_chunk, ended)

    def chat(
        self, query: Mapping[str, Any], on_chunk: Callable[[dict[str, Any]], object], ended: Callable[[], bool]
    ) -> None:
        """Answer messages, with tools, as `complete` does. `query` has OpenAI's keys; llama.cpp reads the calls."""
        self._generate(self._server.handle_chat_completions, query, on_chunk, ended)

    def _generate(
        self,
        handle: Callable[..., Any],
        query: Mapping[str, Any],
        on_chunk: Callable[[dict[str, Any]], object],
        ended: Callable[[], bool],
    ) -> None:
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
            handle({**query, "stream": True, "return_progress": True}, take)
        except (RuntimeError, ValueError) as error:
            raise RequestRefused(f"llama.cpp does not take this request: {error}") from error
        if failures:
            raise llama_error(failures[0])

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

    @cached_property
    def soft_prompt(self) -> dict[int, str]:
        """The tokens that begin each prompt of a copy with a soft prompt, by id. Raises ModelLoadFailed."""
        try:
            return read_soft_prompt(self._path)
        except (OSError, ValueError, TypeError, struct.error) as error:
            raise ModelLoadFailed(f"cannot load {place(self._path)}: its soft prompt is damaged") from error

    @cached_property
    def end_token(self) -> int | None:
        """The id of the token that the chat template writes after an answer, else of that which the file names."""
        answer = "answer"
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}]
        with suppress(RuntimeFailure, RequestRefused, Unsupported):
            _, found, after = self.apply_template(turns).rpartition(answer)
            token = self.control_tokens.match(after) if found else None
            if token is not None:
                return self.token_ids(token[0], begins=False)[0]
        return read_end_token(self._path)

    def apply_template(
        self, messages: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = (), **options: Any
    ) -> str:
        """Return the text that the messages become, with the assistant's turn begun. `options` go to the template."""
        body: dict[str, Any] = {"messages": list(messages), "chat_template_kwargs": options}
        if tools:
            body["tools"] = list(tools)
        return str(self._call("POST", "/apply-template", body)["prompt"])


class Embedder(LlamaServer):
    """A model that makes vectors of texts.

    `context` is the longest text in tokens.
    """

    def __init__(self, path: Path, *, context: int, threads: int | None, pooling: Pooling = "mean") -> None:
        """Load a GGUF file. An embedding model pools as its file says, any other by `pooling` over the tokens.

        Raises ModelLoadFailed with the file and the reason.
        """
        kind = read_kind(path)
        if kind.pooling == RERANKING:
            raise ModelLoadFailed(f"{place(path)} is a reranker: it scores pairs of texts and makes no vectors")
        # A longer text would read beyond the positions that the model knows, and must fit one batch.
        self.context = min(context, kind.trained or context)
        parameters = {"embedding": True, "n_batch": self.context, "n_ubatch": self.context}
        if kind.pooling is None:
            types = load_library().llama_pooling_type
            known = {"mean": types.LLAMA_POOLING_TYPE_MEAN, "last": types.LLAMA_POOLING_TYPE_LAST}
            parameters["pooling_type"] = known[pooling]
        super().__init__(path, context=self.context, slots=1, threads=threads, parameters=parameters)

    def _warm_up(self) -> None:
        self._server.handle_embeddings({"input": ["a"]})

    def embed(self, text: str) -> list[float]:
        """Return the unit vector of a text; an empty one counts as a blank. Raises RuntimeFailure, Unsupported.

        Several texts in one request cost as much CPU, and then a vector depends on its neighbours in the last digits.
        """
        return self.embed_prompt(text or " ")[0]

    def embed_prompt(self, prompt: str | Sequence[str | int]) -> tuple[list[float], int]:
        """Return the unit vector of a text, or of texts with tokens between them, and its number of tokens.

        Raises RuntimeFailure, Unsupported.
        """
        self._refuse_after_fork()
        _refuse_lone_surrogates(
            [prompt] if isinstance(prompt, str) else [part for part in prompt if isinstance(part, str)]
        )
        try:
            answer = self._server.handle_embeddings({"input": prompt if isinstance(prompt, str) else [list(prompt)]})
        except (RuntimeError, ValueError) as error:
            raise RequestRefused(f"llama.cpp does not take this text: {error}") from error
        if "error" in answer:
            self._check_fits(prompt)
            raise llama_error(answer["error"])
        (item,) = answer["data"]
        return list(item["embedding"]), int(answer["usage"]["prompt_tokens"])

    def _check_fits(self, text: str | Sequence[str | int]) -> None:
        """Raise ContextOverflow for a text longer than the window, which llama.cpp reports as its own failure."""
        tokens = len(self._call("POST", "/tokenize", {"content": text, "add_special": True})["tokens"])
        if tokens > self.context:
            raise ContextOverflow(
                f"the text to embed has {tokens} tokens, the window {self.context}", hint="split the text"
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
    """Return the number of threads to use: the cores of this process, half of them where they are likely virtual."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores <= 4 else cores // 2


def resident_bytes() -> int | None:
    """Return the resident memory of this process in bytes, None where the system does not show it."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


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
