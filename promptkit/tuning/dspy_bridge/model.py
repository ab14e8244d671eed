"""Between DSPy and our models: its LM, its adapter, and the bridge from its threads to the event loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import copy_context
from dataclasses import replace
from threading import Lock
from typing import Any, Final, Self, TypeVar

import dspy
from dspy import lm15

from promptkit.errors import ContextOverflow, RequestRefused
from promptkit.runtimes.base import Message, Model, Request
from promptkit.runtimes.client import Client
from promptkit.techniques.thinking import thoughts_of

MOST_TOKENS: Final = 512
"""Tokens of a proposal if an optimizer sets no limit: small models seldom end by themselves."""
COMPLETED: Final = "[[ ## completed ## ]]"
"""The end of a reply to DSPy's ChatAdapter."""
DIGEST_CHARACTERS: Final = 16


def open_lm(client: Client, model: Model, bridge: Bridge, *, seed: int = 0) -> dspy.LM:
    """Return the model as DSPy's LM. Its name includes the digest, as DSPy tells models apart by name alone.

    DSPy's cache is off: the client has one, which takes the engine into account too.
    """
    name = f"promptkit/{model.reference}@{model.digest[:DIGEST_CHARACTERS]}"
    return dspy.LM(name, engine=ModelEngine(client, model, bridge, seed=seed), cache=False, num_retries=0)


class ModelEngine:
    """Answers DSPy's requests through a client: within its limits and budget, with its cache and retries.

    A request that is repeated at a temperature above 0 is a further sample; a repeated search asks for the same
    samples.
    """

    def __init__(self, client: Client, model: Model, bridge: Bridge, *, seed: int) -> None:
        self._client = client
        self._model = model
        self._bridge = bridge
        self._seed = seed
        self._asked: Counter[Request] = Counter()
        self._counting = Lock()

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Return the reply to a request. Raises Stopped, and DSPy's errors for a request that the model refuses."""
        asked = self._sampled(self._request(request))
        try:
            reply = self._bridge.wait(lambda: self._client.ask(asked), passing=(ContextOverflow, RequestRefused))
        except ContextOverflow as error:
            raise lm15.ContextLengthError(str(error)) from error
        except RequestRefused as error:
            raise lm15.InvalidRequestError(str(error)) from error
        return lm15.Response(
            id=None,
            model=request.model,
            message=lm15.Message.assistant(reply.text),
            finish_reason=reply.finish,
            usage=lm15.Usage(input_tokens=reply.tokens_in, output_tokens=reply.tokens_out),
        )

    def _request(self, request: lm15.Request) -> Request:
        config, able = request.config, self._model.capabilities
        messages = [Message(message.role, message.text or "") for message in request.messages]
        if request.system:
            parts = [request.system] if isinstance(request.system, str) else [part.text for part in request.system]
            text = "\n".join(parts)
            if "system" in able:
                messages.insert(0, Message("system", text))
            else:
                messages[0] = Message(messages[0].role, f"{text}\n\n{messages[0].content}")
        return Request(
            messages=tuple(messages),
            max_tokens=config.max_tokens or MOST_TOKENS,
            temperature=(config.temperature or 0.0) if "sampling" in able else 0.0,
            stop=(*config.stop, COMPLETED) if "stop" in able else (),
            **thoughts_of(None, able).fields,
        )

    def _sampled(self, request: Request) -> Request:
        if not request.temperature:
            return request
        with self._counting:
            number = self._asked[request]
            self._asked[request] += 1
        seed = self._seed if "seed" in self._model.capabilities else None
        return replace(request, seed=seed, sample=str(number))


ANSWERED: Final = "promptkit_answered"
"""The setting of a predictor's call that holds the engine's answer."""


class StepAdapter(dspy.ChatAdapter):  # type: ignore[misc]  # DSPy has no types
    """DSPy's ChatAdapter, except for steps of a pipeline, whose prompt the engine has rendered, asked and parsed.

    An optimizer's own signature is asked in free text, without a grammar. Small models seldom keep to its markers: a
    reply without them counts as the first of its texts. Nothing is asked again in another format.
    """

    def __init__(self) -> None:
        super().__init__(use_json_adapter_fallback=False)

    def __call__(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: list[Any], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the answers to one call of a predictor. Raises AdapterParseError."""
        if ANSWERED in lm_kwargs:
            return [lm_kwargs[ANSWERED]]
        answers: list[dict[str, Any]] = super().__call__(lm, lm_kwargs, signature, demos, inputs)
        return answers

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """Return the fields of a reply. Raises AdapterParseError if it is blank or lacks a field that is not text."""
        try:
            fields_read: dict[str, Any] = super().parse(signature, completion)
        except dspy.AdapterParseError as error:
            fields = signature.output_fields
            parsed = {name: error.parsed_result[name] for name in fields if name in (error.parsed_result or {})}
            if not completion.strip() or any(
                fields[name].annotation is not str for name in fields if name not in parsed
            ):
                raise
            first = next(name for name in fields if name not in parsed)
            fields_read = {**dict.fromkeys(fields, ""), first: "" if parsed else completion.strip(), **parsed}
        return fields_read


T = TypeVar("T")


class Stopped(BaseException):
    """The optimizer is to end. A BaseException: DSPy counts an Exception as a wrong answer and goes on."""


class Bridge:
    """Runs on the event loop what threads ask for. Create it where the event loop runs.

    The first error ends it for all threads: `ended` is that error.
    """

    def __init__(self) -> None:
        self.ended: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        # A thread has its own context, in which no files are frozen.
        self._context = copy_context()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: copies of a program share one bridge."""
        return self

    def wait(self, ask: Callable[[], Awaitable[T]], *, passing: tuple[type[Exception], ...] = ()) -> T:
        """Return the result of `ask` on the event loop; call it in a thread. Raises Stopped, and errors of
        `passing`.
        """
        if self.ended is not None:
            raise Stopped
        future = asyncio.run_coroutine_threadsafe(self._run(ask), self._loop)
        try:
            return future.result()
        except passing:
            raise
        except BaseException as error:
            self.ended = self.ended or error
            raise Stopped from error

    async def end(self, error: BaseException) -> None:
        """End it, cancel what is under way and wait for that."""
        self.ended = self.ended or error
        for task in self._tasks:
            task.cancel()
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, ask: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await ask()

        if self.ended is not None:  # since the thread handed it over
            raise Stopped
        return await self.begin(run())

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin work on the event loop that ends with the bridge, whoever else waits for it; call it there."""
        task = self._loop.create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
