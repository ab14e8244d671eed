"""The names that a sentence affirms, among those that it denies or only compares: `It is not X but Y`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.answers.reader.passages import BOLD


@dataclass(frozen=True, slots=True)
class Mention:
    """A name at a place of a text. `value` is the answer that it names."""

    start: int
    end: int
    value: Any


_FILLER: Final = (
    r"(?:\s|[\"'“”‘’*_`(\[{]|\b(?:a|an|the|that|it|is|be|as|to|very|really|truly|just|simply|purely|entirely|completely|"
    r"necessarily|actually|quite|so|clearly|strictly|option|choice|answer|label|labels|class|category|being|considered|"
    r"called|for|any|much|about|strongly|particularly|inherently|overtly|explicitly|seem|look|case of|one of)\b){0,12}"
)
_DENIED_BEFORE: Final = re.compile(
    rf"(?:\b(?:not|nothing|none|never|nor|neither|without|hardly|cannot|excludes?|excluding|except|unlike|no longer"
    rf"|instead of|rather than|as opposed to|"
    rf"other than|rules? out|ruling out|ruled out|eliminates?|eliminating|less|than|over|against|versus|no|nicht|kein"
    rf"|keine|weder|noch|"
    rf"statt|pas|ni|sino|non|não|nem|niet|geen|не|ни)|n['’]t){_FILLER}$|不(?:是|为|属于)?\s?$|(?:并非|而非|不是|没有)\s?$",
    re.IGNORECASE,
)
_DENIED_AFTER: Final = re.compile(
    r"[\"'”’*_`)\]]{0,4}\s?(?:(?:is|are|was|can be|would be|seems?|could be|should be)\s(?:also\s|clearly\s"
    r"|therefore\s|thus\s)?"
    r"(?:not|n't|wrong|incorrect|false|out\b|eliminated|ruled out|excluded|unlikely|impossible|less|inconsistent"
    r"|inaccurate|too)"
    r"|(?:,\s)?(?:which|that|this) (?:is|was) (?:not|n't|wrong|incorrect)|isn['’]t|aren['’]t"
    r"|wasn['’]t|(?:can|could)(?:not|n['’]t| not)|does(?: not|n['’]t)|do(?: not|n['’]t)|would "
    r"(?:not|be|have|praise|say|need|show)|wouldn['’]t"
    r"|(?:review|text|statement|answer|label|one|tone|sentiment)?\s?would\b)"
    r"|[\"'”’*_`)\]]{0,4}(?:[:.)]\s?(?:incorrect|wrong|false)\b|(?:项)?(?:是)?(?:错误|不正确|不对|错|不符|排除))",
    re.IGNORECASE,
)
_LESS_THAN: Final = re.compile(r"\bless\b.{1,40}\bthan\b[^,.;]{0,10}$", re.IGNORECASE)
_AFFIRMED_AFTER: Final = re.compile(
    r"[\"'”’*_`)\]:.]{0,4}\s?(?:is|was|must be|would be|seems|should be)\s(?:therefore\s|thus\s|clearly\s|definitely\s"
    r"|probably\s)?(?:the\s)?(?:most\s|best\s|only\s|\w{0,12}\s)?"
    r"(?:correct|right|true|best|answer|one|choice|option|most likely|label|accurate|suitable|appropriate)\b"
    r"|[\"'”’*_`)\]]{0,4}(?:[:.)]\s?(?:correct|right|true)\b|(?:项)?(?:是)?(?:正确|对|符合))",
    re.IGNORECASE,
)
_JOINED: Final = re.compile(
    r"[\s\"'”’*_`)\].:]{0,5}(?:\([^()\n]{0,40}\)\s?)?(?:,\s?(?:and|or|nor)?|/|&|\+|\||\band(?:\s?/\s?or)?\b|\bor\b|\bnor\b|\bund\b|\boder\b|\bet\b|\bou\b|\by\b|\bo\b|和|或|、)"
    r"[\s\"'“‘*_`(\[]{0,5}(?:(?:the|a|an|option|choice)\s){0,2}[\"'“‘*_`(\[]{0,3}",
    re.IGNORECASE,
)
_CONCESSION: Final = re.compile(
    r"(?:^|[\s,(])(?:while|although|though|even though|despite|in spite of|even if|whereas|unlike|obwohl|bien que"
    r"|aunque|尽管|虽然|if)\b[^.;:]*?"
    r"(?:,|$)",
    re.IGNORECASE,
)
_TURN: Final = re.compile(
    r"\b(?:but|however|yet|sondern|aber|mais|sino|pero|ma|mas|maar|но|in fact|overall|instead|so|therefore|thus"
    r"|hence)\b|但|而是|;\s",
    re.IGNORECASE,
)
_NEITHER: Final = re.compile(r"\b(?:neither|weder|ni)\b", re.IGNORECASE)
# `The positive ones` names things in the text, not its label.
_ATTRIBUTIVE: Final = re.compile(
    r"\s(?:ones|words|aspects|elements|remarks|comments|parts|things|points|sides?|moments)\b", re.IGNORECASE
)
_HEDGED: Final = re.compile(rf"\b(?:could|might|may|can)(?: also| well)?(?: be)?{_FILLER}$", re.IGNORECASE)
_REASON: Final = re.compile(
    r"\b(?:because|since|given that|due to|despite|although|though|even though|leaning|bordering|verging|unless)\b|"
    r",\s(?:as|with|which)\b|因为|因為",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"\"[^\"\n]{1,400}\"|“[^”\n]{1,400}”")


def affirmed(text: str, mentions: Sequence[Mention]) -> list[Mention]:
    """Return the mentions that a sentence affirms, in order; those of equal rank that remain may differ in value."""
    denied = _denied(text, mentions) | _attributive(text, mentions)
    kept = [mention for at, mention in enumerate(mentions) if at not in denied]
    strong = [mention for mention in kept if _AFFIRMED_AFTER.match(text, mention.end)]
    if strong and len({mention.value for mention in strong}) == 1:
        return strong
    return without_asides(text, kept)


def in_bold(text: str, mentions: Sequence[Mention]) -> list[Mention]:
    """Return the mentions in bold."""
    spans = [match.span() for match in BOLD.finditer(text)]
    return [mention for mention in mentions if any(start <= mention.start < end for start, end in spans)]


def is_denied(text: str, mention: Mention) -> bool:
    """Tell whether words around a mention deny it: `not X`, `rather than X`, `X is wrong`."""
    before = text[max(0, mention.start - 60) : mention.start]
    return _DENIED_BEFORE.search(before) is not None or _DENIED_AFTER.match(text, mention.end) is not None


def joined_group(text: str, mentions: Sequence[Mention], first: int) -> int:
    """Return the number of the last mention that a comma, `and` or `or` joins to the `first`."""
    last = first
    while last + 1 < len(mentions) and _JOINED.fullmatch(text, mentions[last].end, mentions[last + 1].start):
        last += 1
    return last


def _denied(text: str, mentions: Sequence[Mention]) -> set[int]:
    """Return the numbers of the mentions that are denied; what is joined to a denied one is denied too."""
    found: set[int] = set()
    for at, mention in enumerate(mentions):
        if at in found:
            continue
        before = text[max(0, mention.start - 60) : mention.start]
        if _DENIED_BEFORE.search(before) and not _LESS_THAN.search(before):
            last = joined_group(text, mentions, at)
            # `not X, Y` affirms Y; `not X or Y`, `neither X nor Y` deny both.
            if last > at and "," in text[mention.end : mentions[at + 1].start] and not _NEITHER.search(before):
                last = at if not re.search(r"\b(?:and|or|nor)\b", text[mention.end : mentions[last].start]) else last
            found.update(range(at, last + 1))
        elif _DENIED_AFTER.match(text, mention.end):
            found.add(at)
            while at > 0 and at - 1 not in found and _JOINED.fullmatch(text, mentions[at - 1].end, mentions[at].start):
                at -= 1
                found.add(at)
    return found


def _attributive(text: str, mentions: Sequence[Mention]) -> set[int]:
    """Return the numbers of the mentions that describe a part of the text: `both positive and negative elements`."""
    found: set[int] = set()
    for at in range(len(mentions) - 1, -1, -1):
        joined = at + 1 in found and _JOINED.fullmatch(text, mentions[at].end, mentions[at + 1].start)
        if joined or _ATTRIBUTIVE.match(text, mentions[at].end):
            found.add(at)
    return found


def without_asides(text: str, mentions: Sequence[Mention]) -> list[Mention]:
    """Leave out concessions (`although X, …`), reasons, quotes, hedges, lists, and what stands before `but`."""
    kept = list(mentions)
    for narrowed in (_outside_spans, _unhedged, _before_reason, _single, _after_turn):
        if len({mention.value for mention in kept}) < 2:
            return kept
        kept = narrowed(text, kept) or kept
    return kept


def _outside_spans(text: str, kept: list[Mention]) -> list[Mention]:
    spans = [match.span() for match in _CONCESSION.finditer(text)]
    inside = [m for m in kept if any(start <= m.start < end for start, end in spans)]
    kept = [mention for mention in kept if mention not in inside] or kept
    quotes = [match.span() for match in _QUOTED.finditer(text)]
    return [m for m in kept if not any(start < m.start - 1 and m.end + 1 < end for start, end in quotes)]


def _unhedged(text: str, kept: list[Mention]) -> list[Mention]:
    hedged: set[int] = set()
    for at, mention in enumerate(kept):
        if _HEDGED.search(text[max(0, mention.start - 60) : mention.start]):
            hedged.update(range(at, joined_group(text, kept, at) + 1))
    return [mention for at, mention in enumerate(kept) if at not in hedged]


def _before_reason(text: str, kept: list[Mention]) -> list[Mention]:
    reason = _REASON.search(text, kept[0].end)
    return [mention for mention in kept if reason is None or mention.start < reason.start()]


def _single(text: str, kept: list[Mention]) -> list[Mention]:
    """Return the mentions that no comma, `and` or `or` joins to another."""
    single: list[Mention] = []
    at = 0
    while at < len(kept):
        last = joined_group(text, kept, at)
        if last == at:
            single.append(kept[at])
        at = last + 1
    return single


def _after_turn(text: str, kept: list[Mention]) -> list[Mention]:
    for turn in _TURN.finditer(text):
        after = [mention for mention in kept if mention.start >= turn.end()]
        if after and any(mention.end <= turn.start() for mention in kept):
            kept = after
    return kept
