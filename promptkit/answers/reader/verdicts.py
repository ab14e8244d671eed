"""The words of several languages by which a reply says that something is so, or is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from promptkit.answers.reader.contrast import Mention, is_denied

_YES: Final = (
    "true yes correct right ja oui sí sì si sim да evet tak wahr richtig vrai verdadero cierto vero verdadeiro "
    "correcto waar "
    "yep yeah absolutely definitely certainly indeed affirmative 是 是的 对 對 正确 正確 可以 はい 正しい 네 예 참"
)
_NO: Final = (
    "false no incorrect wrong untrue nein non não нет nie nee hayır falsch faux falso incorrecto onwaar nope negative "
    "否 不 "
    "不是 不是的 错 錯 错误 錯誤 不对 不正确 不可以 いいえ 間違い 아니요 아니오 거짓"
)
_WORDS: Final[Mapping[str, bool]] = {**dict.fromkeys(_YES.split(), True), **dict.fromkeys(_NO.split(), False)}
_STRIPPED: Final = " \t\n\"'`*_“”‘’«»()[]{}<>#.!,;:。！，：$"

_PREDICATE: Final = re.compile(
    r"(?<![\w-])(?:(?P<yes>true|yes|correct(?! (?:options?|answers?|choices?|letter)\b(?! *(?:[.,!;]|$)))"
    r"|wahr|richtig|vraie?|verdader[oa]|vera|cierto|правда|верно)"
    r"|(?P<no>false|incorrect|untrue|falsch|fausse|faux|falsa|falso|unwahr|ложь|неверно))(?![\w-])",
    re.IGNORECASE,
)
_JUDGEMENT: Final = re.compile(
    r"(?<![\w-])(?:(?P<yes>plausible|possible|likely|accurate|valid|right|entailed|supported)"
    r"|(?P<no>implausible|impossible|unlikely|inaccurate|invalid|wrong|unsupported|refuted))"
    r"(?=[\"'”’*_`)]{0,4}\s?(?:[.,;:!]|$|(?:that|to|for|by|because|since|as)\b))",
    re.IGNORECASE,
)
_ANSWER_WORD: Final = re.compile(
    r"(?:(?:^|(?<=[.,;:!?/)\"'“*(—–-]))\s*|\b(?:is|be|so|say|says|therefore|thus|hence|answer|and|or|possibly|maybe"
    r"|perhaps|est|ist|es|é|è)\s+(?:a\s+|a clear\s+)?)"
    r"[\"'“‘*_`({\[]{0,4}(?P<word>no|nein|non|não|нет|nie|nee|ja|oui|sí|sì|sim|да|tak|nope|yep|yeah|absolutely|definitely|certainly|indeed|right|wrong)"
    r"(?=[\"'”’*_`)}\]]{0,4}\s*(?:$|[.,;:!)(\n–—/-]|(?:because|since|as|due)\b))",
    re.IGNORECASE,
)
_CHINESE: Final = re.compile(
    r"(?:^|(?<=[是为為：:，,。「“]))\s?(?P<word>不正确|不是的|不是|不对|错误|錯誤|正确|正確|是的|否|对|错|是|はい|いいえ|아니요|아니오|네|예)(?=$|的?[，,。.！!、」”\s]|的?$)"
)


def verdict(text: str) -> bool | None:
    """Return the verdict of a text that is one such word alone; None for any other text."""
    word = text.strip(_STRIPPED).casefold()
    if word.startswith("\\text{"):
        word = word.removeprefix("\\text{").strip(_STRIPPED)
    return _WORDS.get(word)


def verdicts(text: str) -> list[Mention]:
    """Return the verdicts in a sentence, those of `not true` turned round, in order."""
    found = [_mention(match, bool(match["yes"]), text) for match in _PREDICATE.finditer(text)]
    for pattern in (_ANSWER_WORD, _CHINESE):
        for match in pattern.finditer(text):
            word = match["word"].casefold()
            found.append(Mention(match.start("word"), match.end("word"), _WORDS[word]))
    return sorted(set(found), key=lambda mention: mention.start)


def judgements(text: str) -> list[Mention]:
    """Return the adjectives in a sentence that affirm or deny: `plausible`, `not likely`."""
    return [_mention(match, bool(match["yes"]), text) for match in _JUDGEMENT.finditer(text)]


def _mention(match: re.Match[str], value: bool, text: str) -> Mention:
    mention = Mention(match.start(), match.end(), value)
    if match.group().casefold() == "yes" or not is_denied(text, mention):
        return mention
    return Mention(match.start(), match.end(), not value)
