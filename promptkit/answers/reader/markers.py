"""The words that a reply puts before its answer: `the answer is`, `####`, `答案是`, the prompt's own cue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from promptkit.answers.reader.passages import Passage, parts_of, sentences

_LONG_TAIL: Final = 600
_SHORT: Final = 80

_QUALIFIED: Final = (
    r"(?:(?:final|correct|right|best|most|likely|only|overall|numerical|numeric|exact|short|direct|predicted|chosen|my|"
    r"our|your|closest|appropriate|suitable|probable|accurate)\s+){0,4}"
)
_ANSWER: Final = (
    r"(?:answers?(?: choice| option)?|ans|(?:option|choice)(?: letter)?|verdict|"
    r"final (?:result|score|rating|decision|value|total))"
)
_RESULT: Final = (
    r"(?:results?|solution|total|sum|outputs?|conclusion|score|rating|grade|labels?|class|classification|category|categories|"
    r"topics?|sentiment|prediction|judge?ment|decision|selection|value|emotions?|intent|stance|relation|relationship|"
    r"probability|number)"
)
_FOREIGN: Final = (
    r"(?:(?:richtige |korrekte |endgültige |finale )?(?:antwort|endergebnis|ergebnis|lösung)|"
    r"(?:bonne |juste )?réponse(?: finale| correcte| exacte)?|résultat(?: final)?|respuesta(?: final| correcta)?|"
    r"resultado(?: final)?|risposta(?: finale| corretta| esatta)?|risultato(?: finale)?|"
    r"resposta(?: final| correta)?|(?:juiste |definitieve |eind)?antwoord|"
    r"(?:prawidłowa |poprawna |ostateczna )?odpowied[źz]|(?:правильный |окончательный |верный )?ответ|svar|vastaus|"
    r"cevap|câu trả lời|đáp án|jawaban|उत्तर)"
)
_IS: Final = (
    r"(?:is|are|was|would be|should be|must be|will be|has to be|can only be|becomes|equals|comes (?:out )?to|=)"
)
_FOREIGN_IS: Final = r"(?:ist|lautet|wäre|est|sont|es|è|é|is|jest|to|это|är|là|adalah|है)"
_SO: Final = r"(?:,? ?(?:therefore|thus|then|hence|also|also then|simply|clearly|definitely|probably|most likely),? )?"
_DRESS: Final = r"[\s*_`]{0,4}"
_ABOUT: Final = r"(?:(?:to|for|of|here|in)\b(?:\"[^\"\n]{0,200}\"|“[^”\n]{0,200}”|[^.:\n\"“]){0,120}?\s)?"
# `The answer is obtained by …` gives no answer.
_NO_ANSWER: Final = (
    r"(?!\s*(?:obtained|found|given|calculated|derived|based|computed|determined|wrong|incorrect|correct\b|clear|as "
    r"follows|"
    r"the same|right|not (?:given|clear|in)|asked|needed|supposed|expected|chosen|that you|yet|rounded|written"
    r"|expressed|"
    r"what|to be|in the form|required|on the|supported|because)\b)"
)
_AT_START: Final = r"(?:^|(?<=[\s*_#>.(,:]))"
_PATTERN: Final = (
    rf"(?P<answer>"
    rf"{_AT_START}(?<!each\s)(?<!every\s)(?:the\s+)?{_QUALIFIED}{_ANSWER}{_DRESS}(?:\([^()\n]{{0,40}}\){_DRESS})?[:：=]"
    rf"|\b{_QUALIFIED}{_ANSWER}\s?{_ABOUT}{_SO}{_IS}(?=[\s:*]){_DRESS}:?{_NO_ANSWER}"
    rf"|{_AT_START}{_FOREIGN}{_DRESS}[:：=]"
    rf"|\b{_FOREIGN}\s{_FOREIGN_IS}(?=[\s:*]){_DRESS}:?(?:\salso\b)?"
    rf"|(?:正确|最终|最后)?(?:答案|选项|答|回答|結論|结论|结果)(?:应该|应当|应)?(?:是|为|為|选|選)?[\s:：]{{0,3}}(?<=[是为為选選:：\s])"
    rf"|(?:故|应|應|因此|所以|我|可|本题|此题)(?:本题)?(?:选择|選擇|选|選)[\s:：]{{0,3}}|(?:^|(?<=[，,。]))选(?!项)(?:择)?[\s:：]{{0,3}}"
    rf"|【答案】|(?:答え|正解|解答|回答)(?:は|：|:)\s?|(?:정답|답)(?:은|:|：)\s?"
    rf"|(?<!#)#{{4,6}}(?!#)(?=\s*[^\s#])"
    rf")"
    rf"|(?P<result>{_AT_START}(?:the\s+)?{_QUALIFIED}{_RESULT}{_DRESS}[:：=]"
    rf"|\bthe\s{_QUALIFIED}{_RESULT}\s{_ABOUT}{_SO}{_IS}(?=[\s:*]){_DRESS}:?)"
    rf"|^(?P<letter>A:)(?=\s)"
)
_MARKER: Final = re.compile(_PATTERN, re.IGNORECASE | re.MULTILINE)
_HEADING: Final = re.compile(
    r"\s*\**(?:step|part|case|method|phase|question|example|explanation|analysis|given|problem|reason)\b",
    re.IGNORECASE,
)
_DELIBERATION: Final = re.compile(
    r"\W{0,20}(?:let'?s|let me|let us|first|to (?:find|solve|determine|answer|calculate|get|figure)|we (?:need|have"
    r"|know|are|can|"
    r"start|must|first)|step|okay|alright|i need|given|in order to|since|the (?:question|problem)|here)\b",
    re.IGNORECASE,
)
_CORRECTION: Final = re.compile(
    r"(?:^|(?<=[\s.(*]))(?:wait\b|hold on\b|correction\b|i (?:made|see) (?:a|an|my) (?:mistake|error)|"
    r"(?:that|this) (?:is|was|'s|seems|can't be|cannot be) (?:wrong|incorrect|not right|not correct)|scratch that|"
    r"let me (?:correct|redo|recalculate|reconsider)|i was wrong|on second thought|actually,|no[,:] (?:that|wait))",
    re.IGNORECASE,
)
# `The answer is not A. It is B.`, `Answer: A? No, B.`
_UNSAID: Final = re.compile(r"\W{0,20}(?:not|none of)\b(?!.*\b(?:but|it's|it is)\b)|.*\?$", re.IGNORECASE | re.DOTALL)
# `The number of cats is greater than …`, `the result is the same as …` compare two things.
_COMPARISON: Final = re.compile(
    r"\s*(?:also |still |not |much |therefore |clearly |actually )?(?:(?:greater|less|larger|smaller"
    r"|higher|lower|more|fewer|bigger|shorter|longer)\b"
    r"|(?:the same|equal|identical|equivalent|different|similar)\b)",
    re.IGNORECASE,
)
_DOTS: Final = re.compile(r"[ \t]*(?:\.\.\.|…|\.[ \t]*(?:\n|$))")
_DRESSING: Final = "*_`# \n\t"
_COLONS: Final = frozenset(":：=】#")
_FEW_WORDS: Final = re.compile(r"[^.!?\n]{1,60}\.")
_OPENING: Final = re.compile(
    r"[\s*_#`]*(?:final |my |correct )?(?:answer|antwort|réponse|respuesta|risposta|resposta|antwoord|"
    r"ответ|答案|答え|정답)[*_` ]*[:：]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker in a reply; `rule` names its kind."""

    start: int
    end: int
    rule: str = "marker"
    is_result: bool = False


def last_marker(text: str, cue: str) -> Marker | None:
    """Return the last marker of a reply. `Total:` and its like count only in the last paragraph and at the start."""
    last_part = _last_part_start(text)
    found: Marker | None = None
    for match in _MARKER.finditer(text):
        if match["result"] and match.start() < last_part and text[: match.start()].strip(_DRESSING):
            continue
        if match.group().startswith("####") and _is_heading(text, match.end()):
            continue
        if match["letter"] and re.search(r"^B:", text, re.MULTILINE):
            continue
        if match["result"] and _COMPARISON.match(text, match.end()):
            continue
        if found is not None and not holds_value(text[match.end() : match.end() + _LONG_TAIL]):
            continue
        found = Marker(match.start(), match.end(), is_result=match["result"] is not None)
    cues = list(_cues(text, cue))
    if cues and (found is None or cues[-1].end >= found.end):
        return cues[-1]
    return found


def marked_passages(text: str, cue: str) -> Iterator[Passage]:
    """Yield the sentence after the last marker, unless the reply corrects itself after it."""
    marker = last_marker(text, cue)
    if marker is None or any(found.start() > marker.end for found in _CORRECTION.finditer(text, marker.end)):
        return
    after = text[marker.end :]
    sentence = _first_sentence(after)
    if not sentence:
        return
    goes_on = len(after) > _LONG_TAIL and len(sentence) > _SHORT
    yield Passage(
        text=sentence,
        rule=marker.rule,
        is_marked=True,
        is_binding=marker.start >= _last_part_start(text)
        and not (marker.is_result or goes_on)
        and not _DELIBERATION.match(sentence),
        paragraph=without_opened(next(iter(parts_of(after)), "")),
        lead=text[marker.start : marker.end],
    )


def holds_value(after: str) -> bool:
    """Tell whether a marker has a value after it, rather than the reply's end, dots or another marker."""
    line = after.strip(_DRESSING + "$[](){}.…\\ ")
    return line != "" and _DOTS.match(after) is None and _MARKER.match(after.lstrip(_DRESSING)) is None


def text_after_marker(text: str, cue: str, *, anywhere: bool) -> str | None:
    """Return the text after the last marker of a reply, without a full stop after a few words; None without one.

    Unless `anywhere`, the reply must begin with the marker. After `the answer is` it is a sentence, else all that
    follows.
    """
    cues = [found.end for found in _cues(text, cue) if anywhere or not text[: found.start].strip(_DRESSING)]
    if cues:
        return without_opened(text[cues[-1] :])
    if not anywhere:
        opening = _OPENING.match(text)
        return without_opened(text[opening.end() :]) if opening else None
    answers = [match for match in _MARKER.finditer(text) if match["answer"]]
    if not answers:
        return None
    after = without_opened(text[answers[-1].end() :])
    if answers[-1].group().rstrip(_DRESSING)[-1:] in _COLONS:
        return after
    sentence = next(sentences(after), "")
    return sentence[:-1] if _FEW_WORDS.fullmatch(sentence) else sentence


def without_opened(text: str) -> str:
    """Return a text without the end of emphasis that was opened before it: `** Paris`, `Paris**`."""
    text = text.strip()
    opened = re.match(r"(\*\*|__|\*|`)(?=\s)", text)
    if opened:
        return text[opened.end() :].strip()
    line, _, rest = text.partition("\n")
    for mark in ("**", "__", "`"):
        if line.count(mark) == 1 and line.rstrip().endswith(mark):
            return line.rstrip()[: -len(mark)] + (f"\n{rest}" if rest else "")
    return text


def _cues(text: str, cue: str) -> Iterator[Marker]:
    if cue.strip():
        for match in re.finditer(re.escape(cue.strip()), text, re.IGNORECASE):
            yield Marker(match.start(), match.end(), "cue")


def _is_heading(text: str, at: int) -> bool:
    """Tell whether `####` begins a heading of several words rather than an answer."""
    line = text[at : at + _LONG_TAIL].split("\n", 1)[0].strip()
    return bool(_HEADING.match(line)) or len(line.split()) > 6 or line.endswith(":")


def _last_part_start(text: str) -> int:
    """Return the position at which the last paragraph begins."""
    start = 0
    for found in re.finditer(r"\n[ \t]*\n", text.rstrip()):
        start = found.end()
    return start


def _first_sentence(after: str) -> str:
    """Return the first sentence after a marker that holds more than signs."""
    found = [sentence for sentence in islice(sentences(without_opened(after)), 3) if sentence.strip("$*_`#[]()\\.… ")]
    return next((sentence for sentence in found if not _UNSAID.match(sentence)), found[0] if found else "")
