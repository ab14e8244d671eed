"""The text of an answer while a model writes it, where the pieces of its reply are the answer."""

from __future__ import annotations

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
        self._text = ""
        self._sent = ""
        self._is_open = False

    def feed(self, event: Event) -> str:
        """Return the text that an event adds; empty where it adds none."""
        if not isinstance(event, TextArrived) or event.step != self._step or isinstance(event.text, Thought):
            return ""
        self._request = self._request or event.request
        if event.request is not self._request:
            return ""  # a repair: what it adds comes with the rest
        self._text = (self._text + event.text).lstrip()
        if not self._is_open and not self._opens():
            return ""
        sure = self._sure()
        piece = sure[len(self._sent) :] if sure.startswith(self._sent) else ""
        self._sent += piece
        return piece

    def rest(self, answer: str) -> str | None:
        """Return what is still to be sent of the whole answer; None where other text was sent already."""
        return answer[len(self._sent) :] if answer.startswith(self._sent) else None

    def _opens(self) -> bool:
        """Tell whether the beginning of the reply is long enough, and is the answer's."""
        if len(self._text) < HELD or self._text.startswith(_DRESSING):
            return False
        self._is_open = text_after_marker(self._text, "", anywhere=False) is None
        return self._is_open

    def _sure(self) -> str:
        text = CONTINUATION.split(self._text, maxsplit=1)[0]
        head, line, tail = text.rpartition("\n")
        word = tail.strip().lower()
        may_be_question = bool(line) and any(question.startswith(word) for question in _NEXT_QUESTION)
        return (head if may_be_question else text).rstrip()
