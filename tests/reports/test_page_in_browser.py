"""The HTML page of a run as a person uses it, with a mouse or with keys alone, in a Chromium without a window."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.record import EvalRecord
from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.reports.page.write import write_page
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench
from tests.reports.chromium import COMMAND, Tab, chromium
from tests.reports.demo_view import DemoView

pytestmark = [
    pytest.mark.skipif(COMMAND is None, reason="Chromium is not installed here: the page was not tried in a browser"),
    pytest.mark.asyncio(loop_scope="module"),
]
ROWS = "[...document.querySelectorAll('tr.row')].map((row) => Number(row.querySelector('button.open').textContent))"
FOCUS = (
    "document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.tagName"
)
# The contrast ratio of WCAG 2.2 between text and page, the least of all, and of what it is.
LEAST_CONTRAST = """(() => {
  const weights = [0.2126, 0.7152, 0.0722];
  const linear = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = (color) => color.match(/[\\d.]+/g).slice(0, 3)
    .reduce((sum, part, at) => sum + weights[at] * linear(part / 255), 0);
  const page = light(getComputedStyle(document.body).backgroundColor);
  const texts = document.querySelectorAll("h1, .aside, .chip, .name, .interval, th, td, label, .mark");
  return [...texts].map((each) => {
    const mine = light(getComputedStyle(each).color);
    return [(Math.max(mine, page) + 0.05) / (Math.min(mine, page) + 0.05), `${each.tagName} ${each.className}`];
  }).sort(([a], [b]) => a - b)[0];
})()"""
COUNT = "document.getElementById('count').textContent"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Tab]:
    async with chromium() as tab:
        yield tab


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "run.html"
    write_page(DemoView(), EvalRecord.model_validate(DemoView().record), path)
    return path


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Tab, file: Path) -> AsyncIterator[Tab]:
    """Give the page as it opens; whatever a test does with it, its console stays empty and it asks for nothing."""
    browser.complaints.clear()
    browser.requested.clear()
    await browser.show()
    await browser.open(file)
    yield browser
    assert browser.complaints == []
    assert {url for url in browser.requested if not url.startswith("data:")} == {file.as_uri()}
    assert await browser.run("document.title") == "sentiment, run 12"


def cells_where(variant: str, **wanted: object) -> list[Cell]:
    cells = DemoView().cells(variant)
    return [cell for cell in cells if all(getattr(cell, name) == value for name, value in wanted.items())]


def rows_where(variant: str, accuracy: float) -> set[int]:
    return {cell.row for cell in DemoView().cells(variant) if cell.scores["accuracy"].value == accuracy}


async def found(page: Tab) -> int:
    return int((await page.run(COUNT)).split(" of ")[0].replace(",", ""))


async def test_the_list_shows_failures_first(page: Tab) -> None:
    assert await page.run(COUNT) == "240 of 240 rows, 1 to 50 shown."
    unparsed = {cell.row for name in DemoView().variants for cell in cells_where(name, flag="unparsed")}
    listed = await page.run(ROWS)
    assert len(listed) == 50
    assert set(listed[: len(unparsed)]) == unparsed


async def test_search_finds_rows_by_what_is_in_them(page: Tab) -> None:
    await page.choose("search", "NUMBER 00077.")
    assert await page.run(ROWS) == [77]
    assert await page.run(COUNT) == "1 of 240 rows."


async def test_rows_are_filtered_by_variant_and_what_became_of_them(page: Tab) -> None:
    await page.choose("variant", "1")
    await page.choose("flag", "wrong")
    assert await found(page) == len(rows_where("thinking", 0.0))
    await page.choose("flag", "truncated")
    assert await found(page) == len(cells_where("thinking", flag="truncated"))
    await page.choose("flag", "warning 0")
    assert await found(page) == len(cells_where("thinking", warned=["weak_reading"])) == 20


async def test_one_variant_is_shown_alone(page: Tab) -> None:
    await page.choose("variant", "2")
    heads = "[...document.querySelectorAll('table.list thead th')].map((head) => head.innerText.trim())"
    assert await page.run(heads) == ["Row", "text", "Expected", "examples", "Tokens", "Time"]


async def test_rows_are_filtered_by_the_value_of_a_field(page: Tab) -> None:
    await page.choose("field", "source")
    await page.choose("value", "forum")
    assert await found(page) == sum(cell.fields["source"] == "forum" for cell in DemoView().cells("short"))
    assert await page.run("[...document.querySelectorAll('#values option')].map((each) => each.value)") == [
        "app",
        "forum",
        "letter",
        "shop",
    ]


async def test_rows_that_flipped_are_found(page: Tab) -> None:
    await page.choose("flip", "0 1 better")
    assert await found(page) == len(rows_where("short", 0.0) & rows_where("thinking", 1.0))
    await page.choose("flip", "0 1 either")
    assert await found(page) == len(rows_where("short", 0.0) ^ rows_where("thinking", 0.0))
    await page.click("#filters button[type=reset]")
    await page.until(f"{COUNT}.startsWith('240')")


async def test_a_heading_sorts_and_sorts_the_other_way(page: Tab) -> None:
    await page.click("button.sorter[data-sort=row]")
    assert (await page.run(ROWS))[:3] == [1, 2, 3]
    assert await page.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "ascending"
    await page.click("button.sorter[data-sort=row]")
    assert (await page.run(ROWS))[:3] == [240, 239, 238]
    await page.click("#next")
    assert (await page.run(ROWS))[0] == 190


async def test_a_row_opens_with_its_trace_read_then(page: Tab) -> None:
    await page.choose("search", "number 00093.")
    await page.click("tr.row td")
    await page.until("document.querySelector('.detail')")
    trace = ".cell[aria-label=thinking] details.fold:last-of-type"
    assert await page.run(f"document.querySelector('{trace} .call') === null")
    await page.click(f"{trace} summary")
    await page.until(f"document.querySelector('{trace} .call')")
    said = await page.run(f"document.querySelector('{trace}').innerText")
    for part in (
        "You label customer reviews",
        "begun\nSentiment:",
        "thoughts\nWhether that",
        "reply\n",
        "waited for 20 ms",
    ):
        assert part in said
    assert "the cue was sent as the begun turn" in said


async def test_variants_are_compared_word_by_word(page: Tab) -> None:
    await page.choose("search", "number 00093.")
    await page.click("tr.row td")
    await page.until("document.querySelector('.difference')")
    outputs = {cell.variant: cell.output for cell in DemoView().cells() if cell.row == 93}
    changes = (
        "[...document.querySelectorAll('.difference :is(ins, del)')].map((each) => [each.tagName, each.textContent])"
    )
    assert outputs["short"] != outputs["examples"]
    assert await page.run(changes) == [["DEL", outputs["short"]]]


@pytest.mark.attack("html")
async def test_hostile_answers_are_text(page: Tab) -> None:
    for row in (50, 100, 150, 200):
        await page.choose("search", f"number {row:05}.")
        await page.click("tr.row td")
        await page.until("document.querySelector('.detail')")
        await page.run("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        await page.until("document.querySelector('.detail .call')")
    assert await page.run("document.querySelectorAll('#list :is(img, script)').length") == 0
    await page.choose("search", "separator")
    shown = await page.run("document.getElementById('list').innerText")
    assert "\\u202eot tfel\\u202c, a bell \\x07, a separator \\u2028, half a pair \\ud83d, a joiner 👩\u200d💻" in shown
    assert not set("\u202e\u2028\x07") & set(shown)


async def test_the_policy_stops_other_scripts_and_requests(browser: Tab, file: Path) -> None:
    await browser.open(file)
    browser.complaints.clear()
    await browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))"
    )
    assert await browser.run("fetch('https://example.invalid').catch((problem) => problem.name)") == "TypeError"
    assert await browser.run("document.title") == "sentiment, run 12"
    refused = [complaint for complaint in browser.complaints if "Content Security Policy" in complaint]
    assert ["script-src" in refused[0], "default-src" in refused[1]] == [True, True]


async def test_the_whole_journey_needs_no_mouse(page: Tab) -> None:
    await page.press("/", *"number 00093.", "ArrowDown")
    assert await page.run(FOCUS) == "Row 93"
    await page.press("Enter")
    await page.until("document.querySelector('.detail')")
    assert await page.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    for _ in range(9):
        await page.press("Tab")
        if await page.run("document.activeElement.textContent") == "Trace":
            break
    await page.press("Enter")
    await page.until("document.querySelector('.cell > details.fold:last-of-type[open] .call')")
    await page.press("Escape")
    assert await page.run("document.querySelector('.detail') === null")
    assert await page.run(FOCUS) == "Row 93"


async def test_arrows_move_through_the_list_and_over_its_pages(page: Tab) -> None:
    await page.choose("sort", "row")
    await page.press("/", "ArrowDown", "ArrowDown", "ArrowDown")
    assert await page.run(FOCUS) == "Row 3"
    await page.press("ArrowUp", "Home", "ArrowUp")
    assert await page.run(FOCUS) == "Row 1"
    await page.press("End", "ArrowDown")
    assert await page.run(FOCUS) == "Row 51"
    await page.press("ArrowUp")
    assert await page.run(FOCUS) == "Row 50"
    await page.press("PageDown", "PageDown")
    assert await page.run(FOCUS) == "Row 101"
    assert await page.run("document.querySelectorAll('button.open[tabindex=\"0\"]').length") == 1


async def test_focus_is_always_seen(page: Tab) -> None:
    await page.press("/", "ArrowDown")
    assert await page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.press("Shift+Tab")
    assert await page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def test_a_table_is_a_tab_stop_only_where_it_scrolls(page: Tab) -> None:
    stops = (
        "[...document.querySelectorAll('.scroll')].map((each) => [each.tabIndex, each.scrollWidth > each.clientWidth])"
    )
    assert {tuple(each) for each in await page.run(stops)} == {(-1, False)}
    await page.show(width=420)
    await page.until("document.querySelector('#summary .scroll').tabIndex === 0")
    assert {tuple(each) for each in await page.run(stops)} == {(-1, False), (0, True)}


async def test_what_a_screen_reader_needs_is_there(page: Tab) -> None:
    tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
    roles = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    for role in ("banner", "navigation", "main", "search", "status"):
        assert role in {each for each, _ in roles}
    assert ("table", "Rows of this page, failures first") in roles
    assert ("searchbox", "Search") in roles
    images = [name for role, name in roles if role in ("image", "img")]
    assert any(name.startswith("accuracy against tokens a row. short: 0.") for name in images)
    assert any(name.startswith("Histogram of seconds, thinking: median") for name in images)
    unnamed = [
        role for role, name in roles if role in ("button", "combobox", "searchbox", "image", "region") and not name
    ]
    assert unnamed == []


async def test_figures_and_slices_follow_what_is_chosen(page: Tab) -> None:
    await page.choose("scatter-cost", "calls")
    assert "against calls a row" in await page.run("document.querySelector('#scatter svg').getAttribute('aria-label')")
    await page.choose("slice-field", "length")
    table = await page.run("[...document.querySelectorAll('#slice-table tbody tr')].map((row) => row.innerText)")
    short = [cell for cell in DemoView().cells("short") if cell.fields["length"] == "short"]
    share = sum(cell.scores["accuracy"].value or 0.0 for cell in short) / len(short)
    assert table[2].split()[:3] == ["short", str(len(short)), f"{share:.3f}"]
    await page.choose("slice-metric", "2")
    assert "No interval" in await page.run("document.getElementById('slice-table').innerText")


async def test_a_slice_of_graded_scores_has_the_interval_of_their_mean(page: Tab) -> None:
    await page.choose("slice-field", "length")
    await page.choose("slice-metric", "1")
    table = await page.run("[...document.querySelectorAll('#slice-table tbody tr')].map((row) => row.innerText)")

    scores = [cell.scores["similarity"] for cell in DemoView().cells("short") if cell.fields["length"] == "short"]
    values = [score.value for score in scores if score.value is not None]
    expected = bounded_mean(values, range(len(values)), binary=False)
    found = [float(number) for number in re.findall(r"\d\.\d+", table[2])[:3]]
    assert found == pytest.approx([expected.mean, expected.low, expected.high], abs=0.002)


async def test_the_name_of_a_slice_lists_its_rows(page: Tab) -> None:
    await page.choose("slice-field", "source")
    await page.click("#slice-table tbody tr:nth-child(3) button")
    assert await found(page) == sum(cell.fields["source"] == "letter" for cell in DemoView().cells("short"))
    assert await page.run(FOCUS) == "rows"


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("dark", [False, True])
async def test_text_stands_out_and_nothing_hangs_over(page: Tab, width: int, dark: bool) -> None:
    await page.show(width=width, dark=dark)
    assert await page.run("document.documentElement.scrollWidth") <= width
    ratio, where = await page.run(LEAST_CONTRAST)
    assert ratio >= 4.5, where


async def test_ten_thousand_rows_are_listed_and_searched(browser: Tab, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    view = DemoView(rows=10_000, variants=("short",), hostile=False)
    write_page(view, EvalRecord.model_validate(view.record), path)
    browser.complaints.clear()
    await browser.open(path)
    assert await browser.run(COUNT) == "10,000 of 10,000 rows, 1 to 50 shown."
    await browser.choose("search", "number 09876.")
    assert await browser.run(ROWS) == [9876]
    await browser.click("tr.row td")
    await browser.until("document.querySelector('.detail')")
    assert "number 09876." in await browser.run("document.querySelector('.detail').innerText")
    assert browser.complaints == []


async def test_a_conversation_is_shown_turn_by_turn(browser: Tab, tmp_path: Path) -> None:
    bench = Bench(Folder(tmp_path), [{"turns": ["Hi", "Bye"], "expect": ["answer", "<b>other</b>"]}])
    bench.folder.write("templates/prompts/agent.j2", "---\ninputs: {talk: {type: messages}}\n---\nBook tables.")
    played = 'target: agent\nconversation: {turns: "{{ row.turns }}"}\nmetrics: {right: {exact: {each: turn}}}\n'
    ran = await bench.run(f"data: rows.jsonl\n{played}", lambda request: "answer")
    write_page(ran.view, ran.evaluated.record, tmp_path / "run.html")
    browser.complaints.clear()
    await browser.open(tmp_path / "run.html")
    await browser.click("button.open")
    await browser.until("document.querySelector('.conversation')")
    shown = await browser.run("document.querySelector('.conversation').innerText.split('\\n').join('|')")
    assert shown == (
        "turn 1|user|Hi|assistant|answer|right|1.000, expected answer|"
        "turn 2|user|Bye|assistant|answer|right|0.000, expected <b>other</b>"
    )
    assert browser.complaints == []
