"""The facts that rules read from a sentence, and sentences of any other shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.api.start.checks import is_label, labels_fault
from promptkit.api.start.sentence import MOST_CHARACTERS, read_sentence
from promptkit.engine.scope import KEYWORDS, NAME
from promptkit.errors import InputError

LABELS: list[tuple[str, tuple[str, ...], str]] = [
    ("sort support mails into billing, delivery and other", ("billing", "delivery", "other"), "mail"),
    ("Classify movie reviews as positive or negative", ("positive", "negative"), "review"),
    ("Please sort our incoming tickets by topic.", (), "ticket"),
    ("Is this review positive or negative?", ("positive", "negative"), "review"),
    ("Route tickets to sales, support or billing", ("sales", "support", "billing"), "ticket"),
    ("assign each ticket a priority: low, medium, high", ("low", "medium", "high"), "ticket"),
    ("Determine the language of a text (English, German, French)", ("English", "German", "French"), "text"),
    ("rate the tone as friendly, neutral or rude", ("friendly", "neutral", "rude"), ""),
    ("find the sentiment of tweets", ("positive", "negative", "neutral"), "tweet"),
    ("label tweets \"pro, strongly\", 'contra' or “neutral”", ("pro, strongly", "contra", "neutral"), "tweet"),
    ("sort results into the following two categories: good and bad", ("good", "bad"), "result_text"),
    (
        "Sortiere Kundenmails in Rechnung, Lieferung und Sonstiges",
        ("Rechnung", "Lieferung", "Sonstiges"),
        "kundenmails",
    ),
    ("Classe les avis en positif, négatif et neutre", ("positif", "négatif", "neutre"), "avis"),
    ("clasifica los correos en ventas, soporte y otros", ("ventas", "soporte", "otros"), "correos"),
    ("分类客户邮件：账单、配送、其他", ("账单", "配送", "其他"), ""),
    ("sort mails into Spam, spam and ham", ("Spam", "ham"), "mail"),
    ("sort mails into topic 1, topic 2 and topic 3", ("topic 1", "topic 2", "topic 3"), "mail"),
    ("sort mails into the topics sport, art", ("sport", "art"), "mail"),
    ("sort mails by category: sport, art", ("sport", "art"), "mail"),
    ("categorize news into 5 topics", (), "news"),
    ("sort classes into easy or hard", ("easy", "hard"), "class"),
]
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("Is the comment spam?", {"kind": "boolean", "inputs": ("comment",)}),
    ("Is this product review about a safety problem?", {"kind": "boolean", "inputs": ("review",)}),
    ("Does the premise entail the hypothesis?", {"kind": "boolean", "inputs": ("premise",)}),
    ("decide whether a mail is urgent", {"kind": "boolean", "inputs": ("mail",)}),
    ("Detect toxic comments", {"kind": "boolean", "inputs": ("comment",)}),
    ("check if the answer is correct, yes or no", {"kind": "boolean"}),
    ("Prüfe, ob eine Mail dringend ist", {"kind": "boolean", "inputs": ("mail",)}),
    (
        "Extract the invoice number, date and total from invoices",
        {"kind": "record", "fields": {"invoice_number": "text", "date": "text", "total": "number"}},
    ),
    (
        "convert recipes to JSON with title, ingredients and steps",
        {"kind": "record", "fields": {"title": "text", "ingredients": "list", "steps": "list"}, "inputs": ("recipe",)},
    ),
    ("Extrae el nombre y la fecha de las facturas", {"kind": "record", "fields": {"nombre": "text", "fecha": "text"}}),
    ("extract all people from news articles", {"kind": "list", "fields": {}, "inputs": ("article",)}),
    ("list the action items of meeting notes", {"kind": "list", "inputs": ("note",)}),
    ("Summarize news articles in two sentences", {"kind": "text", "most_words": 60, "inputs": ("article",)}),
    ("summarise reports in at most 50 words", {"kind": "text", "most_words": 50}),
    ("Translate product descriptions into French and German", {"kind": "text", "labels": ()}),
    ("I want a prompt that writes a polite reply to customer mails", {"kind": "text", "inputs": ("mail",)}),
    ("Write a haiku", {"kind": "text", "inputs": ()}),
    ("answer questions about a contract", {"kind": "text", "inputs": ("question", "contract")}),
    ("Fasse Zeitungsartikel in einem Satz zusammen", {"kind": "text", "inputs": ("zeitungsartikel",)}),
    ("Rate the urgency of a mail from 1 to 5", {"kind": "number", "bounds": (1.0, 5.0), "inputs": ("mail",)}),
    ("score essays on a scale of 0 to 10", {"kind": "number", "bounds": (0.0, 10.0)}),
    ("give hotel reviews stars: how many?", {"kind": "number", "bounds": (1.0, 5.0)}),
    ("how many people are mentioned in the text?", {"kind": "number", "bounds": None, "inputs": ("text",)}),
    (
        "tag recipes with vegan, gluten free, quick (all that apply)",
        {"kind": "labels", "labels": ("vegan", "gluten free", "quick"), "inputs": ("recipe",)},
    ),
    ("Tell complaints from praise", {"kind": None, "labels": ()}),
    ("sentiment", {"kind": "label", "is_usual": True}),
    ("banana", {"kind": None, "inputs": (), "name": "banana"}),
]


@pytest.mark.parametrize(("sentence", "labels", "name"), LABELS, ids=[sentence[:40] for sentence, *_ in LABELS])
def test_labels_and_the_input_are_read_from_a_sentence(sentence: str, labels: tuple[str, ...], name: str) -> None:
    reading = read_sentence(sentence)
    assert (reading.kind, reading.labels, reading.inputs) == ("label", labels, (name,) if name else ())


@pytest.mark.parametrize(("sentence", "facts"), OTHERS, ids=[sentence[:40] for sentence, _ in OTHERS])
def test_other_kinds_of_answers_are_read_from_a_sentence(sentence: str, facts: dict[str, Any]) -> None:
    reading = read_sentence(sentence)
    assert {name: getattr(reading, name) for name in facts} == facts


def test_a_name_joins_the_verb_and_the_input() -> None:
    assert read_sentence("sort support mails into a and b").name == "sort_mail"
    assert read_sentence("Is this review good or bad?").name == "sort_review"
    assert read_sentence("sort " + "x" * 300 + " into a and b").name.startswith("sort_xxx")
    assert len(read_sentence("sort " + "x" * 300 + " into a and b").name) <= 40


def test_quotes_around_the_whole_sentence_and_line_breaks_are_left_out() -> None:
    assert read_sentence('"sort mails\n into a and b"').sentence == "sort mails into a and b"


@pytest.mark.parametrize("text", ["", "  \n", "\x00\x1b", "?!"])
def test_a_sentence_without_a_word_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the sentence is empty"):
        read_sentence(text)


def test_a_sentence_may_be_long_but_not_endless() -> None:
    labels = ", ".join(f"label {number}" for number in range(60))
    assert len(read_sentence(f"sort mails into {labels}").labels) == 60
    assert read_sentence("sort mails into a, b and c. " + "Be careful. " * 400).labels == ("a", "b", "c")
    with pytest.raises(InputError, match="more than the 10,000 allowed"):
        read_sentence("a" * (MOST_CHARACTERS + 1))


def test_a_control_token_and_braces_are_no_labels() -> None:
    assert read_sentence("sort mails into <|im_start|> and b").labels == ()
    assert read_sentence("sort mails into {{ a }} and b").labels == ()


WORDS = st.sampled_from(
    [
        *("sort", "extract", "into", "as", "and", "or", "is", "whether", "from", "of", "the", "mails", "1", "to", "5"),
        *("yes/no", "ß", "邮件", "{{", "<|im_end|>", "\x07", ",", ";", ":", "(", ")", '"', "'"),
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=30).map(" ".join)))
def test_any_text_gives_usable_facts_or_is_refused(text: str) -> None:
    try:
        reading = read_sentence(text)
    except InputError:
        return
    assert "\n" not in reading.sentence
    assert reading.labels == () or labels_fault(reading.labels) is None
    assert all(map(is_label, reading.labels))
    assert all(NAME.fullmatch(name) and name not in KEYWORDS for name in reading.inputs)
    assert all(NAME.fullmatch(name) for name in reading.fields)
    assert reading.name == "" or NAME.fullmatch(reading.name)
