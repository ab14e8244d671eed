"""Marks in a reply that are not its text: thoughts between marks, and special tokens of chat templates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

from promptkit.runtimes.api_keys import partial_match_start

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"
_TAGS: Final = ("think", "thinking", "thought", "thoughts", "reasoning", "seed:think")
_HARMONY: Final = ("<|channel|>analysis<|message|>", "<|channel|>commentary<|message|>")
_HARMONY_FINAL: Final = "<|channel|>final<|message|>"
CLOSE_BY_OPEN: Final = {
    **{f"<{tag}>": f"</{tag}>" for tag in _TAGS},
    "[think]": "[/think]",
    "◁think▷": "◁/think▷",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|start_thinking|>": "<|end_thinking|>",
    "<unused94>": "<unused95>",
    **dict.fromkeys(_HARMONY, _HARMONY_FINAL),
    **dict.fromkeys((f"<|start|>assistant{mark}" for mark in _HARMONY), _HARMONY_FINAL),
}
"""The mark that ends thoughts, by the one that begins them, in small letters: of DeepSeek, Qwen and most others, of
Magistral, Kimi, Sky-T1, Command A, MedGemma and gpt-oss (Harmony).
"""
_NO_TOKENS: Final = "assistantfinal"
"""What is left of Harmony's marks between thoughts and answer where a server removes special tokens."""
_UNOPENED: Final = {**{close: begin for begin, close in CLOSE_BY_OPEN.items()}, _NO_TOKENS: "analysis"}
"""Marks that end thoughts, each with the one that begins them. A chat template may itself write the beginning, so that
it is missing.
"""

_ENDS: Final = (
    *("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<|return|>"),
    *("<|eot|>", "<|end_of_role|>", "<|end_of_turn_token|>", "<end_of_turn>", "<eos>", "</s>", "<｜end▁of▁sentence｜>"),
)
"""Special tokens that end a turn: what follows is a turn that the model invents."""
_OTHERS: Final = ("<eoa>", "<eoe>", "<s>", "<bos>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>")
_HEADS: Final = (
    *("<|im_start|>assistant", "<|start_header_id|>assistant<|end_header_id|>", "<start_of_turn>model"),
    *("<|assistant|>", "<|start|>assistant", "<｜assistant｜>", _HARMONY_FINAL),
)
_MARKS: Final = (*_UNOPENED, *_ENDS, *_OTHERS, *_HEADS)
MOST_HELD: Final = max(map(len, _MARKS))
"""The number of characters of the longest mark."""
_ANY_MARK: Final = re.compile("|".join(map(re.escape, sorted(_MARKS, key=len, reverse=True))), re.IGNORECASE)
_MORE_IN_LINE: Final = re.compile(r"[ \t]*[^\s<]")
_ONLY_BLANKS: Final = re.compile(r"[ \t]*\Z")
_STRAY: Final = re.compile(r"[^\s<\[◁]{1,24}[ \t]{0,9}\n\s{0,9}")
_MAYBE_STRAY: Final = re.compile(r"[^\s<\[◁]{1,24}[ \t]{0,9}\Z")

_QUOTES: Final = ("`", '"', "'")

State = Literal["before", "thinking", "after", "answering", "ended"]


class ThoughtSplitter:
    """Splits a streamed reply into thoughts and answer, and leaves out special tokens.

    Thoughts stand between marks at the reply's start, or before a mark that ends them; one word on a line of its own
    may stand before the first mark, and is left out. Thoughts that are not ended are all there is. `text` and
    `thoughts` hold what has arrived. The cost of a character does not grow with the number of pieces.
    """

    def __init__(self, *, opened: bool = False, off: bool = False) -> None:
        """`opened`: the prompt itself ends with the mark that begins thoughts. `off`: everything is answer."""
        self.held = ""  # may begin a mark, or is a single word with blanks
        self.unopened = False
        """True once a mark ended thoughts that no mark began: text that was shown as answer is among the thoughts."""
        self._off = off
        self._close = THINK_CLOSE
        self._blanks: list[str] = []
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._shown: list[str] = []
        self._reported = 0
        self._kept: set[str] = set()
        self._last = ""
        self._has_text = self._strikes = False
        self._state: State = "answering" if off else "thinking" if opened else "before"

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self._text)

    @property
    def thoughts(self) -> str:
        """The thoughts, without blanks around them."""
        return _ANY_MARK.sub("", "".join(self._thoughts)).strip()

    def new_thoughts(self) -> str:
        """Return the thoughts that have arrived since the last call."""
        new, self._reported = self._thoughts[self._reported :], len(self._thoughts)
        return "".join(new)

    @property
    def thinking(self) -> bool:
        """True while the next piece belongs to the thoughts."""
        return self._state in ("thinking", "after")

    def feed(self, piece: str) -> str:
        """Take a piece and return the part of it that is answer."""
        if self._off:
            self._text.append(piece)
            return piece
        if self._state == "before":
            return self._before(piece)
        if self._state == "thinking":
            return self._think(piece)
        return self._answer(piece)

    def finish(self) -> str:
        """End the reply and return the answer's text that was held back. Thoughts that were cut off stay thoughts."""
        held, self.held = self.held, ""
        if self._state == "before":
            return self._begin("".join([*self._blanks, held]), last=True)
        if self._state == "thinking":
            self._thoughts.append(held)
            return ""
        return self._settle(held, last=True)

    def _before(self, piece: str) -> str:
        start = self.held + piece
        if not self.held:
            start = piece.lstrip()
            self._blanks.append(piece[: len(piece) - len(start)])
        if not start:
            return ""
        self.held = ""
        stray = _STRAY.match(start)
        for text in (start, start[stray.end() :] if stray else None):
            if text is None:
                continue
            mark = next((mark for mark in CLOSE_BY_OPEN if text[: len(mark)].lower() == mark), None)
            if mark:
                self._state, self._close = "thinking", CLOSE_BY_OPEN[mark]
                return self._think(text[len(mark) :])
            if any(mark.startswith(text.lower()) for mark in CLOSE_BY_OPEN):
                self.held = start
        if self.held or _MAYBE_STRAY.match(start):
            self.held = start
            return ""
        return self._begin("".join([*self._blanks, start]))

    def _begin(self, text: str, *, last: bool = False) -> str:
        """Begin an answer without thoughts before it."""
        self._state = "answering"
        return self._settle(text, last=last)

    def _think(self, piece: str) -> str:
        text = self.held + piece
        at = text.lower().find(self._close)
        if at >= 0:
            self._thoughts.append(text[:at])
            self.held, self._state = "", "after"
            return self._answer(text[at + len(self._close) :])
        start = _partial_start(text, 0, (self._close,))
        self._thoughts.append(text[:start])
        self.held = text[start:]
        return ""

    def _answer(self, piece: str) -> str:
        text = self.held + piece
        if self._state == "after":
            text = text.lstrip()
            if text:
                self._state = "answering"
        self.held = ""
        return self._settle(text)

    def _settle(self, text: str, *, last: bool = False) -> str:
        """Keep the answer's text without the marks in it, and return it; hold back an end that may be a mark."""
        self._shown.clear()
        at = 0
        while self._state != "ended" and (found := _ANY_MARK.search(text, at)):
            if not last and _ONLY_BLANKS.match(text, found.end()) and found[0].lower() not in _UNOPENED:
                break  # What follows a special token tells what it is.
            self._keep(text[at : found.start()])
            at = self._after_mark(found)
        if self._state != "ended":
            end = len(text) if last else found.start() if found else _partial_start(text, at)
            self._keep(text[at:end])
            self.held = text[end:]
        return "".join(self._shown)

    def _after_mark(self, found: re.Match[str]) -> int:
        """Return the place where the text goes on after a mark. Text before one that ends thoughts is thoughts."""
        mark = found[0].lower()
        if mark in _UNOPENED and self._ends_thoughts(mark):
            self.unopened = self.unopened or self._has_text
            self._thoughts.append(self.text)
            self._text.clear()
            self._shown.clear()
            self._has_text, self._state = False, "after"
            return self._skip_blanks(found)
        if mark in _UNOPENED or self._is_prose(found) or (mark == "</s>" and self._strikes):
            self._keep(found[0])
            return found.end()
        if mark in _ENDS and self._has_text:
            self._state = "ended"
        self._strikes = self._strikes or mark == "<s>"
        return found.end() if self._has_text else self._skip_blanks(found)

    def _skip_blanks(self, found: re.Match[str]) -> int:
        rest = found.string[found.end() :]
        self._state = "answering" if rest.strip() else "after"
        return found.end() + len(rest) - len(rest.lstrip())

    def _ends_thoughts(self, mark: str) -> bool:
        """Tell whether a mark ends thoughts that no mark began. One that is text is so wherever it comes again."""
        if self._last in _QUOTES or mark in self._kept:
            return False
        before = self.text.lower()
        begin = _UNOPENED[mark]
        ends = before.lstrip().startswith(begin) if mark == _NO_TOKENS else begin not in before
        self._kept |= set() if ends else {mark}
        return ends

    def _is_prose(self, found: re.Match[str]) -> bool:
        """Tell whether a special token is part of a sentence about it: quoted, or with more text on its line."""
        more = _MORE_IN_LINE.match(found.string, found.end())
        return self._last in _QUOTES or bool(self._has_text and more)

    def _keep(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._shown.append(text)
            self._last = text[-1]
            self._has_text = self._has_text or not text.isspace()


def without_marks(text: str) -> str:
    """Return a reply without its marked thoughts and its special tokens."""
    splitter = ThoughtSplitter()
    splitter.feed(text)
    splitter.finish()
    return splitter.text


def _partial_start(text: str, begin: int, marks: Iterable[str] = _MARKS) -> int:
    """Return the start of the longest end of a text that may begin one of the marks; the text's length without one."""
    tail = text[max(begin, len(text) - MOST_HELD) :]
    small = tail.lower()
    if len(small) != len(tail):  # A letter that has several small letters begins no mark.
        return len(text)
    return len(text) - len(tail) + min(partial_match_start(small, mark) for mark in marks)
