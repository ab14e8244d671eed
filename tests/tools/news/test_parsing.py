"""Feeds and articles as plain text, right ones and hostile ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.tools.news.parsing import (
    LONGEST_SUMMARY,
    LONGEST_TITLE,
    MOST_ITEMS,
    clean,
    extract_article,
    parse_feed,
    plain_text,
)
from tests.tools.news.feeds import rss, rss_item

URL = "https://news.example/feeds/world.xml"


def parsed(feed: str | bytes, content_type: str = "application/rss+xml") -> list[dict[str, Any]]:
    return parse_feed(feed.encode() if isinstance(feed, str) else feed, content_type, URL)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_an_rss_item_has_title_link_date_and_summary() -> None:
    item = (
        "<item><title>The bridge opens</title><link>https://news.example/1</link>"
        "<description>On Monday.</description><pubDate>Wed, 02 Dec 2026 09:30:00 +0100</pubDate></item>"
    )
    assert parsed(rss(item)) == [
        {
            "title": "The bridge opens",
            "link": "https://news.example/1",
            "date": seconds("2026-12-02T08:30:00"),
            "summary": "On Monday.",
        }
    ]


def test_atom_is_read() -> None:
    feed = """<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title>
      <entry><title type="html">A &lt;b&gt;bold&lt;/b&gt; step</title><link href="/stories/2"/>
        <updated>2026-12-01T10:00:00Z</updated>
        <content type="html">&lt;p&gt;One.&lt;/p&gt;&lt;p&gt;Two.&lt;/p&gt;</content>
      </entry>
      <entry><title>The tag &lt;b&gt;</title></entry></feed>"""
    first, second = parsed(feed, "application/atom+xml")
    assert first == {
        "title": "A bold step",
        "link": "https://news.example/stories/2",
        "date": seconds("2026-12-01T10:00:00"),
        "summary": "One. Two.",
    }
    assert second["title"] == "The tag <b>"


def test_json_feed_is_read() -> None:
    entry = {"title": "Two & three", "url": "../4", "date_published": "2026-12-01T10:00:00+01:00"}
    feed = {"version": "https://jsonfeed.org/version/1.1", "items": [{**entry, "content_html": "<p>A <i>b</i></p>"}, 7]}
    assert parsed(json.dumps(feed), "application/feed+json") == [
        {
            "title": "Two & three",
            "link": "https://news.example/4",
            "date": seconds("2026-12-01T09:00:00"),
            "summary": "A b",
        }
    ]


@pytest.mark.parametrize(
    "text",
    ["", "hello", "<html><body><p>Not found</p></body></html>", "{", "[]", '{"items": 3}', "\0\1\2", '{"a": ' * 5_000],
)
def test_what_is_no_feed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a feed"):
        parsed(text)


def test_a_feed_without_items_is_empty() -> None:
    assert parsed(rss()) == []
    assert parsed('{"items": []}') == []


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "https://me:pw@x.example/",
        "http://",
        "http://[",
        "",
        "https://x.example/" + "a" * 1_000,
        'https://x.example/"><b>',
        "https://x.example/a b",
        "https://x.example/\u202e",
    ],
)
def test_an_item_with_an_unusable_link_has_none(link: str) -> None:
    (item,) = parsed(rss(rss_item("A title", link=link)))
    assert item["link"] is None or link == ""
    (item,) = parsed(json.dumps({"items": [{"title": "A title", "url": link}]}))
    assert item["link"] is None


def test_titles_hold_neither_markup_nor_control_characters() -> None:
    title = "<script>alert(1)</script>Fish &amp; <b>chips</b>\x1b\u202e evil\u2066\ue000\u200b &lt;i&gt;"
    (item,) = parsed(rss(rss_item(title, summary="<p>One</p><style>p {}</style><ul><li>two</li><li>three</li></ul>")))
    assert item["title"] == "Fish & chips evil <i>"
    assert item["summary"] == "One two three"


def test_texts_are_cut_between_words() -> None:
    (item,) = parsed(rss(rss_item("word " * 200, summary="word " * 200)))
    assert len(item["title"]) <= LONGEST_TITLE and item["title"].endswith("word…")
    assert len(item["summary"]) <= LONGEST_SUMMARY and item["summary"].endswith("word…")


def test_an_item_without_a_title_is_named_by_its_summary_and_an_empty_one_is_left_out() -> None:
    items = parsed(rss(rss_item("", summary="A short message"), rss_item("")))
    assert [item["title"] for item in items] == ["A short message"]


def test_the_newest_items_come_first_and_those_without_a_date_last() -> None:
    items = parsed(rss(rss_item("none"), rss_item("old", age=9), rss_item("new", age=1), rss_item("middle", age=5)))
    assert [item["title"] for item in items] == ["new", "middle", "old", "none"]


def test_of_ten_thousand_items_the_newest_are_kept() -> None:
    items = [
        {"title": f"Item {n}", "date_published": f"2026-12-01T{n // 600:02}:{n // 10 % 60:02}:00Z"}
        for n in range(10_000)
    ]
    kept = parsed(json.dumps({"items": items}))
    assert len(kept) == MOST_ITEMS == 500
    assert {item["title"] for item in kept} == {f"Item {n}" for n in range(9_500, 10_000)}


@pytest.mark.parametrize("date", ["yesterday", "2026-13-40", ""])
def test_a_date_that_cannot_be_read_is_none(date: str) -> None:
    (item,) = parsed(json.dumps({"items": [{"title": "A", "date_published": date}]}))
    assert item["date"] is None


@pytest.mark.parametrize("date", ["yesterday", ""])
def test_a_date_of_rss_that_cannot_be_read_is_none(date: str) -> None:
    (item,) = parsed(rss(f"<item><title>A</title><pubDate>{date}</pubDate></item>"))
    assert item["date"] is None


@pytest.mark.attack("feed")
@pytest.mark.parametrize("head", ['<?xml version="1.0"?>', '<?xml version="1.0"?>\n', ""])
def test_a_feed_that_declares_entities_is_refused(head: str) -> None:
    bomb = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
    item = "<item><title>&e12;</title></item>"
    with pytest.raises(ValueError, match="declares entities"):
        parsed(f'{head}<!DOCTYPE rss [<!ENTITY e0 "ha">{bomb}]>{rss(item).partition("?>")[2]}')


@pytest.mark.attack("feed")
def test_no_entity_opens_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    doctype = f'<!DOCTYPE rss SYSTEM "{secret.as_uri()}" [<!ENTITY file SYSTEM "{secret.as_uri()}">]>'
    item = "<item><title>A &file; b</title></item>"
    feed = f'<?xml version="1.0" encoding="utf-16"?>{doctype}{rss(item).partition("?>")[2]}'
    assert "the secret" not in json.dumps(parsed(feed.encode("utf-16")))


def test_a_feed_in_another_charset_is_read() -> None:
    feed = rss(rss_item("Die Brücke öffnet")).replace("<?xml", "<?xml", 1)
    latin = feed.replace('version="1.0"?', 'version="1.0" encoding="iso-8859-1"?', 1).encode("latin-1")
    assert parsed(latin)[0]["title"] == "Die Brücke öffnet"
    assert parsed(feed.encode("utf-16"))[0]["title"] == "Die Brücke öffnet"


def test_a_wrong_charset_loses_letters_and_no_item() -> None:
    feed = rss(rss_item("Die Brücke öffnet")).encode("latin-1")
    (item,) = parsed(feed, "application/rss+xml; charset=utf-8")
    assert item["title"].startswith("Die Br")


def test_an_article_is_the_text_of_a_page_without_its_frame() -> None:
    sentence = "The council decided on Monday to repair the old bridge. "
    page = (
        "<html><head><title>T</title><script>var x = 1</script></head><body><nav><a href='/'>Menu</a></nav><article>"
        f"<h1>The bridge</h1><p>{sentence * 5}</p><p>{sentence * 3}\u202e</p></article>"
        "<footer>Imprint</footer></body></html>"
    )
    text = extract_article(page.encode(), "text/html")
    assert text.split("\n")[-2:] == [(sentence * 5).strip(), (sentence * 3).strip()]
    assert "Menu" not in text and "Imprint" not in text and "var x" not in text


def test_an_article_is_read_in_the_charset_that_its_server_names() -> None:
    page = f"<html><body><article><p>{'Die Brücke über den Fluss ist wieder offen. ' * 5}</p></article></body></html>"
    assert "Brücke" in extract_article(page.encode("cp1252"), 'text/html; charset="windows-1252"')
    assert "Brücke" in extract_article(page.encode(), "text/html; charset=nonsense")
    assert extract_article("Grüße\n\n\x1b[31mrot".encode(), "text/plain") == "Grüße\n[31mrot"


@pytest.mark.parametrize("page", [b"", b"<html></html>", b"\0\xff\xfe", b"<p></p>"])
def test_a_page_without_text_has_no_article(page: bytes) -> None:
    with pytest.raises(ValueError, match="no text of an article"):
        extract_article(page, "text/html")


@settings(max_examples=50)
@given(st.text())
def test_clean_text_is_one_line_that_can_be_encoded_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert not set(cleaned) & set("\n\r\t\x1b\u202e\u2028\0")
    cleaned.encode()


@given(st.text(alphabet="<>&;/!-ab\"' =#1[]x"), st.integers(5, 40))
def test_any_markup_becomes_text_of_a_bounded_length(text: str, longest: int) -> None:
    assert len(plain_text(text, longest)) <= longest


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: rss(f"<item><title>{text}</title></item>").encode())
)
def test_any_bytes_are_a_feed_or_a_value_error(body: bytes) -> None:
    try:
        items = parse_feed(body, "text/xml", URL)
    except ValueError:
        return
    assert all(item["title"] == clean(item["title"]) for item in items)
