"""The parts of a reply in which a person looks for its answer, in the order in which they count.

The order: a box (`\\boxed{7}`) or a tag, the words after the last marker (`the answer is`, `####`, the prompt's cue), the
reply's first sentence, the sentence that concludes its last paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

MAX_SENTENCES: Final = 40
"""Number of sentences that are looked at from a reply's end."""

_LONGEST_BOX: Final = 2_000
_LONG_TAIL: Final = 600


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a reply that may hold its answer, and the name of the rule that chose it.

    The answer of a `marked` passage stands first in it, else last. Where a `binding` passage holds no answer, the reply
    has none. `opens` marks the beginning of the reply: only a verdict there is an answer. `paragraph` is what the
    passage stands in, `lead` the marker before it.
    """

    text: str
    rule: str
    is_marked: bool = False
    is_binding: bool = False
    is_weak: bool = False
    opens: bool = False
    paragraph: str = ""
    lead: str = ""


def passages(text: str, cue: str = "", *, thinks: bool = False, cut: bool = False) -> Iterator[Passage]:
    """Yield the passages of a reply in the order in which they count. A reply that was `cut` off has no last ones."""
    boxed = last_box(text)
    if boxed is not None:
        yield Passage(boxed, "boxed", is_marked=True, is_binding=True)
    yield from _after_markers(text, cue)
    parts = _paragraphs(text)
    if not parts:
        return
    if not thinks:
        opening = next(iter(sentences(parts[0])), "")
        if not opening.rstrip("*_ ").endswith(("?", "？")):
            yield Passage(opening, "first sentence", opens=True, paragraph=parts[0])
    if not cut:
        yield from _concluding(parts)
    if thinks and len(parts) > 1:
        yield Passage(
            next(iter(sentences(parts[0])), ""), "first sentence", is_weak=True, opens=True, paragraph=parts[0]
        )


def last_box(text: str) -> str | None:
    r"""Return the contents of the last `\boxed{…}`, `<answer>…</answer>` or `[[…]]`; None without one."""
    found = None
    for opening in _BOX.finditer(text):
        found = opening
    if found is None:
        return None
    if found["tag"]:
        closing = re.compile(rf"</{found['tag']}>", re.IGNORECASE).search(text, found.end())
        return text[found.end() : closing.start() if closing else None]
    if found["double"]:
        return found["double"]
    depth = 1
    for brace in re.compile(r"\\[{}]|[{}]").finditer(text, found.end(), found.end() + _LONGEST_BOX):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if not depth:
            return text[found.end() : brace.start()]
    return text[found.end() : found.end() + _LONGEST_BOX]


_BOX: Final = re.compile(
    r"\\f?boxed\s{0,3}\{|\\fbox\s{0,3}\{|<(?P<tag>answer|label|final_answer)>|\[\[(?P<double>[^\[\]\n]{1,60})\]\]",
    re.IGNORECASE,
)


def text_after_marker(text: str, cue: str, *, anywhere: bool) -> str | None:
    """Return the text after the last marker of a reply, without a full stop after a few words; None without one.

    Unless `anywhere`, the reply must begin with the marker. After `the answer is` it is a sentence, else all that
    follows.
    """
    cues = [end for start, end in _cues(text, cue) if anywhere or not text[:start].strip(_DRESSING)]
    if cues:
        return _without_opened(text[cues[-1] :])
    if not anywhere:
        opening = _OPENING_MARKER.match(text)
        return _without_opened(text[opening.end() :]) if opening else None
    found = None
    for match in _MARKER.finditer(text):
        found = match if match["strong"] else found
    if found is None:
        return None
    after = _without_opened(text[found.end() :])
    if found.group().rstrip(_DRESSING)[-1:] in _COLONS:
        return after
    sentence = next(sentences(after), "")
    return sentence[:-1] if _FEW_WORDS.fullmatch(sentence) else sentence


_DRESSING: Final = "*_`# \n\t"
_COLONS: Final = frozenset(":：=】#")
_FEW_WORDS: Final = re.compile(r"[^.!?\n]{1,60}\.")
_OPENING_MARKER: Final = re.compile(
    r"[\s*_#`]*(?:final |my |correct )?(?:answer|antwort|réponse|respuesta|risposta|resposta|antwoord|ответ|答案|答え|정답)[*_` ]*[:：]",
    re.IGNORECASE,
)


def _without_opened(text: str) -> str:
    """Return a text without the end of emphasis that was opened before it: `** Paris`, `Paris**`."""
    text = text.strip()
    opened = re.match(r"(\*\*|__|\*|`)(?=\s)", text)
    if opened:
        return text[opened.end() :].strip()
    for mark in ("**", "__", "`"):
        line, _, rest = text.partition("\n")
        if line.count(mark) == 1 and line.rstrip().endswith(mark):
            return line.rstrip()[: -len(mark)] + ("\n" + rest if rest else "")
    return text


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a paragraph, without bullets and the numbers of list items."""
    numbered = len(_ITEM.findall(text)) > 1
    for line in text.split("\n"):
        line = (_ITEM.sub("", line, count=1) if numbered else _BULLET.sub("", line, count=1)).strip()
        if line and line.strip("-*_=# "):
            yield from (part for part in _SENTENCE_END.split(line) if part.strip())


_SENTENCE_END: Final = re.compile(
    r"(?:(?<=[.!?])|(?<=[.!?][\"')\]*])|(?<=[.!?]\*\*))(?<!\b[A-Z]\.)(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)(?<!approx\.)\s+"
    r"(?=[^\s\d=+*/]|\d)|(?<=[。！？；])"
)
_ITEM: Final = re.compile(r"^[ \t]*(?:step[ \t])?\(?[0-9]{1,2}[.):][ \t]+(?=\S)", re.MULTILINE | re.IGNORECASE)
_BULLET: Final = re.compile(r"^[ \t]*(?:[-*•–>][ \t]+|#{1,6}[ \t]+)(?=\S)")


def _paragraphs(text: str) -> list[str]:
    parts = [part.strip() for part in re.split(r"\n[ \t]*\n|\n(?=#{1,6} )|\n-{3,}", text)]
    return [part for part in parts if part.strip("-*_=# \n")]


# Markers.

_QUALIFIED: Final = (
    r"(?:(?:final|correct|right|best|most likely|only correct|only|overall|numerical|numeric|exact|short|direct|"
    r"predicted|chosen|my|our|your|closest|appropriate|most appropriate|probable|most probable)\s+){0,3}"
)
_STRONG_NOUN: Final = r"(?:answers?|ans|option|choice|solution|final (?:result|verdict|score|rating|decision)|verdict)"
_SOFT_NOUN: Final = (
    r"(?:results?|total|sum|outputs?|conclusion|score|rating|grade|label|labels|class|classification|category|"
    r"categories|topics?|sentiment|prediction|judge?ment|decision|selection|value|emotion|intent|stance|relation|"
    r"relationship|probability|number)"
)
_FOREIGN_NOUN: Final = (
    r"(?:(?:richtige |korrekte |endgültige )?(?:antwort|endergebnis|ergebnis|lösung)|(?:endgültige|finale) antwort|"
    r"(?:bonne |juste )?réponse(?: finale| correcte| exacte)?|résultat(?: final)?|respuesta(?: final| correcta)?|"
    r"resultado(?: final)?|risposta(?: finale| corretta| esatta)?|risultato(?: finale)?|resposta(?: final| correta)?|"
    r"(?:juiste |definitieve |eind)?antwoord|(?:prawidłowa |poprawna |ostateczna )?odpowied[źz]|"
    r"(?:правильный |окончательный |верный )?ответ|svar|vastaus|cevap|câu trả lời|đáp án|jawaban|उत्तर)"
)
_IS: Final = r"(?:is|are|was|would be|should be|must be|will be|has to be|can only be|becomes|equals|=)"
_FOREIGN_IS: Final = r"(?:ist|lautet|wäre|est|sont|es|è|é|is|jest|to|являйтся|это|är|là|adalah|है)"
_DRESS: Final = r"[\s*_`]{0,4}"
_MARKER: Final = re.compile(
    rf"(?P<strong>"
    rf"(?:^|(?<=[\s*_#>.(,:]))(?:the\s+)?{_QUALIFIED}{_STRONG_NOUN}{_DRESS}(?:\([^()\n]{{0,40}}\){_DRESS})?[:：=]"
    rf"|\b{_QUALIFIED}{_STRONG_NOUN}\s(?:(?:to|for|of|here|in)\b[^.:\n]{{0,120}}?\s)?(?:therefore |thus |then |hence )?"
    rf"{_IS}(?=[\s:*]){_DRESS}:?(?!\s*(?:obtained|found|given|calculated|derived|based|computed|determined|wrong|"
    rf"incorrect|correct\b|clear|as follows|the same|right|not (?:given|clear|in)|asked|needed|supposed|expected|"
    rf"chosen|that you|yet|rounded|written|expressed|what|to be|in the form|required|on the|supported|because)\b)"
    rf"|(?:^|(?<=[\s*_#>.(,:])){_FOREIGN_NOUN}{_DRESS}[:：=]"
    rf"|\b{_FOREIGN_NOUN}\s{_FOREIGN_IS}(?=[\s:*]){_DRESS}:?"
    rf"|(?:正确)?(?:答案|选项|答|回答|結論|结论)(?:应该|应当|应)?(?:是|为|為|选|選)?[\s:：]{{0,3}}(?<=[是为為选選:：\s])"
    rf"|(?:故|应|應|因此|所以|我|可)(?:本题)?(?:选择|選擇|选|選)[\s:：]{{0,3}}|^选(?:择)?[\s:：]{{0,3}}"
    rf"|【答案】|(?:答え|正解|解答|回答)(?:は|：|:)\s?|(?:정답|답)(?:은|:|：)\s?"
    rf"|(?:^|(?<=\s))#{{4,}}(?=\s*[^\s#])"
    rf")"
    rf"|(?P<soft>(?:^|(?<=[\s*_#>.(,:]))(?:the\s+)?{_QUALIFIED}{_SOFT_NOUN}{_DRESS}[:：=]"
    rf"|\bthe\s{_QUALIFIED}{_SOFT_NOUN}\s(?:(?:of|for|in|to)\b[^.:\n]{{0,120}}?\s)?(?:therefore |thus |then )?{_IS}"
    rf"(?=[\s:*]){_DRESS}:?)"
    rf"|^(?P<a>A:)(?=\s)",
    re.IGNORECASE | re.MULTILINE,
)
_HEADING_WORDS: Final = re.compile(
    r"\s*(?:\**)?(?:step|part|case|method|phase|question|example|explanation|analysis|given|problem|reason)\b",
    re.IGNORECASE,
)
_DELIBERATION: Final = re.compile(
    r"\W*(?:let'?s|let me|let us|first|to (?:find|solve|determine|answer|calculate|get|figure)|we (?:need|have|know|are|can|"
    r"start|must|first)|step|okay|alright|i need|given|in order to|since|the (?:question|problem)|here)\b",
    re.IGNORECASE,
)
_CORRECTION: Final = re.compile(
    r"(?:^|(?<=[\s.(*]))(?:wait\b|hold on\b|correction\b|i (?:made|see) (?:a|an|my) (?:mistake|error)|"
    r"(?:that|this) (?:is|was|'s|seems|can't be|cannot be) (?:wrong|incorrect|not right|not correct)|scratch that|"
    r"let me (?:correct|redo|recalculate|reconsider)|i was wrong|on second thought|actually,|no[,:] (?:that|wait))",
    re.IGNORECASE,
)


def _after_markers(text: str, cue: str) -> Iterator[Passage]:
    """Yield what follows the last marker; only the last paragraph has markers such as `Total:`."""
    corrected = max((found.start() for found in _CORRECTION.finditer(text)), default=-1)
    last_part = _last_part_start(text)
    found: tuple[int, int, str] | None = None
    for match in _MARKER.finditer(text):
        if match["soft"] and not (match.start() >= last_part or not text[: match.start()].strip("*_# \n")):
            continue
        if match.group().startswith("####") and _is_heading(text, match.end()):
            continue
        found = (match.start(), match.end(), "marker")
    for start, end in _cues(text, cue):
        if found is None or end >= found[1] or start <= found[0]:
            found = (start, end, "cue") if found is None or end >= found[1] else found
    if found is None:
        return
    start, end, rule = found
    if corrected > start and _first_value_line(text[end:corrected]):
        return
    after = text[end:]
    passage = _marked_sentence(after)
    if not passage:
        return
    deliberates = bool(_DELIBERATION.match(passage)) or len(after) > _LONG_TAIL and not _is_short(passage)
    yield Passage(
        passage,
        rule,
        is_marked=True,
        is_binding=start >= last_part and not deliberates,
        paragraph=_first_paragraph(after),
        lead=text[start:end],
    )


def _first_paragraph(text: str) -> str:
    return _without_opened(next(iter(_paragraphs(text)), ""))


def _is_short(passage: str) -> bool:
    return len(passage) < 80


def _first_value_line(text: str) -> bool:
    return bool(text.strip())


def _is_heading(text: str, at: int) -> bool:
    line = text[at:].split("\n", 1)[0].strip()
    return bool(_HEADING_WORDS.match(line)) or len(line.split()) > 6 or line.endswith(":")


def _cues(text: str, cue: str) -> Iterator[tuple[int, int]]:
    if cue.strip():
        for match in re.finditer(re.escape(cue.strip()), text, re.IGNORECASE):
            yield match.start(), match.end()


def _last_part_start(text: str) -> int:
    """Return where the last two paragraphs that are not blank begin."""
    stripped = text.rstrip()
    breaks = [match.end() for match in re.finditer(r"\n[ \t]*\n", stripped)]
    return breaks[-1] if breaks else 0


def _marked_sentence(after: str) -> str:
    """Return the first sentence after a marker, without emphasis that the marker opened."""
    after = _without_opened(after)
    for part in islice(sentences(after), 3):
        if part.strip("$*_`#[]()\\ "):
            return part
    return after.split("\n\n", 1)[0].strip()


# The last paragraph.

_CLOSER: Final = re.compile(
    r"\W*(?:i hope|hope (?:this|that)|let me know|feel free|please let|if you (?:have|need)|is there anything|thank|"
    r"well done|do you (?:want|need)|would you like)",
    re.IGNORECASE,
)
_CONNECTIVE: Final = re.compile(
    r"\W*(?:\[[^\]]{1,30}\]\s*)?(?:and\s+)?(?:so\b|therefore|thus|hence|in conclusion|to conclude|overall|in total|in all|altogether|in summary|"
    r"(?:that|this|which) (?:means|leaves|gives|makes|must)|consequently|as a result|accordingly|finally|i (?:would|choose|settle|conclude|"
    r"pick|select|go with)|given (?:this|that|these|the)|based on|all in all|the final|also\b|daher|somit|folglich|deshalb|donc|ainsi|por lo tanto|por tanto|"
    r"entonces|así que|quindi|dunque|portanto|logo|assim|dus\b|daarom|zatem|więc|таким образом|значит|следовательно|итак|"
    r"因此|所以|故|综上|綜上|따라서|그러므로|よって|したがって|つまり)",
    re.IGNORECASE,
)


def _concluding(parts: list[str]) -> Iterator[Passage]:
    """Yield the sentences of the last paragraphs from the end; a concluding one (`So …`) counts before the others."""
    weak: list[Passage] = []
    seen = 0
    for number, part in enumerate(reversed(parts[-2:])):
        found = [
            sentence
            for sentence in sentences(part)
            if not (_CLOSER.match(sentence) or sentence.rstrip("*_ ").endswith(("?", "？")))
        ]
        for sentence in reversed(found):
            seen += 1
            if seen > MAX_SENTENCES:
                break
            passage = Passage(sentence, "last paragraph", paragraph=part)
            if _CONNECTIVE.match(sentence) and number < 2:
                yield passage
            else:
                weak.append(Passage(sentence, "last value", is_weak=True, paragraph=part))
        if seen > MAX_SENTENCES:
            break
    yield from weak
