"""Words by which a reply declines to answer, or says that there is no answer."""

from __future__ import annotations

import re
from typing import Final

_CANNOT: Final = (
    r"(?:can(?:no|')t|can not|cannot|could not|couldn't|(?:am|are|is|was) (?:not able|unable) to|unable to|not "
    r"possible to|impossible to|won't|will not|no way to|hard to|difficult to)"
)
_TELL: Final = (
    r"(?:be (?:determined|provided|solved|answered|calculated|computed|found|known|inferred"
    r"|established|concluded|classified|"
    r"verified)|(?:\w+ly )?(?:determine|answer|say|tell|know|solve|calculate|compute|help|assist|provide|infer"
    r"|conclude|decide|"
    r"classify|give|make|judge|comply|fulfill|verify|identify|find|do (?:that|this)|see|access|choose))"
)
_DECLINES: Final = re.compile(
    rf"\b{_CANNOT} {_TELL}\b"
    r"|\b(?:not|n't|isn't|no) (?:(?:have|give|provide|contain|include|offer|supply)"
    r" (?:us |me )?)?(?:enough|sufficient|adequate) (?:\w+ ){0,2}?(?:information|data|details"
    r"|context|evidence|facts)"
    r"|\bneeds? (?:more|additional|further) (?:information|data|details|context|facts)"
    r"|\b(?:does not|doesn't|do not|don't|did not|didn't) (?:provide|give|contain|include|offer|supply)"
    r" (?:any |the |us )?"
    r"(?:\w+ )?(?:information|details|context|data)\b"
    r"|^\W{0,20}the (?:text|table|question|passage|problem|image|picture|chart) (?:does not|doesn't|did not|didn't)"
    r" (?:provide|give|mention|specify|state)\b[^,;]{0,200}$"
    r"|\b(?:insufficient|inadequate|lack of|lacks?|missing)(?: the)?(?: \w+)? (?:information|data|details|context"
    r"|evidence)"
    r"|\bnone of (?:the|these|them|those)(?: (?:above|options?|choices?|answers?|listed|given|provided|following"
    r"|labels|categories))"
    r"|^\W{0,20}none of (?:them|these|those|the)\b|^\W{0,20}(?:none|n/?a|null|nan|not applicable|unknown|unclear"
    r"|undetermined|undefined|indeterminate|inconclusive|"
    r"unanswerable|not (?:given|specified|mentioned|known|stated)|no (?:answer|idea|clue|solution)|neither of (?:them"
    r"|these|the)|neither(?=\W*$)|"
    r"it depends|depends)\b(?! (?:of|that|the)\b(?! above))"
    r"|\b(?:it|this|that|the answer|which) (?:all )?depends\b"
    r"|\bi (?:do not|don't|am not|'m not|'m|am) (?:really |quite )?(?:know|sure|certain|have (?:an |any )?(?:idea"
    r"|opinions?|information|access|"
    r"enough|a clue)|able|unable|sorry)|\bi(?:'m| am) sorry|\bsorry,|\bapologi[sz]e|\bas an ai\b"
    r"|\b(?:no|without a|not a|no such|there is no|there are no) (?:unique |valid |real |correct |definite "
    r"|definitive |clear |right )*(?:answer|solution|solutions|way to (?:know|tell|say|determine))\b"
    r"|\b(?:is|are|remains?|be|seems?|left) (?:unknown|undetermined|undefined|unclear|indeterminate|inconclusive"
    r"|unanswerable|ambiguous|not (?:given|specified|"
    r"defined|clear|known|stated|provided))\b"
    r"|\b(?:neither|nor) (?:true|false|yes|correct)\b|\b(?:no idea|not enough info|more information (?:is|would be) "
    r"(?:needed|required))"
    r"|\bplease (?:give|provide|share|clarify|supply|specify)|\bcould you (?:please )?(?:give|provide|share|clarify)"
    r"|\b(?:all|both)(?: of)?(?: the)?(?: above| options| choices| answers| four)\b"
    # Other languages.
    r"|nicht (?:eindeutig )?(?:bestimmt|bestimmen|beantwort|beantworten|berechnet|berechnen|lösbar|möglich|genug"
    r"|genügend|ausreichend)|"
    r"(?:kann|weiß|könnte) (?:ich |es |das |man )?(?:leider |diese frage )?nicht|keine (?:ahnung|antwort|der "
    r"(?:genannten|obigen|antworten|optionen)|lösung|ausreichend)|tut mir leid|kommt darauf an"
    r"|ne (?:peux|peut|puis|sais|pouvons|dispose)\b[^.\n]{0,20} pas|impossible de|pas (?:assez|suffisamment) d|aucune "
    r"(?:réponse|des)|désolé|cela dépend|ça dépend"
    r"|no (?:puedo|se puede|sé|es posible|hay (?:suficiente|respuesta|información))|ninguna de las|lo siento|depende "
    r"de|imposible"
    r"|non (?:posso|è possibile|si può|so\b|ci sono)|nessuna delle|mi dispiace|dipende d"
    r"|não (?:posso|é possível|sei|há|consigo)|nenhuma das|desculpe|lamento"
    r"|kan (?:niet|geen)|weet (?:het )?niet|geen van|het spijt me|nie (?:można|mogę|wiem)|żadna z|przepraszam"
    r"|не (?:могу|знаю|можем|удаётся|удается)|нельзя|невозможно|недостаточно|ни один|извините|зависит от"
    r"|无法|無法|不能确定|不能確定|不确定|不知道|信息不足|条件不足|資訊不足|抱歉|对不起|没有(?:正确|足够|答案)|无正确|無正確|"
    r"以上都不|均不正确|都不对|都不正确|不详|无解|取决于"
    r"|できません|わかりません|分かりません|不明|申し訳|情報が(?:不足|足り)|いずれも|該当なし|"
    r"알 수 없|모르|죄송|할 수 없|정보가 부족|없습니다",
    re.IGNORECASE,
)


# `Since this is not stated, …` declines nothing.
_CLAUSE: Final = re.compile(
    r"^\W{0,20}(?:since|because|as|while|although|though|even though|if|when|given that)\b[^,.]{0,200},", re.IGNORECASE
)


def declines(text: str) -> bool:
    """Tell whether a sentence declines to answer, or says that there is no answer."""
    text = _CLAUSE.sub("", text, count=1)
    return _DECLINES.search(text.replace("’", "'").replace("\\text{", "").replace("$", "")) is not None


_REFUSES: Final = re.compile(
    r"\W{0,20}(?:i'm sorry|i am sorry|sorry|i apologi[sz]e|unfortunately|as an ai\b[^.\n]{0,80}"
    r"|i)[,.]?\s*(?:but\s)?(?:i\s)?"
    r"(?:can't|cannot|can not|am not able to|am unable to|'m not able to|'m unable to|won't|will not)\s"
    r"(?:help|assist|comply|fulfill|fulfil|answer|provide|do (?:that|this)|process|create|generate|write|complete)\b",
    re.IGNORECASE,
)
_LONGEST_REFUSAL: Final = 600


def refuses(text: str) -> bool:
    """Tell whether a whole reply is a refusal to do what it was asked."""
    return len(text) <= _LONGEST_REFUSAL and _REFUSES.match(text.replace("’", "'")) is not None
