"""The text of an answer while a model writes it, where the pieces of its reply are the answer."""

from __future__ import annotations

from typing import Literal

from promptkit.answers.base import CONTINUATION
from promptkit.answers.reader.markers import text_after_marker
from promptkit.answers.text import Text
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.session import Event, TextArrived
from promptkit.runtimes.base import Request, Thought
from promptkit.server.schemas import output_step
from promptkit.techniques.requests import NO_CUE

HELD = 60
"""Characters of a reply that are held back until it is known that it does not begin with `Answer:` or its like."""
_DRESSING = tuple("\"'“‘«„「*_`$\\")
"""Characters that a reading takes off where they stand around the whole of a reply."""
_NEXT_QUESTION = ("question:", "q:")


def live_step(pipeline: Pipeline) -> str | None:
    """Return the step whose pieces are the output of a pipeline, as events name it; None where none is.

    It asks once, for a text, and returns it unchanged: no loop, no guard, and no technique beside the plain one.
    """
    step = output_step(pipeline)
    if step is None or step.for_each or step.repeat or step.guard:
        return None
    if step.pipeline is not None:
        inner = live_step(step.pipeline)
        return None if inner is None else f"{step.name}.{inner}"
    call = step.prompt_call
    is_plain = (
        call is not None
        and call.technique == "vanilla"
        and isinstance(call.answer, Text)
        and call.cue in (None, NO_CUE)
    )
    return step.name if is_plain else None


class LiveText:
    """The part of an answer that is sure so far. Give `feed` each event; `rest` completes the answer.

    What a reading may take off the reply is held back: blanks, quotes and words before the answer, blanks after it, and
    a further question that a model invents.
    """

    def __init__(self, step: str) -> None:
        self._step = step
        self._request: Request | None = None
        self._held = ""
        self._sent: list[str] = []
        self._state: Literal["before", "open", "closed"] = "before"

    def feed(self, event: Event) -> str:
        """Return the text that an event adds; empty where it adds none."""
        if not isinstance(event, TextArrived) or event.step != self._step or isinstance(event.text, Thought):
            return ""
        self._request = self._request or event.request
        if event.request is not self._request or self._state == "closed":
            return ""  # what a repair adds comes with the rest
        self._held += event.text
        if self._state == "before":
            self._begin()
        if self._state != "open":
            return ""
        sure = self._sure()
        self._held = self._held[len(sure) :]
        self._sent.append(sure)
        return sure

    def rest(self, answer: str) -> str | None:
        """Return the part of the whole answer that is still to be sent; None where other text was sent already."""
        sent = "".join(self._sent)
        return answer[len(sent) :] if answer.startswith(sent) else None

    def _begin(self) -> None:
        """Open the text once its beginning is long enough, or close it where that is not the answer's."""
        self._held = self._held.lstrip()
        if self._held.startswith(_DRESSING):
            self._state = "closed"
        elif len(self._held) >= HELD:
            marked = text_after_marker(self._held, _cue(self._request), anywhere=False)
            self._state = "open" if marked is None else "closed"

    def _sure(self) -> str:
        """Return the part of the held text that no later piece can change."""
        text, *question = CONTINUATION.split(self._held, maxsplit=1)
        if question:
            self._state = "closed"
        head, line, tail = text.rpartition("\n")
        word = tail.strip().lower()
        may_be_question = bool(line) and any(question.startswith(word) for question in _NEXT_QUESTION)
        return (head if may_be_question else text).rstrip()


def _cue(request: Request | None) -> str:
    """Return the text right before a reply, which it may repeat: the begun turn, or the last line of the prompt."""
    if request is None:
        return ""
    text = request.begun or (request.messages[-1].content if request.messages else request.prompt or "")
    return text.rstrip().rpartition("\n")[2]
