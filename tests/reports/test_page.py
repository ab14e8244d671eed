"""The HTML page of a run: one file, nothing from outside, everything in it escaped or compressed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import StoreFailed
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import EvalRecord
from promptkit.reports.page.write import write_page
from tests.reports.demo_view import HOSTILE, DemoView

_BLOCK = re.compile(r'<script type="text/plain" class="pack-(\w+)"[^>]*>([^<]*)</script>')


class _Reader(HTMLParser):
    """Notes the tags of a page, and the words between them that a person reads."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.words.append(data)


class Written:
    """A page taken apart: its tags, its words, and what its blocks hold."""

    def __init__(self, source: str) -> None:
        reader = _Reader()
        reader.feed(source)
        self.source, self.tags = source, reader.tags
        self.text = " ".join(" ".join(reader.words).split())

    def blocks(self, kind: str) -> list[Any]:
        found = [content for name, content in _BLOCK.findall(self.source) if name == kind]
        return [json.loads(zlib.decompress(base64.b64decode(content))) for content in found]


def written(view: Any, folder: Path) -> Written:
    path = folder / "page.html"
    write_page(view, EvalRecord.model_validate(view.record), path)
    return Written(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return written(DemoView(), tmp_path_factory.mktemp("page"))


@dataclass(frozen=True)
class Few:
    """A run with the cells that a test gives it, and a record of little."""

    given: tuple[Cell, ...]
    said: Mapping[str, Any] = field(default_factory=dict)
    traces: Mapping[int, Any] = field(default_factory=dict)
    number: int = 1
    suite: str = "few"
    status: str = "done"
    started: float = 0.0
    variants: tuple[str, ...] = ("plain",)
    metrics: tuple[str, ...] = ("accuracy",)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def record(self) -> Mapping[str, Any]:
        return self.said

    def cells(self, variant: str | None = None) -> Iterator[Cell]:
        return iter(self.given)

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.traces.get(cell)
        return found


CELL = Cell(variant="plain", row=1, repeat=0, fields={"text": "Fine."}, output="good", expect="good")


def test_nothing_is_asked_of_a_network(page: Written) -> None:
    outside = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action"} and not (value or "").startswith(("#", "data:,"))
    ]
    assert outside == []
    assert re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket", page.source) == []


def test_only_the_pages_own_script_and_style_have_an_effect(page: Written) -> None:
    [policy] = [a["content"] or "" for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    [script] = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
    [style] = re.findall(r"<style>(.*?)</style>", page.source, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (script, style)]
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}';")
    assert [tag for tag, a in page.tags if any(name == "style" or name.startswith("on") for name in a)] == []


def test_each_row_and_trace_is_in_the_blocks(page: Written) -> None:
    rows = [row for block in page.blocks("rows") for row in block["rows"]]
    opened = [row for block in page.blocks("opened") for row in block]
    view = DemoView()
    assert [row[0] for row in rows] == list(range(1, 241))
    assert len(opened) == 240
    cells = [cell for row in opened for cell in row["cells"]]
    assert [cell["trace"] for cell in cells] == [view.trace(cell.number) for cell in view.cells()]


def test_opening_a_row_reads_one_of_many_blocks(page: Written) -> None:
    firsts = [int(a["data-first"] or "") for _, a in page.tags if a.get("class") == "pack-opened"]
    assert firsts == [0, 50, 100, 150, 200]


def test_a_row_of_much_text_is_short_in_the_list_and_whole_when_opened(tmp_path: Path) -> None:
    text = "word " * 100_000
    cell = replace(CELL, fields={"text": text, "tags": ["a", "b"], "stars": 4})
    page = written(Few((cell,) * 3), tmp_path)
    [[_, _, _, [short, tags, stars]]] = page.blocks("rows")[0]["rows"]
    assert (len(short), tags, stars) == (1000, '["a", "b"]', 4)
    assert page.blocks("opened")[0][0]["fields"]["text"] == text


def test_rows_of_different_fields_keep_their_own(tmp_path: Path) -> None:
    cells = (CELL, replace(CELL, row=2, fields={"label": "x"}))
    [block] = written(Few(cells), tmp_path).blocks("rows")
    assert block["names"] == ["text", "label"]
    assert [row[3] for row in block["rows"]] == [["Fine."], [None, "x"]]


@pytest.mark.attack("html")
@pytest.mark.parametrize("attack", HOSTILE)
def test_names_in_a_run_cannot_become_markup(tmp_path: Path, attack: str) -> None:
    metric = {
        "mean": 0.5,
        "low": 0.4,
        "high": 0.6,
        "notes": [attack],
        "parts": {"confusion": {attack: {attack: 3}}},
    }
    variant = {"name": attack, "metrics": {attack: metric}, "cases": 1}
    said = {
        "target": attack,
        "model": {"reference": attack, "digest": attack, "why": attack},
        "notes": [attack],
        "variants": [
            {**variant, "fallbacks": [{"step": attack, "wanted": attack, "instead": attack, "reason": attack}]}
        ],
        "thresholds": [{"metric": attack, "variant": attack, "says": attack, "kind": attack, "passed": False}],
    }
    few = Few((), said, suite=attack, variants=(attack,), metrics=(attack,), settings={attack: {attack: attack}})
    page = written(few, tmp_path)
    assert len(re.findall(r"<script>", page.source)) == 1
    assert "img" not in {tag for tag, _ in page.tags}
    assert not re.search("[\u202e\u2028\x07]", page.source)


def test_half_a_character_and_what_json_cannot_hold_are_written(tmp_path: Path) -> None:
    cell = replace(CELL, output="\ud83d", fields={"text": float("nan")}, scores={"accuracy": Score(1.0)}, number=7)
    page = written(Few((cell,), traces={7: {"name": "\udc00", "odd": {1, 2}}}), tmp_path)
    opened = page.blocks("opened")[0][0]
    assert opened["fields"]["text"] == "nan"
    assert (opened["cells"][0]["output"], opened["cells"][0]["trace"]["odd"]) == ("\ud83d", [1, 2])


def test_the_summary_says_each_metric_with_its_interval(page: Written) -> None:
    for name, variant in zip(DemoView().variants, DemoView().record["variants"], strict=True):
        accuracy = variant["metrics"]["accuracy"]
        assert name in page.text
        assert f"{accuracy['mean']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]" in page.text
    assert "accuracy: unparsed and cut-off answers count as wrong" in page.text
    assert "embedded/smollm2 sha256:0d1c4f5a77aa (promptkit.yaml)" in page.text


def test_warnings_are_counted_by_variant(page: Written) -> None:
    head = "Answers with a warning Warning short thinking examples"
    assert f"{head} read by a weak rule 20 of 240" in page.text
    assert page.blocks("about")[0]["warnings"] == ["read by a weak rule"]


def test_comparisons_say_difference_p_and_rows(page: Written) -> None:
    assert "4 comparisons: intervals hold at 95 % for all of them together" in page.text
    said = r"thinking short tokens 2\.\d{3} × \[2\.\d{3}, 2\.\d{3}\] worse < 0.001 < 0.001 ▲ 31 ▼ 14"
    assert re.search(said, page.text)
    assert "420 240 here" in page.text


@dataclass
class MatrixView(DemoView):
    """A run with a margin, a main effect and a judge."""

    @property
    def record(self) -> Mapping[str, Any]:
        record = dict(super().record)
        first = {**record["comparisons"][0], "margin": 0.2}
        shared = {name: value for name, value in first.items() if name not in ("a", "b", "margin")}
        effect = {**shared, "key": "mood.prompt", "value": "CURT", "first": "Mood", "variants": 2}
        variants = [dict(variant) for variant in record["variants"]]
        parts = {
            "judged": {"mean": 0.7, "low": 0.6, "high": 0.8},
            "agreement with labels": {"method": "Cohen's kappa", "value": 0.6, "low": 0.4, "high": 0.7},
        }
        similarity = {**variants[0]["metrics"]["similarity"], "kind": "judge", "parts": parts}
        variants[0]["metrics"] = {**variants[0]["metrics"], "similarity": similarity}
        none = {**record["comparisons"][1], **dict.fromkeys(("difference", "low", "high", "p", "adjusted"))}
        comparisons = [first, none, *record["comparisons"][2:]]
        return {**record, "variants": variants, "comparisons": comparisons, "main_effects": [effect]}


def test_a_page_has_margins_main_effects_and_how_far_judges_hold(tmp_path: Path) -> None:
    page = written(MatrixView(), tmp_path)

    assert "margin: accuracy 20 points" in page.text
    assert "equivalent" in page.text
    assert page.source.count('class="margin"') == 2, "a mark on both sides, in the row that has a margin"
    assert "main effects against prompt=Mood, averaged over the other keys" in page.text
    assert "prompt=CURT accuracy" in page.text
    assert "thinking short tokens – not compared – – – – –" in page.text
    assert "similarity short agreement with labels Cohen's kappa 0.60 [0.40, 0.70]" in page.text
    assert "Slices of similarity are of the judge's own scores" in page.text
    assert '<table class="judges">' in page.source and ".judges td:last-child { white-space: normal" in page.source


def test_a_threshold_that_fell_short_shows_at_the_top(page: Written) -> None:
    assert "1 of 2 thresholds fell short" in page.text
    assert "fell short accuracy short at least 0.800" in page.text


def test_an_incomplete_run_says_what_is_missing_and_compares_nothing(tmp_path: Path) -> None:
    page = written(DemoView(status="incomplete"), tmp_path)
    missing = [variant["missing"] for variant in DemoView(status="incomplete").record["variants"]]
    assert all(f"{number} of 240" in page.text for number in missing)
    assert f"incomplete {sum(missing)} missing" in page.text
    assert "No comparison is given while answers are missing." in page.text
    assert "not judged" in page.text


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    page = written(Few((), status="running"), tmp_path)
    assert "There is no summary: the run did not come to its end." in page.text
    assert page.blocks("rows") == page.blocks("opened") == []


def test_of_many_classes_the_pairs_most_confused_are_shown(tmp_path: Path) -> None:
    names = [f"class {number}" for number in range(40)]
    confusion = {name: {name: 9, names[0]: number} for number, name in enumerate(names)}
    metric = {"mean": 0.5, "low": 0.4, "high": 0.6, "parts": {"confusion": confusion}}
    said = {"variants": [{"name": "plain", "metrics": {"accuracy": metric}}]}
    page = written(Few((), said), tmp_path)
    assert "Expected Predicted Rows class 39 class 0 39 class 38 class 0 38" in page.text


def test_headings_go_down_by_one_and_tables_have_captions(page: Written) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption") > 5


def test_each_control_has_a_label(page: Written) -> None:
    controls = re.findall(r"<label[^>]*>([^<]*)<(?:select|input) id", page.source)
    assert len(controls) == sum(tag in {"select", "input"} for tag, _ in page.tags)
    assert all(label.strip() for label in controls)


class Watched(DemoView):
    """Notes in which order cells and traces are read."""

    @cached_property
    def read(self) -> list[str]:
        return []

    def cells(self, variant: str | None = None) -> Iterator[Cell]:
        for cell in super().cells(variant):
            if variant is None:
                self.read.append(f"cell {cell.row}")
            yield cell

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        self.read.append(f"trace {cell // 3}")
        return super().trace(cell)


def test_a_rows_traces_are_read_with_it_in_one_walk_over_the_cells(tmp_path: Path) -> None:
    view = Watched(rows=4)
    written(view, tmp_path)
    # The first cell of the next row ends a row.
    assert [entry for entry in view.read if entry.startswith("cell")] == [
        f"cell {row}" for row in (1, 2, 3, 4) for _ in "abc"
    ]
    assert view.read.index("trace 1") < view.read.index("cell 3")


def test_a_view_that_fails_leaves_the_old_page(tmp_path: Path) -> None:
    class Broken(DemoView):
        def trace(self, cell: int) -> Mapping[str, Any] | None:
            raise StoreFailed("the store cannot be read")

    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(StoreFailed, match="store cannot be read"):
        write_page(Broken(rows=3), EvalRecord.model_validate(Broken(rows=3).record), path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
