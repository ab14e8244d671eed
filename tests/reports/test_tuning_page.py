"""A tuning as one page: whole by itself, everything from the record escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from promptkit.reports.tuning.page import tuning_page, write_tuning_page
from promptkit.reports.tuning.scatter import front_of
from promptkit.tuning.tune_record import CandidateRecord, TuneRecord
from tests.reports.demo_tuning import candidate, curve_point, demo_tuning, turned_row

VOID = {"meta", "link"}


class Reader(HTMLParser):
    """Reads a page: its text by section, its tags, and whether each that is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self._section = ""
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs).get("id") or ""
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts[self._section] = self.texts.get(self._section, "") + data


def read(**more: Any) -> Reader:
    return Reader(tuning_page(TuneRecord.model_validate(demo_tuning(**more))))


def test_the_page_says_what_the_terminal_says() -> None:
    page = read()
    assert "improved: +10 points [+2, +18] on 142 rows that the search never saw" in page.texts["verdict"]
    assert "+8 points [+1, +15]" in page.texts["changes"] and "the budget has no calls left" in page.texts["changes"]
    assert "+    decide: score" in page.texts["changes"]
    assert "after 20 rows: 2.9 standard errors behind" in page.texts["candidates"]
    assert "mood · screen" in page.texts["stages"] and "two rows alike" in page.texts["stages"]


def test_all_rows_that_turned_are_on_the_page_those_that_got_worse_first() -> None:
    turned = read().texts["turned"]
    assert "Confirm rows that turned: 8 worse, 22 better" in turned
    assert "and 20 more: promptkit runs compare 12" in turned
    assert re.findall(r"number (\d+)", turned) == ["2", "4", "6", "8", "10", "1", "3", "5", "7", "9"]


def test_the_curve_has_each_leader_the_start_beside_it_and_the_confirm_rows_at_its_end() -> None:
    page = read(candidates=[])
    marks = [str(attrs.get("class")) for tag, attrs in page.tags if tag == "circle" and attrs.get("class")]
    assert marks == ["on", "ring", "on", "ring", "on", "start", "incumbent"]
    assert "after 120 calls 100 % [80, 100] on 5 search rows: decide: score" in page.texts["curve"]
    assert "incumbent on the confirm rows: 71 % [63, 78]" in page.texts["curve"]


def test_axes_of_figures_have_round_numbers_within_the_bounds_of_the_metric() -> None:
    curve = read().texts["curve"]
    assert re.findall(r"^(\d+) %$", curve, re.MULTILINE) == ["50", "60", "70", "80", "90", "100"]
    assert re.findall(r"^(\d+)$", curve, re.MULTILINE) == ["0", "200", "400", "600"]


def test_a_metric_whose_bounds_are_not_round_has_all_its_points_within_the_figure() -> None:
    metric = {"name": "grade", "kind": "judge", "bounds": [1, 7.3], "higher_is_better": True}
    curve = [curve_point(calls, 20, mean) for calls, mean in ((10, 7.2), (20, 2.0))]
    page = read(metric=metric, curve=[{**point, "high": 7.3} for point in curve], candidates=[])
    places = [float(attrs["cy"] or 0) for tag, attrs in page.tags if tag == "circle" and attrs.get("class") == "on"]
    assert all(26 <= place <= 336 for place in places)


def test_differences_stand_on_one_axis_each_with_its_rows() -> None:
    differences = read().texts["differences"]
    assert "incumbent" in differences and "+10 points [+2, +18]" in differences and "142 confirm rows" in differences
    assert "decide: decide: score" in differences and "38 search rows" in differences


@pytest.mark.attack("html")
def test_nothing_of_the_record_is_markup() -> None:
    evil = "</style><script>alert(1)</script>\"'&\x1b[2J"
    record = demo_tuning(target=evil, why=evil, diff=f"+{evil}", notes=[evil], written=[evil], suite=evil)
    record["candidates"] = [candidate(evil, 0.5, 10.0), candidate(evil, 0.6, 20.0, dropped={"at": 1, "why": evil})]
    record["ablation"] = [{**record["ablation"][0], "axis": evil, "level": evil, "about": evil}]
    record["stages"] = [{**record["stages"][0], "step": evil, "notes": [evil]}]
    record["turned"]["rows"] = [turned_row(1, "better", fields={evil: evil}, expected=evil, before={"value": evil})]
    record["curve"] = [{**point, "name": evil} for point in record["curve"]]
    page = tuning_page(TuneRecord.model_validate(record))

    assert not [tag for tag, _ in Reader(page).tags if tag == "script"]
    assert "\x1b" not in page


def test_the_page_asks_nothing_of_a_network_and_runs_nothing() -> None:
    page = read()
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not [
        attrs
        for _, attrs in page.tags
        for name, value in attrs.items()
        if name == "style" or (name in ("src", "href") and not (value or "").startswith(("#", "data:")))
    ]


def test_each_candidate_with_a_score_has_its_point_and_the_front_its_line() -> None:
    page = read(curve=[])
    points = [attrs for tag, attrs in page.tags if tag == "circle" and "cx" in attrs and attrs.get("r") in ("4", "6")]
    assert len(points) == 4
    assert {str(each.get("class")) for each in points} == {"on incumbent", "on", "on start", ""}
    (line,) = [attrs["d"] for tag, attrs in page.tags if tag == "path"]
    assert line is not None and line.count("H") == 2


@pytest.mark.parametrize(
    ("known", "joined"),
    [
        ([(0.5, 10), (0.6, 20), (0.55, 30)], [(0.5, 10), (0.6, 20)]),
        ([(0.5, 10), (0.7, 10)], [(0.7, 10)]),
        ([(0.5, 10)], [(0.5, 10)]),
    ],
)
def test_on_the_front_is_what_no_other_beats(
    known: list[tuple[float, float]], joined: list[tuple[float, float]]
) -> None:
    found = front_of([CandidateRecord(**candidate("c", mean, tokens)) for mean, tokens in known])
    assert [(place.score, place.tokens) for place in found] == joined


def test_of_a_metric_of_which_less_is_better_the_lowest_are_on_the_front() -> None:
    found = front_of(
        [CandidateRecord(**candidate("c", mean, 10 * mean)) for mean in (0.5, 0.4)], higher_is_better=False
    )
    assert [place.score for place in found] == [0.4]


def test_a_tuning_that_tried_nothing_has_a_page() -> None:
    nothing: dict[str, Any] = {"choices": {}, "changes": {}, "search": None, "confirm": None}
    page = read(
        candidates=[], stages=[], ablation=[], diff="", written=[], difference=None, best=nothing, baseline=nothing
    )
    assert "No candidate has a score." in page.texts["front"]
    assert "Nothing changes." in page.texts["changes"]


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    write_tuning_page(TuneRecord.model_validate(demo_tuning()), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert re.search(r"<!--\w+-->", page) is None and page.endswith("</html>\n")
