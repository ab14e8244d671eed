"""The words by which a sentence says what is asked for, in English, German, French and Spanish."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["label", "labels", "boolean", "number", "list", "record", "text"]
"""The kind of an answer: the name of its answer type, `record` for a JSON object."""


@dataclass(frozen=True, slots=True)
class Language:
    """Patterns of one language. `verbs` maps a verb, in its forms, to a kind of answer, None where it says none.

    `into` opens a list of labels, `out_of` the source of an extraction; `joins` separates the last two items of a list,
    `before` ends a noun phrase, and `determiners` are left out of one.
    """

    verbs: Mapping[str, Kind | None]
    into: str
    out_of: str
    joins: str
    before: str
    determiners: str
    whether: str
    yes_no: str
    how_many: str


ENGLISH: Final = Language(
    verbs={
        r"classif(?:y|ies|ying)|categori[sz](?:e|es|ing)|sort(?:s|ing)?|triag(?:e|es|ing)|rout(?:e|es|ing)": "label",
        r"assign(?:s|ing)?|group(?:s|ing)?|prioriti[sz](?:e|es|ing)|label(?:s|l?ing)?|predict(?:s|ing)?": "label",
        r"determin(?:e|es|ing)|identif(?:y|ies|ying)|judg(?:e|es|ing)|assess(?:es|ing)?": None,
        r"tag(?:s|ging)?": "labels",
        r"detect(?:s|ing)?|flag(?:s|ging)?|spot(?:s|ting)?|verif(?:y|ies|ying)": "boolean",
        r"count(?:s|ing)?|rat(?:e|es|ing)|scor(?:e|es|ing)|grad(?:e|es|ing)|estimat(?:e|es|ing)": "number",
        r"calculat(?:e|es|ing)|comput(?:e|es|ing)": "number",
        r"extract(?:s|ing)?|pull(?:s|ing)?|pars(?:e|es|ing)|captur(?:e|es|ing)": "record",
        r"list(?:s|ing)?|enumerat(?:e|es|ing)|find(?:s|ing)?|collect(?:s|ing)?": "list",
        r"summari[sz](?:e|es|ing)|translat(?:e|es|ing)|rewrit(?:e|es|ing)|rephras(?:e|es|ing)": "text",
        r"paraphras(?:e|es|ing)": "text",
        r"writ(?:e|es|ing)|draft(?:s|ing)?|repl(?:y|ies|ying)|respond(?:s|ing)?": "text",
        r"answer(?:s|ing)?|explain(?:s|ing)?": "text",
        r"simplif(?:y|ies|ying)|shorten(?:s|ing)?|correct(?:s|ing)?|fix(?:es|ing)?|proofread(?:s|ing)?": "text",
        r"describ(?:e|es|ing)|generat(?:e|es|ing)|compos(?:e|es|ing)|improv(?:e|es|ing)|polish(?:es|ing)?": "text",
        r"anonymi[sz](?:e|es|ing)|redact(?:s|ing)?|convert(?:s|ing)?|turn(?:s|ing)?": "text",
    },
    into=r"into|as|in|to|one of|either|between|among(?:st)?|with|by",
    out_of=r"from|out of|in|of",
    joins=r"and|or",
    before=(
        r"about|of|on|by|for|with|within|from|in|into|to|as|at|that|which|who|whose|whether|if|using|based|and|or|is|are|"
        r"was|were|has|have|had|does|do|contains?|mentions?|so|per|between|according|out|one|either|without|expresse?s?|"
        r"positive|negative"
    ),
    determiners=(
        r"the|a|an|each|every|all|any|some|this|that|these|those|our|my|your|their|its|incoming|given|new|me|us|short|"
        r"long|many|several|following"
    ),
    whether=r"whether|(?:check|checks|detect|decide|tell|determine|flag|verify|see|find out|say|predict|judge) if",
    yes_no=(
        r"yes\s*(?:/|or|-)\s*no|true\s*(?:/|or|-)\s*false|"
        r"(?:is|are|was|were|does|do|did|has|have|can|could|should|will)"
    ),
    how_many=r"how (?:many|much|old|long|likely|urgent|good|bad|strong)",
)
GERMAN: Final = Language(
    verbs={
        r"klassifizier(?:e|t|en)|sortier(?:e|t|en)|ordne|zuordnen|einordnen|einteilen|teile": "label",
        r"verschlagworte|markiere": "labels",
        r"erkenne|prüfe|überprüfe|entscheide": "boolean",
        r"zähle?n?|bewerte?n?|schätze?n?": "number",
        r"extrahier(?:e|t|en)|entnimm": "record",
        r"liste|finde": "list",
        r"fass(?:e|t)?|zusammenfassen|übersetz(?:e|t|en)|schreib(?:e|t|en)?": "text",
        r"beantwort(?:e|et|en)|erklär(?:e|t|en)": "text",
        r"formulier(?:e|t|en)|kürz(?:e|t|en)|korrigier(?:e|t|en)|vereinfach(?:e|t|en)": "text",
    },
    into=r"in|nach|als|zu|zwischen",
    out_of=r"aus|von|in",
    joins=r"und|oder",
    before=r"in|nach|als|zu|aus|von|über|mit|für|ob|und|oder|ist|sind|die|zusammen|ins|auf",
    determiners=r"der|die|das|den|dem|ein|eine|einen|einer|jede|jeden|jedes|alle|diese|diesen|dieses|unsere|meine|neue",
    whether=r"ob",
    yes_no=r"ja\s*(?:/|oder|-)\s*nein|(?:ist|sind|hat|haben|enthält|kann)",
    how_many=r"wie viele?|wie oft",
)
FRENCH: Final = Language(
    verbs={
        r"class(?:e|er|ez|ifie|ifier|ifiez)|tri(?:e|er|ez)|catégoris(?:e|er|ez)": "label",
        r"étiquet(?:te|er|ez)": "labels",
        r"détect(?:e|er|ez)|vérifi(?:e|er|ez)": "boolean",
        r"compt(?:e|er|ez)|not(?:e|er|ez)|évalu(?:e|er|ez)": "number",
        r"extrai(?:s|re|t|yez)": "record",
        r"list(?:e|er|ez)|trouv(?:e|er|ez)": "list",
        r"résum(?:e|er|ez)|tradui(?:s|re|sez)|rédig(?:e|er|ez)|répond(?:s|re|ez)": "text",
        r"expliqu(?:e|er|ez)|corrig(?:e|er|ez)": "text",
    },
    into=r"en|dans|comme|entre|selon|par",
    out_of=r"de|du|des|dans",
    joins=r"et|ou",
    before=r"en|dans|comme|entre|selon|par|de|du|des|d'|à|au|aux|si|et|ou|est|sont|pour|sur|avec",
    determiners=r"le|la|les|un|une|des|chaque|ce|cette|ces|nos|mes|tous|toutes",
    whether=r"si",
    yes_no=r"oui\s*(?:/|ou|-)\s*non|est-ce que",
    how_many=r"combien",
)
SPANISH: Final = Language(
    verbs={
        r"clasific(?:a|ar|o)|orden(?:a|ar)|categoriz(?:a|ar)": "label",
        r"etiquet(?:a|ar)": "labels",
        r"detect(?:a|ar)|comprueb(?:a)|comprobar|verific(?:a|ar)": "boolean",
        r"cuent(?:a)|contar|punt(?:úa|uar)|evalú(?:a)|evaluar": "number",
        r"extra(?:e|er)": "record",
        r"enumer(?:a|ar)|encuentra|lista": "list",
        r"resum(?:e|ir)|traduc(?:e|ir)|escrib(?:e|ir)|redact(?:a|ar)|respond(?:e|er)": "text",
        r"explic(?:a|ar)|corrig(?:e)|corregir": "text",
    },
    into=r"en|como|entre|según|por",
    out_of=r"de|del",
    joins=r"y|e|o|u",
    before=r"en|como|entre|según|por|de|del|al|a|si|y|o|es|son|para|sobre|con",
    determiners=r"el|la|los|las|un|una|unos|unas|cada|este|esta|estos|estas|nuestros|mis|todos|todas",
    whether=r"si",
    yes_no=r"sí\s*(?:/|o|-)\s*no",
    how_many=r"cuántos|cuántas|cuánto",
)
LANGUAGES: Final = (ENGLISH, GERMAN, FRENCH, SPANISH)

KNOWN_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    r"sentiments?|moods?|stimmung|tonality": ("positive", "negative", "neutral"),
    r"urgency|priorit(?:y|ies)|severity": ("low", "medium", "high"),
}
"""The usual labels of what a sentence names without listing them."""

PROPERTIES: Final = (
    "tone|language|sentiment|mood|topic|category|type|kind|intent|priority|urgency|severity|quality|style|level|difficulty|"
    "stance|emotion|genre|length"
)
"""Nouns that name a property of the input, and not the input."""
WRITING: Final = r"writ(?:e|es|ing)|draft(?:s|ing)?|repl(?:y|ies|ying)|respond(?:s|ing)?|generat\w+|compos(?:e|es|ing)"
"""Verbs whose object is the text that is written."""

FIELD_TYPES: Final = (
    (re.compile(r"\b(?:whether|is|has)\b"), "boolean"),
    (re.compile(r"\b(?:numbers|ids|codes)\b"), "list"),
    (re.compile(r"\b(?:number|no|id|code|phone|zip|postcode|iban|isbn|date|address|status|class)s?\b"), "text"),
    (
        re.compile(r"\b(?:amount|price|total|sum|cost|quantity|count|age|year|weight|height|salary|percentage)\b"),
        "number",
    ),
    (re.compile(r"[a-z]{2,}(?<![sui])s\b"), "list"),
)
"""The type of a field, by the first pattern that its name contains; `text` where none does."""
