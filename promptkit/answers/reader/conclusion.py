r"""The passages of a reply in the order in which a person looks for its answer in them.

The order: a box (`\boxed{7}`) or a tag, the words after the last marker (`the answer is`, `####`, the prompt's cue), a
verdict in the first sentence, the sentence that concludes the last paragraphs (`So …`), any other of their sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from promptkit.answers.reader.markers import marked_passages
from promptkit.answers.reader.passages import MAX_PASSAGE, Passage, is_question, parts_of, sentences

MAX_SENTENCES: Final = 40
"""Number of sentences that are looked at from a reply's end."""

BEGINNING: Final = 1_000
ENDING: Final = 6_000
"""Numbers of characters that are read from a reply's beginning and from its end."""

_BOX: Final = re.compile(
    r"\\f?boxed\s{0,3}\{|\\fbox\s{0,3}\{|<(?P<tag>answer|label|final_answer|number|result)>|"
    r"\[\[(?P<double>[^\[\]\n]{1,60})\]\]",
    re.IGNORECASE,
)
_BRACE: Final = re.compile(r"\\[{}]|[{}]")
# What begins a problem that a model makes up after its answer.
_INVENTED: Final = re.compile(
    r"\n[ \t]*\n[ \t#*]*(?:problem|question|human|user|instruction|input|exercise)(?: [0-9]+)?\**:|\n(?:human|user):"
    r"|\n[ \t]*={2,}[ \t]*(?:response|answer|solution|question|instruction|problem|input)\b[^\n]{0,40}={2,}",
    re.IGNORECASE,
)
_ASIDE: Final = re.compile(
    r"\W{0,20}(?:i hope|hope (?:this|that)|let me know|feel free|please let|if you (?:have|need|want)|is there "
    r"anything|thank|"
    r"well done|do you (?:want|need)|would you like|notes?\b|please note|explanation|reason(?:ing)?\b|justification"
    r"|check\b|"
    r"verification|remember|keep in mind|this (?:assumes|calculation)|confidence\b|\(.{12,400}\)$)",
    re.IGNORECASE | re.DOTALL,
)
_CONCLUDES: Final = re.compile(
    r"\W{0,20}(?:\[[^\]]{1,30}\]\s*)?(?:and\s+)?(?:so\b|therefore|thus|hence|in conclusion|to conclude|overall|in "
    r"total|in all|"
    r"altogether|in summary|to summarize|(?:that|this|which) (?:means|leaves|gives|makes|must)|consequently|as a "
    r"result|accordingly|finally|"
    r"i (?:would|choose|settle|conclude|pick|select|go with|believe|think)|i'd|given (?:this|that|these|the)|based on"
    r"|all in all|"
    r"by elimination|the final|it must be|also\b|daher|somit|folglich|deshalb|insgesamt|donc|ainsi|por lo tanto|por "
    r"tanto|entonces|así que|"
    r"quindi|dunque|portanto|logo|assim|dus\b|daarom|zatem|więc|таким образом|значит|следовательно|итак|因此|所以|故|"
    r"综上|綜上|따라서|그러므로|よって|したがって|つまり)"
    r"|.{0,200}\b(?:(?:best|can be|should be|would be|is) (?:\w+ )?(?:categori[sz]ed|classified|labell?ed|described)|"
    r"i (?:would|will|'d) (?:classify|categori[sz]e|label|rate|put|say|choose|go)|falls? (?:under|into)|"
    r"my (?:best guess|rating|choice)|is left with|in total\b)",
    re.IGNORECASE | re.DOTALL,
)


def passages(
    text: str, cue: str = "", *, thinks: bool = False, cut: bool = False, question: str = ""
) -> Iterator[Passage]:
    """Yield the passages of a reply in the order in which they count. A reply that was `cut` off has no conclusion."""
    text = _window(_INVENTED.split(text.lstrip(), maxsplit=1)[0])
    for passage in _passages(text, cue, thinks=thinks, cut=cut):
        shown = passage.text[:MAX_PASSAGE] if passage.is_marked or passage.opens else passage.text[-MAX_PASSAGE:]
        yield replace(passage, text=shown, question=question)


def _passages(text: str, cue: str, *, thinks: bool, cut: bool) -> Iterator[Passage]:
    boxed = last_box(text)
    if boxed is not None:
        yield Passage(text=boxed, rule="boxed", is_marked=True, is_binding=True)
    yield from marked_passages(text, cue)
    parts = parts_of(text)
    if not parts:
        return
    opening = Passage(text=next(sentences(parts[0]), ""), rule="first sentence", opens=True, paragraph=parts[0])
    if not thinks and not is_question(opening.text):
        yield opening
    if not cut:
        yield from _concluding(parts)
    if thinks and len(parts) > 1:
        yield replace(opening, is_weak=True)


def _window(text: str) -> str:
    """Return the beginning and the end of a long text."""
    return text if len(text) <= BEGINNING + ENDING else f"{text[:BEGINNING]}\n\n{text[-ENDING:]}"


def last_box(text: str) -> str | None:
    r"""Return the contents of the last `\boxed{…}`, `<answer>…</answer>` or `[[…]]`; None without one."""
    found = None
    for opening in _BOX.finditer(text):
        found = opening
    if found is None:
        return None
    if found["double"]:
        return found["double"]
    if found["tag"]:
        return re.split(r"</", text[found.end() : found.end() + MAX_PASSAGE], maxsplit=1)[0]
    depth = 1
    for brace in _BRACE.finditer(text, found.end(), found.end() + MAX_PASSAGE):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if not depth:
            return text[found.end() : brace.start()]
    return text[found.end() : found.end() + MAX_PASSAGE]


def _concluding(parts: list[str]) -> Iterator[Passage]:
    """Yield the sentences of the last two paragraphs from the end; in each, those that conclude (`So …`) come first."""
    last = [part for part in parts if not _ASIDE.match(part)][-2:] or parts[-1:]
    found = [(part, sentence) for part in reversed(last) for sentence in reversed(list(_statements(part)))]
    found = found[:MAX_SENTENCES]
    for part in reversed(last):
        stated = [sentence for other, sentence in found if other is part]
        concluding = [sentence for sentence in stated if len(found) == 1 or _CONCLUDES.match(sentence)]
        for sentence in concluding:
            yield Passage(text=sentence, rule="last paragraph", paragraph=part)
        for sentence in stated:
            if sentence not in concluding:
                yield Passage(text=sentence, rule="last value", paragraph=part, is_weak=True)


def _statements(part: str) -> Iterator[str]:
    return (sentence for sentence in sentences(part) if not (_ASIDE.match(sentence) or is_question(sentence)))
