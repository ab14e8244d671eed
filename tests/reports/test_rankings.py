"""Rankings of variants in the terminal and on the page."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from promptkit.evaluation.record import EvalRecord, RankingRecord
from promptkit.reports.evaluation.rankings import ranking_parts, shown_pairs
from promptkit.reports.layout import cell_width
from promptkit.reports.page.write import write_page
from tests.reports.demo_view import DemoView


def ranked(variant: str, wins: float) -> dict[str, Any]:
    return {"variant": variant, "strength": 0.4, "wins": wins, "wins_low": wins - 0.1, "wins_high": wins + 0.1, "n": 40}


def pair(a: str, b: str, wins: float, low: float, high: float) -> dict[str, Any]:
    return {"a": a, "b": b, "wins": wins, "low": low, "high": high, "p": 0.02, "adjusted": 0.06}


def ranking(**values: Any) -> dict[str, Any]:
    variants = [ranked("thinking", 0.68), ranked("short", 0.5), ranked("examples", 0.32)]
    pairs = [pair("thinking", "short", 0.7, 0.52, 0.83), pair("short", "examples", 0.6, 0.4, 0.78)]
    return {"metric": "preferred", "variants": variants, "pairs": pairs, "clusters": 20, "notes": [], **values}


NAMES = ("short", "thinking", "examples")


def lines(width: int = 80, names: tuple[str, ...] = NAMES, **values: Any) -> list[str]:
    found = {**DemoView(rows=20, variants=names).record, "rankings": [ranking(**values)]}
    record = EvalRecord.model_validate(found)
    return [line.plain for line in ranking_parts(record, width)]


def test_the_strongest_stands_first_with_its_wins_and_each_pair_with_a_verdict() -> None:
    assert lines()[:6] == [
        "ranking by preferred: wins against another variant, a tie as half",
        "  1  thinking  68 %  [58, 78]",
        "  2  short     50 %  [40, 60]",
        "  3  examples  32 %  [22, 42]",
        "                     wins            p, Holm",
        "  thinking vs short  70 %  [52, 83]    0.060  better",
    ]
    assert lines()[6].endswith("not shown")


def test_wins_are_drawn_around_a_line_at_half() -> None:
    drawn = lines()[lines().index("preferred: preferred to another variant, %") :]
    assert "┼" in drawn[2] or "●" in drawn[2]
    assert "│" in drawn[1] and "│" in drawn[3]
    assert all(cell_width(line) <= 40 for line in lines(width=40))


def test_notes_of_a_ranking_stand_with_it() -> None:
    assert "  3 pairs have no verdict, and are left out" in lines(notes=["3 pairs have no verdict, and are left out"])


@pytest.mark.parametrize(("variants", "shown"), [(4, 6), (6, 1)])
def test_of_many_pairs_those_that_show_nothing_are_counted_only(variants: int, shown: int) -> None:
    names = tuple(f"v{number}" for number in range(variants))
    pairs = [pair(a, b, 0.5, 0.3, 0.7) for a, b in combinations(names, 2)]
    pairs[0] |= {"wins": 0.3, "low": 0.2, "high": 0.45}
    found = RankingRecord.model_validate(ranking(pairs=pairs))

    assert len(shown_pairs(found)) == shown
    assert any("pairs that show nothing" in line for line in lines(names=names, variants=[], pairs=pairs)) == (
        shown == 1
    )


def test_the_page_has_the_ranking_and_its_pairs(tmp_path: Path) -> None:
    view = DemoView(rows=20)
    record = EvalRecord.model_validate({**view.record, "rankings": [ranking()]})
    write_page(view, record, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")

    assert "Ranking by preferred" in page
    assert '<th scope="row">thinking</th><td><b>0.680</b>' in page
    assert '<th scope="row">thinking</th><td>short</td><td><b>0.700</b>' in page
