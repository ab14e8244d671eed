"""A stand-in for an Ollama server: it speaks what was measured of 0.33.0-rc0 (August 2026), and nothing beyond.

    with OllamaServer(FakeModel("tiny", answers=["positive"])) as server:
        ...                      # server.url, server.requests, server.loads, server.cancelled

It runs in a thread of its own, so that synchronous tests and other processes can talk to it. A model answers
from its `answers` in order, then by its `respond` function; `answered_by` puts a real runtime behind it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any

from aiohttp import web

from promptkit.runtimes.base import Message, Request, Runtime
from promptkit.runtimes.servers.ollama_slots import COUNTING

CHAT_TEMPLATE = "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
DEFAULT_WINDOW = 4096
LOADING_OPTIONS = ("num_ctx", "num_batch", "num_gpu", "num_thread", "use_mmap")
NUMBERS = ("temperature", "top_p", "top_k", "seed", "num_predict", "num_ctx", "repeat_penalty")
PIECE = re.compile(r"<\|\w+\|>| ?\w{1,4}| ?[^\w\s]|\s")


def pieces(text: str) -> list[str]:
    """Return the stand-in's tokens: a template's marker, up to four letters, or one other character."""
    return PIECE.findall(text)


@dataclass(frozen=True)
class Answer:
    """What a model says once. `breaks_off` ends it without `done: true`, `fails` with an error line.

    `calls` are calls of tools, each a part after the text.
    """

    text: str
    thoughts: str = ""
    alternatives: tuple[tuple[str, float], ...] = ()
    breaks_off: bool = False
    fails: str = ""
    pause: float = 0.0
    calls: tuple[dict[str, Any], ...] = ()


Respond = Callable[[str, dict[str, Any]], Awaitable[Answer]]


async def echo(prompt: str, body: dict[str, Any]) -> Answer:
    """Repeat the last user message, or the raw prompt; under a schema give its smallest instance."""
    schema = body.get("format")
    if isinstance(schema, dict):
        return Answer(json.dumps(smallest(schema)))
    said = [message["content"] for message in body.get("messages", []) if message["role"] == "user"]
    return Answer(said[-1] if said else prompt)


def smallest(schema: dict[str, Any]) -> Any:
    """Return a small value that a JSON Schema of the simple sort allows."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: smallest(part) for name, part in schema.get("properties", {}).items()}
    return {"array": [], "string": "text", "number": 1.5, "integer": 1, "boolean": True}.get(kind)


def answered_by(runtime: Runtime) -> Respond:
    """Return a `respond` that asks a real runtime, so that answers are real."""

    async def respond(prompt: str, body: dict[str, Any]) -> Answer:
        options = body.get("options", {})
        turns = tuple(Message(message["role"], message["content"]) for message in body.get("messages", []))
        begun = turns[-1].content if turns and turns[-1].role == "assistant" else ""
        reply = await runtime.answer(
            Request(
                messages=turns[:-1] if begun else turns,
                prompt=None if turns else prompt,
                begun=begun,
                max_tokens=options.get("num_predict", 128),
                temperature=options.get("temperature", 0.8),
                stop=tuple(options.get("stop", ())),
                schema=body.get("format") or None,
                alternatives=body.get("top_logprobs", 0),
            )
        )
        listed = reply.tokens[0].alternatives if reply.tokens else ()
        return Answer(reply.text, alternatives=tuple((each.piece.decode(), each.logprob) for each in listed))

    return respond


@dataclass
class FakeModel:
    """A model. `leaves_open` tells whether its template goes on from a last assistant message.

    The chat template of a `native` model is in its GGUF and not Ollama's: its chats go to llama-server's chat
    completions, which takes no begun turn together with a format, sorts a schema's properties, and never cuts.
    """

    name: str
    answers: list[Answer | str] = field(default_factory=list)
    respond: Respond = echo
    capabilities: tuple[str, ...] = ("completion",)
    context_length: int = 8192
    template: str = CHAT_TEMPLATE
    leaves_open: bool = True
    family: str = "llama"
    native: bool = False
    parameters: str = "134.52M"
    modified: str = "2026-08-01T10:00:00.123456789+02:00"

    @property
    def full_name(self) -> str:
        """The name with its tag."""
        return self.name if ":" in self.name else f"{self.name}:latest"

    @property
    def digest(self) -> str:
        """A SHA-256, as `/api/tags` gives it."""
        return hashlib.sha256(f"{self.name}{self.template}{self.leaves_open}".encode()).hexdigest()

    def prompt(self, messages: Sequence[dict[str, Any]]) -> str:
        """Return what the messages become."""
        text = ""
        for message in messages:
            called = "".join(json.dumps(call["function"]) for call in message.get("tool_calls", ()))
            text += f"<|im_start|>{message['role']}\n{message['content']}{called}<|im_end|>\n"
        if messages and messages[-1]["role"] == "assistant" and self.leaves_open:
            return text.removesuffix("<|im_end|>\n")
        return f"{text}<|im_start|>assistant\n"


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    path: str
    body: dict[str, Any]
    authorization: str | None


@dataclass(frozen=True)
class Fault:
    """What the next request to `path`, and with this raw `prompt` where one is given, gets instead of an answer."""

    path: str
    status: int
    error: str
    prompt: str | None = None


class Refusal(Exception):
    """An error that the server answers with."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class OllamaServer:
    """The server. `version` decides which fields it knows; `parallel` is OLLAMA_NUM_PARALLEL."""

    def __init__(self, *models: FakeModel, version: str = "0.33.0", parallel: int = 1, pullable: str = "new") -> None:
        self.models = {model.full_name: model for model in models}
        self.version = version
        self.parallel = parallel
        self.pullable = FakeModel(pullable)
        self.pull_pause = self.probe_pause = 0.0
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.loads: list[dict[str, Any]] = []
        self.cancelled = 0
        self.blobs: dict[str, bytes] = {}
        self.created: dict[str, dict[str, Any]] = {}
        self.url = ""
        self._loaded: dict[str, dict[str, Any]] = {}
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def asked(self) -> list[Seen]:
        """The requests for an answer: not those that load, render or probe for slots."""
        return [
            seen
            for seen in self.requests
            if (seen.body.get("messages") or seen.body.get("prompt") not in (None, COUNTING))
            and not seen.body.get("_debug_render_only")
        ]

    # life

    def __enter__(self) -> OllamaServer:
        self._thread.start()
        assert self._started.wait(10), "the stand-in did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join(10)

    def stop(self) -> None:
        """Begin to go away; requests that are being answered are cut off."""
        with suppress(RuntimeError):  # it has gone already
            self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        self._loop, self._stop, self._slots = (
            asyncio.get_running_loop(),
            asyncio.Event(),
            asyncio.Semaphore(self.parallel),
        )
        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._started.set()
        await self._stop.wait()
        await runner.cleanup()

    # requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = json.loads(raw) if raw and not request.path.startswith("/api/blobs/") else {}
            self.requests.append(Seen(request.path, body, request.headers.get("Authorization")))
            for fault in [fault for fault in self.faults if meets(fault, request.path, body)][:1]:
                self.faults.remove(fault)
                raise Refusal(fault.status, fault.error)
            return await self._route(request, body)
        except json.JSONDecodeError as error:
            return web.json_response({"error": str(error)}, status=400)
        except Refusal as refusal:
            return web.json_response({"error": refusal.error}, status=refusal.status)
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise

    async def _route(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        match f"{request.method} {request.path}":
            case "GET /":
                return web.Response(text="Ollama is running")
            case "GET /api/version":
                return web.json_response({"version": self.version})
            case "GET /api/tags":
                return web.json_response({"models": [self._listed(model) for model in self.models.values()]})
            case "GET /api/ps":
                return web.json_response({"models": [self._running(name) for name in self._loaded]})
            case "POST /api/show":
                return web.json_response(self._shown(self._model(body)))
            case "POST /api/chat" | "POST /api/generate":
                return await self._send(request, body, self._generate(request.path, body))
            case "POST /api/embed":
                return web.json_response(self._embedded(body))
            case "POST /api/pull":
                return await self._send(request, body, self._pull(body))
            case "POST /api/create":
                return await self._send(request, body, self._create(body))
        if request.path.startswith("/api/blobs/sha256:"):
            return self._blob(request.method, request.path.rpartition("/")[2], await request.read())
        raise Refusal(404, "404 page not found")

    async def _send(
        self, request: web.Request, body: dict[str, Any], answer: AsyncGenerator[dict[str, Any], None]
    ) -> web.StreamResponse:
        """Stream objects, one a line; an error before the first is a status, after it a line."""
        async with aclosing(answer):  # a client that goes away gives its slot back
            first = await anext(answer)
            if not body.get("stream", True):
                return web.json_response(joined([first] + [part async for part in answer]))
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            await response.write(line(first))
            try:
                async for part in answer:
                    await response.write(line(part))
            except Refusal as refusal:
                await response.write(line({"error": refusal.error}))
            return response

    # models

    def _model(self, body: dict[str, Any]) -> FakeModel:
        name = body.get("model")
        if not name:
            raise Refusal(400, "model is required")
        if not re.fullmatch(r"[\w.:/-]+", name) or name.startswith("."):
            raise Refusal(400, "invalid model name")
        model = self.models.get(name if ":" in name else f"{name}:latest")
        if model is None:
            raise Refusal(404, f"model '{name}' not found")
        return model

    def _details(self, model: FakeModel) -> dict[str, Any]:
        return {
            "family": model.family,
            "parameter_size": model.parameters,
            "quantization_level": "Q4_1",
            "format": "gguf",
        }

    def _listed(self, model: FakeModel) -> dict[str, Any]:
        return {
            "name": model.full_name,
            "model": model.full_name,
            "digest": model.digest,
            "size": 98_362_432,
            "modified_at": model.modified,
            "details": self._details(model),
        }

    def _running(self, name: str) -> dict[str, Any]:
        window = self._loaded[name]["window"]
        listed = self._listed(self.models[name])
        expires = datetime.now(UTC) + timedelta(minutes=5)
        return {**listed, "context_length": window, "size_vram": 0, "expires_at": stamp(expires)}

    def _shown(self, model: FakeModel) -> dict[str, Any]:
        return {
            "capabilities": list(model.capabilities),
            "template": model.template,
            "parameters": 'stop "<|im_end|>"',
            "details": self._details(model),
            "model_info": {"general.architecture": "llama", "llama.context_length": model.context_length},
            "modified_at": model.modified,
        }

    def knows(self, *version: int) -> bool:
        """Tell whether the server is at least of that version."""
        return tuple(int(part) for part in self.version.split(".")) >= version

    def _load(self, model: FakeModel, body: dict[str, Any]) -> int:
        """Load the model, anew when what decides the loading differs, and return its window."""
        options = body.get("options") or {}
        wanted = {name: options[name] for name in LOADING_OPTIONS if name in options}
        wanted["shift"] = body.get("shift", True) if self.knows(0, 12, 4) else True
        window = min(options.get("num_ctx", DEFAULT_WINDOW), model.context_length)
        loaded = self._loaded.get(model.full_name)
        if loaded is None or loaded["wanted"] != wanted:
            self._loaded[model.full_name] = {"wanted": wanted, "window": window}
            self.loads.append(wanted)
        return int(window)

    # answers

    async def _generate(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        model = self._model(body)
        check(model, body)
        window = self._load(model, body)
        if not body.get("messages" if path == "/api/chat" else "prompt"):
            yield {"model": body["model"], **worded(path, "", False), "done": True, "done_reason": "load"}
            return
        if path == "/api/chat" and body.get("_debug_render_only") and self.knows(0, 11, 5):
            rendered = {"rendered_template": model.prompt(body["messages"])}
            yield {"model": body["model"], **worded(path, "", False), "done": False, "_debug_info": rendered}
            return
        if model.native and path == "/api/chat":
            check_native(body)
        prompt = self._fitted(model, body, window)
        async with self._slots:
            if body.get("prompt") == COUNTING:  # a probe takes no answer that a test has given
                scripted: Answer | str = Answer(" 10, 11, 12, 13", pause=self.probe_pause)
            else:
                scripted = model.answers.pop(0) if model.answers else await model.respond("".join(prompt), body)
            answer = Answer(scripted) if isinstance(scripted, str) else scripted
            async for part in self._parts(path, body, answer, len(prompt), window):
                yield {"model": body["model"], "created_at": stamp(datetime.now(UTC)), **part}

    def _fitted(self, model: FakeModel, body: dict[str, Any], window: int) -> list[str]:
        """Return the prompt's tokens; one that is too long is refused, or cut in silence."""
        turns = list(body.get("messages", []))
        text = model.prompt(turns) if turns else body.get("prompt", "")
        if not turns and not body.get("raw"):
            text = model.prompt([{"role": "user", "content": text}])
        tokens = pieces(text)
        if len(tokens) <= window:
            return tokens
        if model.native or (self.knows(0, 12, 4) and body.get("truncate") is False):
            problem = f"request ({len(tokens)} tokens) exceeds the available context size ({window} tokens)"
            raise Refusal(400, child_error(f"{problem}, try increasing it"))
        if self.knows(0, 12, 4) and body.get("shift") is False:
            raise Refusal(
                400,
                "the prompt is longer than the context length currently available to the model; shorten it",
            )
        droppable = [turn for turn in turns[:-1] if turn["role"] != "system"]
        while len(tokens) > window and droppable:
            turns.remove(droppable.pop(0))
            tokens = pieces(model.prompt(turns))
        return tokens if len(tokens) <= window else tokens[:4] + tokens[-(window // 2 - 2) :]

    async def _parts(
        self, path: str, body: dict[str, Any], answer: Answer, prompt_tokens: int, window: int
    ) -> AsyncGenerator[dict[str, Any], None]:
        options = body.get("options") or {}
        limit = options.get("num_predict", -1)
        limit = 10 * window if limit < 0 else limit
        if self.knows(0, 12, 4) and body.get("shift") is False:
            limit = min(limit, window - prompt_tokens)
        # On the completion path stop strings fall on thoughts too.
        spoken = stopped(answer.thoughts, options.get("stop") or []) if body.get("think", True) else ""
        thoughts = pieces(spoken)
        halted = bool(body.get("think", True)) and spoken != answer.thoughts
        text = "" if halted else stopped(answer.text, options.get("stop") or [])
        said = ([(piece, True) for piece in thoughts] + [(piece, False) for piece in pieces(text)])[:limit]
        for count, (piece, thought) in enumerate(said):
            if answer.fails and count:
                raise Refusal(500, answer.fails)
            await asyncio.sleep(answer.pause)
            yield {**worded(path, piece, thought), "done": False, **self._logprobs(body, answer, piece)}
            if count >= 30 and len({each for each, _ in said[count - 30 : count + 1]}) == 1:
                return
        for call in answer.calls if body.get("tools") else ():
            yield {"message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False}
        if answer.breaks_off:
            return
        cut = len(thoughts) + len(pieces(text)) > limit
        counts = {
            "prompt_eval_count": prompt_tokens,
            "prompt_eval_duration": 1_000_000,
            "eval_count": len(said) + (not cut),  # the token that ends the answer counts
        }
        durations = {"eval_duration": 2_000_000, "load_duration": 500_000, "total_duration": 3_500_000}
        yield {
            **worded(path, "", False),
            "done": True,
            "done_reason": "length" if cut else "stop",
            **counts,
            **durations,
        }

    def _logprobs(self, body: dict[str, Any], answer: Answer, piece: str) -> dict[str, Any]:
        if not body.get("logprobs") or not self.knows(0, 12, 11):
            return {}
        listed = (answer.alternatives or ((piece, -0.1), ("?", -2.5)))[: body.get("top_logprobs", 0)]
        alternatives = [{"token": text, "logprob": value, "bytes": list(text.encode())} for text, value in listed]
        chosen = {"token": piece, "logprob": -0.1, "bytes": list(piece.encode())}
        return {"logprobs": [{**chosen, "top_logprobs": alternatives}]}

    def _embedded(self, body: dict[str, Any]) -> dict[str, Any]:
        model = self._model(body)
        if "embedding" not in model.capabilities:
            raise Refusal(501, "This server does not support embeddings. Start it with `--embeddings`")
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        counts = [len(pieces(text)) for text in texts]
        if body.get("truncate") is False and max(counts, default=0) > model.context_length:
            raise Refusal(400, "the input length exceeds the context length")
        vectors = [[1.0, 0.0] if len(text) % 2 else [0.6, 0.8] for text in texts]
        return {"model": body["model"], "embeddings": vectors, "prompt_eval_count": sum(counts)}

    async def _pull(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        model = self.pullable
        if body["model"] not in (model.name, model.full_name, "broken"):
            raise Refusal(500, "pull model manifest: file does not exist")
        yield {"status": "pulling manifest"}
        if body["model"] == "broken":
            raise Refusal(500, "max retries exceeded")
        blob = {"status": "pulling b179c9523d0e", "digest": f"sha256:{model.digest}", "total": 300 * 2**20}
        yield blob
        for completed in (100, 200, 300):
            await asyncio.sleep(self.pull_pause)
            yield {**blob, "completed": completed * 2**20}
        yield {"status": "pulling 62fbfd9ed093", "digest": "sha256:62fbfd9ed093", "total": 182, "completed": 182}
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            yield {"status": status}
        self.models[model.full_name] = model

    def _blob(self, method: str, digest: str, content: bytes) -> web.Response:
        if method == "HEAD":
            return web.Response(status=200 if digest in self.blobs else 404)
        if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
            raise Refusal(400, "digest mismatch")
        self.blobs[digest] = content
        return web.Response(status=201)

    async def _create(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        if body.get("adapters") and self.knows(0, 34, 1):
            raise Refusal(400, "LoRA adapters are no longer supported")
        for digest in [*body.get("files", {}).values(), *body.get("adapters", {}).values()]:
            if digest not in self.blobs:
                raise Refusal(400, f"blob {digest} does not exist")
        yield {"status": "parsing GGUF"}
        if "from" in body and FakeModel(body["from"]).full_name not in self.models:
            raise Refusal(500, "pull model manifest: file does not exist")
        yield {"status": "writing manifest"}
        model = FakeModel(body["model"])
        self.models[model.full_name] = model
        self.created[model.full_name] = body
        yield {"status": "success"}


def meets(fault: Fault, path: str, body: dict[str, Any]) -> bool:
    """Tell whether a fault is for a request."""
    return fault.path == path and fault.prompt in (None, body.get("prompt"))


def check(model: FakeModel, body: dict[str, Any]) -> None:
    """Refuse what the server refuses before it generates."""
    if "completion" not in model.capabilities:
        raise Refusal(400, f'"{body["model"]}" does not support {"chat" if "messages" in body else "generate"}')
    if body.get("think") not in (None, True, False, "high", "medium", "low", "max"):
        levels = '(must be "high", "medium", "low", "max", true, or false)'
        raise Refusal(400, f"invalid think value: {json.dumps(body['think'])} {levels}")
    if body.get("think") and "thinking" not in model.capabilities:
        raise Refusal(400, f'"{body["model"]}" does not support thinking')
    if body.get("tools") and "tools" not in model.capabilities:
        raise Refusal(400, f'"{body["model"]}" does not support tools')
    if body.get("raw") and any(body.get(name) for name in ("system", "template", "context")):
        raise Refusal(400, "raw mode does not support template, system, or context")
    if not 0 <= body.get("top_logprobs", 0) <= 20:
        raise Refusal(400, "top_logprobs must be between 0 and 20")
    keep_alive = body.get("keep_alive")
    if isinstance(keep_alive, str) and not re.fullmatch(r"-?(\d+(\.\d+)?(ms|s|m|h))+", keep_alive):
        raise Refusal(400, f'time: missing unit in duration "{keep_alive}"')
    if body.get("format") not in (None, "", "json") and not isinstance(body["format"], dict):
        shown = json.dumps(json.dumps(body["format"]))
        raise Refusal(500, f'invalid format: {shown}; expected "json" or a valid JSON Schema object')
    for name, value in (body.get("options") or {}).items():
        if name in NUMBERS and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise Refusal(500, f'option "{name}" must be of type number')


def check_native(body: dict[str, Any]) -> None:
    """Refuse a begun turn under a format, and sort the properties of a schema, as a native chat does."""
    if isinstance(body.get("format"), dict):
        if body["messages"][-1]["role"] == "assistant":
            raise Refusal(400, child_error("Failed to initialize samplers: std::exception"))
        body["format"] = json.loads(json.dumps(body["format"], sort_keys=True))


def child_error(message: str) -> str:
    """Return an error of the llama-server behind Ollama, which arrives as JSON in a text."""
    return json.dumps({"error": {"code": 400, "message": message, "type": "invalid_request_error"}})


def stamp(moment: datetime) -> str:
    """Return a time as Ollama writes it, in nanoseconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"


def stopped(text: str, stops: Sequence[str]) -> str:
    """Return the text before its first stop string."""
    places = [text.index(stop) for stop in stops if stop in text]
    return text[: min(places)] if places else text


def worded(path: str, piece: str, thought: bool) -> dict[str, Any]:
    """Return a piece as chat or generate words it."""
    if path == "/api/generate":
        return {"response": "" if thought else piece, **({"thinking": piece} if thought else {})}
    message = {"role": "assistant", "content": "" if thought else piece}
    return {"message": {**message, "thinking": piece} if thought else message}


def joined(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the one object that `stream: false` answers with."""
    last = dict(lines[-1])
    if "message" in last:
        texts = {key: "".join(each["message"].get(key, "") for each in lines) for key in ("content", "thinking")}
        last["message"] = {
            "role": "assistant",
            **{key: text for key, text in texts.items() if text or key == "content"},
        }
    if "response" in last:
        last["response"] = "".join(each["response"] for each in lines)
        if thoughts := "".join(each.get("thinking", "") for each in lines):
            last["thinking"] = thoughts
    if listed := [each for part in lines for each in part.get("logprobs", [])]:
        last["logprobs"] = listed
    return last


def line(part: dict[str, Any]) -> bytes:
    """Return an object as a line of the stream."""
    return json.dumps(part, ensure_ascii=False).encode() + b"\n"
