"""A model of ours as DSPy asks it for an optimizer's own proposals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Final

import dspy
from dspy import lm15

from promptkit.errors import ContextOverflow, RequestRefused
from promptkit.runtimes import Message, Request

if TYPE_CHECKING:
    from promptkit.runtimes import Asker, Model
    from promptkit.tuning.dspy_bridge.bridge import Bridge

MOST_TOKENS: Final = 512
"""Of a proposal, where an optimizer does not say: small models seldom come to an end by themselves."""
COMPLETED: Final = "[[ ## completed ## ]]"
"""What a reply to DSPy's ChatAdapter ends with."""
DIGEST_CHARACTERS: Final = 16


def open_lm(asker: Asker, model: Model, bridge: Bridge, *, seed: int = 0) -> dspy.LM:
    """Return the model as DSPy's LM. Its name holds the digest, for DSPy tells models apart by their names alone.

    DSPy's cache is left out: the asker has one, which knows the engine too.
    """
    name = f"promptkit/{model.reference}@{model.digest[:DIGEST_CHARACTERS]}"
    return dspy.LM(name, engine=Engine(asker, model, bridge, seed=seed), cache=False, num_retries=0)


class Engine:
    """Answers one request of DSPy's through an asker: within its limits and budget, from its cache, with its retries.

    What is asked again at a temperature above 0 is a further sample of it: a search made again asks for the same ones.
    """

    def __init__(self, asker: Asker, model: Model, bridge: Bridge, *, seed: int) -> None:
        self._asker = asker
        self._model = model
        self._bridge = bridge
        self._seed = seed
        self._asked: Counter[Request] = Counter()
        self._counting = Lock()

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Return the reply to a request. Raises Stopped, and DSPy's errors for a request that the model refuses."""
        asked = self._sampled(self._request(request))
        try:
            reply = self._bridge.wait(lambda: self._asker.ask(asked), passing=(ContextOverflow, RequestRefused))
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
        messages = [Message(each.role, each.text or "") for each in request.messages]
        if request.system:
            parts = [request.system] if isinstance(request.system, str) else [part.text for part in request.system]
            told = "\n".join(parts)
            if "system" in able:
                messages.insert(0, Message("system", told))
            else:
                messages[0] = Message(messages[0].role, f"{told}\n\n{messages[0].content}")
        return Request(
            messages=tuple(messages),
            max_tokens=config.max_tokens or MOST_TOKENS,
            temperature=(config.temperature or 0.0) if "sampling" in able else 0.0,
            stop=(*config.stop, COMPLETED) if "stop" in able else (),
        )

    def _sampled(self, request: Request) -> Request:
        if not request.temperature:
            return request
        with self._counting:
            number = self._asked[request]
            self._asked[request] += 1
        seed = self._seed if "seed" in self._model.capabilities else None
        return replace(request, seed=seed, sample=str(number))
